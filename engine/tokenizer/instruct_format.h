// What the instruct formats have in common and where they differ, as data. For this folder's .cpp files.
#pragma once

#include <span>
#include <string_view>

#include "engine/tokenizer/chat_template.h"

namespace ostal::engine {

enum class SystemPlace {
    kFirstUserText,  // all system texts before the first user text
    kLastUserText,   // all system texts before the last user text
    kOwnTurn,        // each where it stands, in its own control tokens
};
enum class CallLayout {
    kNone,
    kList,        // [TOOL_CALLS] and a JSON list of {"name", "arguments"}
    kListWithId,  // the same with "id" as the last member
};
enum class ResultLayout {
    kNone,
    kList,       // a JSON list of one {"name", "content"}
    kObject,     // JSON {"content", "call_id"}
    kIdAndText,  // the id, [TOOL_CONTENT], the text as it is
};

struct InstructFormat {
    Format format = Format::kV1;
    std::string_view name;
    bool built = false;
    bool control_tokens = true;  // false: the marks are plain text
    SystemPlace system = SystemPlace::kOwnTurn;
    CallLayout calls = CallLayout::kNone;
    ResultLayout results = ResultLayout::kNone;
    bool text_with_calls = false;   // an assistant turn may have both
    bool drops_past_calls = false;  // calls and results before the last user turn are left out
    bool needs_call_ids = false;
    bool strips_answers = false;    // trailing spaces of assistant turns
    bool merges_neighbours = true;  // consecutive user or assistant messages become one turn
};

const InstructFormat& instruct_format(Format format);
// The control tokens that prompts of the format are made of.
std::span<const std::string_view> control_names(Format format);

}  // namespace ostal::engine
