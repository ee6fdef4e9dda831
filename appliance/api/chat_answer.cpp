#include "appliance/api/chat_answer.h"

#include <atomic>
#include <mutex>

#include "appliance/api/errors.h"
#include "appliance/net/http/sse.h"
#include "base/json.h"

namespace ostal::api {
namespace {

using engine::FinishReason;
using engine::TokenEvent;
using engine::Usage;

json::Value usage_object(const Usage& usage) {
    return json::Object{{"prompt_tokens", usage.prompt_tokens},
                        {"completion_tokens", usage.completion_tokens},
                        {"total_tokens", usage.prompt_tokens + usage.completion_tokens}};
}

json::Object head_object(const AnswerHead& head, const char* object) {
    json::Object out{{"id", head.id}, {"object", object}, {"created", head.created_s}, {"model", head.model}};
    out.append("system_fingerprint", head.fingerprint);
    return out;
}

json::Array one(json::Value value) {
    json::Array out;
    out.push_back(std::move(value));
    return out;
}

// How an ended sequence is answered: 200 for an answer, else the error. A cancelled one without an error was
// cancelled by its client; the engine gives its own reasons (deadline, sealing, shutdown).
struct Ending {
    int status = 200;
    std::string detail;
    std::optional<ApiError> error;
};

Ending ending_of(const TokenEvent& event) {
    Ending out;
    out.detail = std::string(engine::finish_reason_name(*event.finish));
    if (*event.finish == FinishReason::kCancelled) {
        out.error = to_api_error(event.error ? *event.error : Error(Code::kCancelled, "the client left"));
    } else if (*event.finish == FinishReason::kError) {
        out.error = to_api_error(event.error ? *event.error : Error(Code::kInternal, "the engine failed"));
    }
    if (out.error) out.status = out.error->status;
    return out;
}

class WholeAnswer final : public engine::TokenSink {
public:
    WholeAnswer(AnswerHead head, std::shared_ptr<Inference> inference, http::Respond respond)
        : head_(std::move(head)), inference_(std::move(inference)), respond_(std::move(respond)), text_(head_.prefix) {}

    engine::PushResult push(const TokenEvent& event) override {
        text_ += event.text;
        inference_->on_tokens(event.usage);
        if (event.finish) end(event);
        return engine::PushResult::kAccepted;
    }

private:
    void end(const TokenEvent& event) {
        const Ending ending = ending_of(event);
        auto response = std::make_shared<http::Response>(ending.error ? error_response(*ending.error)
                                                                      : answer(*event.finish, event.usage));
        inference_->finish(ending.status, event.usage, ending.detail,
                           [respond = respond_, response](const Status& durable) {
                               if (durable) {
                                   respond(std::move(*response));
                               } else {
                                   respond(error_response(Error(Code::kUnavailable, "the audit log cannot be written")));
                               }
                           });
    }
    http::Response answer(FinishReason reason, const Usage& usage) {
        json::Object message{{"role", "assistant"}, {"content", std::move(text_)}, {"tool_calls", nullptr}, {"refusal", nullptr}};
        json::Object choice{{"index", 0}, {"message", std::move(message)}, {"logprobs", nullptr},
                            {"finish_reason", engine::finish_reason_name(reason)}};
        json::Object body = head_object(head_, "chat.completion");
        body.append("choices", one(std::move(choice)));
        body.append("usage", usage_object(usage));
        return json_response(200, json::Value(std::move(body)));
    }

    const AnswerHead head_;
    const std::shared_ptr<Inference> inference_;
    const http::Respond respond_;
    std::string text_;
};

// Result of the audit's end record, set on the audit thread, read on the strand. Outlives the stream.
struct EndState {
    std::mutex mutex;
    std::optional<Status> durable;
    std::function<void()> wake;
};

class AnswerStream final : public http::BodySource {
public:
    AnswerStream(AnswerHead head, std::shared_ptr<Inference> inference, std::shared_ptr<TokenStream> tokens)
        : head_(std::move(head)), inference_(std::move(inference)), tokens_(std::move(tokens)),
          end_(std::make_shared<EndState>()) {}

    ~AnswerStream() override {
        tokens_->abandon();
        if (!finish_) inference_->cancel();
    }

    void on_ready(std::function<void()> wake) override {
        {
            const std::lock_guard lock(end_->mutex);
            end_->wake = wake;
        }
        tokens_->on_event(std::move(wake));
    }

    std::optional<Chunk> next() override {
        Chunk chunk;
        if (!opened_) {
            opened_ = true;
            append_delta(chunk.bytes, json::Object{{"role", "assistant"}, {"content", head_.prefix}}, nullptr, nullptr);
        }
        while (!finish_) {
            const auto event = tokens_->pop();
            if (!event) break;
            take(*event, chunk.bytes);
        }
        if (finish_ && end_is_durable()) {
            close(chunk.bytes);
            chunk.last = true;
        }
        if (chunk.bytes.empty()) return std::nullopt;
        return chunk;
    }

private:
    void take(const TokenEvent& event, std::string& out) {
        inference_->on_tokens(event.usage);
        if (!event.text.empty()) append_delta(out, json::Object{{"content", event.text}}, nullptr, nullptr);
        if (!event.finish) return;
        finish_ = event.finish;
        usage_ = event.usage;
        ending_ = ending_of(event);
        inference_->finish(ending_.status, event.usage, ending_.detail, [end = end_](Status durable) {
            const std::lock_guard lock(end->mutex);
            end->durable = std::move(durable);
            if (end->wake) end->wake();
        });
    }

    bool end_is_durable() {
        const std::lock_guard lock(end_->mutex);
        if (!end_->durable) return false;
        if (!*end_->durable) {
            ending_.error = to_api_error(Error(Code::kUnavailable, "the audit log cannot be written"));
        }
        return true;
    }

    void close(std::string& out) {
        if (ending_.error) {
            http::append_sse(out, {.data = error_event(*ending_.error)});
            return;
        }
        const json::Value usage = usage_object(usage_);
        const bool on_finish = head_.usage_chunk == AnswerHead::UsageChunk::kOnFinish;
        append_delta(out, json::Object{}, json::Value(engine::finish_reason_name(*finish_)), on_finish ? usage : nullptr);
        if (head_.usage_chunk == AnswerHead::UsageChunk::kExtra) {
            json::Object body = head_object(head_, "chat.completion.chunk");
            body.append("choices", json::Array{});
            body.append("usage", usage);
            append_event(out, std::move(body));
        }
        out += http::kSseDone;
    }

    void append_delta(std::string& out, json::Object delta, json::Value finish, json::Value usage) {
        json::Object choice{{"index", 0}, {"delta", std::move(delta)}, {"logprobs", nullptr}, {"finish_reason", std::move(finish)}};
        json::Object body = head_object(head_, "chat.completion.chunk");
        body.append("choices", one(std::move(choice)));
        if (!usage.is_null()) body.append("usage", std::move(usage));
        append_event(out, std::move(body));
    }
    static void append_event(std::string& out, json::Object body) {
        http::append_sse(out, {.data = json::to_string(json::Value(std::move(body)))});
    }

    const AnswerHead head_;
    const std::shared_ptr<Inference> inference_;
    const std::shared_ptr<TokenStream> tokens_;
    const std::shared_ptr<EndState> end_;
    bool opened_ = false;
    std::optional<FinishReason> finish_;
    Usage usage_;
    Ending ending_;
};

}  // namespace

std::shared_ptr<engine::TokenSink> whole_answer(AnswerHead head, std::shared_ptr<Inference> inference,
                                                http::Respond respond) {
    return std::make_shared<WholeAnswer>(std::move(head), std::move(inference), std::move(respond));
}

std::unique_ptr<http::BodySource> answer_stream(AnswerHead head, std::shared_ptr<Inference> inference,
                                                std::shared_ptr<TokenStream> tokens) {
    return std::make_unique<AnswerStream>(std::move(head), std::move(inference), std::move(tokens));
}

}  // namespace ostal::api
