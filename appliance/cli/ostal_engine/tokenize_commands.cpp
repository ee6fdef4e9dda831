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
    return {
        "template",
        "a chat request to token ids",
        "--model PATH | --tokenizer FILE [--format NAME] --chat  < REQUEST",
        "Input: a JSON object {\"messages\": [...], \"tools\": [...]} as /v1/chat/completions takes it. "
        "Output: a\n"
        "JSON array of the prompt's ids on one line. A template in a model file is never executed: where it "
        "is a\n"
        "known one, its format is taken. Exit codes: 0 ok, 1 refused (the reason is on stderr), 2 usage.",
        {model_option(), tokenizer_option(), format_option(), {"--chat", "", "the input is a chat request"}}};
}

Status run_template(const Arguments& arguments, const Terminal& terminal) {
    if (!arguments.has("--chat")) return fail(Code::kUsage, "--chat is missing: the kind of request");
    OSTAL_TRY(const Text text, open_text(arguments));
    OSTAL_TRY(const ChatFormat chat, chat_format(arguments, text.known));
    OSTAL_TRY(const std::string input, read_input(terminal));
    OSTAL_TRY(const json::Value value, json::parse(input));
    OSTAL_TRY(const engine::ChatRequest request, engine::parse_chat_request(value));
    OSTAL_TRYV(engine::check_format(chat.format, *text.tokenizer));
    OSTAL_TRY(const auto ids,
              engine::render_chat(chat.format, *text.tokenizer, request, chat.default_system));
    terminal.out << json::to_string(ids_value(ids)) << "\n";
    return {};
}

}  // namespace ostal::engine_tool
