#include "engine/io/model_files.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <mutex>

#include "engine/core/float_types.h"
#include "tests/support/gguf_builder.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

using test::MemorySource;
using test::TinyModel;
using test::TinyModelSpec;
using test::TinyTensor;

TinyModelSpec spec_of(const std::string& architecture, DType dtype = DType::kBF16) {
    TinyModelSpec spec;
    spec.architecture = architecture;
    spec.dtype = dtype;
    return spec;
}

std::vector<float> values_of(const WeightSource& source, const TensorInfo& tensor) {
    Bytes bytes(static_cast<std::size_t>(tensor.bytes));
    const auto read = read_tensor(source, tensor, bytes);
    EXPECT_TRUE(read) << read.error().to_string();
    return test::decode_values(tensor.dtype, bytes);
}

// The source holds exactly the tensors of `model`, value by value.
void expect_same(const WeightSource& source, const TinyModel& model) {
    const auto files = ModelFiles::open(source);
    ASSERT_TRUE(files) << files.error().to_string();
    ASSERT_EQ(files->tensors().size(), model.tensors().size());
    for (const TinyTensor& expected : model.tensors()) {
        const TensorInfo* tensor = files->find(expected.name);
        ASSERT_NE(tensor, nullptr) << expected.name;
        EXPECT_EQ(tensor->shape, expected.shape) << expected.name;
        EXPECT_EQ(values_of(source, *tensor), expected.values) << expected.name;
    }
}

void expect_refused(const WeightSource& source, Code code, const std::string& part) {
    const auto files = ModelFiles::open(source);
    ASSERT_FALSE(files) << part;
    EXPECT_EQ(files.error().code(), code) << files.error().to_string();
    EXPECT_NE(files.error().to_string().find(part), std::string::npos) << files.error().to_string();
}

// One set of weights through every layout and type gives the same tensors, q and k rows in one order.
TEST(ModelFiles, EveryLayoutGivesTheSameTensors) {
    for (const char* architecture : {"mixtral", "mistral", "llama"}) {
        for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
            const TinyModel model(spec_of(architecture, dtype));
            expect_same(model.folder(), model);
            expect_same(model.folder(3), model);
            expect_same(model.mistral(), model);
            expect_same(model.mistral(3, true), model);
            expect_same(model.mistral(4, false), model);
            expect_same(model.gguf(DType::kF32), model);
            if (dtype != DType::kF32) expect_same(model.gguf(dtype), model);
            expect_same(model.gguf(DType::kF32, false), model);  // each expert on its own
        }
        const TinyModel model(spec_of(architecture));
        for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1}) {
            expect_same(model.gguf(dtype), model.rounded_to(dtype));
        }
        TinyModelSpec wide_spec = spec_of(architecture);
        wide_spec.dim = wide_spec.ffn = 256;
        wide_spec.head_dim = 64;
        const TinyModel wide(wide_spec);
        for (const DType dtype : {DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
            expect_same(wide.gguf(dtype), wide.rounded_to(dtype));
        }
    }
}

TEST(ModelFiles, TiedEmbeddingsAndHeadsOfTheirOwnSize) {
    TinyModelSpec spec = spec_of("llama");
    spec.tied_embeddings = true;
    spec.head_dim = 32;  // 4 heads of 32 over a width of 64
    const TinyModel model(spec);
    expect_same(model.folder(), model);
    expect_same(model.gguf(DType::kBF16), model);
    const MemorySource source = model.gguf(DType::kBF16);
    const auto files = ModelFiles::open(source);
    ASSERT_TRUE(files);
    EXPECT_TRUE(files->config().tied_embeddings);
    EXPECT_EQ(files->find("lm_head.weight"), nullptr);
    EXPECT_EQ(files->config().head_dim, 32);
}

// Shards that no index names count by their names.
TEST(ModelFiles, ShardsOfAMistralFolder) {
    const TinyModel model(spec_of("mixtral"));
    const std::string first = "consolidated-00001-of-00003.safetensors";
    const std::string second = "consolidated-00002-of-00003.safetensors";
    const std::string third = "consolidated-00003-of-00003.safetensors";
    const MemorySource sound = model.mistral(3, false);
    MemorySource dotted = sound;
    for (const auto& [from, to] : {std::pair{first, "consolidated.00.safetensors"},
                                   {second, "consolidated.01.safetensors"},
                                   {third, "consolidated.02.safetensors"}}) {
        dotted.set(to, dotted.content(from));
        dotted.erase(from);
    }
    expect_same(dotted, model);
    for (const char* name : {"consolidated.00.safetensors", "consolidated.01.safetensors"}) {
        MemorySource gap = dotted;
        gap.erase(name);
        expect_refused(gap, Code::kNotFound, name);
    }
    for (const std::string& name : {first, second, third}) {
        MemorySource gap = sound;
        gap.erase(name);
        expect_refused(gap, Code::kNotFound, name);
    }
    MemorySource twice = sound;
    twice.set(second, twice.content(first));
    expect_refused(twice, Code::kInvalidArgument, "lies in " + first + " and in " + second);
    MemorySource odd = sound;
    odd.set("consolidated-vision.safetensors", odd.content(first));
    expect_refused(odd, Code::kInvalidArgument, "consolidated-");
    MemorySource both = sound;
    both.set("consolidated.safetensors", model.mistral().content("consolidated.safetensors"));
    expect_refused(both, Code::kInvalidArgument, "keep one");
    MemorySource unnamed = model.mistral(3, true);
    unnamed.set("consolidated-00004-of-00004.safetensors",
                model.mistral().content("consolidated.safetensors"));
    expect_refused(unnamed, Code::kInvalidArgument, "does not name");
    MemorySource silent = sound;
    silent.erase("params.json");
    expect_refused(silent, Code::kNotFound, "params.json");
    const auto files = ModelFiles::open(sound);
    ASSERT_TRUE(files);
    EXPECT_EQ(files->layout(), Layout::kMistral);
}

TEST(ModelFiles, ExpertsOfAGgufFileLieInOneWay) {
    const TinyModel model(spec_of("mixtral"));
    MemorySource source = model.gguf(DType::kF32, false);
    Bytes& content = source.content("model.gguf");
    const std::string name = "blk.0.ffn_up.1.weight";
    const auto at = std::search(content.begin(), content.end(), name.begin(), name.end());
    ASSERT_NE(at, content.end());
    *(at + 13) = '9';  // blk.0.ffn_up.9.weight
    expect_refused(source, Code::kInvalidArgument, "tensor blk.0.ffn_up_exps.weight is missing");
}

TEST(ModelFiles, SaysWhatItHolds) {
    const TinyModel model(spec_of("mixtral"));
    const MemorySource folder = model.folder();
    const auto files = ModelFiles::open(folder);
    ASSERT_TRUE(files);
    std::int64_t parameters = 0;
    for (const TinyTensor& tensor : model.tensors())
        parameters += static_cast<std::int64_t>(tensor.values.size());
    EXPECT_EQ(files->parameters(), parameters);
    EXPECT_EQ(files->weight_bytes(), static_cast<std::uint64_t>(2 * parameters));
    EXPECT_EQ(files->weight_types(), "bf16");
    EXPECT_EQ(files->gguf(), nullptr);
    EXPECT_EQ(files->config().architecture, "mixtral");
    const MemorySource quantised = model.gguf(DType::kQ4_0);
    const auto gguf = ModelFiles::open(quantised);
    ASSERT_TRUE(gguf);
    EXPECT_EQ(gguf->weight_types(), "q4_0+f32");
    EXPECT_NE(gguf->gguf(), nullptr);
    EXPECT_EQ(gguf->find("nothing"), nullptr);
}

TEST(ModelFiles, ReadsOstalMini) {
    const auto source = FolderSource::open(std::string(OSTAL_SOURCE_DIR) + "/models/ostal-mini");
    ASSERT_TRUE(source) << source.error().to_string();
    const auto files = ModelFiles::open(**source);
    ASSERT_TRUE(files) << files.error().to_string();
    EXPECT_EQ(files->config().layers, 6);
    EXPECT_EQ(files->config().experts, 8);
    EXPECT_EQ(files->config().vocab, 8192);
    EXPECT_EQ(files->tensors().size(), 3U + 6U * (6 + 1 + 24));
}

// ---- Reading in pieces ----

TEST(ReadPieces, EveryByteOnceWithAnyNumberOfThreads) {
    // An embedding of 16 MB makes several pieces of one tensor.
    TinyModelSpec spec = spec_of("mixtral", DType::kF32);
    spec.vocab = 64 * 1024;
    const TinyModel model(spec);
    for (const MemorySource& source : {model.folder(), model.gguf(DType::kF32), model.gguf(DType::kQ8_0)}) {
        const auto files = ModelFiles::open(source);
        ASSERT_TRUE(files) << files.error().to_string();
        std::vector<const TensorInfo*> all;
        for (const TensorInfo& tensor : files->tensors()) all.push_back(&tensor);
        for (const std::int32_t threads : {1, 2, 5}) {
            std::unordered_map<std::string, Bytes> read;
            for (const TensorInfo& tensor : files->tensors())
                read[tensor.name].resize(static_cast<std::size_t>(tensor.bytes));
            std::atomic<std::uint64_t> bytes{0};
            std::atomic<std::int64_t> pieces{0};
            const auto done = read_pieces(source, all, threads, [&](const TensorPiece& piece) -> Status {
                const std::int64_t row = row_bytes(piece.tensor.dtype, piece.tensor.columns());
                EXPECT_EQ(piece.bytes.size(), static_cast<std::size_t>(piece.rows * row));
                EXPECT_LE(piece.bytes.size(), kPieceBytes);
                std::copy(piece.bytes.begin(), piece.bytes.end(),
                          read.at(piece.tensor.name).begin() + piece.first_row * row);
                bytes += piece.bytes.size();
                ++pieces;
                return {};
            });
            ASSERT_TRUE(done) << done.error().to_string();
            EXPECT_EQ(bytes.load(), files->weight_bytes());
            EXPECT_GT(pieces.load(), static_cast<std::int64_t>(all.size()));
            for (const TensorInfo& tensor : files->tensors()) {
                Bytes whole(static_cast<std::size_t>(tensor.bytes));
                ASSERT_TRUE(read_tensor(source, tensor, whole));
                EXPECT_EQ(read.at(tensor.name), whole) << tensor.name;
            }
        }
    }
}

TEST(ReadPieces, StopsAtTheFirstFailure) {
    const TinyModel model(spec_of("mixtral"));
    const MemorySource source = model.folder();
    const auto files = ModelFiles::open(source);
    ASSERT_TRUE(files);
    std::vector<const TensorInfo*> all;
    for (const TensorInfo& tensor : files->tensors()) all.push_back(&tensor);
    for (const std::int32_t threads : {1, 4}) {
        std::atomic<int> calls{0};
        const auto done = read_pieces(source, all, threads, [&](const TensorPiece&) -> Status {
            ++calls;
            return fail(Code::kResourceExhausted, "no memory left");
        });
        ASSERT_FALSE(done);
        EXPECT_EQ(done.error().code(), Code::kResourceExhausted);
        EXPECT_LE(calls.load(), threads);
        EXPECT_NE(done.error().to_string().find("of tensor model."), std::string::npos)
            << done.error().to_string();
    }
    EXPECT_TRUE(read_pieces(source, {}, 4, [](const TensorPiece&) -> Status { return {}; }));
}

// ---- Finite values ----

TEST(CheckFinite, FindsEveryPlaceOfEveryType) {
    const std::vector<float> values(512, 0.25F);
    struct Bad {
        DType dtype;
        std::size_t at;  // byte
        std::size_t size;
        std::uint32_t bits;
        std::string message;
    };
    const Bad kBad[] = {
        {DType::kF32, 0, 4, 0x7F800001U, "NaN weight (value 0)"},
        {DType::kF32, 252, 4, 0xFFC00000U, "NaN weight (value 63)"},
        {DType::kF32, 4, 4, 0xFF800000U, "infinite weight (value 1)"},
        {DType::kF16, 126, 2, 0x7C01U, "NaN weight (value 63)"},
        {DType::kF16, 2, 2, 0xFC00U, "infinite weight (value 1)"},
        {DType::kBF16, 64, 2, 0x7F81U, "NaN weight (value 32)"},
        {DType::kBF16, 0, 2, 0x7F80U, "infinite weight (value 0)"},
        {DType::kQ8_0, 34, 2, 0x7E00U, "NaN scale (value 32)"},
        {DType::kQ8_0, 0, 2, 0x7C00U, "infinite scale (value 0)"},
        {DType::kQ4_0, 18, 2, 0xFE00U, "NaN scale (value 32)"},
        {DType::kQ4_1, 20, 2, 0x7E00U, "NaN scale (value 32)"},
        {DType::kQ4_1, 2, 2, 0x7E00U, "NaN block minimum (value 0)"},
        {DType::kQ4_1, 22, 2, 0x7C00U, "infinite block minimum (value 32)"},
        {DType::kQ5_0, 22, 2, 0x7C00U, "infinite scale (value 32)"},
        {DType::kQ5_1, 26, 2, 0x7E00U, "NaN block minimum (value 32)"},
        {DType::kQ4_K, 144, 2, 0x7E00U, "NaN scale (value 256)"},
        {DType::kQ4_K, 2, 2, 0x7E00U, "NaN block minimum (value 0)"},
        {DType::kQ5_K, 178, 2, 0xFC00U, "infinite block minimum (value 256)"},
        {DType::kQ6_K, 418, 2, 0x7C00U, "infinite scale (value 256)"},
    };
    for (const Bad& bad : kBad) {
        Bytes bytes = test::encode_values(bad.dtype, values);
        EXPECT_TRUE(check_finite(bad.dtype, bytes));
        for (std::size_t i = 0; i < bad.size; ++i)
            bytes[bad.at + i] = static_cast<std::uint8_t>(bad.bits >> (8 * i));
        const auto checked = check_finite(bad.dtype, bytes);
        ASSERT_FALSE(checked) << bad.message;
        EXPECT_EQ(checked.error().code(), Code::kIntegrity);
        EXPECT_EQ(checked.error().message(), bad.message);
    }
    // All other bit patterns are numbers: the levels of quantised blocks may be anything.
    for (const DType dtype : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1,
                              DType::kQ4_K, DType::kQ5_K, DType::kQ6_K}) {
        Bytes bytes = test::encode_values(dtype, values);
        const bool at_end = dtype == DType::kQ6_K;
        const bool two =
            dtype == DType::kQ4_1 || dtype == DType::kQ5_1 || dtype == DType::kQ4_K || dtype == DType::kQ5_K;
        std::fill(bytes.begin() + (at_end ? 0
                                   : two  ? 4
                                          : 2),
                  bytes.begin() + block_bytes(dtype) - (at_end ? 2 : 0), std::uint8_t{0xFF});
        EXPECT_TRUE(check_finite(dtype, bytes));
    }
    EXPECT_TRUE(check_finite(DType::kBF16, {}));
}

TEST(CheckFinite, EndsTheReadingAndNamesTheTensor) {
    const TinyModel model(spec_of("mixtral"));
    MemorySource source = model.gguf(DType::kQ4_1);
    const auto files = ModelFiles::open(source);
    ASSERT_TRUE(files);
    const TensorInfo* tensor = files->find("model.layers.1.block_sparse_moe.experts.2.w2.weight");
    ASSERT_NE(tensor, nullptr);
    Bytes& content = source.content("model.gguf");
    content[static_cast<std::size_t>(tensor->offset) + 40] = 0x00;
    content[static_cast<std::size_t>(tensor->offset) + 41] = 0x7E;
    std::vector<const TensorInfo*> all;
    for (const TensorInfo& each : files->tensors()) all.push_back(&each);
    const auto done = read_pieces(source, all, 2, [](const TensorPiece&) -> Status { return {}; });
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code(), Code::kIntegrity);
    EXPECT_NE(done.error().to_string().find("NaN scale"), std::string::npos);
    EXPECT_NE(done.error().to_string().find(tensor->name), std::string::npos) << done.error().to_string();
}

// ---- What is refused ----

TEST(ModelFiles, NamesMissingAndSurplusTensors) {
    const TinyModel model(spec_of("mixtral"));
    MemorySource source = model.folder();
    TinyModelSpec deeper = spec_of("mixtral");
    deeper.layers = 3;
    const std::string config = TinyModel(deeper).config_json();
    source.set("config.json", Bytes(config.begin(), config.end()));
    expect_refused(source, Code::kInvalidArgument, "tensor model.layers.2.input_layernorm.weight is missing");
    TinyModelSpec flatter = spec_of("mixtral");
    flatter.layers = 1;
    const std::string flat = TinyModel(flatter).config_json();
    source.set("config.json", Bytes(flat.begin(), flat.end()));
    expect_refused(source, Code::kUnsupported, "tensor model.layers.1.");
}

TEST(ModelFiles, NamesBothShapes) {
    const TinyModel model(spec_of("mixtral"));
    const std::pair<std::int32_t TinyModelSpec::*, const char*> kChanges[] = {
        {&TinyModelSpec::ffn, "has shape [96, 64], the configuration asks for [128, 64]"},
        {&TinyModelSpec::vocab,
         "model.embed_tokens.weight has shape [384, 64], the configuration asks for [416, 64]"},
        {&TinyModelSpec::head_dim, "q_proj.weight has shape [64, 64], the configuration asks for [192, 64]"},
        {&TinyModelSpec::experts, "gate.weight has shape [4, 64], the configuration asks for [36, 64]"},
    };
    for (const auto& [field, message] : kChanges) {
        TinyModelSpec spec = spec_of("mixtral");
        spec.*field += 32;
        const std::string config = TinyModel(spec).config_json();
        MemorySource source = model.folder();
        source.set("config.json", Bytes(config.begin(), config.end()));
        expect_refused(source, Code::kInvalidArgument, message);
    }
}

TEST(ModelFiles, RefusesWhatIsNoModel) {
    const TinyModel model(spec_of("mixtral"));
    expect_refused(MemorySource(), Code::kInvalidArgument, "no model is here");
    MemorySource both = model.folder();
    both.set("model.gguf", model.gguf(DType::kF32).content("model.gguf"));
    expect_refused(both, Code::kInvalidArgument, "keep one");
    MemorySource mistral({{"params.json", Bytes{'{', '}'}}, {"consolidated.safetensors", Bytes(16)}});
    expect_refused(mistral, Code::kInvalidArgument, "n_layers is missing");
    MemorySource bare = model.folder();
    bare.erase("config.json");
    expect_refused(bare, Code::kNotFound, "config.json");
}

TEST(ModelFiles, RefusesProgramsAndPicklesUnderAnyName) {
    using namespace std::string_literals;
    const std::pair<std::string, const char*> kFormats[] = {
        {"\x80\x02}q\x00."s, "a Python pickle"},  {"\x80\x04\x95\x0A"s, "a Python pickle"},
        {"PK\x03\x04\x14\x00"s, "a zip archive"}, {"\x7F"s + "ELF\x02\x01"s, "an ELF program"},
        {"MZqFpD='\n"s, "a llamafile program"},   {"jartsr='\n"s, "a llamafile program"},
        {"MZ\x90\x00"s, "a Windows program"},     {"#!/bin/sh\n"s, "a script"},
        {"tjgg\x01\x00"s, "a GGML file"},
    };
    const TinyModel model(spec_of("mixtral"));
    for (const auto& [content, name] : kFormats) {
        EXPECT_TRUE(refused_format(as_bytes(content)).has_value()) << name;
        for (const char* file :
             {"model.safetensors", "model.gguf", "pytorch_model.bin", "README.md", "tokenizer.model"}) {
            MemorySource source = model.folder();
            if (std::string(file) == "model.gguf") source = model.gguf(DType::kF32);
            source.set(file, Bytes(content.begin(), content.end()));
            expect_refused(source, Code::kUnsupported, std::string(file) + " is " + name);
        }
    }
    EXPECT_FALSE(refused_format({}).has_value());
    EXPECT_FALSE(refused_format(as_bytes("GGUF")).has_value());
    EXPECT_FALSE(refused_format(as_bytes("{\"a\":1}")).has_value());
    // Safetensors headers of 640 and of 66,688 bytes begin as a pickle does.
    for (const std::uint8_t third : {std::uint8_t{0}, std::uint8_t{1}}) {
        EXPECT_FALSE(refused_format(Bytes{0x80, 0x02, third, 0, 0, 0, 0, 0, '{'}).has_value());
    }
    EXPECT_TRUE(refused_format(Bytes{0x80, 0x02, 0, 0, 0, 0, 0, 0, '}'}).has_value());
}

TEST(ModelFiles, RefusesQuantisedNorms) {
    const TinyModel model(spec_of("llama"));
    MemorySource source = model.gguf(DType::kF32);
    // Rewrites blk.0.attn_norm.weight (64 values) as two Q8_0 blocks in its place.
    Bytes& content = source.content("model.gguf");
    const std::string name = "blk.0.attn_norm.weight";
    const auto at = std::search(content.begin(), content.end(), name.begin(), name.end());
    ASSERT_NE(at, content.end());
    store_le(&*at + name.size() + 4 + 8, std::uint32_t{8});
    expect_refused(source, Code::kUnsupported, "a norm is read as f32, f16 or bf16");
}

TEST(ModelFiles, GgufNamesMissingTensorsAndUnknownOnes) {
    const TinyModel model(spec_of("mixtral"));
    MemorySource source = model.gguf(DType::kF32);
    Bytes& content = source.content("model.gguf");
    const auto rename = [&](std::string_view from, std::string_view to) {
        const auto at = std::search(content.begin(), content.end(), from.begin(), from.end());
        ASSERT_NE(at, content.end());
        std::copy(to.begin(), to.end(), at);
    };
    rename("blk.1.ffn_up_exps.weight", "blk.1.ffn_up_expz.weight");
    expect_refused(source, Code::kInvalidArgument, "tensor blk.1.ffn_up_exps.weight is missing");
    rename("blk.1.ffn_up_expz.weight", "blk.1.ffn_up_exps.weight");
    EXPECT_TRUE(ModelFiles::open(source));
    rename("general.name", "general.nams");  // other keys of general.* do not matter
    EXPECT_TRUE(ModelFiles::open(source));
    // With output.weight gone under another name, embeddings read as tied and the tensor as unknown.
    const std::string length("\x0D\0\0\0\0\0\0\0", 8);  // in front of the name, apart from attn_output.weight
    rename(length + "output.weight", length + "outpux.weight");
    expect_refused(source, Code::kUnsupported, "tensor outpux.weight is not part of a llama model");
}

// A file cut anywhere never opens; a tensor never reaches past its file.
TEST(ModelFiles, SurvivesTruncation) {
    TinyModelSpec spec = spec_of("mixtral");
    spec.layers = 1;
    const TinyModel model(spec);
    for (MemorySource source : {model.folder(), model.gguf(DType::kQ4_0)}) {
        const std::string name =
            source.files().back().name == "tokenizer.model" ? "model.safetensors" : "model.gguf";
        const Bytes whole = source.content(name);
        const std::size_t step = std::max<std::size_t>(whole.size() / 2000, 1);
        for (std::size_t length = 0; length + 32 < whole.size(); length += step) {
            source.set(name, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)));
            EXPECT_FALSE(ModelFiles::open(source)) << name << " " << length;
        }
    }
}

}  // namespace
}  // namespace ostal::engine
