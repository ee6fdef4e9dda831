#include "appliance/api/log_probs.h"

#include <algorithm>
#include <functional>

#include "engine/tokenizer/stream_decoder.h"

namespace ostal::api {
namespace {

// What JSON cannot say (minus infinity) and what nobody needs to know exactly.
constexpr double kLeastLogProb = -9999.0;

std::string text_of(std::string_view bytes) {
    std::string out;
    engine::append_valid_utf8(out, bytes);
    return out;
}

double shown(double log_prob) { return log_prob > kLeastLogProb ? log_prob : kLeastLogProb; }

json::Object chat_entry(std::string_view bytes, double log_prob) {
    json::Array numbers;
    for (const char byte : bytes) numbers.emplace_back(static_cast<int>(static_cast<unsigned char>(byte)));
    return json::Object{{"token", text_of(bytes)}, {"logprob", shown(log_prob)}, {"bytes", std::move(numbers)}};
}

using BytesOf = std::function<std::string_view(engine::TokenId)>;

// Calls `show` with each token that has bytes, its scores, and what gives the bytes at its place.
void for_each_shown(const TokenTexts& texts, const ScoredTokens& scored,
                    const std::function<void(std::string_view, const engine::TokenLogProbs&, const BytesOf&)>& show) {
    const std::size_t count = std::min(scored.tokens.size(), scored.log_probs.size());
    bool begins = scored.begin_text;
    for (std::size_t i = 0; i < count; ++i) {
        const BytesOf bytes_of = [&texts, begins](engine::TokenId id) {
            return begins ? texts.first_bytes(id) : texts.bytes(id);
        };
        if (texts.bytes(scored.tokens[i]).empty()) continue;
        show(bytes_of(scored.tokens[i]), scored.log_probs[i], bytes_of);
        begins = false;
    }
}

}  // namespace

json::Value chat_log_probs(const TokenTexts& texts, const ScoredTokens& scored) {
    json::Array content;
    for_each_shown(texts, scored, [&](std::string_view bytes, const engine::TokenLogProbs& scores, const BytesOf& bytes_of) {
        json::Array rivals;
        for (const engine::TokenLogProb& rival : scores.top) {
            rivals.emplace_back(chat_entry(bytes_of(rival.id), rival.log_prob));
        }
        json::Object entry = chat_entry(bytes, scores.log_prob);
        entry.append("top_logprobs", std::move(rivals));
        content.emplace_back(std::move(entry));
    });
    return json::Object{{"content", std::move(content)}, {"refusal", nullptr}};
}

json::Value text_log_probs(const TokenTexts& texts, const ScoredTokens& scored, std::int64_t& offset) {
    json::Array tokens;
    json::Array log_probs;
    json::Array rivals;
    json::Array offsets;
    for_each_shown(texts, scored, [&](std::string_view bytes, const engine::TokenLogProbs& scores, const BytesOf& bytes_of) {
        const std::string text = text_of(bytes);
        json::Object by_text;
        for (const engine::TokenLogProb& rival : scores.top) {
            const std::string rival_text = text_of(bytes_of(rival.id));
            if (!by_text.contains(rival_text)) by_text.append(rival_text, shown(rival.log_prob));
        }
        tokens.emplace_back(text);
        log_probs.emplace_back(shown(scores.log_prob));
        rivals.emplace_back(std::move(by_text));
        offsets.emplace_back(offset);
        offset += count_code_points(text);
    });
    return json::Object{{"tokens", std::move(tokens)},
                        {"token_logprobs", std::move(log_probs)},
                        {"top_logprobs", std::move(rivals)},
                        {"text_offset", std::move(offsets)}};
}

std::int64_t count_code_points(std::string_view text) {
    return std::count_if(text.begin(), text.end(), [](char byte) { return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U; });
}

}  // namespace ostal::api
