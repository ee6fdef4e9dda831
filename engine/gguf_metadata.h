// What a GGUF file of architecture `llama` says of a model beside its weights. For convert.h.
//
// Keys: docs/gguf.md of the ggml project; convert.h says what comes from where.
#pragma once

#include <vector>

#include "base/result.h"
#include "engine/core/dtype.h"
#include "engine/io/gguf_writer.h"
#include "engine/io/model_files.h"
#include "engine/io/weight_source.h"

namespace ostal::engine {

// Architecture, configuration, tokenizer, chat template, and the type of the file for matrices of `asked`
// (kQ8_0 or kQ4_0). Errors as convert_model().
Status add_gguf_metadata(const WeightSource& source, const ModelFiles& files, DType asked,
                         GgufHeader& header);

// The tensor rope_freqs.weight [Dh / 2] by which such a file says llama3 scaling; none for another scaling.
std::vector<float> gguf_rope_divisors(const ModelConfig& config);

// kUnsupported unless `found`, read back from the file, computes what `wanted` does.
Status check_gguf_config(const ModelConfig& wanted, const ModelConfig& found);

}  // namespace ostal::engine
