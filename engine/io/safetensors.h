// The safetensors format: a JSON header with name, dtype, shape and byte range of every tensor, then the
// bytes.
//
// Source: the format description in the README of the safetensors project (8-byte little-endian header
// length, JSON header, byte buffer without holes).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "engine/core/dtype.h"
#include "engine/io/weight_source.h"

namespace ostal::engine {

struct SafetensorsEntry {
    std::string name;
    DType dtype = DType::kF32;
    std::vector<std::int64_t> shape;
    std::string file;
    std::uint64_t offset = 0;  // of the first byte, from the start of the file
    std::uint64_t bytes = 0;
};

// Limits on what a file may ask for before anything of that size is allocated.
inline constexpr std::uint64_t kMaxSafetensorsHeaderBytes = 4ULL << 20U;
inline constexpr std::uint64_t kMaxIndexBytes = 4ULL << 20U;  // model.safetensors.index.json

// The entries of one file, sorted by offset. Guaranteed: names are unique, dtype x shape equals the byte
// range, ranges follow each other without overlap or hole and end at the end of the file, every range is
// aligned to its element. kInvalidArgument (malformed), kUnsupported (a dtype other than F32, F16, BF16, by
// name), kTooLarge (header), and what the source returns.
Result<std::vector<SafetensorsEntry>> read_safetensors_header(const WeightSource& source,
                                                              std::string_view file);

// The entries of all shards that model.safetensors.index.json names. Every tensor of the index lies in the
// shard the index says, and every tensor of a shard is in the index: kInvalidArgument names the tensor;
// kNotFound names a missing shard. The name of the index is STEM.safetensors.index.json.
Result<std::vector<SafetensorsEntry>> read_sharded_safetensors(const WeightSource& source,
                                                               std::string_view index_file);

// The entries of shards without an index. Each tensor lies whole in one of them, and their names count:
// STEM-0000x-of-0000y.safetensors with x from 1 to y, or STEM.0x.safetensors from 0: kInvalidArgument names
// the tensor or the file, kNotFound a missing shard.
Result<std::vector<SafetensorsEntry>> read_numbered_safetensors(const WeightSource& source,
                                                                std::vector<std::string> shards);

}  // namespace ostal::engine
