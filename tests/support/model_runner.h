// A loaded model with everything forward() needs, driven by hand: no scheduler, no sampling.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/io/model_files.h"
#include "engine/model/mixtral.h"
#include "tests/support/naive_forward.h"

namespace ostal::test {

struct RunnerOptions {
    std::string isa = "scalar";
    std::int32_t threads = 1;
    engine::DType kv = engine::DType::kF32;
    std::int32_t block_tokens = 8;
    std::int32_t max_rows = 64;
    std::int32_t max_sequences = 4;  // slots 0 .. max_sequences - 1, each with blocks for the whole context
};

// A part of a step: tokens of the sequence in `slot`, behind those it has.
struct Chunk {
    std::int32_t slot = 0;
    std::span<const std::int32_t> tokens;
    engine::WantLogits want = engine::WantLogits::kAll;
    bool want_hidden = false;
};

class ModelRunner {
public:
    // A test that cannot have its model is broken: errors are CHECKed. `backend` replaces the CPU backend of
    // the options and outlives the runner.
    ModelRunner(const engine::WeightSource& source, RunnerOptions options,
                engine::Backend* backend = nullptr);

    // One step; the logits, or all it gives, are valid until the next.
    engine::Logits step(std::span<const Chunk> chunks) { return full_step(chunks).logits; }
    engine::StepOutput full_step(std::span<const Chunk> chunks);
    // Empties a slot and runs ids through it, `chunk` tokens a step; the logits [T, V] after each token.
    std::vector<float> run(std::span<const std::int32_t> ids, std::int32_t chunk, std::int32_t slot = 0);
    void clear(std::int32_t slot) { cached_[static_cast<std::size_t>(slot)] = 0; }

    const engine::ModelConfig& config() const { return weights_.config; }
    const engine::Weights& weights() const { return weights_; }
    engine::KvCache& cache() { return *cache_; }
    std::int32_t blocks_of_slot() const { return max_blocks_; }
    engine::Backend& backend() { return *backend_; }

private:
    RunnerOptions options_;
    engine::Weights weights_;
    std::unique_ptr<engine::Backend> owned_backend_;
    engine::Backend* backend_ = nullptr;
    engine::SingleComm comm_;
    std::unique_ptr<engine::KvCache> cache_;
    engine::Scratch scratch_;
    std::unique_ptr<engine::BatchBuilder> builder_;
    std::int32_t max_blocks_ = 0;
    std::vector<std::int32_t> tables_;  // [slots, max_blocks]
    std::vector<std::int32_t> cached_;  // [slots]
};

// Reads and decodes the tensors of a model in double precision, each once.
class TensorReader {
public:
    explicit TensorReader(const engine::WeightSource& source);
    const engine::ModelConfig& config() const { return files_.config(); }
    const std::vector<double>& operator()(const std::string& name);

private:
    const engine::WeightSource& source_;
    engine::ModelFiles files_;
    std::unordered_map<std::string, std::vector<double>> values_;
};

}  // namespace ostal::test
