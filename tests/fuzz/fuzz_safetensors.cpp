// A safetensors file, and the index of a sharded model, from anywhere.
#include "base/check.h"
#include "engine/io/safetensors.h"
#include "tests/support/tiny_model.h"

using namespace ostal;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes input(data, data + size);
    const test::MemorySource single({{"model.safetensors", input}});
    const auto entries = engine::read_safetensors_header(single, "model.safetensors");
    if (entries) {
        for (const engine::SafetensorsEntry& entry : *entries) {
            CHECK(entry.offset <= size && entry.bytes <= size - entry.offset);
        }
    }
    // The same bytes as an index beside a shard of one tensor "a".
    const std::string_view header = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    Bytes shard(8);
    store_le(shard.data(), std::uint64_t{header.size()});
    append(shard, as_bytes(header));
    shard.resize(shard.size() + 4);
    const test::MemorySource sharded(
        {{"model.safetensors.index.json", input}, {"model-1.safetensors", shard}});
    const auto all = engine::read_sharded_safetensors(sharded, "model.safetensors.index.json");
    if (all) CHECK_EQ(all->size(), std::size_t{1});
    return 0;
}
