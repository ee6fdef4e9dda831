// POST /v1/chat/completions
#include "appliance/api/chat_form.h"
#include "appliance/api/chat_request.h"
#include "appliance/api/generation.h"
#include "appliance/core/appliance.h"

namespace ostal::api {
namespace {

constexpr auto kPermission = security::Permission::kInferenceChat;

// What `safe_prompt` puts before the conversation.
constexpr std::string_view kSafetyText =
    "Be helpful, truthful and respectful. Do not help anybody to harm people, and do not write hateful, cruel or "
    "discriminating text. Where a question has no good answer, say so and say why.";

// The safety text stands before the system text that the conversation would have without it.
void add_safety_text(engine::ChatRequest& chat, const std::string& default_system) {
    const bool has_system = chat.messages.front().role == engine::Role::kSystem;
    if (!has_system) {
        engine::ChatMessage system;
        system.role = engine::Role::kSystem;
        if (!default_system.empty()) system.content.push_back({engine::ContentPart::Kind::kText, default_system});
        chat.messages.insert(chat.messages.begin(), std::move(system));
    }
    auto& parts = chat.messages.front().content;
    const std::string between = parts.empty() ? "" : "\n\n";
    if (parts.empty()) parts.emplace_back();
    parts.front().text = std::string(kSafetyText) + between + parts.front().text;
}

// The assistant's text that the answer is to continue: the last message, when it says so.
std::optional<std::string> continued_text(const engine::ChatRequest& chat) {
    const engine::ChatMessage& last = chat.messages.back();
    if (last.role != engine::Role::kAssistant || !(last.prefix || chat.continue_final_message)) return std::nullopt;
    std::string text;
    for (const engine::ContentPart& part : last.content) text += part.text;
    return text;
}

Step<void> start(Services& services, Call& call) {
    const Config& config = services.appliance.config();
    auto request = parse_chat_completion(call.request->body, config.api.strict);
    if (!request) return tl::unexpected<FieldError>(request.error());
    log_unknown_fields(services, call, request->unknown_fields);
    auto model = find_model(services, call, request->model, kPermission);
    if (!model) return tl::unexpected<FieldError>(model.error());

    if (!request->chat.tools.empty() && !engine::format_has_tools((*model)->format)) {
        return refuse_field(Code::kUnsupported, "tools", "the model '" + (*model)->name + "' was not made for tools");
    }
    if (request->safe_prompt) add_safety_text(request->chat, (*model)->default_system);
    auto prompt = engine::render_chat((*model)->format, (*model)->engine->tokenizer(), request->chat, (*model)->default_system);
    if (!prompt) return refuse(std::move(prompt).error(), "messages");
    const std::optional<std::string> continued = continued_text(request->chat);
    GenerationRules rules;
    rules.prompt_field = "messages";
    rules.default_max_tokens = config.api.default_max_tokens;
    rules.continues_text = continued.has_value();
    auto sequences = plan_generation(services, **model, *request, {std::move(*prompt)}, rules);
    if (!sequences) return tl::unexpected<FieldError>(sequences.error());

    ChatFormOptions options;
    options.choices = sequences->size();
    options.prefix = continued.value_or("");
    options.continues_text = continued.has_value();
    options.token_texts = (*model)->token_texts;
    options.log_probs = request->log_probs;
    if (!request->chat.tools.empty()) options.tools = call_tokens((*model)->engine->tokenizer());
    options.parallel_calls = request->parallel_tool_calls;
    AnswerHead head = make_head(services, **model, "chatcmpl-", request->include_usage);
    return answer_with_choices(services, call, kPermission, std::move(*model), std::move(*sequences), std::move(head),
                               chat_form(std::move(options), services.appliance.random()), request->stream);
}

}  // namespace

void chat_completions(Services& services, Call call) { respond_refusal(call, start(services, call)); }

}  // namespace ostal::api
