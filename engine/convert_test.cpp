#include "engine/convert.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/check.h"
#include "engine/core/float_types.h"
#include "engine/model/mixtral.h"
#include "engine/model/rope.h"
#include "engine/source_tokenizer.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

using test::MemorySource;
using test::TinyModel;
using test::TinyModelSpec;

class Convert : public testing::Test {
protected:
    Convert() {
        std::string path = testing::TempDir() + "ostal_convert_XXXXXX";
        CHECK(::mkdtemp(path.data()) != nullptr);
        root_ = path;
        out_ = root_ + "/model.gguf";
    }
    ~Convert() override { std::filesystem::remove_all(root_); }

    Result<Converted> convert(const WeightSource& source, ConvertOptions options) {
        auto files = ModelFiles::open(source);
        EXPECT_TRUE(files) << files.error().to_string();
        return convert_model(source, *files, system_, out_, options);
    }
    std::size_t files_left() const {
        const std::filesystem::directory_iterator all(root_);
        return static_cast<std::size_t>(std::distance(begin(all), end(all)));
    }

    std::string root_, out_;
    PosixFiles system_;
};

TinyModelSpec spec_of(const std::string& architecture) {
    TinyModelSpec spec;
    spec.architecture = architecture;
    return spec;
}

std::vector<float> values_of(const WeightSource& source, const TensorInfo& tensor) {
    Bytes bytes(static_cast<std::size_t>(tensor.bytes));
    const Status read = read_tensor(source, tensor, bytes);
    EXPECT_TRUE(read) << tensor.name;
    return test::decode_values(tensor.dtype, bytes);
}

// Types as convert.h says, and every value within the error of its type.
void expect_converted(const WeightSource& from, const std::string& path, DType asked) {
    const auto original = ModelFiles::open(from);
    const auto source = FolderSource::open(path);
    ASSERT_TRUE(original && source);
    const auto written = ModelFiles::open(**source);
    ASSERT_TRUE(written) << written.error().to_string();
    ASSERT_EQ(written->tensors().size(), original->tensors().size());
    for (const TensorInfo& tensor : written->tensors()) {
        const bool ends = tensor.name == "model.embed_tokens.weight" || tensor.name == "lm_head.weight";
        const bool small = tensor.shape.size() == 1 || tensor.name.ends_with("block_sparse_moe.gate.weight");
        EXPECT_EQ(tensor.dtype, small ? DType::kF32 : ends ? DType::kQ8_0 : asked) << tensor.name;
        const std::vector<float> expected = values_of(from, *original->find(tensor.name));
        const std::vector<float> got = values_of(**source, tensor);
        ASSERT_EQ(got.size(), expected.size());
        for (std::size_t i = 0; i < got.size(); ++i) {
            float largest = 0;
            for (std::size_t j = i / 32 * 32; j < std::min(i / 32 * 32 + 32, got.size()); ++j) {
                largest = std::max(largest, std::fabs(expected[j]));
            }
            const float step = tensor.dtype == DType::kQ8_0   ? largest / 127 / 2
                               : tensor.dtype == DType::kQ4_0 ? largest / 8  // the far side
                                                              : 0.0F;
            ASSERT_LE(std::fabs(got[i] - expected[i]), step * 1.002F) << tensor.name << " " << i;
        }
    }
}

TEST_F(Convert, EveryFormatOfAModelGivesTheSameFile) {
    for (const char* architecture : {"mixtral", "llama"}) {
        TinyModelSpec spec = spec_of(architecture);
        spec.tied_embeddings = spec.architecture == "llama";
        const TinyModel model(spec);
        const bool untied = !spec.tied_embeddings;
        for (const DType asked : {DType::kQ8_0, DType::kQ4_0}) {
            Bytes first;
            for (const MemorySource& source :
                 {model.folder(), model.folder(3), model.gguf(DType::kBF16), model.gguf(DType::kBF16, false),
                  untied ? model.mistral() : model.folder()}) {
                const auto done = convert(source, {.quantise = asked, .threads = 2, .overwrite = true});
                ASSERT_TRUE(done) << done.error().to_string();
                expect_converted(source, out_, asked);
                const auto read = FolderSource::open(out_);
                const auto files = ModelFiles::open(**read);
                Bytes weights;
                for (const TensorInfo& tensor : files->tensors()) {
                    Bytes bytes(static_cast<std::size_t>(tensor.bytes));
                    ASSERT_TRUE(read_tensor(**read, tensor, bytes));
                    append(weights, bytes);
                }
                if (first.empty()) first = weights;
                EXPECT_EQ(weights, first);
                EXPECT_EQ(done->bytes, std::filesystem::file_size(out_));
            }
        }
    }
    EXPECT_EQ(files_left(), 1U);
}

TEST_F(Convert, QuantisedSourcesAreReadExactlyAndKeptWhereTheyFit) {
    TinyModelSpec spec = spec_of("mixtral");
    spec.dim = spec.ffn = 256;
    spec.head_dim = 64;
    const TinyModel model(spec);
    for (const DType from : {DType::kQ4_0, DType::kQ5_1, DType::kQ6_K, DType::kF16}) {
        const MemorySource source = model.gguf(from);
        const auto done = convert(source, {.quantise = DType::kQ8_0, .threads = 1, .overwrite = true});
        ASSERT_TRUE(done) << done.error().to_string();
        expect_converted(source, out_, DType::kQ8_0);
    }
    const MemorySource q8 = model.gguf(DType::kQ8_0);
    ASSERT_TRUE(convert(q8, {.quantise = DType::kQ8_0, .threads = 1, .overwrite = true}));
    const auto before = ModelFiles::open(q8);
    const auto source = FolderSource::open(out_);
    const auto after = ModelFiles::open(**source);
    for (const TensorInfo& tensor : before->tensors()) {
        EXPECT_EQ(values_of(**source, *after->find(tensor.name)), values_of(q8, tensor)) << tensor.name;
    }
}

TEST_F(Convert, TheTokenizerGoesWithIt) {
    const TinyModel model(spec_of("mixtral"));
    for (const MemorySource& source : {model.folder(), model.gguf(DType::kF32)}) {
        ASSERT_TRUE(convert(source, {.quantise = DType::kQ8_0, .threads = 1, .overwrite = true}));
        const auto files = ModelFiles::open(source);
        const auto original = load_source_tokenizer(source, *files);
        const auto read = FolderSource::open(out_);
        const auto written = ModelFiles::open(**read);
        const auto tokenizer = load_source_tokenizer(**read, *written);
        ASSERT_TRUE(original && tokenizer);
        for (const char* text : {"hello world", "  a 1 é 日本", "[INST] x"}) {
            EXPECT_EQ(*(*tokenizer)->encode(text), *(*original)->encode(text)) << text;
        }
        EXPECT_EQ(written->config().bos, files->config().bos);
        EXPECT_EQ(written->config().eos, files->config().eos);
    }
}

TEST_F(Convert, MetadataOfAGgufIsKept) {
    const TinyModel model(spec_of("llama"));
    const MemorySource source = model.gguf(DType::kF32);
    ASSERT_TRUE(convert(source, {.quantise = DType::kQ4_0, .threads = 1, .overwrite = false}));
    const auto before = GgufFile::read(source, "model.gguf");
    const auto read = FolderSource::open(out_);
    const auto after = GgufFile::read(**read, "model.gguf");
    ASSERT_TRUE(before && after);
    for (const auto& [key, value] : before->metadata()) {
        if (key == "general.file_type") continue;
        ASSERT_NE(after->find(key), nullptr) << key;
        EXPECT_EQ(*after->find(key), value) << key;
    }
    EXPECT_EQ(*after->integer("general.file_type"), 2);
    EXPECT_EQ(*after->integer("general.quantization_version"), 2);
}

TEST_F(Convert, RopeScalingsAreCarriedOver) {
    const RopeScaling scalings[] = {
        {.kind = RopeKind::kLinear, .factor = 2.5},
        {.kind = RopeKind::kYarn,
         .factor = 4.0,
         .original_context = 64,
         .beta_fast = 16.0,
         .attention_factor = 1.3},
        {.kind = RopeKind::kLlama3,
         .factor = 8.0,
         .original_context = 64,
         .low_frequency_factor = 1.0,
         .high_frequency_factor = 4.0},
    };
    for (const RopeScaling& scaling : scalings) {
        TinyModelSpec spec = spec_of("llama");
        spec.rope_scaling = scaling;
        const MemorySource source = TinyModel(spec).folder();
        const auto done = convert(source, {.quantise = DType::kQ8_0, .threads = 1, .overwrite = true});
        ASSERT_TRUE(done) << done.error().to_string();
        const auto files = ModelFiles::open(source);
        const auto read = FolderSource::open(out_);
        const auto written = ModelFiles::open(**read);
        const auto before = load_weights(source, *files, 1);
        const auto after = load_weights(**read, *written, 1);
        ASSERT_TRUE(before && after);
        ASSERT_EQ(before->rope_frequencies.size(), after->rope_frequencies.size());
        for (std::size_t i = 0; i < before->rope_frequencies.size(); ++i) {
            EXPECT_NEAR(after->rope_frequencies[i], before->rope_frequencies[i],
                        2e-7 * before->rope_frequencies[i])
                << rope_kind_name(scaling.kind) << i;
        }
        EXPECT_NEAR(attention_scale(written->config()), attention_scale(files->config()), 1e-6);
    }
}

TEST_F(Convert, WindowsAreCarriedOverWhereTheyAreOfOneSize) {
    TinyModelSpec spec = spec_of("ministral");
    const ConvertOptions options{.quantise = DType::kQ8_0, .threads = 1, .overwrite = true};
    for (const std::vector<std::int32_t>& windows :
         {std::vector<std::int32_t>{32, 32}, {32, 0}, {0, 32}, {}}) {
        spec.windows = windows;
        ASSERT_TRUE(convert(TinyModel(spec).folder(), options));
        const auto read = FolderSource::open(out_);
        EXPECT_EQ(ModelFiles::open(**read)->config().windows, windows);
    }
    // params.json alone can say this.
    spec.architecture = "mistral";
    spec.windows = {32, 16};
    const auto mixed = convert(TinyModel(spec).mistral(), options);
    ASSERT_FALSE(mixed);
    EXPECT_EQ(mixed.error().code(), Code::kUnsupported);
    EXPECT_NE(mixed.error().message().find("windows of more than one size"), std::string::npos);
}

TEST_F(Convert, NeverReplacesUnasked) {
    const MemorySource source = TinyModel(spec_of("llama")).folder();
    ASSERT_TRUE(convert(source, {.quantise = DType::kQ8_0, .threads = 1, .overwrite = false}));
    const auto size = std::filesystem::file_size(out_);
    const auto again = convert(source, {.quantise = DType::kQ4_0, .threads = 1, .overwrite = false});
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code(), Code::kConflict);
    EXPECT_EQ(std::filesystem::file_size(out_), size);
    ASSERT_TRUE(convert(source, {.quantise = DType::kQ4_0, .threads = 1, .overwrite = true}));
    EXPECT_LT(std::filesystem::file_size(out_), size);
}

// Every call of the file system fails once with a full disk: an error of that kind, and nothing left.
TEST_F(Convert, AFullDiskLeavesNothing) {
    const MemorySource source = TinyModel(spec_of("llama")).folder();
    const auto files = ModelFiles::open(source);
    ASSERT_TRUE(files);
    std::uint64_t call = 1;
    for (;; ++call) {
        ASSERT_LT(call, 10000U);
        FaultyFiles faulty(system_);
        faulty.fail_at(call, ENOSPC, false);
        const auto done = convert_model(source, *files, faulty, out_,
                                        {.quantise = DType::kQ8_0, .threads = 1, .overwrite = true});
        if (!faulty.has_failed()) {
            EXPECT_TRUE(done);
            break;
        }
        if (done) {  // an error that does no harm (looking whether the file exists)
            std::filesystem::remove(out_);
            continue;
        }
        EXPECT_EQ(done.error().code(), Code::kNoSpace) << call << ": " << done.error().to_string();
        // The folder's own sync comes after the rename.
        if (files_left() != 0) {
            EXPECT_EQ(files_left(), 1U) << call;
            EXPECT_TRUE(std::filesystem::remove(out_)) << call;
        }
    }
    EXPECT_GT(call, 20U);
}

TEST_F(Convert, WhatGgufCannotHoldIsRefusedByName) {
    MemorySource source = TinyModel(spec_of("llama")).folder();
    source.erase("tokenizer.model");
    const auto none = convert(source, {});
    ASSERT_FALSE(none);
    EXPECT_NE(none.error().message().find("no tokenizer"), std::string::npos);
    EXPECT_EQ(files_left(), 0U);
}

}  // namespace
}  // namespace ostal::engine
