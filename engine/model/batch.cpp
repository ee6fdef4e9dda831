#include "engine/model/batch.h"

#include <algorithm>

#include "base/check.h"

namespace ostal::engine {

BatchBuilder::BatchBuilder(std::int32_t max_rows, std::int32_t max_sequences, std::int32_t max_blocks)
    : max_rows_(max_rows), max_sequences_(max_sequences), max_blocks_(max_blocks) {
    const auto rows = static_cast<std::size_t>(max_rows);
    const auto sequences = static_cast<std::size_t>(max_sequences);
    tokens_.reserve(rows);
    positions_.reserve(rows);
    sequence_of_row_.reserve(rows);
    logit_rows_.reserve(rows);
    first_row_.reserve(sequences);
    token_count_.reserve(sequences);
    cached_tokens_.reserve(sequences);
    block_tables_.reserve(sequences * static_cast<std::size_t>(max_blocks));
}

void BatchBuilder::clear() {
    decode_sequences_ = 0;
    wants_hidden_ = false;
    for (auto* array : {&tokens_, &positions_, &sequence_of_row_, &first_row_, &token_count_, &cached_tokens_,
                        &block_tables_, &logit_rows_}) {
        array->clear();
    }
}

void BatchBuilder::add(std::span<const std::int32_t> tokens, std::int32_t cached_tokens,
                       std::span<const std::int32_t> block_table, WantLogits want, bool want_hidden) {
    const auto count = static_cast<std::int32_t>(tokens.size());
    const auto first = static_cast<std::int32_t>(tokens_.size());
    const auto sequence = static_cast<std::int32_t>(first_row_.size());
    CHECK_GE(count, 1);
    CHECK_LE(first + count, max_rows_);
    CHECK_LT(sequence, max_sequences_);
    CHECK_LE(static_cast<std::int32_t>(block_table.size()), max_blocks_);
    if (count == 1 && decode_sequences_ == sequence) ++decode_sequences_;
    wants_hidden_ = wants_hidden_ || want_hidden;
    for (std::int32_t i = 0; i < count; ++i) {
        tokens_.push_back(tokens[static_cast<std::size_t>(i)]);
        positions_.push_back(cached_tokens + i);
        sequence_of_row_.push_back(sequence);
        const bool last = i + 1 == count;
        if (want == WantLogits::kAll || (want == WantLogits::kLast && last)) logit_rows_.push_back(first + i);
    }
    first_row_.push_back(first);
    token_count_.push_back(count);
    cached_tokens_.push_back(cached_tokens);
    block_tables_.insert(block_tables_.end(), block_table.begin(), block_table.end());
    block_tables_.resize(first_row_.size() * static_cast<std::size_t>(max_blocks_), -1);
}

Batch BatchBuilder::batch() const {
    Batch batch;
    batch.tokens = tokens_;
    batch.positions = positions_;
    batch.sequence_of_row = sequence_of_row_;
    batch.first_row = first_row_;
    batch.token_count = token_count_;
    batch.cached_tokens = cached_tokens_;
    batch.block_tables = block_tables_;
    batch.max_blocks = max_blocks_;
    batch.decode_sequences = decode_sequences_;
    batch.logit_rows = logit_rows_;
    batch.wants_hidden = wants_hidden_;
    return batch;
}

}  // namespace ostal::engine
