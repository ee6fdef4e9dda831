// parse_chat_request: the OpenAI and Mistral shapes of a conversation.
#include <algorithm>
#include <array>
#include <string>

#include "engine/tokenizer/chat_template.h"

namespace ostal::engine {
namespace {

using json::Value;

tl::unexpected<Error> refuse(const std::string& path, std::string_view why) {
    return fail(Code::kUnprocessable, path + ": " + std::string(why));
}
tl::unexpected<Error> unsupported(const std::string& path, std::string_view why) {
    return fail(Code::kUnsupported, path + ": " + std::string(why));
}

// The member, or nullptr when it is absent or null.
const Value* member_of(const Value& object, std::string_view key) {
    const Value* value = object.find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
}

Result<std::string> text_of(const Value& object, std::string_view key, const std::string& path) {
    const Value* value = member_of(object, key);
    if (value == nullptr) return std::string();
    if (!value->is_string()) return refuse(path + "." + std::string(key), "expected a string");
    return value->as_string();
}
Result<bool> flag_of(const Value& object, std::string_view key, const std::string& path) {
    const Value* value = member_of(object, key);
    if (value == nullptr) return false;
    if (!value->is_bool()) return refuse(path + "." + std::string(key), "expected a boolean");
    return value->as_bool();
}

bool is_function_name(std::string_view name) {
    const auto allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
               c == '-';
    };
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), allowed);
}

// A required, well-formed function name.
Result<std::string> function_name(const Value& function, const std::string& path) {
    OSTAL_TRY(std::string name, text_of(function, "name", path));
    if (!is_function_name(name)) {
        return refuse(path + ".name",
                      "a function's name has 1 to 64 letters, digits, underscores and dashes");
    }
    return name;
}

Status only_functions(const Value& value, const std::string& path) {
    OSTAL_TRY(const std::string type, text_of(value, "type", path));
    if (!type.empty() && type != "function") {
        return unsupported(path + ".type",
                           "tools of type " + json::quote(type.substr(0, 64)) + " are not supported");
    }
    return {};
}

// The "function" member of a tool or a tool call.
Result<const Value*> function_of(const Value& value, const std::string& path) {
    if (!value.is_object()) return refuse(path, "expected an object");
    OSTAL_TRYV(only_functions(value, path));
    const Value* function = member_of(value, "function");
    if (function == nullptr || !function->is_object())
        return refuse(path + ".function", "expected an object");
    return function;
}

// Mistral writes thinking as a list of text parts, mistral-common as a string.
Result<std::string> thinking_of(const Value& part, const std::string& path) {
    const Value* thinking = member_of(part, "thinking");
    if (thinking == nullptr || !thinking->is_array()) return text_of(part, "thinking", path);
    std::string out;
    for (const Value& element : thinking->as_array()) {
        OSTAL_TRY(const std::string type, text_of(element, "type", path + ".thinking"));
        if (type != "text") return unsupported(path + ".thinking", "parts other than text are not supported");
        OSTAL_TRY(const std::string text, text_of(element, "text", path + ".thinking"));
        out += text;
    }
    return out;
}

Result<ContentPart> parse_part(const Value& part, const std::string& path) {
    if (part.is_string()) return ContentPart{ContentPart::Kind::kText, part.as_string()};
    if (!part.is_object()) return refuse(path, "expected an object");
    OSTAL_TRY(const std::string type, text_of(part, "type", path));
    if (type == "text") {
        const Value* text = part.find("text");
        if (text == nullptr || !text->is_string()) return refuse(path + ".text", "expected a string");
        return ContentPart{ContentPart::Kind::kText, text->as_string()};
    }
    if (type == "thinking") {
        OSTAL_TRY(std::string thinking, thinking_of(part, path));
        ContentPart out{ContentPart::Kind::kThinking, std::move(thinking)};
        if (member_of(part, "closed") != nullptr) {
            OSTAL_TRY(out.closed, flag_of(part, "closed", path));
        }
        return out;
    }
    if (type == "refusal") {
        const Value* text = part.find("refusal");
        if (text == nullptr || !text->is_string()) return refuse(path + ".refusal", "expected a string");
        return ContentPart{ContentPart::Kind::kText, text->as_string()};
    }
    if (type.empty()) return refuse(path + ".type", "expected the type of the part");
    return unsupported(path + ".type",
                       "parts of type " + json::quote(type.substr(0, 64)) + " are not supported");
}

Result<std::vector<ContentPart>> parse_content(const Value& message, Role role, const std::string& path) {
    const Value* content = member_of(message, "content");
    std::vector<ContentPart> parts;
    if (content == nullptr) {
        if (role != Role::kAssistant)
            return refuse(path + ".content", "expected a string or a list of parts");
        return parts;
    }
    if (content->is_string()) {
        if (!content->as_string().empty()) parts.push_back({ContentPart::Kind::kText, content->as_string()});
        return parts;
    }
    if (!content->is_array()) return refuse(path + ".content", "expected a string or a list of parts");
    std::size_t index = 0;
    for (const Value& element : content->as_array()) {
        OSTAL_TRY(ContentPart part, parse_part(element, path + ".content." + std::to_string(index++)));
        parts.push_back(std::move(part));
    }
    return parts;
}

Result<ToolCall> parse_tool_call(const Value& value, const std::string& path) {
    OSTAL_TRY(const Value* function, function_of(value, path));
    ToolCall call;
    OSTAL_TRY(call.id, text_of(value, "id", path));
    if (call.id == "null") call.id.clear();  // as mistral-common spells an absent id
    OSTAL_TRY(call.name, function_name(*function, path + ".function"));
    const Value* arguments = member_of(*function, "arguments");
    if (arguments == nullptr) {
        call.arguments = "{}";
    } else if (arguments->is_string()) {
        call.arguments = arguments->as_string();
    } else if (arguments->is_object()) {
        call.arguments = json::to_string(*arguments);
    } else {
        return refuse(path + ".function.arguments", "expected a string or an object");
    }
    return call;
}

Result<Role> parse_role(const Value& message, const std::string& path) {
    OSTAL_TRY(const std::string role, text_of(message, "role", path));
    if (role == "user") return Role::kUser;
    if (role == "assistant") return Role::kAssistant;
    if (role == "system" || role == "developer") return Role::kSystem;
    if (role == "tool") return Role::kTool;
    return refuse(path + ".role", "expected system, developer, user, assistant or tool, found " +
                                      json::quote(role.substr(0, 64)));
}

Result<ChatMessage> parse_message(const Value& value, const std::string& path) {
    if (!value.is_object()) return refuse(path, "expected an object");
    ChatMessage message;
    OSTAL_TRY(message.role, parse_role(value, path));
    OSTAL_TRY(message.content, parse_content(value, message.role, path));
    if (const Value* calls = member_of(value, "tool_calls")) {
        if (!calls->is_array()) return refuse(path + ".tool_calls", "expected a list");
        if (message.role != Role::kAssistant && !calls->as_array().empty()) {
            return refuse(path + ".tool_calls", "only assistant messages have tool calls");
        }
        std::size_t index = 0;
        for (const Value& element : calls->as_array()) {
            OSTAL_TRY(ToolCall call,
                      parse_tool_call(element, path + ".tool_calls." + std::to_string(index++)));
            message.tool_calls.push_back(std::move(call));
        }
    }
    if (message.role == Role::kTool) {
        OSTAL_TRY(message.tool_call_id, text_of(value, "tool_call_id", path));
        if (const Value* name = member_of(value, "name"); name != nullptr && *name != Value("")) {
            OSTAL_TRY(message.name, function_name(value, path));
        }
    }
    if (message.role == Role::kAssistant) {
        OSTAL_TRY(message.prefix, flag_of(value, "prefix", path));
        OSTAL_TRY(std::string refusal, text_of(value, "refusal", path));
        if (message.content.empty() && !refusal.empty()) {
            message.content.push_back({ContentPart::Kind::kText, std::move(refusal)});
        }
    }
    return message;
}

Result<Tool> parse_tool(const Value& value, const std::string& path) {
    OSTAL_TRY(const Value* function, function_of(value, path));
    Tool tool;
    OSTAL_TRY(tool.name, function_name(*function, path + ".function"));
    OSTAL_TRY(tool.description, text_of(*function, "description", path + ".function"));
    if (const Value* parameters = member_of(*function, "parameters")) {
        if (!parameters->is_object()) return refuse(path + ".function.parameters", "expected an object");
        tool.parameters = parameters->as_object();
    }
    return tool;
}

}  // namespace

std::string_view role_name(Role role) {
    switch (role) {
        case Role::kSystem: return "system";
        case Role::kUser: return "user";
        case Role::kAssistant: return "assistant";
        case Role::kTool: return "tool";
    }
    return "";
}

Result<ChatRequest> parse_chat_request(const json::Value& request) {
    if (!request.is_object()) return refuse("body", "expected an object");
    ChatRequest out;
    const Value* messages = member_of(request, "messages");
    if (messages == nullptr || !messages->is_array()) return refuse("messages", "expected a list");
    std::size_t index = 0;
    for (const Value& element : messages->as_array()) {
        OSTAL_TRY(ChatMessage message, parse_message(element, "messages." + std::to_string(index++)));
        out.messages.push_back(std::move(message));
    }
    if (const Value* tools = member_of(request, "tools")) {
        if (!tools->is_array()) return refuse("tools", "expected a list");
        index = 0;
        for (const Value& element : tools->as_array()) {
            OSTAL_TRY(Tool tool, parse_tool(element, "tools." + std::to_string(index++)));
            out.tools.push_back(std::move(tool));
        }
    }
    OSTAL_TRY(out.continue_final_message, flag_of(request, "continue_final_message", "body"));
    OSTAL_TRY(out.reasoning_effort, text_of(request, "reasoning_effort", "body"));
    return out;
}

}  // namespace ostal::engine
