// The tensors that a configuration asks for, with what each layout calls them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/io/model_config.h"

namespace ostal::engine {

struct WantedTensor {
    std::string name;  // Hugging Face
    std::vector<std::int64_t> shape;
    std::string mistral_name;
    std::string gguf_name;
    // Of an expert's matrix: GGUF files of today merge all experts of a layer into one tensor with the expert
    // as first axis, gguf_name; those of before April 2024 hold one tensor an expert, gguf_own_name.
    std::int32_t expert = -1;  // -1: no expert's
    std::string gguf_own_name;
    // Above 0: Mistral's and GGUF's rows are in the order of interleaved RoPE, that many heads.
    std::int32_t interleaved_heads = 0;
    bool only_gguf = false;  // the frequency divisors of RoPE
};

// In a fixed order: embedding, layers, norm, output.
std::vector<WantedTensor> wanted_tensors(const ModelConfig& config);

}  // namespace ostal::engine
