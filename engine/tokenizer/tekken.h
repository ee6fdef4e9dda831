// Reader of `tekken.json`, the vocabulary files of Mistral's models since Nemo: byte-level BPE of which the
// file holds the byte strings in the order of their ranks, behind the control tokens.
//
// Source: mistral-common 1.11.7, tokens/tokenizers/tekken.py (members, rules, conventional special tokens).
#pragma once

#include <string_view>

#include "base/result.h"
#include "engine/tokenizer/rank_bpe.h"

namespace ostal::engine {

// For make_byte_rank_tokenizer. Ids: the control tokens first (one that the file gives no name is
// "<SPECIAL_id>"), then rank + their number. A file without `special_tokens` takes the conventional ones;
// `config.pattern` is one that split_of_regex knows. kInvalidArgument (malformed: names the member or the
// rank), kUnsupported (names the pattern, version or member), kTooLarge (more than kMaxVocabulary tokens, a
// token over kMaxTokenBytes).
Result<RankBpeVocabulary> parse_tekken(std::string_view text);

}  // namespace ostal::engine
