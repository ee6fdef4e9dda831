#include "appliance/api/answer.h"

#include <functional>
#include <mutex>
#include <utility>

#include "appliance/api/errors.h"
#include "appliance/net/http/sse.h"

namespace ostal::api {
namespace {

using engine::FinishReason;
using engine::TokenEvent;

// How a sequence ended that gave no answer. A cancelled one without an error was cancelled by its client; the
// engine gives its own reasons (deadline, sealing, shutdown).
std::optional<Error> failure_of(const TokenEvent& last) {
    if (*last.finish == FinishReason::kCancelled) {
        return last.error ? *last.error : Error(Code::kCancelled, "the client left");
    }
    if (*last.finish == FinishReason::kError) {
        return last.error ? *last.error : Error(Code::kInternal, "the engine failed");
    }
    return std::nullopt;
}

Error audit_broken() { return Error(Code::kUnavailable, "the audit log cannot be written"); }

class WholeAnswer {
public:
    WholeAnswer(std::unique_ptr<WholeForm> form, std::shared_ptr<Inference> inference, http::Respond respond,
                std::size_t count)
        : form_(std::move(form)), inference_(std::move(inference)), respond_(std::move(respond)),
          generated_(count), running_(count) {}

    engine::PushResult push(std::size_t index, const TokenEvent& event) {
        if (answered_) return engine::PushResult::kGone;
        generated_[index].add(event);
        inference_->on_tokens(index, event.usage.completion_tokens);
        if (!event.finish) return engine::PushResult::kAccepted;
        --running_;
        if (const auto failure = failure_of(event)) {
            const ApiError shown = to_api_error(*failure);
            end(shown.status, std::string(engine::finish_reason_name(*event.finish)), error_response(shown));
            return engine::PushResult::kAccepted;
        }
        form_->take(index, std::exchange(generated_[index], {}));
        if (running_ == 0) {
            end(200, std::string(engine::finish_reason_name(*event.finish)),
                json_response(200, form_->body(inference_->usage())));
        }
        return engine::PushResult::kAccepted;
    }

private:
    void end(int status, std::string detail, http::Response response) {
        answered_ = true;
        auto shared = std::make_shared<http::Response>(std::move(response));
        inference_->finish(status, std::move(detail), [respond = respond_, shared](const Status& durable) {
            respond(durable ? std::move(*shared) : error_response(audit_broken()));
        });
    }

    const std::unique_ptr<WholeForm> form_;
    const std::shared_ptr<Inference> inference_;
    const http::Respond respond_;
    std::vector<Generated> generated_;
    std::size_t running_;
    bool answered_ = false;
};

// The place of one sequence in a whole answer.
class WholePart final : public engine::TokenSink {
public:
    WholePart(std::shared_ptr<WholeAnswer> answer, std::size_t index) : answer_(std::move(answer)), index_(index) {}
    engine::PushResult push(const TokenEvent& event) override { return answer_->push(index_, event); }

private:
    const std::shared_ptr<WholeAnswer> answer_;
    const std::size_t index_;
};

// Result of the audit's end record, set on the audit thread, read on the strand. Outlives the stream.
struct EndState {
    std::mutex mutex;
    std::optional<Status> durable;
    std::function<void()> wake;
};

class AnswerStream final : public http::BodySource {
public:
    AnswerStream(AnswerHead head, std::shared_ptr<ChoiceForm> form, std::shared_ptr<Inference> inference,
                 std::vector<std::shared_ptr<TokenStream>> streams)
        : head_(std::move(head)), form_(std::move(form)), inference_(std::move(inference)),
          streams_(std::move(streams)), running_(streams_.size()), end_(std::make_shared<EndState>()) {}

    ~AnswerStream() override {
        for (const auto& stream : streams_) stream->abandon();
        if (running_ > 0) inference_->cancel();
    }

    void on_ready(std::function<void()> wake) override {
        {
            const std::lock_guard lock(end_->mutex);
            end_->wake = wake;
        }
        for (const auto& stream : streams_) stream->on_event(wake);
    }

    std::optional<Chunk> next() override {
        Chunk chunk;
        if (!opened_) open(chunk.bytes);
        if (!ended_) {
            for (std::size_t i = 0; i < streams_.size(); ++i) {
                while (const auto event = streams_[i]->pop()) take(i, *event, chunk.bytes);
            }
            if (failure_ || running_ == 0) end();
        }
        if (ended_ && end_is_durable()) {
            close(chunk.bytes);
            chunk.last = true;
        }
        if (chunk.bytes.empty()) return std::nullopt;
        return chunk;
    }

private:
    void open(std::string& out) {
        opened_ = true;
        for (std::size_t i = 0; i < streams_.size(); ++i) append(out, form_->opening(i));
    }

    void take(std::size_t index, const TokenEvent& event, std::string& out) {
        inference_->on_tokens(index, event.usage.completion_tokens);
        append(out, form_->piece(index, event));
        if (!event.finish) return;
        --running_;
        detail_ = std::string(engine::finish_reason_name(*event.finish));
        if (auto failure = failure_of(event)) {
            // The first failure ends the other sequences: what tells the reason wins over "cancelled".
            if (!failure_ || failure_->code() == Code::kCancelled) failure_ = std::move(failure);
        } else if (running_ > 0 || failure_) {
            append(out, form_->closing(index, event));
        } else {
            last_choice_ = form_->closing(index, event);
        }
    }

    void end() {
        ended_ = true;
        const int status = failure_ ? to_api_error(*failure_).status : 200;
        inference_->finish(status, detail_, [end = end_](Status durable) {
            const std::lock_guard lock(end->mutex);
            end->durable = std::move(durable);
            if (end->wake) end->wake();
        });
    }

    bool end_is_durable() {
        const std::lock_guard lock(end_->mutex);
        if (!end_->durable) return false;
        if (!*end_->durable) failure_ = audit_broken();
        return true;
    }

    void close(std::string& out) {
        if (failure_) {
            http::append_sse(out, {.data = error_event(to_api_error(*failure_))});
            return;
        }
        const json::Value usage = usage_object(inference_->usage());
        append(out, std::move(last_choice_), head_.usage_chunk == AnswerHead::UsageChunk::kOnFinish ? usage : nullptr);
        if (head_.usage_chunk == AnswerHead::UsageChunk::kExtra) append_chunk(out, json::Array{}, usage);
        out += http::kSseDone;
    }

    void append(std::string& out, std::optional<json::Object> choice, json::Value usage = nullptr) {
        if (!choice) return;
        json::Array choices;
        choices.emplace_back(std::move(*choice));
        append_chunk(out, std::move(choices), std::move(usage));
    }
    void append_chunk(std::string& out, json::Array choices, json::Value usage);

    const AnswerHead head_;
    const std::shared_ptr<ChoiceForm> form_;
    const std::shared_ptr<Inference> inference_;
    const std::vector<std::shared_ptr<TokenStream>> streams_;
    std::size_t running_;
    const std::shared_ptr<EndState> end_;
    bool opened_ = false;
    bool ended_ = false;
    std::optional<json::Object> last_choice_;  // waits for the audit
    std::optional<Error> failure_;
    std::string detail_;
};

json::Object head_object(const AnswerHead& head, std::string_view object) {
    json::Object out{{"id", head.id}, {"object", object}, {"created", head.created_s}, {"model", head.model}};
    out.append("system_fingerprint", head.fingerprint);
    return out;
}

class WholeChoices final : public WholeForm {
public:
    WholeChoices(AnswerHead head, std::shared_ptr<ChoiceForm> form, std::size_t count)
        : head_(std::move(head)), form_(std::move(form)), choices_(count) {}

    void take(std::size_t index, Generated generated) override { choices_[index] = form_->whole(index, generated); }

    std::string body(const engine::Usage& usage) override {
        json::Array written;
        for (json::Object& choice : choices_) written.emplace_back(std::move(choice));
        json::Object out = head_object(head_, form_->object_name(false));
        out.append("choices", std::move(written));
        out.append("usage", usage_object(usage));
        return json::to_string(json::Value(std::move(out)));
    }

private:
    const AnswerHead head_;
    const std::shared_ptr<ChoiceForm> form_;
    std::vector<json::Object> choices_;
};

void AnswerStream::append_chunk(std::string& out, json::Array choices, json::Value usage) {
    json::Object body = head_object(head_, form_->object_name(true));
    body.append("choices", std::move(choices));
    if (!usage.is_null()) body.append("usage", std::move(usage));
    http::append_sse(out, {.data = json::to_string(json::Value(std::move(body)))});
}

}  // namespace

void Generated::add(const TokenEvent& event) {
    text += event.text;
    tokens.insert(tokens.end(), event.tokens.begin(), event.tokens.end());
    log_probs.insert(log_probs.end(), event.log_probs.begin(), event.log_probs.end());
    if (event.finish) last = event;
}

json::Object usage_object(const engine::Usage& usage) {
    return json::Object{{"prompt_tokens", usage.prompt_tokens},
                        {"completion_tokens", usage.completion_tokens},
                        {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
                        {"prompt_tokens_details", json::Object{{"cached_tokens", 0}}}};
}

std::unique_ptr<WholeForm> whole_choices(AnswerHead head, std::shared_ptr<ChoiceForm> form, std::size_t count) {
    return std::make_unique<WholeChoices>(std::move(head), std::move(form), count);
}

std::vector<std::shared_ptr<engine::TokenSink>> whole_answer(std::unique_ptr<WholeForm> form,
                                                             std::shared_ptr<Inference> inference,
                                                             http::Respond respond, std::size_t count) {
    const auto answer =
        std::make_shared<WholeAnswer>(std::move(form), std::move(inference), std::move(respond), count);
    std::vector<std::shared_ptr<engine::TokenSink>> parts;
    for (std::size_t i = 0; i < count; ++i) parts.push_back(std::make_shared<WholePart>(answer, i));
    return parts;
}

std::unique_ptr<http::BodySource> answer_stream(AnswerHead head, std::shared_ptr<ChoiceForm> form,
                                                std::shared_ptr<Inference> inference,
                                                std::vector<std::shared_ptr<TokenStream>> streams) {
    return std::make_unique<AnswerStream>(std::move(head), std::move(form), std::move(inference), std::move(streams));
}

}  // namespace ostal::api
