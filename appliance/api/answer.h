// The two ways of an answer: one JSON object when all sequences have ended, or an event stream of their pieces.
// What a choice looks like is its form's business (chat_form.h, text_form.h); who waits for what is here.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "appliance/net/http/message.h"
#include "appliance/serving/inference.h"
#include "appliance/serving/token_stream.h"
#include "base/json.h"
#include "engine/token_sink.h"

namespace ostal::api {

// What every chunk and the whole answer repeat.
struct AnswerHead {
    std::string id;  // chatcmpl-...
    std::int64_t created_s = 0;
    std::string model;
    std::string fingerprint;
    // Usage on the last chunk that carries finish_reason (La Plateforme), in a chunk of its own (OpenAI's
    // stream_options.include_usage), or not at all.
    enum class UsageChunk { kOnFinish, kExtra, kNone } usage_chunk = UsageChunk::kOnFinish;
};

// All that a sequence gave; `last` is its last event.
struct Generated {
    std::string text;
    std::vector<engine::TokenId> tokens;
    std::vector<engine::TokenLogProbs> log_probs;  // one for each of `tokens`, or none
    engine::TokenEvent last;

    void add(const engine::TokenEvent& event);
};

// Writes the elements of `choices`. One object for one answer, used by one thread at a time.
class ChoiceForm {
public:
    virtual ~ChoiceForm() = default;
    virtual std::string_view object_name(bool chunk) const = 0;  // "chat.completion", "chat.completion.chunk"
    virtual json::Object whole(std::size_t index, const Generated& generated) = 0;
    // Of a stream: what a choice begins with, what an event adds (nothing: no chunk), and how it ends: the choice
    // with its finish_reason, which also holds what the last event adds.
    virtual std::optional<json::Object> opening(std::size_t index) = 0;
    virtual std::optional<json::Object> piece(std::size_t index, const engine::TokenEvent& event) = 0;
    virtual json::Object closing(std::size_t index, const engine::TokenEvent& last) = 0;
};

json::Object usage_object(const engine::Usage& usage);

// Writes a whole answer. One object for one answer; called on the engine's scheduler thread, so no call may take long.
class WholeForm {
public:
    virtual ~WholeForm() = default;
    // A sequence has ended well: what is costly to write is written now, sequence by sequence.
    virtual void take(std::size_t index, Generated generated) = 0;
    // The JSON text of the answer, when all have ended.
    virtual std::string body(const engine::Usage& usage) = 0;
};
// An answer of `choices`.
std::unique_ptr<WholeForm> whole_choices(AnswerHead head, std::shared_ptr<ChoiceForm> form, std::size_t count);

// One sink for each of `count` sequences. They answer together when the last has ended and the audit has the end, or
// with the error of the first that failed, which cancels the others. All are fed by one scheduler thread.
std::vector<std::shared_ptr<engine::TokenSink>> whole_answer(std::unique_ptr<WholeForm> form,
                                                             std::shared_ptr<Inference> inference,
                                                             http::Respond respond, std::size_t count);

// The body of a stream over one TokenStream a choice. Destroying it cancels the sequences.
std::unique_ptr<http::BodySource> answer_stream(AnswerHead head, std::shared_ptr<ChoiceForm> form,
                                                std::shared_ptr<Inference> inference,
                                                std::vector<std::shared_ptr<TokenStream>> streams);

}  // namespace ostal::api
