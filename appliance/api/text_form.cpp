#include "appliance/api/text_form.h"

#include "appliance/api/log_probs.h"

namespace ostal::api {
namespace {

class TextForm final : public ChoiceForm {
public:
    explicit TextForm(TextFormOptions options) : options_(std::move(options)) {
        for (std::size_t i = 0; i < options_.choices; ++i) offsets_.push_back(count_code_points(echo(i)));
    }

    std::string_view object_name(bool) const override { return "text_completion"; }

    json::Object whole(std::size_t index, const Generated& generated) override {
        return choice(index, echo(index) + generated.text, log_probs(index, generated.tokens, generated.log_probs),
                      json::Value(engine::finish_reason_name(*generated.last.finish)));
    }

    std::optional<json::Object> opening(std::size_t index) override {
        if (echo(index).empty()) return std::nullopt;
        return choice(index, echo(index), nullptr, nullptr);
    }

    std::optional<json::Object> piece(std::size_t index, const engine::TokenEvent& event) override {
        json::Value scores = log_probs(index, event.tokens, event.log_probs);
        if (event.text.empty() && scores.is_null()) return std::nullopt;
        return choice(index, event.text, std::move(scores), nullptr);
    }

    json::Object closing(std::size_t index, const engine::TokenEvent& last) override {
        return choice(index, "", nullptr, json::Value(engine::finish_reason_name(*last.finish)));
    }

private:
    static json::Object choice(std::size_t index, std::string text, json::Value scores, json::Value finish) {
        return json::Object{{"index", static_cast<std::int64_t>(index)},
                            {"text", std::move(text)},
                            {"logprobs", std::move(scores)},
                            {"finish_reason", std::move(finish)}};
    }

    json::Value log_probs(std::size_t index, const std::vector<engine::TokenId>& tokens,
                          const std::vector<engine::TokenLogProbs>& scores) {
        if (options_.token_texts == nullptr || tokens.empty()) return nullptr;
        return text_log_probs(*options_.token_texts, {tokens, scores, false}, offsets_[index]);
    }

    std::string echo(std::size_t index) const {
        return index < options_.echo.size() ? options_.echo[index] : std::string();
    }

    const TextFormOptions options_;
    std::vector<std::int64_t> offsets_;  // by choice: code points of the text so far
};

}  // namespace

std::shared_ptr<ChoiceForm> text_form(TextFormOptions options) { return std::make_shared<TextForm>(std::move(options)); }

}  // namespace ostal::api
