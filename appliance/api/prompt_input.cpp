#include "appliance/api/prompt_input.h"

#include <limits>

#include "appliance/api/fields.h"

namespace ostal::api {
namespace {

using engine::TokenId;

// Beyond every context; the exact limit is the model's.
constexpr std::size_t kMaxIds = 1 << 20;

Status expected_input() {
    return fail(Code::kUnprocessable, "expected a text, a list of texts, a list of token ids or a list of such lists");
}

Result<PromptInput> read_text_input(const json::Value& value) {
    if (value.as_string().empty()) return fail(Code::kUnprocessable, "a text is empty");
    return PromptInput(value.as_string());
}

Result<PromptInput> read_ids(const json::Array& values) {
    if (values.empty()) return fail(Code::kUnprocessable, "a list of token ids is empty");
    if (values.size() > kMaxIds) return fail(Code::kUnprocessable, "a list has more than 1048576 token ids");
    std::vector<TokenId> ids;
    for (const json::Value& value : values) {
        TokenId id = 0;
        OSTAL_TRYV(read_integer(value, 0, std::numeric_limits<TokenId>::max(), id));
        ids.push_back(id);
    }
    return PromptInput(std::move(ids));
}

Result<PromptInput> read_input(const json::Value& value) {
    if (value.is_string()) return read_text_input(value);
    if (value.is_array()) return read_ids(value.as_array());
    return fail(expected_input().error());
}

}  // namespace

Status read_prompt_inputs(const json::Value& value, std::size_t max_count, std::vector<PromptInput>& out) {
    const bool one = value.is_string() || (value.is_array() && !value.as_array().empty() && value.as_array()[0].is_number());
    if (one) {
        OSTAL_TRY(PromptInput input, read_input(value));
        out.push_back(std::move(input));
        return {};
    }
    if (!value.is_array()) return expected_input();
    if (value.as_array().empty()) return fail(Code::kUnprocessable, "the list is empty");
    if (value.as_array().size() > max_count) {
        return fail(Code::kUnprocessable, "at most " + std::to_string(max_count) + " inputs are taken");
    }
    for (const json::Value& item : value.as_array()) {
        OSTAL_TRY(PromptInput input, read_input(item));
        out.push_back(std::move(input));
    }
    return {};
}

Result<std::vector<TokenId>> tokens_of(const PromptInput& input, const engine::Tokenizer& tokenizer) {
    if (const auto* text = std::get_if<std::string>(&input)) {
        OSTAL_TRY(std::vector<TokenId> ids, tokenizer.encode(*text));
        if (tokenizer.adds_bos()) ids.insert(ids.begin(), tokenizer.bos());
        return ids;
    }
    const auto& ids = std::get<std::vector<TokenId>>(input);
    for (const TokenId id : ids) {
        if (id >= tokenizer.vocab_size()) {
            return fail(Code::kUnprocessable, "the model has no token " + std::to_string(id));
        }
    }
    return ids;
}

}  // namespace ostal::api
