// A conversation checked and brought to the turns that a format renders. For this folder's .cpp files.
//
// Source: the rules of mistral-common 1.11.7 in serving mode (protocol/instruct, validator and normalize).
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "engine/tokenizer/instruct_format.h"

namespace ostal::engine {

struct Turn {
    Role role = Role::kUser;
    std::vector<ContentPart> content;  // neighbouring texts joined, no text empty
    std::vector<ToolCall> calls;       // ids mapped to nine letters and digits
    std::string tool_call_id;
    std::optional<std::string> name;
    bool open = false;  // the answer continues this turn

    // The text of a turn without thinking parts.
    std::string_view text() const { return content.empty() ? std::string_view() : content.front().text; }
};

struct Conversation {
    std::string system;       // formats that put it into a user turn: all system texts
    std::vector<Turn> turns;  // neighbours of one role merged; system turns only where the format has them
    std::vector<Tool> tools;
};

// Errors as render_chat.
Result<Conversation> make_conversation(const InstructFormat& format, const ChatRequest& request,
                                       std::string_view default_system);

// A text that is JSON as its value, another as itself, an empty one as {}.
json::Value json_or_text(const std::string& text);

}  // namespace ostal::engine
