// The model: weights under the names of the papers, the buffers of a step, and forward().
//
// One architecture serves Mixtral, Mistral and Llama: pre-norm blocks of grouped-query attention with RoPE
// and a SwiGLU feed-forward layer, dense or of experts. Sources: Touvron et al., "LLaMA" (2023); Jiang et
// al., "Mistral 7B" (2023) and "Mixtral of Experts" (2024).
//
// Letters: T token rows, D dim, H heads, K kv heads, Dh head_dim, F ffn, E experts, A experts a token, V
// vocab.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "engine/backend/backend.h"
#include "engine/core/arena.h"
#include "engine/core/view.h"
#include "engine/io/model_config.h"
#include "engine/io/model_files.h"
#include "engine/io/weight_source.h"
#include "engine/model/batch.h"
#include "engine/model/kv_cache.h"
#include "engine/parallel/communicator.h"

namespace ostal::engine {

struct LayerWeights {
    Weight attention_norm;  // [D]
    Weight wq;              // [H * Dh, D]
    Weight wk;              // [K * Dh, D]
    Weight wv;              // [K * Dh, D]
    Weight wo;              // [D, H * Dh]
    Weight ffn_norm;        // [D]
    Weight gate;            // [E, D] the router; empty in a dense layer
    Weight w1;              // [E, F, D] gate projection; a dense layer is one expert, E = 1
    Weight w2;              // [E, D, F] down projection
    Weight w3;              // [E, F, D] up projection
};

// Owns the arena that its views look into. Read-only after loading; shared by all steps.
struct Weights {
    ModelConfig config;
    Weight tok_embeddings;  // [V, D]
    std::vector<LayerWeights> layers;
    Weight norm;                           // [D]
    Weight output;                         // [V, D]; tied: the same memory as tok_embeddings
    std::vector<double> rope_frequencies;  // [Dh / 2] radians per token
    float attention_scale = 0.0F;          // what q k is multiplied with
    Arena arena;
};

// Reads every tensor into one arena as it is stored, with `threads` threads; peak memory is the weights plus
// kPieceBytes a thread. kResourceExhausted, and what read_pieces() returns.
Result<Weights> load_weights(const WeightSource& source, const ModelFiles& files, std::int32_t threads);

// The activations of a step, sized at load. Not shared between ranks.
struct Scratch {
    // kResourceExhausted. `max_rows` = T and `max_logit_rows` = L of the largest step.
    static Result<Scratch> create(const ModelConfig& config, std::int32_t max_rows,
                                  std::int32_t max_logit_rows);

    std::int32_t max_rows = 0;
    std::int32_t max_logit_rows = 0;
    View x;                 // [T, D] residual stream
    View normed;            // [T, D]
    View q;                 // [T, H * Dh]
    View k, v;              // [T, K * Dh]
    View attention;         // [T, H * Dh]
    View cosines, sines;    // [T, Dh / 2]
    View router_logits;     // [T, E]
    View experts;           // [T, A] i32; all zero in a dense model
    View expert_weights;    // [T, A]; all one in a dense model
    View plan_offsets;      // [E + 1] i32
    View plan_slot_row;     // [T * A] i32
    View plan_slot_weight;  // [T * A]
    View hidden;            // [T * A, F]
    View logits_normed;     // [L, D]
    View logits;            // [L, V]
    View finite;            // [L] i32
    Arena arena;
};

// The rows of Batch::logit_rows.
struct Logits {
    View values;  // [L, V] f32
    View finite;  // [L] i32: 0 where a NaN or an infinity came out; such a row must not be sampled from
};

// What a step gives, in the scratch: valid until the next forward().
struct StepOutput {
    Logits logits;
    // [T, D] f32: the residual stream after the final norm, what the output matrix multiplies, by token row;
    // empty unless Batch::wants_hidden. May hold NaN or infinities.
    View hidden;
};

// One step: writes the batch's keys and values into the cache and returns what the batch wants. The ids are
// below V, the batch fits the scratch and the block tables lie in the cache: CHECK. Allocates nothing.
StepOutput forward(Backend& backend, Communicator& comm, const Weights& weights, const Batch& batch,
                   KvCache& cache, Scratch& scratch);

}  // namespace ostal::engine
