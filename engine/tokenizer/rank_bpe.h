// BPE with a ranked list of merges: byte-level (GPT-2, Llama 3, SmolLM2) and by characters with byte fallback
// (SentencePiece vocabularies as Hugging Face converts them).
//
// Source: Hugging Face tokenizers, models/bpe (behaviour, checked by golden values); GPT-2's byte alphabet.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/tokenizer/pretokenizer.h"
#include "engine/tokenizer/token_table.h"
#include "engine/tokenizer/tokenizer.h"

namespace ostal::engine {

enum class DummyPrefix {
    kNone,
    kAlways,            // before each stretch of text between user-defined tokens
    kUnlessSpace,       // before those that do not begin with a space
    kFirstUnlessSpace,  // before the first alone, where it does not begin with a space
};

struct RankBpeVocabulary {
    struct Pair {
        std::string left;  // names of tokens
        std::string right;
    };
    std::vector<Token> tokens;  // names and types; make_rank_bpe_tokenizer fills in the bytes
    std::vector<Pair> merges;   // best first
    TokenId bos = -1;
    TokenId eos = -1;
    bool add_bos = true;         // a plain text begins with bos
    TokenId unknown = -1;        // for characters without a token; -1: they give nothing
    bool ignore_merges = false;  // a piece that is a token is that token, whatever the merges would give
    // Byte-level: symbols are bytes, spelled in GPT-2's alphabet, within the pieces that `splits` cut.
    bool byte_level = true;
    std::vector<Split> splits;
    // Not byte-level: symbols are characters, spaces are U+2581.
    bool byte_fallback = false;    // a character without a token becomes its bytes
    bool fuse_unknown = false;     // a run of unknown characters is one token
    bool split_at_spaces = false;  // nothing merges across the beginning of a word
    DummyPrefix dummy_prefix = DummyPrefix::kNone;
    std::optional<ReasoningEfforts> reasoning_efforts;
};

// User-defined tokens are taken whole wherever they stand in a text; control tokens never come from text.
// kInvalidArgument: ids out of range, names that occur twice, merges of or to tokens that do not exist.
Result<std::unique_ptr<Tokenizer>> make_rank_bpe_tokenizer(RankBpeVocabulary vocabulary);

// Byte-level BPE that is a list of byte strings alone (tiktoken, tekken): a piece that is a token is that
// token, else two neighbours join where their bytes together are a token, the lowest id first. `merges` is
// empty; the tokens have their bytes, the normal ones in the order of their ranks, none twice (CHECK).
std::unique_ptr<Tokenizer> make_byte_rank_tokenizer(RankBpeVocabulary vocabulary);

// A name spelled in GPT-2's alphabet (each byte one printable character) as bytes; a name with characters
// outside of it stands for itself.
std::string bytes_of_alphabet(std::string_view name);

}  // namespace ostal::engine
