#include "tests/support/model_runner.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "base/check.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "tests/support/random_weight.h"

namespace ostal::test {
namespace {

template <typename T>
T must(Result<T> result) {
    if (!result) {
        std::cerr << result.error().to_string() << "\n";
        CHECK(result.has_value());
    }
    return std::move(*result);
}

}  // namespace

ModelRunner::ModelRunner(const engine::WeightSource& source, RunnerOptions options, engine::Backend* backend)
    : options_(std::move(options)), backend_(backend) {
    weights_ = must(engine::load_weights(source, must(engine::ModelFiles::open(source)), 2));
    const engine::ModelConfig& config = weights_.config;
    if (backend_ == nullptr) {
        owned_backend_ = must(engine::make_cpu_backend(
            {.isa = options_.isa, .threads = options_.threads, .pin_threads = false}));
        backend_ = owned_backend_.get();
    }
    max_blocks_ = (config.context + options_.block_tokens - 1) / options_.block_tokens;
    engine::KvCacheShape shape;
    shape.layers = config.layers;
    shape.kv_heads = config.kv_heads;
    shape.head_dim = config.head_dim;
    shape.block_tokens = options_.block_tokens;
    shape.blocks = max_blocks_ * options_.max_sequences;
    shape.dtype = options_.kv;
    cache_ = std::make_unique<engine::KvCache>(must(engine::KvCache::create(shape)));
    scratch_ = must(engine::Scratch::create(config, options_.max_rows, options_.max_rows));
    builder_ = std::make_unique<engine::BatchBuilder>(options_.max_rows, options_.max_sequences, max_blocks_);
    // Blocks of the slots lie between each other, from the last to the first.
    for (std::int32_t slot = 0; slot < options_.max_sequences; ++slot) {
        for (std::int32_t block = 0; block < max_blocks_; ++block) {
            tables_.push_back((max_blocks_ - 1 - block) * options_.max_sequences + slot);
        }
    }
    cached_.assign(static_cast<std::size_t>(options_.max_sequences), 0);
}

engine::StepOutput ModelRunner::full_step(std::span<const Chunk> chunks) {
    builder_->clear();
    for (const Chunk& chunk : chunks) {
        std::int32_t& cached = cached_[static_cast<std::size_t>(chunk.slot)];
        const std::int32_t total = cached + static_cast<std::int32_t>(chunk.tokens.size());
        const std::int32_t blocks = (total + options_.block_tokens - 1) / options_.block_tokens;
        const std::span<const std::int32_t> table = std::span(tables_).subspan(
            static_cast<std::size_t>(chunk.slot * max_blocks_), static_cast<std::size_t>(blocks));
        builder_->add(chunk.tokens, cached, table, chunk.want, chunk.want_hidden);
        cached = total;
    }
    return engine::forward(*backend_, comm_, weights_, builder_->batch(), *cache_, scratch_);
}

std::vector<float> ModelRunner::run(std::span<const std::int32_t> ids, std::int32_t chunk,
                                    std::int32_t slot) {
    clear(slot);
    std::vector<float> out;
    for (std::size_t first = 0; first < ids.size(); first += static_cast<std::size_t>(chunk)) {
        const std::size_t count = std::min(ids.size() - first, static_cast<std::size_t>(chunk));
        const Chunk part{slot, ids.subspan(first, count), engine::WantLogits::kAll};
        const engine::Logits logits = step({&part, 1});
        const auto* values = logits.values.as<float>();
        out.insert(out.end(), values, values + logits.values.rows() * logits.values.columns());
    }
    return out;
}

TensorReader::TensorReader(const engine::WeightSource& source)
    : source_(source), files_(must(engine::ModelFiles::open(source))) {}

const std::vector<double>& TensorReader::operator()(const std::string& name) {
    const auto found = values_.find(name);
    if (found != values_.end()) return found->second;
    const engine::TensorInfo* info = files_.find(name);
    CHECK(info != nullptr);
    Bytes bytes(info->bytes);
    CHECK(engine::read_tensor(source_, *info, bytes).has_value());
    return values_[name] = row_values(info->dtype, bytes);
}

}  // namespace ostal::test
