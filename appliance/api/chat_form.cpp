#include "appliance/api/chat_form.h"

namespace ostal::api {
namespace {

class ChatForm final : public ChoiceForm {
public:
    explicit ChatForm(ChatFormOptions options) : options_(std::move(options)) {}

    std::string_view object_name(bool chunk) const override {
        return chunk ? "chat.completion.chunk" : "chat.completion";
    }

    json::Object whole(std::size_t index, const Generated& generated) override {
        json::Object message{{"role", "assistant"},
                             {"content", options_.prefix + generated.text},
                             {"tool_calls", nullptr},
                             {"refusal", nullptr}};
        return json::Object{{"index", static_cast<std::int64_t>(index)},
                            {"message", std::move(message)},
                            {"logprobs", nullptr},
                            {"finish_reason", engine::finish_reason_name(*generated.last.finish)}};
    }

    std::optional<json::Object> opening(std::size_t index) override {
        return chunk(index, json::Object{{"role", "assistant"}, {"content", options_.prefix}}, nullptr);
    }

    std::optional<json::Object> piece(std::size_t index, const engine::TokenEvent& event) override {
        if (event.text.empty()) return std::nullopt;
        return chunk(index, json::Object{{"content", event.text}}, nullptr);
    }

    json::Object closing(std::size_t index, const engine::TokenEvent& last) override {
        return chunk(index, json::Object{}, json::Value(engine::finish_reason_name(*last.finish)));
    }

private:
    static json::Object chunk(std::size_t index, json::Object delta, json::Value finish) {
        return json::Object{{"index", static_cast<std::int64_t>(index)},
                            {"delta", std::move(delta)},
                            {"logprobs", nullptr},
                            {"finish_reason", std::move(finish)}};
    }

    const ChatFormOptions options_;
};

}  // namespace

std::shared_ptr<ChoiceForm> chat_form(ChatFormOptions options, std::size_t) {
    return std::make_shared<ChatForm>(std::move(options));
}

}  // namespace ostal::api
