#include "engine/io/safetensors.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/support/allocation_watch.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

using test::MemorySource;

Bytes file_of(const std::string& header, std::size_t data_bytes) {
    Bytes out;
    test::put_le64(out, header.size());
    append(out, as_bytes(header));
    out.resize(out.size() + data_bytes);
    return out;
}
MemorySource source_of(Bytes content) { return MemorySource({{"model.safetensors", std::move(content)}}); }
auto read(const Bytes& content) { return read_safetensors_header(source_of(content), "model.safetensors"); }

const std::string kTwo =
    R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
    R"("b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]}}   )";

void expect_refused(const std::string& header, std::size_t data_bytes, Code code, const std::string& part) {
    const MemorySource source = source_of(file_of(header, data_bytes));
    test::reset_largest_allocation();
    const auto entries = read_safetensors_header(source, "model.safetensors");
    const std::size_t largest = test::largest_allocation();
    ASSERT_FALSE(entries) << header;
    EXPECT_EQ(entries.error().code(), code) << entries.error().to_string();
    EXPECT_NE(entries.error().to_string().find(part), std::string::npos) << entries.error().to_string();
    EXPECT_LT(largest, std::size_t{2} << 20U) << header;
}

TEST(Safetensors, ReadsEntries) {
    const auto entries = read(file_of(kTwo, 32));
    ASSERT_TRUE(entries) << entries.error().to_string();
    ASSERT_EQ(entries->size(), 2U);
    EXPECT_EQ((*entries)[0].name, "a");
    EXPECT_EQ((*entries)[0].shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ((*entries)[0].offset, 8 + kTwo.size());
    EXPECT_EQ((*entries)[1].dtype, DType::kBF16);
    EXPECT_EQ((*entries)[1].offset, 8 + kTwo.size() + 24);
    EXPECT_EQ((*entries)[1].bytes, 8U);
}

TEST(Safetensors, RefusesHostileHeaderLengths) {
    for (const std::uint64_t length :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{41}, std::uint64_t{1} << 31U,
          (std::uint64_t{1} << 32U) - 1, std::uint64_t{1} << 32U, (std::uint64_t{1} << 63U) - 1,
          std::uint64_t{1} << 63U, UINT64_MAX - 8, UINT64_MAX - 7, UINT64_MAX}) {
        Bytes content = file_of(kTwo, 32);
        store_le(content.data(), length);
        test::reset_largest_allocation();
        EXPECT_FALSE(read(content)) << length;
        EXPECT_LT(test::largest_allocation(), std::size_t{2} << 20U);
    }
    const auto large = read(file_of("{" + std::string(kMaxSafetensorsHeaderBytes, ' ') + "}", 0));
    ASSERT_FALSE(large);
    EXPECT_EQ(large.error().code(), Code::kTooLarge);
}

TEST(Safetensors, RefusesWrongEntries) {
    const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& range) {
        return R"({"t":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + range + "}}";
    };
    expect_refused("[]", 0, Code::kInvalidArgument, "does not begin with '{'");
    expect_refused(" {}", 0, Code::kInvalidArgument, "does not begin with '{'");
    expect_refused("{", 0, Code::kInvalidArgument, "model.safetensors");
    expect_refused(R"({"t":1})", 0, Code::kInvalidArgument, "tensor t is not an object");
    expect_refused(R"({"a b":{}})", 0, Code::kInvalidArgument, "not plain ASCII");
    expect_refused(R"({"__metadata__":{"a":1}})", 0, Code::kInvalidArgument, "__metadata__");
    expect_refused(R"({"__metadata__":[]})", 0, Code::kInvalidArgument, "__metadata__");
    for (const char* dtype : {"\"F64\"", "\"I64\"", "\"F8_E4M3\"", "\"BOOL\"", "\"f32\"", "\"\""}) {
        expect_refused(entry(dtype, "[1]", "[0,4]"), 4, Code::kUnsupported,
                       "tensor t has dtype " + std::string(dtype));
    }
    expect_refused(entry("1", "[1]", "[0,4]"), 4, Code::kInvalidArgument, "has no dtype");
    expect_refused(entry("\"F32\"", "1", "[0,4]"), 4, Code::kInvalidArgument, "has no shape");
    for (const char* shape :
         {"[-1]", "[1.0]", "[\"1\"]", "[null]", "[18446744073709551615]", "[9223372036854775808]"}) {
        expect_refused(entry("\"F32\"", shape, "[0,4]"), 4, Code::kInvalidArgument, "tensor t");
    }
    for (const char* shape : {"[2]", "[0]", "[1,2]", "[1152921504606846977,4]", "[4294967296,4294967296]",
                              "[9223372036854775807,2]", "[9223372036854775807]"}) {
        expect_refused(entry("\"F32\"", shape, "[0,4]"), 4, Code::kInvalidArgument, "tensor t of shape");
    }
    expect_refused(entry("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, Code::kInvalidArgument,
                   "9 dimensions");
    for (const char* range : {"[4,0]", "[0]", "[0,4,8]", "{}", "[-4,0]", "[0,4.0]", "[\"0\",4]"}) {
        expect_refused(entry("\"F32\"", "[1]", range), 4, Code::kInvalidArgument, "data_offsets");
    }
    // Data past the end of the file, near the borders of the integers.
    for (const char* range : {"[0,5]", "[4,8]", "[0,4294967296]", "[0,9223372036854775807]",
                              "[0,18446744073709551615]", "[18446744073709551612,18446744073709551615]"}) {
        expect_refused(entry("\"F32\"", "[1]", range), 4, Code::kInvalidArgument, "damaged or incomplete");
    }
    expect_refused(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4,
                   Code::kInvalidArgument, "unknown member");
    expect_refused(R"({"t":{"dtype":"F32","shape":[1]}})", 4, Code::kInvalidArgument, "data_offsets");
}

TEST(Safetensors, RefusesOverlapHolesDuplicatesAndMisalignment) {
    const auto two = [](const std::string& first, const std::string& second, const char* name = "b") {
        return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":)" + first + R"(},")" + name +
               R"(":{"dtype":"F32","shape":[2],"data_offsets":)" + second + "}}";
    };
    EXPECT_TRUE(read(file_of(two("[0,8]", "[8,16]"), 16)));
    EXPECT_TRUE(read(file_of(two("[8,16]", "[0,8]"), 16)));
    expect_refused(two("[0,8]", "[4,12]"), 12, Code::kInvalidArgument, "overlap");
    expect_refused(two("[0,8]", "[0,8]"), 8, Code::kInvalidArgument, "overlap");
    expect_refused(two("[0,8]", "[12,20]"), 20, Code::kInvalidArgument, "no tensor owns the bytes 8 to 12");
    expect_refused(two("[4,12]", "[12,20]"), 20, Code::kInvalidArgument, "no tensor owns the bytes 0 to 4");
    expect_refused(two("[0,8]", "[8,16]"), 17, Code::kInvalidArgument, "17 bytes of tensors");
    expect_refused(two("[0,8]", "[8,16]", "a"), 16, Code::kInvalidArgument, "model.safetensors");
    expect_refused(
        R"({"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}})",
        6, Code::kInvalidArgument, "not aligned");
}

void expect_sound(const std::vector<SafetensorsEntry>& entries, std::uint64_t size) {
    std::uint64_t end = 0;
    for (const SafetensorsEntry& entry : entries) {
        ASSERT_GE(entry.offset, end);
        ASSERT_LE(entry.offset, size);
        ASSERT_LE(entry.bytes, size - entry.offset);
        end = entry.offset + entry.bytes;
    }
}

TEST(Safetensors, SurvivesTruncationAndMutationOfEveryByte) {
    const Bytes whole = file_of(kTwo, 32);
    for (std::size_t length = 0; length < whole.size(); ++length) {
        EXPECT_FALSE(read(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length))))
            << length;
    }
    for (std::size_t at = 0; at < 8 + kTwo.size(); ++at) {
        for (unsigned value = 0; value < 256; ++value) {
            Bytes content = whole;
            content[at] = static_cast<std::uint8_t>(value);
            const auto entries = read(content);
            if (entries) expect_sound(*entries, content.size());
        }
    }
    std::mt19937_64 random(7);
    const std::string_view alphabet = "{}[],:\"0123456789-.eE abF\\u";
    for (int round = 0; round < 20000; ++round) {
        Bytes content = whole;
        for (std::uint64_t i = 0; i < 1 + random() % 6; ++i) {
            content[8 + random() % kTwo.size()] =
                static_cast<std::uint8_t>(alphabet[random() % alphabet.size()]);
        }
        const auto entries = read(content);
        if (entries) expect_sound(*entries, content.size());
    }
}

class Sharded : public ::testing::Test {
protected:
    static constexpr const char* kIndex = "model.safetensors.index.json";
    void refused(const std::string& part, Code code = Code::kInvalidArgument) {
        const auto entries = read_sharded_safetensors(source_, kIndex);
        ASSERT_FALSE(entries) << part;
        EXPECT_EQ(entries.error().code(), code) << entries.error().to_string();
        EXPECT_NE(entries.error().to_string().find(part), std::string::npos) << entries.error().to_string();
    }
    void replace(const std::string& from, const std::string& to) {
        std::string text(as_text(source_.content(kIndex)));
        const std::size_t at = text.find(from);
        ASSERT_NE(at, std::string::npos);
        text.replace(at, from.size(), to);
        source_.set(kIndex, Bytes(text.begin(), text.end()));
    }
    test::TinyModel model_{{}};
    MemorySource source_ = model_.folder(3);
};

TEST_F(Sharded, ReadsAllShards) {
    const auto entries = read_sharded_safetensors(source_, kIndex);
    ASSERT_TRUE(entries) << entries.error().to_string();
    EXPECT_EQ(entries->size(), model_.tensors().size());
}
TEST_F(Sharded, NamesAMissingShard) {
    source_.erase("model-00002-of-00003.safetensors");
    refused("model-00002-of-00003.safetensors", Code::kNotFound);
}
TEST_F(Sharded, NamesAnExtraShard) {
    source_.set("model-00004-of-00004.safetensors", source_.content("model-00001-of-00003.safetensors"));
    refused("model-00004-of-00004.safetensors with tensor model.embed_tokens.weight, which");
    // One without tensors does no harm.
    source_.set("model-00004-of-00004.safetensors", file_of("{}", 0));
    EXPECT_TRUE(read_sharded_safetensors(source_, kIndex));
}
TEST_F(Sharded, NamesATensorOfTheIndexThatNoShardHas) {
    replace("\"model.norm.weight\"", "\"model.norms.weight\"");
    refused("model.norm.weight of model-00003-of-00003.safetensors is not in");
    replace("\"model.norms.weight\"",
            "\"model.norm.weight\": \"model-00003-of-00003.safetensors\",\n    \"zeta\"");
    refused("tensor zeta is in model.safetensors.index.json but not in");
}
TEST_F(Sharded, NamesATensorInAnotherShard) {
    replace("\"model.norm.weight\": \"model-00003", "\"model.norm.weight\": \"model-00001");
    refused("tensor model.norm.weight lies in model-00003-of-00003.safetensors");
}
TEST_F(Sharded, RefusesPathsInTheIndex) {
    for (const char* path : {"../model-00003", "/etc/model-00003", "sub/model-00003"}) {
        source_ = model_.folder(3);
        replace("\"model.norm.weight\": \"model-00003", "\"model.norm.weight\": \"" + std::string(path));
        refused("is not mapped to the name of a .safetensors file");
    }
    for (const char* index : {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})",
                              R"({"weight_map":{"a":1}})", R"({"weight_map":{"a":"pytorch_model.bin"}})"}) {
        const std::string text = index;
        source_.set(kIndex, Bytes(text.begin(), text.end()));
        refused(kIndex);
    }
}

}  // namespace
}  // namespace ostal::engine
