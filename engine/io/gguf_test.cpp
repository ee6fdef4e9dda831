#include "engine/io/gguf.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

#include "tests/support/allocation_watch.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

using test::GgufBuilder;
using test::MemorySource;

constexpr std::uint32_t kF32 = 0;
constexpr std::uint32_t kQ8_0 = 8;

MemorySource source_of(Bytes content) { return MemorySource({{"m.gguf", std::move(content)}}); }

// A small file with a value of each kind and three tensors.
GgufBuilder sample() {
    GgufBuilder out;
    out.add_text("general.architecture", "llama");
    out.add_u32("a.u32", 7);
    out.add_i32("a.i32", -7);
    out.add_u64("a.u64", std::numeric_limits<std::uint64_t>::max());
    out.add_f32("a.f32", 0.5F);
    out.add_bool("a.bool", true);
    out.add_texts("a.texts", {"x", "yz"});
    out.add_f32s("a.f32s", {1.0F, 2.0F});
    out.add_i32s("a.i32s", {-1, 2, 3});
    out.add_tensor("t.float", {2, 3}, kF32, Bytes(24));
    out.add_tensor("t.quant", {2, 64}, kQ8_0, Bytes(136));
    out.add_tensor("t.vector", {5}, kF32, Bytes(20));
    return out;
}

Result<GgufFile> read(const GgufBuilder& builder) {
    return GgufFile::read(source_of(builder.build()), "m.gguf");
}

// What a reader relies on; holds for every file that is accepted.
void expect_sound(const GgufFile& file, std::uint64_t size) {
    std::uint64_t end = 0;
    std::vector<GgufTensor> tensors = file.tensors();
    std::sort(tensors.begin(), tensors.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
    for (const GgufTensor& tensor : tensors) {
        ASSERT_GE(tensor.offset, end);
        ASSERT_LE(tensor.offset, size);
        ASSERT_LE(tensor.bytes, size - tensor.offset);
        end = tensor.offset + tensor.bytes;
        std::uint64_t rows = 1;
        for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i)
            rows *= static_cast<std::uint64_t>(tensor.shape[i]);
        ASSERT_EQ(tensor.bytes,
                  rows * static_cast<std::uint64_t>(row_bytes(tensor.dtype, tensor.shape.back())));
    }
}

// Refused with this code, a message that holds `part`, and without taking much memory.
void expect_refused(const Bytes& content, Code code, const std::string& part) {
    const MemorySource source = source_of(content);
    test::reset_largest_allocation();
    const auto file = GgufFile::read(source, "m.gguf");
    const std::size_t largest = test::largest_allocation();
    ASSERT_FALSE(file) << part;
    EXPECT_EQ(file.error().code(), code) << file.error().to_string();
    EXPECT_NE(file.error().to_string().find(part), std::string::npos) << file.error().to_string();
    EXPECT_LT(largest, std::size_t{2} << 20U) << file.error().to_string();
}

TEST(Gguf, ReadsValuesAndTensors) {
    for (const std::uint32_t version : {2U, 3U}) {
        GgufBuilder builder = sample();
        builder.version = version;
        const Bytes content = builder.build();
        const auto file = GgufFile::read(source_of(content), "m.gguf");
        ASSERT_TRUE(file) << file.error().to_string();
        EXPECT_EQ(file->version(), version);
        EXPECT_EQ(file->text("general.architecture")->value(), "llama");
        EXPECT_EQ(file->integer("a.u32")->value(), 7);
        EXPECT_EQ(file->integer("a.i32")->value(), -7);
        EXPECT_EQ(std::get<std::uint64_t>(*file->find("a.u64")), std::numeric_limits<std::uint64_t>::max());
        EXPECT_EQ(file->number("a.f32")->value(), 0.5);
        EXPECT_EQ(file->number("a.u32")->value(), 7.0);
        EXPECT_TRUE(file->boolean("a.bool")->value());
        EXPECT_EQ(*file->texts("a.texts").value(), (std::vector<std::string>{"x", "yz"}));
        EXPECT_EQ(*file->numbers("a.f32s").value(), (std::vector<double>{1.0, 2.0}));
        EXPECT_EQ(*file->integers("a.i32s").value(), (std::vector<std::int64_t>{-1, 2, 3}));
        EXPECT_FALSE(file->integer("absent")->has_value());
        EXPECT_EQ(file->texts("absent").value(), nullptr);
        // Another type than the one that is asked for.
        EXPECT_EQ(file->integer("a.f32").error().code(), Code::kInvalidArgument);
        EXPECT_EQ(file->text("a.u32").error().code(), Code::kInvalidArgument);
        EXPECT_EQ(file->integers("a.f32s").error().code(), Code::kInvalidArgument);
        EXPECT_EQ(file->integer("a.u64").error().code(), Code::kInvalidArgument);

        ASSERT_EQ(file->tensors().size(), 3U);
        const GgufTensor* quant = file->find_tensor("t.quant");
        ASSERT_NE(quant, nullptr);
        EXPECT_EQ(quant->shape, (std::vector<std::int64_t>{2, 64}));
        EXPECT_EQ(quant->dtype, DType::kQ8_0);
        EXPECT_EQ(quant->bytes, 136U);
        EXPECT_EQ(file->find_tensor("absent"), nullptr);
        expect_sound(*file, content.size());
    }
}

TEST(Gguf, RefusesOtherMagicAndVersions) {
    expect_refused(Bytes{}, Code::kInvalidArgument, "the file ends");
    Bytes content = sample().build();
    content[0] = 'g';
    expect_refused(content, Code::kInvalidArgument, "does not begin with");
    for (const std::uint32_t version : {0U, 1U, 4U, 0xFFFFFFFFU}) {
        GgufBuilder builder = sample();
        builder.version = version;
        expect_refused(builder.build(), Code::kUnsupported, "version");
    }
    GgufBuilder swapped = sample();
    swapped.version = 0x03000000U;
    expect_refused(swapped.build(), Code::kUnsupported, "big-endian");
}

// Counts and lengths near 2^32, 2^63 and 2^64: refused before memory of that size is taken.
const std::uint64_t kHostile[] = {std::uint64_t{1} << 20U,
                                  std::uint64_t{1} << 31U,
                                  (std::uint64_t{1} << 32U) - 1,
                                  std::uint64_t{1} << 32U,
                                  (std::uint64_t{1} << 32U) + 1,
                                  (std::uint64_t{1} << 61U),
                                  (std::uint64_t{1} << 63U) - 1,
                                  std::uint64_t{1} << 63U,
                                  (std::uint64_t{1} << 63U) + 1,
                                  UINT64_MAX - 23,
                                  UINT64_MAX - 1,
                                  UINT64_MAX};

TEST(Gguf, RefusesHostileCounts) {
    for (const std::uint64_t count : kHostile) {
        GgufBuilder tensors = sample();
        tensors.extra_tensors = count - 3;
        const auto file = read(tensors);
        ASSERT_FALSE(file) << count;
        GgufBuilder values = sample();
        values.extra_values = count - 9;
        ASSERT_FALSE(read(values)) << count;
    }
    GgufBuilder more = sample();
    more.extra_tensors = 1U << 16U;
    expect_refused(more.build(), Code::kInvalidArgument, "65539 tensors");
    more.extra_tensors = UINT64_MAX - 3;
    expect_refused(more.build(), Code::kTooLarge, "18446744073709551615 tensors");
}

TEST(Gguf, RefusesHostileLengths) {
    for (const std::uint64_t length : kHostile) {
        Bytes text;
        test::put_le64(text, length);
        GgufBuilder value;
        value.add_raw("k", 8, text);
        expect_refused(value.build(), Code::kInvalidArgument, "while reading k");

        for (std::uint32_t type : {0U, 4U, 6U, 7U, 8U, 10U, 12U}) {
            Bytes array;
            test::put_le32(array, type);
            test::put_le64(array, length);
            GgufBuilder elements;
            elements.add_raw("k", 9, array);
            const MemorySource source = source_of(elements.build());
            test::reset_largest_allocation();
            EXPECT_FALSE(GgufFile::read(source, "m.gguf")) << type << " " << length;
            EXPECT_LT(test::largest_allocation(), std::size_t{2} << 20U);
        }

        Bytes key = GgufBuilder().build();
        key.resize(24);
        store_le(key.data() + 16, std::uint64_t{1});  // one metadata value
        test::put_le64(key, length);
        key.resize(key.size() + 64, 'k');
        expect_refused(key, Code::kInvalidArgument, "a metadata key");
    }
}

TEST(Gguf, RefusesHostileDimensions) {
    for (const std::uint64_t size : kHostile) {
        for (const std::uint64_t other :
             {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{32}, std::uint64_t{1} << 32U, size}) {
            for (const std::uint32_t type : {kF32, kQ8_0}) {
                GgufBuilder builder;
                builder.add_tensor_entry("t", {size, other}, type, 0);
                expect_refused(builder.build(), Code::kInvalidArgument, "tensor t");
                GgufBuilder four;
                four.add_tensor_entry("t", {other, other, size, other}, type, 0);
                expect_refused(four.build(), Code::kInvalidArgument, "tensor t");
            }
        }
    }
    for (const std::vector<std::uint64_t>& shape :
         {std::vector<std::uint64_t>{}, {0}, {4, 0}, {0, 4}, {1, 1, 1, 1, 1}, {UINT64_MAX, UINT64_MAX}}) {
        GgufBuilder builder;
        builder.add_tensor_entry("t", shape, kF32, 0);
        expect_refused(builder.build(), Code::kInvalidArgument, "tensor t");
    }
    // 2^62 elements of 4 bytes: the product wraps to 0 in 64 bits.
    GgufBuilder wraps;
    wraps.add_tensor_entry("t", {std::uint64_t{1} << 31U, std::uint64_t{1} << 31U}, kF32, 0);
    expect_refused(wraps.build(), Code::kInvalidArgument, "tensor t");
    GgufBuilder ragged;
    ragged.add_tensor_entry("t", {33, 2}, kQ8_0, 0);
    expect_refused(ragged.build(), Code::kInvalidArgument, "whole blocks of q8_0");
    // A row that 32 divides is no row of a K type.
    const std::pair<std::uint32_t, std::string> wide[] = {{12, "q4_k"}, {13, "q5_k"}, {14, "q6_k"}};
    for (const auto& [type, name] : wide) {
        GgufBuilder narrow;
        narrow.add_tensor_entry("t", {288, 2}, type, 0);
        expect_refused(narrow.build(), Code::kInvalidArgument,
                       "288 values, which are not whole blocks of " + name);
    }
}

TEST(Gguf, RefusesTensorsOutsideTheFile) {
    for (const std::uint64_t offset : kHostile) {
        GgufBuilder builder = sample();
        builder.add_tensor_entry("t.far", {8}, kF32, offset / 32 * 32);
        expect_refused(builder.build(), Code::kInvalidArgument, "t.far");
    }
    // A tensor declared larger than the file (what let Bleeding Llama read the heap).
    GgufBuilder larger;
    larger.add_tensor_entry("t", {1024}, kF32, 0);
    Bytes content = larger.build();
    content.resize(content.size() + 4095);
    expect_refused(content, Code::kInvalidArgument, "goes past the end of the file");
    content.resize(content.size() + 1);
    EXPECT_TRUE(GgufFile::read(source_of(content), "m.gguf"));
    // The directory ends where the file ends: no data at all.
    GgufBuilder none;
    none.add_tensor_entry("t", {8}, kF32, 0);
    none.alignment = 1;
    expect_refused(none.build(), Code::kInvalidArgument, "goes past the end of the file");
}

TEST(Gguf, RefusesOverlapDuplicatesAndMisalignment) {
    GgufBuilder overlap = sample();
    overlap.add_tensor_entry("t.again", {8}, kF32, 32);
    expect_refused(overlap.build(), Code::kInvalidArgument, "overlap");
    GgufBuilder duplicate = sample();
    duplicate.add_tensor("t.float", {1}, kF32, Bytes(4));
    expect_refused(duplicate.build(), Code::kInvalidArgument, "tensor t.float appears twice");
    GgufBuilder key = sample();
    key.add_u32("a.u32", 1);
    expect_refused(key.build(), Code::kInvalidArgument, "a.u32 appears twice");
    GgufBuilder misaligned = sample();
    misaligned.add_tensor_entry("t.odd", {1}, kF32, 4);
    expect_refused(misaligned.build(), Code::kInvalidArgument, "not a multiple of 32");
}

TEST(Gguf, ChecksTheAlignment) {
    for (const std::uint32_t bytes : {0U, 1U, 3U, 4U, 24U, 33U, 1U << 17U, 0x80000000U, 0xFFFFFFFFU}) {
        GgufBuilder builder = sample();
        builder.add_u32("general.alignment", bytes);
        expect_refused(builder.build(), Code::kInvalidArgument,
                       "general.alignment is " + std::to_string(bytes));
    }
    GgufBuilder negative = sample();
    negative.add_i32("general.alignment", -32);
    expect_refused(negative.build(), Code::kInvalidArgument, "general.alignment is -32");
    GgufBuilder text = sample();
    text.add_text("general.alignment", "32");
    expect_refused(text.build(), Code::kInvalidArgument, "general.alignment");
    GgufBuilder wide;
    wide.alignment = 4096;
    wide.add_u32("general.alignment", 4096);
    wide.add_tensor("a", {8}, kF32, Bytes(32));
    wide.add_tensor("b", {8}, kF32, Bytes(32));
    const auto file = read(wide);
    ASSERT_TRUE(file) << file.error().to_string();
    EXPECT_EQ(file->find_tensor("b")->offset, 2U * 4096U);
}

TEST(Gguf, RefusesOtherTypesByName) {
    const std::pair<std::uint32_t, const char*> kTypes[] = {
        {9, "Q8_1"},     {10, "Q2_K"},   {11, "Q3_K"},    {15, "Q8_K"},
        {16, "IQ2_XXS"}, {23, "IQ4_XS"}, {34, "TQ1_0"},   {35, "TQ2_0"},
        {26, "I32"},     {28, "F64"},    {4, "number 4"}, {UINT32_MAX, "number 4294967295"}};
    for (const auto& [type, name] : kTypes) {
        GgufBuilder builder;
        builder.add_tensor("blk.0.attn_v.weight", {256}, type, Bytes(1024));
        expect_refused(builder.build(), Code::kUnsupported,
                       "tensor blk.0.attn_v.weight has type " + std::string(name));
    }
    for (const std::uint32_t type : {13U, 255U, UINT32_MAX}) {
        GgufBuilder builder;
        builder.add_raw("k", type, Bytes(16));
        expect_refused(builder.build(), Code::kUnsupported, "the value of k");
    }
    Bytes nested;
    test::put_le32(nested, 9);
    test::put_le64(nested, 1);
    nested.resize(64);
    GgufBuilder arrays;
    arrays.add_raw("k", 9, nested);
    expect_refused(arrays.build(), Code::kUnsupported, "arrays of values of type 9");
    GgufBuilder truth;
    truth.add_raw("k", 7, Bytes{2});
    truth.alignment = 64;
    expect_refused(truth.build(), Code::kInvalidArgument, "expected 0 or 1");
    GgufBuilder split = sample();
    split.add_u32("split.count", 3);
    expect_refused(split.build(), Code::kUnsupported, "3 parts");
}

TEST(Gguf, RefusesNamesThatAreNotPlain) {
    for (const std::string& name : {std::string(), std::string("a b"), std::string("a\nb"),
                                    std::string("\xFF"), std::string("\0", 1), std::string(257, 'a')}) {
        GgufBuilder tensor;
        tensor.add_tensor(name, {8}, kF32, Bytes(32));
        EXPECT_FALSE(read(tensor)) << name;
        GgufBuilder key;
        key.add_u32(name, 1);
        EXPECT_FALSE(read(key)) << name;
    }
}

// Cut at every length: always refused, never read past the end.
TEST(Gguf, SurvivesTruncationAtEveryLength) {
    const Bytes whole = sample().build();
    for (std::size_t length = 0; length + 12 < whole.size(); ++length) {  // the last tensor's padding may go
        const MemorySource source =
            source_of(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
        EXPECT_FALSE(GgufFile::read(source, "m.gguf")) << length;
    }
}

// Every byte with every bit flipped and with extreme values: refused, or sound.
TEST(Gguf, SurvivesMutationOfEveryByte) {
    const Bytes whole = sample().build();
    int accepted = 0;
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (int way = 0; way < 11; ++way) {
            Bytes content = whole;
            content[at] = way < 8
                              ? static_cast<std::uint8_t>(content[at] ^ (1U << static_cast<unsigned>(way)))
                          : way == 8 ? 0x00
                          : way == 9 ? 0xFF
                                     : 0x7F;
            test::reset_largest_allocation();
            const auto file = GgufFile::read(source_of(content), "m.gguf");
            ASSERT_LT(test::largest_allocation(), std::size_t{4} << 20U) << at;
            if (!file) continue;
            ++accepted;
            expect_sound(*file, content.size());
        }
    }
    EXPECT_GT(accepted, 0);
}

TEST(Gguf, SurvivesRandomDamage) {
    const Bytes whole = sample().build();
    std::mt19937_64 random(20240607);
    for (int round = 0; round < 20000; ++round) {
        Bytes content = whole;
        for (std::uint64_t i = 0; i < 1 + random() % 4; ++i) {
            const std::size_t at = random() % content.size();
            const std::uint64_t value =
                random() % 3 == 0 ? kHostile[random() % std::size(kHostile)] : random();
            for (std::size_t k = 0; k < 1 + random() % 8 && at + k < content.size(); ++k) {
                content[at + k] = static_cast<std::uint8_t>(value >> (8 * k));
            }
        }
        const auto file = GgufFile::read(source_of(content), "m.gguf");
        if (file) expect_sound(*file, content.size());
    }
}

TEST(GgufTokenizer, ReadsWhatAFileSays) {
    const test::TinyModel model({});
    const auto file = GgufFile::read(model.gguf(DType::kF32), "model.gguf");
    ASSERT_TRUE(file) << file.error().to_string();
    const auto tokenizer = gguf_tokenizer(*file);
    ASSERT_TRUE(tokenizer) << tokenizer.error().to_string();
    EXPECT_EQ(tokenizer->model, "llama");
    EXPECT_EQ(tokenizer->pre, "default");
    EXPECT_EQ(tokenizer->tokens.size(), 384U);
    EXPECT_EQ(tokenizer->tokens[3], "[INST]");
    EXPECT_EQ(tokenizer->token_types[3], 3);
    EXPECT_EQ(tokenizer->scores.size(), 384U);
    EXPECT_EQ(tokenizer->bos, 1);
    EXPECT_EQ(tokenizer->eos, 2);
    EXPECT_EQ(tokenizer->unknown, 0);
    EXPECT_EQ(tokenizer->eot, -1);
    EXPECT_EQ(tokenizer->add_bos, true);
    EXPECT_FALSE(tokenizer->add_space_prefix.has_value());
}

TEST(GgufTokenizer, RefusesWhatDoesNotFitTogether) {
    const auto tokenizer_of = [](const GgufBuilder& builder) {
        const auto file = read(builder);
        EXPECT_TRUE(file);
        return gguf_tokenizer(*file);
    };
    EXPECT_EQ(tokenizer_of(GgufBuilder()).error().code(), Code::kNotFound);
    GgufBuilder scores;
    scores.add_texts("tokenizer.ggml.tokens", {"a", "b"});
    scores.add_f32s("tokenizer.ggml.scores", {1.0F});
    EXPECT_EQ(tokenizer_of(scores).error().code(), Code::kInvalidArgument);
    GgufBuilder nan;
    nan.add_texts("tokenizer.ggml.tokens", {"a"});
    nan.add_f32s("tokenizer.ggml.scores", {std::numeric_limits<float>::quiet_NaN()});
    EXPECT_EQ(tokenizer_of(nan).error().code(), Code::kInvalidArgument);
    GgufBuilder type;
    type.add_texts("tokenizer.ggml.tokens", {"a"});
    type.add_i32s("tokenizer.ggml.token_type", {7});
    EXPECT_EQ(tokenizer_of(type).error().code(), Code::kInvalidArgument);
    for (const std::uint32_t id : {2U, 0x80000000U, 0xFFFFFFFFU}) {
        GgufBuilder bos;
        bos.add_texts("tokenizer.ggml.tokens", {"a", "b"});
        bos.add_u32("tokenizer.ggml.bos_token_id", id);
        EXPECT_EQ(tokenizer_of(bos).error().code(), Code::kInvalidArgument) << id;
    }
    GgufBuilder negative;
    negative.add_texts("tokenizer.ggml.tokens", {"a", "b"});
    negative.add_i32("tokenizer.ggml.eos_token_id", -1);
    EXPECT_EQ(tokenizer_of(negative).error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ostal::engine
