// What is loaded.
#pragma once

#include <cstdint>
#include <string>

namespace ostal::engine {

struct ModelInfo {
    std::string architecture;  // "mixtral", "mistral" or "llama"
    std::string weight_types;  // e.g. "bf16" or "q4_1+q8_0+f32"
    std::string isa;           // of the kernels in use
    std::int64_t parameters = 0;
    std::int64_t weight_bytes = 0;
    std::int32_t layers = 0;
    std::int32_t dim = 0;
    std::int32_t vocab_size = 0;
    std::int32_t context_length = 0;
    std::int32_t experts = 0;           // 0: dense
    std::int32_t experts_per_token = 0;
};

}  // namespace ostal::engine
