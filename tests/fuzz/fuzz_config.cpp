// config.json and generation_config.json from anywhere: what is accepted is within its bounds.
#include "base/bytes.h"
#include "base/check.h"
#include "engine/io/model_config.h"

using namespace ostal;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = as_text({data, size});
    auto config = engine::parse_model_config(text);
    if (!config) {
        engine::ModelConfig plain;
        plain.vocab = 1000;
        (void)engine::add_generation_config(text, plain);
        for (const engine::TokenId id : plain.eos) CHECK(id >= 0 && id < plain.vocab);
        return 0;
    }
    CHECK(config->layers > 0 && config->dim > 0 && config->ffn > 0 && config->context > 0 &&
          config->vocab > 0);
    CHECK(config->kv_heads > 0 && config->heads % config->kv_heads == 0 && config->head_dim % 2 == 0);
    CHECK(config->experts_per_token <= config->experts && config->norm_eps > 0.0F);
    CHECK(config->bos < config->vocab);
    return 0;
}
