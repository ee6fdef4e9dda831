// For tests of the step loop: a tokenizer of bytes, and a model whose logits are a hash of the sequence as
// read back through the block tables, so that a lost, mixed up or stale cache cell changes the answer.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/check.h"
#include "engine/runtime/step_model.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

// Ids 0 to 255 are bytes, then the pieces below; control tokens have no text.
class ByteTokenizer final : public Tokenizer {
public:
    static constexpr TokenId kBos = 256;
    static constexpr TokenId kEos = 257;
    static constexpr TokenId kEndOfTurn = 258;
    static constexpr TokenId kLongPiece = 259;  // "characteristically": no std::string keeps it in place
    static constexpr std::int32_t kVocabSize = 260;

    ByteTokenizer() {
        for (int byte = 0; byte < 256; ++byte) bytes_.push_back(static_cast<char>(byte));
    }
    std::int32_t vocab_size() const override { return kVocabSize; }
    TokenId bos() const override { return kBos; }
    TokenId eos() const override { return kEos; }
    std::optional<TokenId> control(std::string_view) const override { return std::nullopt; }
    bool is_control(TokenId id) const override { return id >= kBos && id <= kEndOfTurn; }
    Result<std::vector<TokenId>> encode(std::string_view text) const override {
        std::vector<TokenId> ids;
        for (const char c : text) ids.push_back(static_cast<unsigned char>(c));
        return ids;
    }
    std::string_view token_bytes(TokenId id) const override {
        CHECK(id >= 0 && id < kVocabSize);
        if (id == kLongPiece) return "characteristically";
        if (is_control(id)) return {};
        return std::string_view(bytes_).substr(static_cast<std::size_t>(id), 1);
    }
    std::string decode(const std::vector<TokenId>& ids) const override {
        std::string text;
        for (const TokenId id : ids) text += token_bytes(id);
        return text;
    }
    bool has_dummy_prefix() const override { return false; }

private:
    std::string bytes_;
};

class FakeModel final : public StepModel {
public:
    static constexpr std::int32_t kDim = 6;
    static constexpr std::int32_t kVocabSize = 264;  // the last four are padding, with the highest logits
    static constexpr TokenId kPoison = 200;          // a sequence that holds it gets NaN logits,
    static constexpr TokenId kFlaggedPoison = 201;   // or this one: the `finite` flag cleared as well
    static constexpr TokenId kScript = 210;          // prompt {kScript, n}: the answer is scripts[n]

    FakeModel(std::int32_t blocks, std::int32_t block_tokens, std::int32_t max_rows)
        : block_tokens_(block_tokens),
          cells_(static_cast<std::size_t>(blocks * block_tokens), -1),
          logits_(static_cast<std::size_t>(max_rows * kVocabSize)),
          hidden_(static_cast<std::size_t>(max_rows * kDim)),
          finite_(static_cast<std::size_t>(max_rows)) {}

    // Before the loop starts.
    std::map<TokenId, std::vector<TokenId>> scripts;
    std::function<void()> before_step;
    std::atomic<std::int64_t> steps{0};

    void attach_thread() override {}

    StepOutput forward(const Batch& batch) override {
        if (before_step) before_step();
        ++steps;
        for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
            cell(batch, row, batch.positions[row]) = batch.tokens[row];
        }
        for (std::size_t i = 0; i < batch.logit_rows.size(); ++i) {
            fill_row(batch, static_cast<std::size_t>(batch.logit_rows[i]), i);
        }
        const auto rows = static_cast<std::int64_t>(batch.logit_rows.size());
        StepOutput out{{View::make(logits_.data(), DType::kF32, {rows, kVocabSize}),
                        View::make(finite_.data(), DType::kI32, {rows})},
                       {}};
        if (batch.wants_hidden) {
            for (std::size_t row = 0; row < batch.tokens.size(); ++row) fill_hidden(batch, row);
            out.hidden = View::make(hidden_.data(), DType::kF32, {batch.rows(), kDim});
        }
        return out;
    }

    // The hidden state after `tokens`.
    static void hidden_state(std::span<const TokenId> tokens, std::span<float> out) {
        std::uint64_t hash = 0x2545F4914F6CDD1DU;
        bool poisoned = false;
        for (const TokenId token : tokens) {
            hash = mix(hash ^ static_cast<std::uint64_t>(token + 1));
            poisoned = poisoned || token == kPoison;
        }
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = static_cast<float>(mix(hash + i) % 20'011) / 1000.0F - 9.7F;
        }
        if (poisoned) out[0] = std::numeric_limits<float>::infinity();
    }

private:
    TokenId& cell(const Batch& batch, std::size_t row, std::int32_t position) {
        const auto sequence = static_cast<std::size_t>(batch.sequence_of_row[row]);
        const auto entry = sequence * static_cast<std::size_t>(batch.max_blocks) +
                           static_cast<std::size_t>(position / block_tokens_);
        const std::int32_t block = batch.block_tables[entry];
        return cells_.at(static_cast<std::size_t>(block * block_tokens_ + position % block_tokens_));
    }

    void fill_hidden(const Batch& batch, std::size_t row) {
        std::vector<TokenId> tokens;
        for (std::int32_t position = 0; position <= batch.positions[row]; ++position) {
            tokens.push_back(cell(batch, row, position));
        }
        hidden_state(tokens, std::span(hidden_).subspan(row * kDim, kDim));
    }

    void fill_row(const Batch& batch, std::size_t row, std::size_t out_row) {
        float* out = logits_.data() + out_row * static_cast<std::size_t>(kVocabSize);
        finite_[out_row] = 1;
        std::uint64_t hash = 0x9E3779B97F4A7C15U;
        bool poisoned = false;
        const std::int32_t last = batch.positions[row];
        for (std::int32_t position = 0; position <= last; ++position) {
            const TokenId token = cell(batch, row, position);
            poisoned = poisoned || token == kPoison || token == kFlaggedPoison;
            if (token == kFlaggedPoison) finite_[out_row] = 0;
            hash = mix(hash ^ static_cast<std::uint64_t>(token + 1));
        }
        for (std::int32_t id = 0; id < kVocabSize; ++id) {
            const std::uint64_t bits = mix(hash + static_cast<std::uint64_t>(id) * 0xD1B54A32D192ED03U);
            out[id] = static_cast<float>(bits % 8000) / 1000.0F - 4.0F;
            // Only scripts end early or leave ASCII, so that the tests know an answer's length.
            if (id >= 128) out[id] = -30.0F;
            if (id >= ByteTokenizer::kVocabSize) out[id] = 100.0F;
        }
        if (poisoned) out[0] = std::numeric_limits<float>::quiet_NaN();
        if (cell(batch, row, 0) == kScript && last >= 1) {
            const auto& script = scripts.at(cell(batch, row, 1));
            out[script.at(static_cast<std::size_t>(last - 1))] = 50.0F;
        }
    }

    static std::uint64_t mix(std::uint64_t x) {
        x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
        x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
        return x ^ (x >> 31U);
    }

    const std::int32_t block_tokens_;
    std::vector<TokenId> cells_;
    std::vector<float> logits_;
    std::vector<float> hidden_;
    std::vector<std::int32_t> finite_;
};

}  // namespace ostal::engine
