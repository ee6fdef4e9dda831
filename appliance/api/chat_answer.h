// The two forms of an answer to POST /v1/chat/completions: one JSON object, or an event stream.
#pragma once

#include <memory>
#include <string>

#include "appliance/net/http/message.h"
#include "appliance/serving/inference.h"
#include "appliance/serving/token_stream.h"
#include "engine/token_sink.h"

namespace ostal::api {

// What every chunk and the whole answer repeat.
struct AnswerHead {
    std::string id;       // chatcmpl-...
    std::int64_t created_s = 0;
    std::string model;
    std::string fingerprint;
    std::string prefix;   // the assistant's text that the answer continues; it is given back first
    // Usage on the chunk that carries finish_reason (La Plateforme), in a chunk of its own (OpenAI's
    // stream_options.include_usage), or not at all.
    enum class UsageChunk { kOnFinish, kExtra, kNone } usage_chunk = UsageChunk::kOnFinish;
};

// A sink that gathers the text and answers when the audit has the end. `respond` is called once.
std::shared_ptr<engine::TokenSink> whole_answer(AnswerHead head, std::shared_ptr<Inference> inference,
                                                http::Respond respond);

// The body of a stream over `tokens`. Destroying it cancels the sequence.
std::unique_ptr<http::BodySource> answer_stream(AnswerHead head, std::shared_ptr<Inference> inference,
                                                std::shared_ptr<TokenStream> tokens);

}  // namespace ostal::api
