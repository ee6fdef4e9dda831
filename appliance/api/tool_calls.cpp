#include "appliance/api/tool_calls.h"

#include <algorithm>
#include <array>
#include <span>

namespace ostal::api {
namespace {

using engine::TokenId;
using engine::ToolCall;
using Ids = std::span<const TokenId>;

constexpr std::size_t kMaxCalls = 128;

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool is_function_name(std::string_view name) {
    return !name.empty() && name.size() <= 64 &&
           std::all_of(name.begin(), name.end(), [](char c) { return is_letter_or_digit(c) || c == '_' || c == '-'; });
}

std::string trimmed(std::string text) {
    const auto is_space = [](char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; };
    text.erase(text.begin(), std::find_if_not(text.begin(), text.end(), is_space));
    text.erase(std::find_if_not(text.rbegin(), text.rend(), is_space).base(), text.end());
    return text;
}

std::string text_of(const TokenTexts& texts, Ids ids) { return trimmed(texts.decode(ids, true)); }

// One entry of the list that v2 to v7 write.
std::optional<ToolCall> read_entry(const json::Value& entry) {
    const json::Value* name = entry.find("name");
    const json::Value* arguments = entry.find("arguments");
    const json::Value* id = entry.find("id");
    if (name == nullptr || !name->is_string() || !is_function_name(name->as_string())) return std::nullopt;
    ToolCall call;
    call.name = name->as_string();
    if (arguments == nullptr || arguments->is_null()) {
        call.arguments = "{}";
    } else if (arguments->is_object()) {
        call.arguments = json::to_string(*arguments);
    } else {
        return std::nullopt;
    }
    if (id != nullptr && id->is_string()) call.id = id->as_string();
    return call;
}

bool read_list(const std::string& text, std::vector<ToolCall>& calls) {
    const auto list = json::parse(text);
    if (!list || !list->is_array()) return false;
    for (const json::Value& entry : list->as_array()) {
        auto call = read_entry(entry);
        if (!call) return false;
        calls.push_back(std::move(*call));
    }
    return true;
}

// name ([CALL_ID] id) [ARGS] {...}
std::optional<ToolCall> read_named(const CallTokens& control, const TokenTexts& texts, Ids ids, std::size_t args_at) {
    const Ids head = ids.first(args_at);
    const auto id_at = static_cast<std::size_t>(std::find(head.begin(), head.end(), control.call_id) - head.begin());
    ToolCall call;
    call.name = text_of(texts, head.first(id_at));
    if (id_at < head.size()) call.id = text_of(texts, head.subspan(id_at + 1));
    call.arguments = text_of(texts, ids.subspan(args_at + 1));
    const auto arguments = json::parse(call.arguments);
    if (!is_function_name(call.name) || !arguments || !arguments->is_object()) return std::nullopt;
    return call;
}

// What stands behind one [TOOL_CALLS].
bool read_segment(const CallTokens& control, const TokenTexts& texts, Ids ids, std::vector<ToolCall>& calls) {
    const auto args_at = static_cast<std::size_t>(std::find(ids.begin(), ids.end(), control.args) - ids.begin());
    if (args_at == ids.size()) return read_list(text_of(texts, ids), calls);
    auto call = read_named(control, texts, ids, args_at);
    if (!call) return false;
    calls.push_back(std::move(*call));
    return true;
}

std::string nine_characters(RandomSource& random) {
    constexpr std::string_view kAlphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::array<std::uint8_t, 9> bytes{};
    random.fill(bytes);
    std::string id;
    for (const std::uint8_t byte : bytes) id += kAlphabet[byte % kAlphabet.size()];
    return id;
}

}  // namespace

CallTokens call_tokens(const engine::Tokenizer& tokenizer) {
    return {tokenizer.control("[TOOL_CALLS]").value_or(-1), tokenizer.control("[CALL_ID]").value_or(-1),
            tokenizer.control("[ARGS]").value_or(-1)};
}

std::optional<WrittenCalls> read_tool_calls(const CallTokens& control, const TokenTexts& texts,
                                            const std::vector<TokenId>& tokens, bool begins_text) {
    const Ids all(tokens);
    const auto first = static_cast<std::size_t>(std::find(all.begin(), all.end(), control.calls) - all.begin());
    if (first == all.size()) return std::nullopt;
    WrittenCalls out;
    out.text = texts.decode(all.first(first), begins_text);
    for (std::size_t begin = first; begin < all.size();) {
        const auto next = std::find(all.begin() + static_cast<std::ptrdiff_t>(begin) + 1, all.end(), control.calls);
        const auto end = static_cast<std::size_t>(next - all.begin());
        if (!read_segment(control, texts, all.subspan(begin + 1, end - begin - 1), out.calls)) return std::nullopt;
        begin = end;
    }
    if (out.calls.empty() || out.calls.size() > kMaxCalls) return std::nullopt;
    return out;
}

json::Array tool_calls_json(const std::vector<ToolCall>& calls, RandomSource& random) {
    json::Array out;
    for (const ToolCall& call : calls) {
        out.emplace_back(json::Object{
            {"index", static_cast<std::int64_t>(out.size())},
            {"id", call.id.empty() ? nine_characters(random) : engine::map_tool_call_id(call.id)},
            {"type", "function"},
            {"function", json::Object{{"name", call.name}, {"arguments", call.arguments}}},
        });
    }
    return out;
}

}  // namespace ostal::api
