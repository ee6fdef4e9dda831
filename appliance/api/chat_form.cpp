#include "appliance/api/chat_form.h"

#include <algorithm>

#include "appliance/api/log_probs.h"

namespace ostal::api {
namespace {

using engine::FinishReason;

// What a streamed choice has said so far.
struct Said {
    bool any_token = false;
    // Kept while the request has tools alone.
    std::vector<engine::TokenId> tokens;
    std::string text;        // the engine's, as if it were all text
    std::size_t shown = 0;   // bytes of it that were sent
    bool calling = false;    // a call has begun: text is held until it is known to be one
};

// The end of a choice: what is left to say and why it ended.
struct Outcome {
    std::string text;
    std::vector<engine::ToolCall> calls;
    std::string finish;
};

class ChatForm final : public ChoiceForm {
public:
    ChatForm(ChatFormOptions options, RandomSource& random)
        : options_(std::move(options)), random_(random), said_(options_.choices) {}

    std::string_view object_name(bool chunk) const override {
        return chunk ? "chat.completion.chunk" : "chat.completion";
    }

    json::Object whole(std::size_t index, const Generated& generated) override {
        const Outcome outcome = outcome_of(generated.tokens, generated.text, *generated.last.finish);
        json::Object message{{"role", "assistant"},
                             {"content", options_.prefix + outcome.text},
                             {"tool_calls", calls_or_null(outcome.calls)},
                             {"refusal", nullptr}};
        return json::Object{{"index", static_cast<std::int64_t>(index)},
                            {"message", std::move(message)},
                            {"logprobs", log_probs(generated.tokens, generated.log_probs, !options_.continues_text)},
                            {"finish_reason", outcome.finish}};
    }

    std::optional<json::Object> opening(std::size_t index) override {
        return chunk(index, json::Object{{"role", "assistant"}, {"content", options_.prefix}}, nullptr, nullptr);
    }

    std::optional<json::Object> piece(std::size_t index, const engine::TokenEvent& event) override {
        Said& said = said_[index];
        const std::string text = options_.tools ? say(said, event) : event.text;
        json::Value scores = log_probs(event.tokens, event.log_probs, !options_.continues_text && !said.any_token);
        said.any_token = said.any_token || !event.tokens.empty();
        if (text.empty() && (scores.is_null() || event.tokens.empty())) return std::nullopt;
        return chunk(index, json::Object{{"content", text}}, std::move(scores), nullptr);
    }

    json::Object closing(std::size_t index, const engine::TokenEvent& last) override {
        const Said& said = said_[index];
        Outcome outcome = outcome_of(said.tokens, said.text, *last.finish);
        json::Object delta;
        if (outcome.text.size() > said.shown) delta.append("content", outcome.text.substr(said.shown));
        if (!outcome.calls.empty()) delta.append("tool_calls", calls_or_null(outcome.calls));
        return chunk(index, std::move(delta), nullptr, json::Value(outcome.finish));
    }

private:
    // Takes an event in and gives the text that may go out.
    std::string say(Said& said, const engine::TokenEvent& event) const {
        said.tokens.insert(said.tokens.end(), event.tokens.begin(), event.tokens.end());
        said.text += event.text;
        const auto& tokens = event.tokens;
        said.calling = said.calling || std::find(tokens.begin(), tokens.end(), options_.tools->calls) != tokens.end();
        if (said.calling) return {};
        said.shown = said.text.size();
        return event.text;
    }

    Outcome outcome_of(const std::vector<engine::TokenId>& tokens, const std::string& text, FinishReason finish) const {
        Outcome out{text, {}, std::string(engine::finish_reason_name(finish))};
        if (!options_.tools) return out;
        auto written = read_tool_calls(*options_.tools, *options_.token_texts, tokens, !options_.continues_text);
        if (!written) return out;
        out.text = std::move(written->text);
        out.calls = std::move(written->calls);
        if (!options_.parallel_calls) out.calls.resize(1);
        // One that was cut stays "length": the client cannot know whether more calls were to come.
        if (finish == FinishReason::kStop) out.finish = "tool_calls";
        return out;
    }

    json::Value calls_or_null(const std::vector<engine::ToolCall>& calls) const {
        return calls.empty() ? json::Value(nullptr) : json::Value(tool_calls_json(calls, random_));
    }

    json::Value log_probs(const std::vector<engine::TokenId>& tokens, const std::vector<engine::TokenLogProbs>& scores,
                          bool begins_text) const {
        if (!options_.log_probs) return nullptr;
        return chat_log_probs(*options_.token_texts, {tokens, scores, begins_text});
    }

    static json::Object chunk(std::size_t index, json::Object delta, json::Value scores, json::Value finish) {
        return json::Object{{"index", static_cast<std::int64_t>(index)},
                            {"delta", std::move(delta)},
                            {"logprobs", std::move(scores)},
                            {"finish_reason", std::move(finish)}};
    }

    const ChatFormOptions options_;
    RandomSource& random_;
    std::vector<Said> said_;  // by choice
};

}  // namespace

std::shared_ptr<ChoiceForm> chat_form(ChatFormOptions options, RandomSource& random) {
    return std::make_shared<ChatForm>(std::move(options), random);
}

}  // namespace ostal::api
