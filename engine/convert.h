// A model from any format that is read, written as one quantised GGUF file that every reader of the format
// understands (architecture `llama`).
//
// Types: matrices of the layers as asked for (Q8_0 or Q4_0, rule in io/quantise.h); the embedding and the
// output matrix, to which logits are most sensitive, Q8_0 in both; norms, routers and matrices whose rows are
// not whole blocks of 32 in f32. A tensor that already has its type is copied byte for byte; others are
// quantised from their exact values. Rows of q and k in the order of interleaved pairs, experts of a layer
// merged into one tensor, as that architecture has them.
// Metadata: a GGUF source's own values as they stand (but for its type of file and its alignment), else what
// the configuration says; the tokenizer from the source's tokenizer file, else as the GGUF source embeds it;
// the chat template where there is one, as data.
#pragma once

#include <cstdint>
#include <string>

#include "base/file.h"
#include "base/result.h"
#include "engine/core/dtype.h"
#include "engine/io/model_files.h"
#include "engine/io/weight_source.h"

namespace ostal::engine {

struct ConvertOptions {
    DType quantise = DType::kQ8_0;  // or kQ4_0
    std::int32_t threads = 1;
    bool overwrite = false;
};

struct Converted {
    std::uint64_t bytes = 0;   // of the file
    std::string weight_types;  // as ModelFiles::weight_types()
};

// Writes `path` (which ends in ".gguf") in one step: a new file beside it is written, synced, opened like any
// model and compared with the source's configuration, and renamed. The space is reserved first; after an
// error nothing is left. Memory: a few pieces of io/model_files.h a thread, whatever the size of the model.
// The file is readable by its owner alone (0600).
// kConflict: `path` exists and overwrite is false, or another conversion's temporary file is there (named);
// kNoSpace; kUnsupported, by name: what GGUF cannot say (a tekken vocabulary, windows of two sizes,
// more than two end tokens, another setting) or a weight that is too large; else what reading the source
// gives.
Result<Converted> convert_model(const WeightSource& source, const ModelFiles& files, Files& system,
                                const std::string& path, const ConvertOptions& options);

}  // namespace ostal::engine
