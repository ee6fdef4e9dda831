#include "appliance/api/embedding_encoding.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace ostal::api {
namespace {

const std::vector<float> kVector = {0.5F, -0.5F, 0.0F, 0.7F, -0.01F, 0.1F, 0.004F, -0.004F, 0.05F};

std::string encoded(EmbeddingType type, bool base64) { return json::to_string(encode_embedding(kVector, type, base64)); }

TEST(EmbeddingEncoding, IntegersAsDefined) {
    EXPECT_EQ(encoded(EmbeddingType::kInt8, false), "[64,-64,0,89,-1,13,1,-1,6]");
    EXPECT_EQ(encoded(EmbeddingType::kUint8, false), "[192,64,128,217,127,141,129,127,134]");
    // 10010110 1.......
    EXPECT_EQ(encoded(EmbeddingType::kUbinary, false), "[150,128]");
    EXPECT_EQ(encoded(EmbeddingType::kBinary, false), "[22,0]");
}

TEST(EmbeddingEncoding, Base64HasTheSameBytes) {
    EXPECT_EQ(encoded(EmbeddingType::kUbinary, true), json::quote(to_base64(Bytes{150, 128})));
    EXPECT_EQ(encoded(EmbeddingType::kInt8, true), json::quote(to_base64(Bytes{64, 192, 0, 89, 255, 13, 1, 255, 6})));
    const json::Value floats = encode_embedding({1.0F, -2.0F}, EmbeddingType::kFloat, true);
    EXPECT_EQ(floats.as_string(), to_base64(Bytes{0, 0, 0x80, 0x3F, 0, 0, 0, 0xC0}));
}

TEST(EmbeddingEncoding, ExtremesStayInRange) {
    const std::vector<float> extremes = {1.0F, -1.0F};
    EXPECT_EQ(json::to_string(encode_embedding(extremes, EmbeddingType::kInt8, false)), "[127,-127]");
    EXPECT_EQ(json::to_string(encode_embedding(extremes, EmbeddingType::kUint8, false)), "[255,1]");
}

TEST(EmbeddingEncoding, ShortVectorsHaveLengthOne) {
    const std::vector<float> shorter = shorten({0.6F, 0.0F, 0.8F}, 2);
    EXPECT_EQ(shorter, (std::vector<float>{1.0F, 0.0F}));
    EXPECT_EQ(shorten({0.0F, 1.0F}, 1), (std::vector<float>{0.0F}));
    EXPECT_EQ(shorten({0.6F, 0.8F}, 2), (std::vector<float>{0.6F, 0.8F}));
}

TEST(EmbeddingEncoding, KnowsItsTypes) {
    EXPECT_EQ(embedding_type("ubinary"), EmbeddingType::kUbinary);
    EXPECT_FALSE(embedding_type("float16"));
}

}  // namespace
}  // namespace ostal::api
