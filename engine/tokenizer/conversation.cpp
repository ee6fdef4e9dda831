#include "engine/tokenizer/conversation.h"

#include <algorithm>
#include <array>
#include <set>

#include "engine/tokenizer/json_schema.h"

namespace ostal::engine {
namespace {

constexpr std::string_view kJoin = "\n\n";

tl::unexpected<Error> refuse(std::string why) { return fail(Code::kInvalidArgument, std::move(why)); }
tl::unexpected<Error> unsupported(const InstructFormat& format, std::string_view what) {
    return fail(Code::kUnsupported,
                "the instruct format " + std::string(format.name) + " has no place for " + std::string(what));
}

// Adds a message's parts to those of messages before it: texts of one message are joined as the format says,
// texts of two messages by an empty line.
void add_content(const InstructFormat& format, std::vector<ContentPart>& out, const ChatMessage& message) {
    const auto ends_in_text = [&] { return !out.empty() && out.back().kind == ContentPart::Kind::kText; };
    bool new_message = ends_in_text();
    for (const ContentPart& part : message.content) {
        if (part.kind == ContentPart::Kind::kThinking) {
            out.push_back(part);
            continue;
        }
        if (part.text.empty()) continue;
        if (ends_in_text()) {
            out.back().text += new_message ? kJoin : format.joins_parts;
            out.back().text += part.text;
        } else {
            out.push_back(part);
        }
        new_message = false;
    }
}

std::string at(std::size_t index) { return "messages." + std::to_string(index) + ": "; }

// ---- validation ----

bool may_follow(Role role, Role previous) {
    switch (previous) {
        case Role::kSystem:
        case Role::kUser: return role != Role::kTool;
        case Role::kAssistant:
        case Role::kTool: return role != Role::kSystem;
    }
    return false;
}

Status check_last_message(const ChatRequest& request) {
    const ChatMessage& last = request.messages.back();
    if (request.continue_final_message && (last.role != Role::kAssistant || last.prefix)) {
        return refuse("continue_final_message needs an assistant message without prefix at the end");
    }
    const bool continued = last.prefix || request.continue_final_message;
    if (last.role == Role::kAssistant && !continued) {
        return refuse(
            "the last message is of the role assistant: expected user or tool, or assistant with prefix");
    }
    if (request.messages.size() == 1 && last.role != Role::kUser && last.role != Role::kSystem) {
        return refuse("a conversation begins with a user or system message");
    }
    return {};
}

Status check_order(const std::vector<ChatMessage>& messages) {
    for (std::size_t i = 1; i < messages.size(); ++i) {
        if (!may_follow(messages[i].role, messages[i - 1].role)) {
            return refuse(at(i) + "the role " + std::string(role_name(messages[i].role)) + " cannot follow " +
                          std::string(role_name(messages[i - 1].role)));
        }
    }
    return {};
}

Status check_results_match_calls(const std::vector<ChatMessage>& messages) {
    std::size_t calls = 0;
    std::size_t results = 0;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        if (messages[i].role == Role::kTool) ++results;
        if (messages[i].role != Role::kAssistant) continue;
        if (results != calls) {
            return refuse(at(i) + std::to_string(calls) + " tool calls before it and " +
                          std::to_string(results) + " results");
        }
        calls = messages[i].tool_calls.size();
        results = 0;
    }
    if (results != calls) {
        return refuse(std::to_string(calls) + " tool calls at the end and " + std::to_string(results) +
                      " results");
    }
    return {};
}

// Results name the calls before them, each once, and calls of one message have different ids.
Status check_result_ids(const std::vector<ChatMessage>& messages) {
    std::set<std::string_view> calls;
    std::set<std::string_view> results;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const ChatMessage& message = messages[i];
        if (message.role == Role::kTool) {
            if (!calls.contains(message.tool_call_id)) {
                return refuse(at(i) + "its tool_call_id is that of no call before it");
            }
            if (!results.insert(message.tool_call_id).second) {
                return refuse(at(i) + "a second result with this tool_call_id");
            }
        }
        if (message.role != Role::kAssistant) continue;
        calls.clear();
        results.clear();
        for (const ToolCall& call : message.tool_calls) {
            if (!calls.insert(call.id).second) return refuse(at(i) + "two tool calls with one id");
        }
    }
    return {};
}

bool has_thinking(const ChatMessage& message) {
    return std::any_of(message.content.begin(), message.content.end(),
                       [](const ContentPart& part) { return part.kind == ContentPart::Kind::kThinking; });
}

Status check_message(const InstructFormat& format, const ChatMessage& message, bool is_last,
                     std::size_t index) {
    if (has_thinking(message)) {
        const bool taken = (message.role == Role::kAssistant && format.thinks_in_answers) ||
                           (message.role == Role::kSystem && format.thinks_in_system);
        if (!taken) {
            return unsupported(format,
                               "thinking parts in " + std::string(role_name(message.role)) + " messages");
        }
    }
    const bool tools = !message.tool_calls.empty() || message.role == Role::kTool;
    if (tools && format.calls == CallLayout::kNone)
        return unsupported(format, "tool calls and their results");
    if (message.role == Role::kAssistant) {
        const bool calls = !message.tool_calls.empty();
        if (!format.text_with_calls && calls == !message.content.empty()) {
            return refuse(at(index) + "an assistant message has either content or tool calls");
        }
        if (message.prefix && !is_last) return refuse(at(index) + "only the last message can be a prefix");
    }
    if (!format.needs_call_ids) return {};
    if (message.role == Role::kTool && message.tool_call_id.empty()) {
        return refuse(at(index) + "a tool message needs a tool_call_id");
    }
    for (const ToolCall& call : message.tool_calls) {
        if (call.id.empty()) return refuse(at(index) + "a tool call needs an id");
    }
    return {};
}

Status check_tools(const std::vector<Tool>& tools) {
    for (std::size_t i = 0; i < tools.size(); ++i) {
        const Status schema = check_json_schema(json::Value(tools[i].parameters));
        if (!schema) {
            return refuse("tools." + std::to_string(i) + ".function.parameters: " + schema.error().message());
        }
    }
    return {};
}

Status check_request(const InstructFormat& format, const ChatRequest& request) {
    if (request.messages.empty()) return refuse("messages: a conversation has at least one message");
    OSTAL_TRYV(check_last_message(request));
    OSTAL_TRYV(check_order(request.messages));
    OSTAL_TRYV(check_results_match_calls(request.messages));
    for (std::size_t i = 0; i < request.messages.size(); ++i) {
        OSTAL_TRYV(check_message(format, request.messages[i], i + 1 == request.messages.size(), i));
    }
    if (format.matches_call_ids) OSTAL_TRYV(check_result_ids(request.messages));
    return check_tools(request.tools);
}

// ---- normalisation ----

// Whether a message is merged into the turn before it, which came from a message of `previous`.
bool merges(const InstructFormat& format, Role role, Role previous) {
    return format.merges_neighbours && role == previous && (role == Role::kUser || role == Role::kAssistant);
}

Turn turn_of(const ChatMessage& message) {
    Turn turn;
    turn.role = message.role;
    if (!message.tool_call_id.empty()) turn.tool_call_id = map_tool_call_id(message.tool_call_id);
    turn.name = message.name;
    return turn;
}

void add_message(const InstructFormat& format, Turn& turn, const ChatMessage& message) {
    add_content(format, turn.content, message);
    for (ToolCall call : message.tool_calls) {
        if (!call.id.empty()) call.id = map_tool_call_id(call.id);
        turn.calls.push_back(std::move(call));
    }
    turn.open = turn.open || (message.role == Role::kAssistant && message.prefix);
}

Status check_turns(const InstructFormat& format, const std::vector<Turn>& turns) {
    for (const Turn& turn : turns) {
        if (turn.role != Role::kAssistant) continue;
        if (turn.content.empty() && turn.calls.empty()) return refuse("an assistant message has no content");
        if (!format.text_with_calls && !turn.content.empty() && !turn.calls.empty()) {
            return refuse("consecutive assistant messages with content and with tool calls cannot be merged");
        }
    }
    return {};
}

// Each run of results in the order of the calls that it answers.
void sort_results(std::vector<Turn>& turns) {
    std::vector<std::string_view> calls;
    const auto place = [&](const Turn& result) {
        return std::find(calls.begin(), calls.end(), result.tool_call_id) - calls.begin();
    };
    for (auto turn = turns.begin(); turn != turns.end();) {
        if (turn->role != Role::kTool) {
            for (const ToolCall& call : turn->calls) calls.push_back(call.id);
            ++turn;
            continue;
        }
        const auto end = std::find_if(turn, turns.end(), [](const Turn& t) { return t.role != Role::kTool; });
        std::stable_sort(turn, end, [&](const Turn& a, const Turn& b) { return place(a) < place(b); });
        calls.clear();
        turn = end;
    }
}

}  // namespace

json::Value json_or_text(const std::string& text) {
    if (text.empty()) return json::Object{};
    auto value = json::parse(text);
    return value ? std::move(*value) : json::Value(text);
}

std::string map_tool_call_id(std::string_view id) {
    constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    constexpr std::size_t kLength = 9;
    const auto allowed = [&](char c) { return kDigits.find(c) != std::string_view::npos; };
    if (id.size() == kLength && std::all_of(id.begin(), id.end(), allowed)) return std::string(id);
    // FNV-1a, 64 bits; 62^9 ids are left of it.
    std::uint64_t hash = 0xCBF29CE484222325;
    for (const char c : id) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001B3;
    std::string out(kLength, '0');
    for (char& digit : out) {
        digit = kDigits[hash % kDigits.size()];
        hash /= kDigits.size();
    }
    return out;
}

Result<Conversation> make_conversation(const InstructFormat& format, const ChatRequest& request,
                                       std::string_view default_system) {
    OSTAL_TRYV(check_request(format, request));
    Conversation out;
    out.tools = request.tools;
    std::vector<ChatMessage> messages = request.messages;
    if (messages.front().role != Role::kSystem && !default_system.empty()) {
        ChatMessage system;
        system.role = Role::kSystem;
        system.content.push_back({ContentPart::Kind::kText, std::string(default_system)});
        messages.insert(messages.begin(), std::move(system));
    }
    if (request.continue_final_message) messages.back().prefix = true;

    bool has_system = false;
    const bool own_turns = format.system == SystemPlace::kOwnTurn;
    for (std::size_t i = 0; i < messages.size(); ++i) {
        const ChatMessage& message = messages[i];
        if (message.role == Role::kSystem && !own_turns) {
            // An empty list of parts or text is left out; parts that are all empty are joined all the same.
            if (message.content.empty()) continue;
            if (has_system) out.system += kJoin;
            std::vector<ContentPart> text;
            add_content(format, text, message);
            if (!text.empty()) out.system += text.front().text;
            has_system = true;
            continue;
        }
        if (i == 0 || !merges(format, message.role, messages[i - 1].role))
            out.turns.push_back(turn_of(message));
        add_message(format, out.turns.back(), message);
    }
    if (!own_turns && (out.turns.empty() || out.turns.front().role != Role::kUser)) {
        out.turns.insert(out.turns.begin(), Turn{});
    }
    OSTAL_TRYV(check_turns(format, out.turns));
    if (format.matches_call_ids) sort_results(out.turns);
    return out;
}

}  // namespace ostal::engine
