// Instruct formats as typed code: a conversation to token ids. A template text in a model file is never
// executed; which format a model has is known from known_templates.h or from its signed manifest.
//
// Source: the tokens are those mistral-common 1.11.7 produces in serving mode (normalisation, validation,
// encoding); ChatML is the layout that templates of that name render. Control tokens are placed by id; user
// text is never read for them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

enum class Format { kV1, kV2, kV3, kV3Tekken, kV7, kV7Tekken, kV11Tekken, kV13Tekken, kV15Tekken, kChatMl };

std::string_view format_name(Format format);  // "v1" … "v15-tekken", "chatml"
std::string format_names();  // all of them, "v1, v2, …", for messages
// kInvalidArgument for a name that is none of them; names them.
Result<Format> parse_format(std::string_view name);
// Whether tools given with a request reach the prompt.
bool format_has_tools(Format format);
// That the vocabulary has the control tokens of `format` (else kInvalidArgument, by name).
Status check_format(Format format, const Tokenizer& tokenizer);

enum class Role { kSystem, kUser, kAssistant, kTool };
std::string_view role_name(Role role);

struct ContentPart {
    enum class Kind { kText, kThinking };
    Kind kind = Kind::kText;
    std::string text;
    bool closed = true;  // thinking: false where the answer continues it
};

struct ToolCall {
    std::string id;  // empty: none was given
    std::string name;
    std::string arguments;  // JSON text, as the model wrote it
};

struct ChatMessage {
    Role role = Role::kUser;
    std::vector<ContentPart> content;  // a plain string is one part; null is none
    std::vector<ToolCall> tool_calls;  // assistant only
    std::string tool_call_id;          // tool only; empty: none was given
    std::optional<std::string> name;   // tool only: the function's name
    bool prefix = false;               // assistant, last message: the answer continues this text
};

struct Tool {
    std::string name;
    std::string description;
    json::Object parameters;  // a JSON Schema
};

struct ChatRequest {
    std::vector<ChatMessage> messages;
    std::vector<Tool> tools;
    bool continue_final_message = false;  // as prefix = true on the last message
    std::string reasoning_effort;         // empty: not asked for
};

// Reads `messages`, `tools`, `continue_final_message` and `reasoning_effort` of a chat completion request in
// the OpenAI and the Mistral shape; other members are the caller's. Accepted: content as string, null or list
// of text parts; "developer" for "system"; null in place of any optional member; tools null or []; arguments
// as text or object.
// A refusal that an assistant message carries counts as its text.
// kUnprocessable names the member ("messages.2.role: …"); kUnsupported for parts and tools that this build
// does not take (images, audio, URLs, tools other than functions).
Result<ChatRequest> parse_chat_request(const json::Value& request);

// A foreign tool call id as nine letters and digits: nine-character ids stay as they are, others are mapped
// by a hash, always to the same one.
std::string map_tool_call_id(std::string_view id);

// The prompt, from bos (which ChatML does not have) to the place where the answer begins. `default_system` is
// used when the conversation does not begin with a system message. kInvalidArgument: a conversation the
// format does not allow (order of roles, last message, results that do not match calls, a tool schema that is
// none). kUnprocessable: a name that is refused. kUnsupported: something in the request that the format has
// no place for.
Result<std::vector<TokenId>> render_chat(Format format, const Tokenizer& tokenizer,
                                         const ChatRequest& request, std::string_view default_system = {});

// The prompt of a fill-in-the-middle completion: the answer goes between `prompt` and `suffix`.
// kUnsupported where the format has none.
Result<std::vector<TokenId>> render_fim(Format format, const Tokenizer& tokenizer, std::string_view prompt,
                                        std::string_view suffix);

// Ids that end the assistant's turn.
Result<std::vector<TokenId>> stop_tokens(Format format, const Tokenizer& tokenizer);

}  // namespace ostal::engine
