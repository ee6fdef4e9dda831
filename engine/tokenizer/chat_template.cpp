#include "engine/tokenizer/chat_template.h"

#include <algorithm>

#include "base/check.h"
#include "engine/tokenizer/conversation.h"
#include "engine/tokenizer/instruct_format.h"

namespace ostal::engine {
namespace {

// Collects a prompt. Each text() is encoded on its own: SentencePiece puts its dummy prefix before each.
class Prompt {
public:
    explicit Prompt(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
    void id(TokenId id) { ids_.push_back(id); }
    // A control token; check_format has seen that the vocabulary has it.
    void control(std::string_view name) {
        const auto id = tokenizer_.control(name);
        CHECK(id.has_value());
        ids_.push_back(*id);
    }
    Status text(std::string_view text) {
        OSTAL_TRY(const std::vector<TokenId> ids, tokenizer_.encode(text));
        ids_.insert(ids_.end(), ids.begin(), ids.end());
        return {};
    }
    std::vector<TokenId> take() { return std::move(ids_); }

private:
    const Tokenizer& tokenizer_;
    std::vector<TokenId> ids_;
};

// ---- Mistral's formats ----

std::string tools_json(const std::vector<Tool>& tools) {
    json::Array list;
    for (const Tool& tool : tools) {
        json::Object function;
        function.append("name", tool.name);
        function.append("description", tool.description);
        function.append("parameters", tool.parameters);
        list.push_back(json::Object{{"type", "function"}, {"function", std::move(function)}});
    }
    return json::to_python_string(std::move(list));
}

std::string calls_json(const InstructFormat& format, const std::vector<ToolCall>& calls) {
    json::Array list;
    for (const ToolCall& call : calls) {
        json::Object entry;
        entry.append("name", call.name);
        entry.append("arguments", json_or_text(call.arguments));
        if (format.calls == CallLayout::kListWithId) entry.append("id", call.id);
        list.push_back(std::move(entry));
    }
    return json::to_python_string(std::move(list));
}

// The reasoning effort that a prompt names; empty: none.
Result<std::string> reasoning_effort(const InstructFormat& format, const Tokenizer& tokenizer,
                                     const std::string& asked) {
    if (!format.has_settings) {
        if (asked.empty() || asked == "none") return std::string();
        return fail(Code::kUnsupported, "the instruct format " + std::string(format.name) +
                                            " has no place for a reasoning effort");
    }
    static const ReasoningEfforts kUsual{{"none", "high"}, "", false};
    const ReasoningEfforts* efforts = tokenizer.reasoning_efforts();
    if (efforts == nullptr) efforts = &kUsual;
    if (asked.empty() && efforts->required) {
        return fail(Code::kInvalidArgument, "the model needs a reasoning_effort");
    }
    if (asked.empty()) return efforts->when_absent;
    if (std::find(efforts->values.begin(), efforts->values.end(), asked) == efforts->values.end()) {
        std::string known;
        for (const std::string& value : efforts->values) known += (known.empty() ? "" : ", ") + value;
        return fail(Code::kUnsupported,
                    "reasoning_effort " + json::quote(asked.substr(0, 64)) +
                        " is not supported, the model knows: " + (known.empty() ? "none at all" : known));
    }
    return asked;
}

class MistralRenderer {
public:
    MistralRenderer(const InstructFormat& format, const Tokenizer& tokenizer,
                    const Conversation& conversation, std::string effort)
        : format_(format),
          tokenizer_(tokenizer),
          conversation_(conversation),
          effort_(std::move(effort)),
          prompt_(tokenizer) {
        const auto& turns = conversation.turns;
        for (std::size_t i = 0; i < turns.size(); ++i) {
            if (turns[i].role != Role::kUser) continue;
            first_user_ = std::min(first_user_, i);
            last_user_ = i;
            has_user_ = true;
        }
    }

    Result<std::vector<TokenId>> render() {
        prompt_.id(tokenizer_.bos());
        for (std::size_t i = 0; i < conversation_.turns.size(); ++i)
            OSTAL_TRYV(turn(conversation_.turns[i], i));
        return prompt_.take();
    }

private:
    Status turn(const Turn& turn, std::size_t index) {
        const bool past = has_user_ && index < last_user_;
        switch (turn.role) {
            case Role::kSystem: return system(turn);
            case Role::kUser: return user(turn, index);
            case Role::kAssistant: return assistant(turn, past);
            case Role::kTool: return past && format_.drops_past_calls ? Status() : result(turn);
        }
        return {};
    }

    Status content(const Turn& turn) {
        for (const ContentPart& part : turn.content) {
            if (part.kind == ContentPart::Kind::kText) {
                OSTAL_TRYV(prompt_.text(part.text));
            } else {
                OSTAL_TRYV(thinking(part));
            }
        }
        return {};
    }

    Status thinking(const ContentPart& part) {
        if (!tokenizer_.control("[THINK]") || !tokenizer_.control("[/THINK]")) {
            return fail(Code::kUnsupported, "thinking parts: the vocabulary has no [THINK] and [/THINK]");
        }
        prompt_.control("[THINK]");
        OSTAL_TRYV(prompt_.text(part.text));
        if (part.closed) prompt_.control("[/THINK]");
        return {};
    }

    Status system(const Turn& turn) {
        prompt_.control("[SYSTEM_PROMPT]");
        OSTAL_TRYV(content(turn));
        prompt_.control("[/SYSTEM_PROMPT]");
        return {};
    }

    Status user(const Turn& turn, std::size_t index) {
        std::string text(turn.text());
        const bool takes_system = format_.system == SystemPlace::kFirstUserText  ? index == first_user_
                                  : format_.system == SystemPlace::kLastUserText ? index == last_user_
                                                                                 : false;
        if (takes_system && !conversation_.system.empty()) text = conversation_.system + "\n\n" + text;
        if (!format_.control_tokens) return prompt_.text("[INST] " + text + " [/INST]");
        if (index == (format_.tools == ToolsPlace::kFirstUserTurn ? first_user_ : last_user_)) {
            OSTAL_TRYV(tools_and_settings());
        }
        prompt_.control("[INST]");
        OSTAL_TRYV(prompt_.text(text));
        prompt_.control("[/INST]");
        return {};
    }

    Status tools_and_settings() {
        if (!conversation_.tools.empty()) {
            prompt_.control("[AVAILABLE_TOOLS]");
            OSTAL_TRYV(prompt_.text(tools_json(conversation_.tools)));
            prompt_.control("[/AVAILABLE_TOOLS]");
        }
        if (!effort_.empty()) {
            prompt_.control("[MODEL_SETTINGS]");
            OSTAL_TRYV(prompt_.text(json::to_python_string(json::Object{{"reasoning_effort", effort_}})));
            prompt_.control("[/MODEL_SETTINGS]");
        }
        return {};
    }

    Status assistant(const Turn& turn, bool past) {
        if (past && format_.drops_past_calls && !turn.calls.empty()) return {};
        const bool text_alone =
            turn.content.size() == 1 && turn.content.front().kind == ContentPart::Kind::kText;
        if (text_alone && format_.strips_answers) {
            OSTAL_TRYV(prompt_.text(turn.text().substr(0, turn.text().find_last_not_of(' ') + 1)));
        } else {
            OSTAL_TRYV(content(turn));
        }
        OSTAL_TRYV(calls(turn.calls));
        if (!turn.open) prompt_.id(tokenizer_.eos());
        return {};
    }

    Status calls(const std::vector<ToolCall>& calls) {
        if (calls.empty()) return {};
        if (format_.calls == CallLayout::kList || format_.calls == CallLayout::kListWithId) {
            prompt_.control("[TOOL_CALLS]");
            return prompt_.text(calls_json(format_, calls));
        }
        for (const ToolCall& call : calls) {
            prompt_.control("[TOOL_CALLS]");
            OSTAL_TRYV(prompt_.text(call.name));
            if (format_.calls == CallLayout::kNameIdArguments) {
                prompt_.control("[CALL_ID]");
                OSTAL_TRYV(prompt_.text(call.id));
            }
            prompt_.control("[ARGS]");
            OSTAL_TRYV(prompt_.text(json::to_python_string(json_or_text(call.arguments))));
        }
        return {};
    }

    Status result(const Turn& turn) {
        prompt_.control("[TOOL_RESULTS]");
        if (format_.results == ResultLayout::kIdAndText) {
            OSTAL_TRYV(prompt_.text(turn.tool_call_id));
            prompt_.control("[TOOL_CONTENT]");
        }
        const bool as_it_is =
            format_.results == ResultLayout::kIdAndText || format_.results == ResultLayout::kText;
        OSTAL_TRYV(as_it_is ? prompt_.text(turn.text()) : prompt_.text(result_json(turn)));
        prompt_.control("[/TOOL_RESULTS]");
        return {};
    }

    std::string result_json(const Turn& turn) const {
        json::Object entry;
        if (format_.results == ResultLayout::kList) {
            entry.append("name", turn.name ? json::Value(*turn.name) : json::Value());
            entry.append("content", json_or_text(std::string(turn.text())));
            return json::to_python_string(json::Array{std::move(entry)});
        }
        entry.append("content", json_or_text(std::string(turn.text())));
        entry.append("call_id", turn.tool_call_id);
        return json::to_python_string(std::move(entry));
    }

    const InstructFormat& format_;
    const Tokenizer& tokenizer_;
    const Conversation& conversation_;
    std::string effort_;
    Prompt prompt_;
    std::size_t first_user_ = SIZE_MAX;
    std::size_t last_user_ = 0;
    bool has_user_ = false;
};

// ---- ChatML ----

// <|im_start|>role\ntext<|im_end|>\n for each message, then <|im_start|>assistant\n. The role and its text
// are encoded together, as the layout's tokenizers do between control tokens. No bos.
Result<std::vector<TokenId>> render_chatml(const Tokenizer& tokenizer, const Conversation& conversation) {
    Prompt prompt(tokenizer);
    for (const Turn& turn : conversation.turns) {
        prompt.control("<|im_start|>");
        OSTAL_TRYV(prompt.text(std::string(role_name(turn.role)) + "\n" + std::string(turn.text())));
        if (turn.open) return prompt.take();
        prompt.control("<|im_end|>");
        OSTAL_TRYV(prompt.text("\n"));
    }
    prompt.control("<|im_start|>");
    OSTAL_TRYV(prompt.text("assistant\n"));
    return prompt.take();
}

// The control token, or the unknown token as mistral-common has it for vocabularies without (v2).
TokenId control_or_unknown(const Tokenizer& tokenizer, std::string_view name) {
    return tokenizer.control(name).value_or(tokenizer.unknown());
}

}  // namespace

Result<std::vector<TokenId>> render_chat(Format format, const Tokenizer& tokenizer,
                                         const ChatRequest& request, std::string_view default_system) {
    OSTAL_TRYV(check_format(format, tokenizer));
    const InstructFormat& shape = instruct_format(format);
    if (format == Format::kChatMl && !request.tools.empty()) {
        return fail(Code::kUnsupported, "the instruct format chatml has no place for tools");
    }
    OSTAL_TRY(const Conversation conversation, make_conversation(shape, request, default_system));
    OSTAL_TRY(std::string effort, reasoning_effort(shape, tokenizer, request.reasoning_effort));
    if (format == Format::kChatMl) return render_chatml(tokenizer, conversation);
    return MistralRenderer(shape, tokenizer, conversation, std::move(effort)).render();
}

Result<std::vector<TokenId>> render_fim(Format format, const Tokenizer& tokenizer, std::string_view prompt,
                                        std::string_view suffix) {
    OSTAL_TRYV(check_format(format, tokenizer));
    const TokenId before = control_or_unknown(tokenizer, "[PREFIX]");
    const TokenId after = control_or_unknown(tokenizer, "[SUFFIX]");
    if (!instruct_format(format).control_tokens || format == Format::kChatMl || before < 0 || after < 0) {
        return fail(Code::kUnsupported, "the instruct format " + std::string(format_name(format)) +
                                            " has no fill-in-the-middle prompt");
    }
    Prompt out(tokenizer);
    out.id(tokenizer.bos());
    out.id(after);
    if (!suffix.empty()) {
        // Without the dummy prefix: what stands behind a character that merges with nothing.
        constexpr std::string_view kSmile = "\xE2\x98\xBA";  // U+263A
        OSTAL_TRY(const std::vector<TokenId> smile, tokenizer.encode(kSmile));
        OSTAL_TRY(const std::vector<TokenId> ids,
                  tokenizer.encode(std::string(kSmile) + std::string(suffix)));
        for (std::size_t i = smile.size(); i < ids.size(); ++i) out.id(ids[i]);
    }
    out.id(before);
    OSTAL_TRYV(out.text(prompt));
    return out.take();
}

}  // namespace ostal::engine
