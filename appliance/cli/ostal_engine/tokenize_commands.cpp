// tokenize, detokenize, template: text and conversations to ids, and back.
#include <ostream>

#include "appliance/cli/ostal_engine/model.h"
#include "base/json.h"

namespace ostal::engine_tool {

Command tokenize_command() {
    return {
        "tokenize",
        "text to token ids",
        "--model PATH | --tokenizer FILE [--no-special]  < TEXT",
        "The whole input is the text, to its last byte. Output: a JSON array of ids on one line. The "
        "model's\n"
        "begin-of-sequence id comes first where the model wants one. Names of control tokens in the text "
        "are\n"
        "plain text, never the control token. Exit codes: 0 ok, 1 failed (not UTF-8, no such file), 2 usage.",
        {model_option(), tokenizer_option(), {"--no-special", "", "without the begin-of-sequence id"}}};
}

Status run_tokenize(const Arguments& arguments, const Terminal& terminal) {
    OSTAL_TRY(const Text text, open_text(arguments));
    OSTAL_TRY(const std::string input, read_input(terminal));
    OSTAL_TRY(const auto ids, encode_text(*text.tokenizer, input, !arguments.has("--no-special")));
    terminal.out << json::to_string(ids_value(ids)) << "\n";
    return {};
}

Command detokenize_command() {
    return {"detokenize",
            "token ids to text",
            "--model PATH | --tokenizer FILE  < IDS",
            "Input: a JSON array of ids. Output: their text and nothing else; control tokens give no text, "
            "bytes\n"
            "that are no UTF-8 give U+FFFD. Exit codes: 0 ok, 1 failed (an id outside of the vocabulary), 2 "
            "usage.",
            {model_option(), tokenizer_option()}};
}

Status run_detokenize(const Arguments& arguments, const Terminal& terminal) {
    OSTAL_TRY(const Text text, open_text(arguments));
    OSTAL_TRY(const std::string input, read_input(terminal));
    OSTAL_TRY(const json::Value value, json::parse(input));
    if (!value.is_array()) {
        return fail(Code::kInvalidArgument, "the input is no JSON array of ids, but a value of type " +
                                                std::string(value.type_name()));
    }
    std::vector<engine::TokenId> ids;
    for (const json::Value& entry : value.as_array()) {
        const auto id = entry.to_int64();
        if (!id || *id < 0 || *id >= text.tokenizer->vocab_size()) {
            return fail(Code::kInvalidArgument, "the input holds " + json::to_string(entry) +
                                                    ", expected an id from 0 to " +
                                                    std::to_string(text.tokenizer->vocab_size() - 1));
        }
        ids.push_back(static_cast<engine::TokenId>(*id));
    }
    terminal.out << text.tokenizer->decode(ids);
    return {};
}

Command template_command() {
    return {"template",
            "a chat or fill-in-the-middle request to token ids",
            "--model PATH | --tokenizer FILE [--format NAME] --chat|--fim  < REQUEST",
            "Input: with --chat a JSON object {\"messages\": [...], \"tools\": [...]} as "
            "/v1/chat/completions takes "
            "it, with\n"
            "--fim {\"prompt\": \"...\", \"suffix\": \"...\"} (no suffix or null: none). Output: a JSON "
            "array of the "
            "prompt's\n"
            "ids on one line. A template in a model file is never executed: where it is a known one, its "
            "format is\n"
            "taken. Exit codes: 0 ok, 1 refused (the reason is on stderr), 2 usage.",
            {model_option(),
             tokenizer_option(),
             format_option(),
             {"--chat", "", "the input is a chat request"},
             {"--fim", "", "the input is a fill-in-the-middle request"}}};
}

namespace {

using Ids = std::vector<engine::TokenId>;

Result<Ids> chat_ids(const ChatFormat& chat, const engine::Tokenizer& tokenizer, const json::Value& value) {
    OSTAL_TRY(const engine::ChatRequest request, engine::parse_chat_request(value));
    return engine::render_chat(chat.format, tokenizer, request, chat.default_system);
}

Result<Ids> fim_ids(const ChatFormat& chat, const engine::Tokenizer& tokenizer, const json::Value& value) {
    const json::Value* prompt = value.find("prompt");
    if (prompt == nullptr || !prompt->is_string()) {
        return fail(Code::kUnprocessable, "prompt: expected a string");
    }
    const json::Value* suffix = value.find("suffix");
    const bool absent = suffix == nullptr || suffix->is_null();
    if (!absent && !suffix->is_string()) return fail(Code::kUnprocessable, "suffix: expected a string");
    return engine::render_fim(chat.format, tokenizer, prompt->as_string(), absent ? "" : suffix->as_string());
}

}  // namespace

Status run_template(const Arguments& arguments, const Terminal& terminal) {
    if (arguments.has("--chat") == arguments.has("--fim")) {
        return fail(Code::kUsage, "name the kind of request by one of --chat and --fim");
    }
    OSTAL_TRY(const Text text, open_text(arguments));
    OSTAL_TRY(const ChatFormat chat, chat_format(arguments, text.known));
    OSTAL_TRY(const std::string input, read_input(terminal));
    OSTAL_TRY(const json::Value value, json::parse(input));
    OSTAL_TRY(const Ids ids, arguments.has("--chat") ? chat_ids(chat, *text.tokenizer, value)
                                                     : fim_ids(chat, *text.tokenizer, value));
    terminal.out << json::to_string(ids_value(ids)) << "\n";
    return {};
}

}  // namespace ostal::engine_tool
