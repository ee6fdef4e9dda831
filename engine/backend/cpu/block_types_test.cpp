// Blocks of every quantised type against values that another reader of GGUF gives them
// (tests/tools/make_block_vectors.py).
#include <gtest/gtest.h>

#include <bit>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "engine/backend/cpu/isa.h"
#include "tests/support/guarded.h"
#include "tests/support/random_weight.h"

namespace ostal::engine::cpu {
namespace {

struct Vectors {
    DType type;
    Bytes blocks;
    std::vector<float> values;
};

std::vector<Vectors> read_vectors() {
    std::ifstream file("tests/vectors/gguf-blocks.json");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const auto parsed = json::parse(text);
    EXPECT_TRUE(parsed);
    std::vector<Vectors> all;
    for (const DType type : test::kWeightTypes) {
        if (!is_quantised(type)) continue;
        Vectors of{type, {}, {}};
        const json::Value* blocks = parsed->find("types")->find(dtype_name(type));
        EXPECT_NE(blocks, nullptr) << dtype_name(type);
        for (const json::Value& one : blocks->as_array()) {
            const auto block = from_hex(one.find("block")->as_string());
            const auto values = from_hex(one.find("values")->as_string());
            EXPECT_TRUE(block && values);
            append(of.blocks, *block);
            for (std::size_t i = 0; i < values->size(); i += 4) {
                of.values.push_back(std::bit_cast<float>(load_le<std::uint32_t>(values->data() + i)));
            }
        }
        all.push_back(std::move(of));
    }
    return all;
}

class BlockTypesTest : public testing::TestWithParam<const char*> {};

TEST_P(BlockTypesTest, BlocksMeanWhatTheFormatSays) {
    const auto kernels = select_kernels(GetParam());
    if (!kernels) GTEST_SKIP() << kernels.error().to_string();
    const std::vector<Vectors> all = read_vectors();
    EXPECT_EQ(all.size(), 8U);
    for (const Vectors& v : all) {
        ASSERT_EQ(v.blocks.size() / static_cast<std::size_t>(block_bytes(v.type)) *
                      static_cast<std::size_t>(block_elements(v.type)),
                  v.values.size());
        const test::Guarded<std::uint8_t> row(v.blocks);
        test::Guarded<float> out(v.values.size());
        (*kernels)->dequantise[format_of(v.type)](row.data(), static_cast<std::int64_t>(v.values.size()),
                                                  out.data());
        EXPECT_EQ(out.copy(), v.values) << dtype_name(v.type);
    }
}

INSTANTIATE_TEST_SUITE_P(Isa, BlockTypesTest, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

// What the tests compute with is held to the same.
TEST(BlockTypes, TheReaderOfTheTestsAgrees) {
    for (const Vectors& v : read_vectors()) {
        EXPECT_EQ(test::decode_values(v.type, v.blocks), v.values) << dtype_name(v.type);
    }
}

}  // namespace
}  // namespace ostal::engine::cpu
