// What the instruct formats have in common and where they differ, as data. For this folder's .cpp files.
#pragma once

#include <string_view>
#include <vector>

#include "engine/tokenizer/chat_template.h"

namespace ostal::engine {

enum class SystemPlace {
    kFirstUserText,  // all system texts before the first user text
    kLastUserText,   // all system texts before the last user text
    kOwnTurn,        // each where it stands, in its own control tokens
};
enum class ToolsPlace {
    kNone,
    kLastUserTurn,   // before the last user turn
    kFirstUserTurn,  // before the first user turn
};
enum class CallLayout {
    kNone,
    kList,             // [TOOL_CALLS] and a JSON list of {"name", "arguments"}
    kListWithId,       // the same with "id" as the last member
    kNameIdArguments,  // for each call: [TOOL_CALLS] name [CALL_ID] id [ARGS] arguments
    kNameArguments,    // for each call: [TOOL_CALLS] name [ARGS] arguments
};
enum class ResultLayout {
    kNone,
    kList,       // a JSON list of one {"name", "content"}
    kObject,     // JSON {"content", "call_id"}
    kIdAndText,  // the id, [TOOL_CONTENT], the text as it is
    kText,       // the text as it is
};

struct InstructFormat {
    Format format = Format::kV1;
    std::string_view name;
    bool control_tokens = true;  // false: the marks are plain text
    SystemPlace system = SystemPlace::kOwnTurn;
    ToolsPlace tools = ToolsPlace::kNone;
    CallLayout calls = CallLayout::kNone;
    ResultLayout results = ResultLayout::kNone;
    bool text_with_calls = false;    // an assistant turn may have both
    bool drops_past_calls = false;   // calls and results before the last user turn are left out
    bool needs_call_ids = false;     // in calls and results
    bool matches_call_ids = false;   // each result names a call, and results stand in the order of calls
    bool thinks_in_answers = false;  // thinking parts in assistant messages
    bool thinks_in_system = false;   // and in system messages
    bool has_settings = false;       // [MODEL_SETTINGS] with the reasoning effort, behind the tools
    bool strips_answers = false;     // trailing spaces of assistant turns
    bool merges_neighbours = true;   // consecutive user or assistant messages become one turn
    std::string_view joins_parts = "\n\n";  // text parts of one message
};

const InstructFormat& instruct_format(Format format);
// The control tokens that every prompt of the format may need.
std::vector<std::string_view> control_names(Format format);
// Whether a token of this name is a control token of some format, thinking and fill-in-the-middle included.
bool is_control_name(std::string_view name);

}  // namespace ostal::engine
