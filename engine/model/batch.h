// Batch: the tokens of one step, of several sequences, prefill chunks and decodes together.
//
// Letters: T token rows in the step, S sequences, L rows whose logits are wanted, B tokens in a KV block.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ostal::engine {

// Arrays in the backend's memory; the sizes of the spans are known to the host. A sequence's rows follow each
// other in the order of their positions; its keys of positions [0, cached + count) are in its blocks after
// the step. Decodes come first: what follows a longer chunk is treated as a prefill chunk, also of one token
// (the result is the same).
struct Batch {
    std::span<const std::int32_t> tokens;           // [T] vocabulary ids
    std::span<const std::int32_t> positions;        // [T] place in the sequence, from 0
    std::span<const std::int32_t> sequence_of_row;  // [T] index into the arrays of sequences

    std::span<const std::int32_t> first_row;      // [S] first token row
    std::span<const std::int32_t> token_count;    // [S] token rows, at least 1
    std::span<const std::int32_t> cached_tokens;  // [S] tokens whose keys and values are in the cache already
    std::span<const std::int32_t> block_tables;   // [S, max_blocks] KV block ids in order of position
    std::int32_t max_blocks = 0;                  // row length of block_tables
    std::int32_t decode_sequences = 0;            // the first so many sequences have one token each

    std::span<const std::int32_t> logit_rows;  // [L] token rows, ascending
    bool wants_hidden = false;                 // the hidden states after the final norm are wanted, too

    std::int64_t rows() const { return static_cast<std::int64_t>(tokens.size()); }
    std::int64_t sequences() const { return static_cast<std::int64_t>(first_row.size()); }
};

enum class WantLogits : std::uint8_t {
    kNone,  // a prefill chunk that is not the last
    kLast,  // of the last token: what is sampled from
    kAll,   // scoring of a prompt
};

// Owns a Batch's arrays; sized once, so that filling one in the step loop does not allocate. Not thread-safe.
class BatchBuilder {
public:
    // Capacities: token rows, sequences and blocks of a sequence in a step.
    BatchBuilder(std::int32_t max_rows, std::int32_t max_sequences, std::int32_t max_blocks);

    void clear();
    // Appends a sequence's tokens at positions cached_tokens, cached_tokens + 1, ... CHECK: capacity, at
    // least one token. The block table covers cached_tokens + tokens; entries beyond are never read.
    // want_hidden: the step gives the hidden states of these tokens (and of the others).
    void add(std::span<const std::int32_t> tokens, std::int32_t cached_tokens,
             std::span<const std::int32_t> block_table, WantLogits want, bool want_hidden = false);
    // Valid until the next add() or clear().
    Batch batch() const;

private:
    std::int32_t max_rows_;
    std::int32_t max_sequences_;
    std::int32_t max_blocks_;
    std::int32_t decode_sequences_ = 0;
    bool wants_hidden_ = false;
    std::vector<std::int32_t> tokens_;
    std::vector<std::int32_t> positions_;
    std::vector<std::int32_t> sequence_of_row_;
    std::vector<std::int32_t> first_row_;
    std::vector<std::int32_t> token_count_;
    std::vector<std::int32_t> cached_tokens_;
    std::vector<std::int32_t> block_tables_;
    std::vector<std::int32_t> logit_rows_;
};

}  // namespace ostal::engine
