// Embedding vectors as clients ask for them. A vector of length 1 (Euclidean) comes in; what goes out:
//   dimensions   the first d elements, scaled to length 1 again (Kusupati et al., "Matryoshka Representation
//                Learning", NeurIPS 2022; good only for models trained so)
//   float        the elements
//   int8         round(127 x), -127 to 127, halves away from zero
//   uint8        int8 + 128, 1 to 255
//   ubinary      a bit for each element, 1 where x > 0, eight to an unsigned byte, the first in the highest bit, the
//                last byte filled with zeros
//   binary       ubinary - 128: the same bits as a signed byte with an offset
// A list of numbers, or base64 (RFC 4648) of them: floats as 4 bytes little-endian (IEEE 754), others one byte each.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace ostal::api {

enum class EmbeddingType { kFloat, kInt8, kUint8, kBinary, kUbinary };

// "float", "int8", "uint8", "binary", "ubinary"; nothing for another word.
std::optional<EmbeddingType> embedding_type(std::string_view name);

// The first `dimensions` elements scaled to length 1; all zeros stay zeros. CHECK: 1 <= dimensions <= size.
std::vector<float> shorten(std::vector<float> embedding, std::size_t dimensions);

json::Value encode_embedding(const std::vector<float>& embedding, EmbeddingType type, bool base64);

}  // namespace ostal::api
