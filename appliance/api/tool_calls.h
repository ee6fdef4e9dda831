// Tool calls as models write them, read from the tokens: a call begins with the control token [TOOL_CALLS], which no
// text can forge.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "appliance/serving/token_texts.h"
#include "base/json.h"
#include "base/random.h"
#include "engine/tokenizer/chat_template.h"

namespace ostal::api {

// The control tokens that calls are made of; -1: the vocabulary has none.
struct CallTokens {
    engine::TokenId calls = -1;    // [TOOL_CALLS]
    engine::TokenId call_id = -1;  // [CALL_ID]
    engine::TokenId args = -1;     // [ARGS]
};
CallTokens call_tokens(const engine::Tokenizer& tokenizer);

struct WrittenCalls {
    std::string text;                     // before the first call
    std::vector<engine::ToolCall> calls;  // not empty; arguments are the JSON text of an object
};
// What an answer's tokens say, in either layout of Mistral's formats (mistral-common 1.11.7, instruct tokenizers):
//   v2 to v7     [TOOL_CALLS] [{"name": ..., "arguments": {...}, "id": ...}, ...]
//   v11 to v15   [TOOL_CALLS] name ([CALL_ID] id) [ARGS] {...}, once a call
// Nothing when there is no call or when one is malformed or cut: then the answer is text.
std::optional<WrittenCalls> read_tool_calls(const CallTokens& control, const TokenTexts& texts,
                                            const std::vector<engine::TokenId>& tokens, bool begins_text);

// The `tool_calls` of a message, whole calls also in streams. An id that is not nine letters and digits is replaced.
json::Array tool_calls_json(const std::vector<engine::ToolCall>& calls, RandomSource& random);

}  // namespace ostal::api
