// A vocabulary as plain data: what a GGUF file embeds (its `tokenizer.ggml.*` metadata), filled by the GGUF
// reader and turned into a Tokenizer by load.h. Source: ggml's docs/gguf.md, "Tokenizer".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"

namespace ostal::engine {

// Values of `tokenizer.ggml.token_type`.
enum class TokenType : std::int32_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6,
};

struct EmbeddedVocabulary {
    std::string model;  // tokenizer.ggml.model: "llama" (SentencePiece BPE) or "gpt2" (byte-level)
    std::string pre;    // tokenizer.ggml.pre; empty when absent
    std::vector<std::string> tokens;        // tokenizer.ggml.tokens; the index is the id
    std::vector<float> scores;              // tokenizer.ggml.scores; needed for "llama", else may be empty
    std::vector<std::int32_t> token_types;  // tokenizer.ggml.token_type; empty: all normal
    std::vector<std::string> merges;        // tokenizer.ggml.merges, "left right"; needed for "gpt2"
    TokenId bos = -1;                       // tokenizer.ggml.bos_token_id; -1: absent
    TokenId eos = -1;                       // tokenizer.ggml.eos_token_id
    TokenId unknown = -1;                   // tokenizer.ggml.unknown_token_id
    std::optional<bool> add_bos;            // tokenizer.ggml.add_bos_token; absent: as the kind usually has it
    std::optional<bool> add_space_prefix;   // tokenizer.ggml.add_space_prefix; absent: true for "llama"
    std::optional<bool> remove_extra_whitespaces;  // tokenizer.ggml.remove_extra_whitespaces; absent: false
};

}  // namespace ostal::engine
