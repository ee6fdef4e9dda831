#include "appliance/api/chat_request.h"

#include <algorithm>

namespace ostal::api {
namespace {

using json::Value;

bool is_text_format(const Value& value) {
    const Value* type = value.find("type");
    return type != nullptr && type->is_string() && type->as_string() == "text";
}

bool is_text_modality(const Value& value) {
    return value.is_array() && value.as_array().size() == 1 && value.as_array()[0] == Value("text");
}

// What needs decoding under a constraint is refused, not ignored.
Status read_tool_choice(const Value& value, ChatCompletionRequest& request) {
    if (value == Value("none")) {
        request.tools_allowed = false;
        return {};
    }
    if (value == Value("auto")) return {};
    const bool known = value == Value("required") || value == Value("any") || value.is_object();
    if (!known) return fail(Code::kUnprocessable, "expected none, auto, any, required or a function");
    return fail(Code::kUnsupported, "this version of the appliance does not support a forced tool call");
}

// The text that is expected: taken for its shape alone, it may make an answer faster, never different.
Status read_prediction(const Value& value, ChatCompletionRequest&) {
    const Value* content = value.find("content");
    const bool has_content = content != nullptr && (content->is_string() || content->is_array());
    if (has_content && value.find("type") != nullptr && *value.find("type") == Value("content")) return {};
    return fail(Code::kUnprocessable, "expected an object with type \"content\" and content");
}

const Schema<ChatCompletionRequest>& schema() {
    using Request = ChatCompletionRequest;
    static const Schema<Request> kSchema = [] {
        Schema<Request> out = generation_schema<Request>({
            {"logprobs", [](const Value& v, Request& r) { return read_bool(v, r.log_probs); }},
            {"top_logprobs",
             [](const Value& v, Request& r) {
                 return read_integer(v, 0, engine::kMaxTopLogProbs, r.top_logprobs.emplace(0));
             }},
            {"safe_prompt", [](const Value& v, Request& r) { return read_bool(v, r.safe_prompt); }},
            {"tool_choice", read_tool_choice},
            {"parallel_tool_calls", [](const Value& v, Request& r) { return read_bool(v, r.parallel_tool_calls); }},
            {"prediction", read_prediction},
        });
        out.off = {
            {"response_format", is_text_format},
            {"functions", is_empty},
            {"function_call", is_none_or_auto},
            {"guardrails", is_empty},
            {"modalities", is_text_modality},
            {"audio", is_empty},
            {"web_search_options", is_never},
        };
        // The first four are read by engine::parse_chat_request.
        for (const std::string_view name :
             {"messages", "tools", "continue_final_message", "reasoning_effort", "prompt_mode"}) {
            out.harmless.push_back(name);
        }
        return out;
    }();
    return kSchema;
}

// The member that an error of engine::parse_chat_request names first: "messages.2.role: ...".
std::string named_path(const Error& error) {
    const std::string& message = error.message();
    const std::size_t colon = message.find(": ");
    return colon == std::string::npos ? "messages" : message.substr(0, colon);
}

// A result answers a call of the assistant message before it. Some instruct formats would render another one too, as
// the reference does; here it is a history that no client can have received.
Step<void> check_results_name_calls(const std::vector<engine::ChatMessage>& messages) {
    const engine::ChatMessage* caller = nullptr;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const engine::ChatMessage& message = messages[i];
        if (message.role == engine::Role::kAssistant) caller = &message;
        if (message.role != engine::Role::kTool || message.tool_call_id.empty()) continue;
        const auto answers = [&](const engine::ToolCall& call) { return call.id == message.tool_call_id; };
        if (caller != nullptr && std::any_of(caller->tool_calls.begin(), caller->tool_calls.end(), answers)) continue;
        return refuse_field(Code::kInvalidArgument, "messages." + std::to_string(i) + ".tool_call_id",
                            "it is the id of no call of the assistant message before it");
    }
    return {};
}

}  // namespace

Step<ChatCompletionRequest> parse_chat_completion(std::string_view body, bool strict) {
    auto value = parse_body(body);
    if (!value) return tl::unexpected<FieldError>(value.error());
    ChatCompletionRequest request;
    if (auto read = read_fields(value->as_object(), schema(), strict, request); !read) {
        return tl::unexpected<FieldError>(read.error());
    }
    if (auto checked = check_generation_fields(request); !checked) return tl::unexpected<FieldError>(checked.error());
    if (request.top_logprobs.value_or(0) > 0 && !request.log_probs) {
        return refuse_field(Code::kUnprocessable, "top_logprobs", "it needs logprobs: true");
    }
    if (request.log_probs) request.top_log_probs = request.top_logprobs.value_or(0);
    if (value->find("messages") == nullptr) return refuse_field(Code::kUnprocessable, "messages", "the field is required");
    auto chat = engine::parse_chat_request(*value);
    if (!chat) {
        std::string path = named_path(chat.error());
        return refuse(std::move(chat).error(), std::move(path));
    }
    if (chat->messages.empty()) {
        return refuse_field(Code::kInvalidArgument, "messages", "the conversation has no message");
    }
    if (auto checked = check_results_name_calls(chat->messages); !checked) {
        return tl::unexpected<FieldError>(checked.error());
    }
    request.chat = std::move(*chat);
    if (!request.tools_allowed) request.chat.tools.clear();
    return request;
}

}  // namespace ostal::api
