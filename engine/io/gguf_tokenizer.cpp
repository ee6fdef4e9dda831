#include <cmath>
#include <utility>

#include "engine/io/gguf.h"

namespace ostal::engine {

Result<GgufTokenizer> gguf_tokenizer(const GgufFile& file) {
    GgufTokenizer out;
    OSTAL_TRY(const auto* tokens, file.texts("tokenizer.ggml.tokens"));
    if (tokens == nullptr)
        return fail(Code::kNotFound, file.file() + " holds no tokenizer (no tokenizer.ggml.tokens)");
    out.tokens = *tokens;
    const auto count = static_cast<std::int64_t>(out.tokens.size());
    const auto check_length = [&](std::string_view key, std::size_t length) -> Status {
        if (length == out.tokens.size()) return {};
        return fail(Code::kInvalidArgument, std::string(key) + " has " + std::to_string(length) +
                                                " elements, the vocabulary has " + std::to_string(count));
    };
    OSTAL_TRY(const auto* scores, file.numbers("tokenizer.ggml.scores"));
    if (scores != nullptr) {
        OSTAL_TRYV(check_length("tokenizer.ggml.scores", scores->size()));
        for (const double score : *scores) {
            if (!std::isfinite(score))
                return fail(Code::kInvalidArgument, "tokenizer.ggml.scores holds a value that is not finite");
            out.scores.push_back(static_cast<float>(score));
        }
    }
    OSTAL_TRY(const auto* types, file.integers("tokenizer.ggml.token_type"));
    if (types != nullptr) {
        OSTAL_TRYV(check_length("tokenizer.ggml.token_type", types->size()));
        for (const std::int64_t type : *types) {
            if (type < 0 || type > 6)
                return fail(Code::kInvalidArgument,
                            "tokenizer.ggml.token_type holds " + std::to_string(type) + ", expected 1 to 6");
            out.token_types.push_back(static_cast<std::int32_t>(type));
        }
    }
    OSTAL_TRY(const auto* merges, file.texts("tokenizer.ggml.merges"));
    if (merges != nullptr) out.merges = *merges;
    const std::pair<std::string_view, TokenId*> ids[] = {
        {"tokenizer.ggml.bos_token_id", &out.bos},         {"tokenizer.ggml.eos_token_id", &out.eos},
        {"tokenizer.ggml.eot_token_id", &out.eot},         {"tokenizer.ggml.unknown_token_id", &out.unknown},
        {"tokenizer.ggml.padding_token_id", &out.padding},
    };
    for (const auto& [key, id] : ids) {
        OSTAL_TRY(const auto value, file.integer(key));
        if (!value) continue;
        if (*value < 0 || *value >= count) {
            return fail(Code::kInvalidArgument, std::string(key) + " is " + std::to_string(*value) +
                                                    ", the vocabulary has " + std::to_string(count) +
                                                    " tokens");
        }
        *id = static_cast<TokenId>(*value);
    }
    OSTAL_TRY(out.add_bos, file.boolean("tokenizer.ggml.add_bos_token"));
    OSTAL_TRY(out.add_eos, file.boolean("tokenizer.ggml.add_eos_token"));
    OSTAL_TRY(out.add_space_prefix, file.boolean("tokenizer.ggml.add_space_prefix"));
    OSTAL_TRY(const auto model, file.text("tokenizer.ggml.model"));
    OSTAL_TRY(const auto pre, file.text("tokenizer.ggml.pre"));
    OSTAL_TRY(const auto chat_template, file.text("tokenizer.chat_template"));
    out.model = model.value_or("");
    out.pre = pre.value_or("");
    out.chat_template = chat_template.value_or("");
    return out;
}

}  // namespace ostal::engine
