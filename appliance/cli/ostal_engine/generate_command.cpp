// generate: an answer to a prompt, streamed.
#include <algorithm>
#include <limits>

#include "appliance/cli/ostal_engine/generation.h"
#include "appliance/cli/ostal_engine/model.h"
#include "base/json.h"

namespace ostal::engine_tool {
namespace {

constexpr std::int32_t kDefaultMaxTokens = 256;

// What the command line says before a model is loaded.
Result<engine::GenerationRequest> read_request(const Arguments& arguments) {
    engine::GenerationRequest request;
    request.id = 1;
    OSTAL_TRY(request.sampling.temperature, arguments.number("--temperature", 0.0, 100.0, 0.0));
    OSTAL_TRY(request.sampling.top_p,
              arguments.number("--top-p", std::numeric_limits<double>::min(), 1.0, 1.0));
    OSTAL_TRY(const std::int64_t top_k,
              arguments.integer("--top-k", 0, std::numeric_limits<std::int32_t>::max(), 0));
    OSTAL_TRY(const std::int64_t seed,
              arguments.integer("--seed", 0, std::numeric_limits<std::int64_t>::max(), 0));
    OSTAL_TRY(const std::int64_t max_tokens, arguments.integer("--max-tokens", 1, 1 << 24, 0));
    request.sampling.top_k = static_cast<std::int32_t>(top_k);
    request.sampling.seed = static_cast<std::uint64_t>(seed);
    request.max_tokens = static_cast<std::int32_t>(max_tokens);
    request.stop = arguments.texts("--stop");
    for (const std::string& stop : request.stop) {
        if (stop.empty()) return fail(Code::kUsage, "--stop is empty");
    }
    const int prompts = (arguments.has("--ids") ? 1 : 0) + (arguments.has("--prompt") ? 1 : 0);
    if (prompts > 1) return fail(Code::kUsage, "--ids and --prompt cannot be combined");
    if (arguments.has("--chat") && arguments.has("--ids"))
        return fail(Code::kUsage, "--chat takes text, not --ids");
    if (arguments.has("--system") && !arguments.has("--chat"))
        return fail(Code::kUsage, "--system needs --chat");
    return request;
}

Result<std::string> read_prompt(const Arguments& arguments, const Terminal& terminal) {
    if (const auto prompt = arguments.text("--prompt")) return *prompt;
    OSTAL_TRY(std::string text, read_input(terminal));
    if (text.ends_with('\n')) text.pop_back();  // the end of a typed line, not of the prompt
    return text;
}

// The prompt's ids, and what ends the answer.
Status fill_prompt(const Arguments& arguments, const Terminal& terminal, const OpenModel& model,
                   const engine::Tokenizer& tokenizer, engine::GenerationRequest& request) {
    if (arguments.has("--ids")) {
        OSTAL_TRY(const auto ids, arguments.integers("--ids", 0, model.files.config().vocab - 1));
        request.prompt.assign(ids.begin(), ids.end());
        request.continues_text = true;
        return {};
    }
    if (!arguments.has("--chat")) {
        OSTAL_TRY(const std::string prompt, read_prompt(arguments, terminal));
        OSTAL_TRY(request.prompt, encode_text(tokenizer, prompt, !arguments.has("--no-special")));
        request.continues_text = true;
        return {};
    }
    OSTAL_TRY(const ChatFormat chat,
              chat_format(arguments, known_template(*model.source, model.files.gguf())));
    OSTAL_TRYV(engine::check_format(chat.format, tokenizer));
    OSTAL_TRY(const std::string prompt, read_prompt(arguments, terminal));
    engine::ChatRequest conversation;
    const auto say = [&](engine::Role role, std::string text) {
        engine::ChatMessage message;
        message.role = role;
        message.content.push_back({engine::ContentPart::Kind::kText, std::move(text)});
        conversation.messages.push_back(std::move(message));
    };
    if (const auto system = arguments.text("--system")) say(engine::Role::kSystem, *system);
    say(engine::Role::kUser, prompt);
    OSTAL_TRY(request.prompt, engine::render_chat(chat.format, tokenizer, conversation, chat.default_system));
    OSTAL_TRY(request.stop_tokens, engine::stop_tokens(chat.format, tokenizer));
    return {};
}

}  // namespace

Command generate_command() {
    return {
        "generate",
        "an answer to a prompt",
        "--model PATH [--prompt TEXT | --ids LIST | < TEXT] [--chat [--format NAME]]",
        "The prompt is --prompt, --ids, or the input without its last newline. Text is streamed to stdout, "
        "with a\n"
        "newline at the end; with --json one object is printed instead: {\"ids\": [...], \"text\": \"...\",\n"
        "\"finish_reason\": \"stop\" | \"length\", \"usage\": {\"prompt_tokens\": N, \"completion_tokens\": "
        "N}}.\n"
        "Order of sampling: temperature, top-k, top-p. Exit codes: 0 ok, 1 failed, 2 usage.",
        {model_option(),
         {"--prompt", "TEXT", "the prompt"},
         {"--ids", "LIST", "the prompt as token ids, separated by commas"},
         {"--no-special", "", "without the begin-of-sequence id before a text"},
         {"--chat", "", "the prompt is what a user says; the answer ends where his turn would begin"},
         format_option(),
         {"--system", "TEXT", "system text of the chat"},
         {"--max-tokens", "N", "longest answer; default 256, or what the context leaves"},
         {"--temperature", "T", "0 (default) always takes the most likely token"},
         {"--top-p", "P", "smallest set of tokens with this probability; default 1"},
         {"--top-k", "K", "only the K most likely tokens; default 0, all"},
         {"--seed", "N", "of the draws; default 0"},
         {"--stop", "TEXT", "ends the answer before this text; may be repeated", true},
         {"--json", "", "one JSON object instead of streamed text"},
         threads_option(),
         isa_option()}};
}

Status run_generate(const Arguments& arguments, const Clock& clock, const Terminal& terminal) {
    OSTAL_TRY(engine::GenerationRequest request, read_request(arguments));
    engine::EngineConfig config;
    OSTAL_TRY(const std::int64_t threads, arguments.integer("--threads", 1, 1024, 0));
    config.threads = static_cast<std::int32_t>(threads);
    OSTAL_TRY(config.isa, isa_of(arguments));
    config.max_sequences = 1;
    config.pin_threads = false;
    OSTAL_TRY(const OpenModel model, open_model(arguments));
    WarningLog log(terminal.err);
    OSTAL_TRY(const auto engine, engine::Engine::load(config, *model.source, clock, log));
    OSTAL_TRYV(fill_prompt(arguments, terminal, model, engine->tokenizer(), request));
    if (request.max_tokens == 0) {
        const std::int64_t left =
            engine->info().context_length - static_cast<std::int64_t>(request.prompt.size());
        request.max_tokens = static_cast<std::int32_t>(std::clamp<std::int64_t>(left, 1, kDefaultMaxTokens));
    }
    const bool as_json = arguments.has("--json");
    const auto sink = std::make_shared<EventQueue>();
    OSTAL_TRYV(engine->submit(std::move(request), sink));
    std::vector<engine::TokenId> ids;
    std::string text;
    while (true) {
        const engine::TokenEvent event = sink->take();
        ids.insert(ids.end(), event.tokens.begin(), event.tokens.end());
        text += event.text;
        if (!as_json) terminal.out << event.text << std::flush;
        if (event.error) return fail(*event.error);
        if (!terminal.out.good()) {
            engine->cancel(1);
            return fail(Code::kIo, "the output cannot be written");
        }
        if (!event.finish) continue;
        if (!as_json) {
            terminal.out << "\n";
            return {};
        }
        const json::Object usage{{"prompt_tokens", event.usage.prompt_tokens},
                                 {"completion_tokens", event.usage.completion_tokens}};
        terminal.out << json::to_string(
                            json::Object{{"ids", ids_value(ids)},
                                         {"text", text},
                                         {"finish_reason", engine::finish_reason_name(*event.finish)},
                                         {"usage", usage},
                                         {"isa", engine->info().isa}})
                     << "\n";
        return {};
    }
}

}  // namespace ostal::engine_tool
