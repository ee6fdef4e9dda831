#include "engine/tokenizer/tokenizer_json.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <unordered_map>

#include "engine/tokenizer/sentencepiece_model.h"
#include "engine/tokenizer/smollm2_vocabulary.h"
#include "engine/tokenizer/testing.h"

namespace ostal::engine {
namespace {

Result<std::unique_ptr<Tokenizer>> load(const json::Value& file, const SpecialIds& special = {}) {
    const std::string text = json::to_string(file);
    return load_tokenizer_file(as_bytes(text), "tokenizer.json", special);
}

json::Value added_token(std::int64_t id, const std::string& content, bool special) {
    return json::Object{{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                        {"rstrip", false}, {"normalized", false}, {"special", special}};
}

json::Value step(std::string_view type) { return json::Object{{"type", type}}; }

// A byte-level file with the steps of SmolLM2's.
json::Value byte_level_file(json::Object vocab, json::Array merges, json::Array added) {
    json::Value digits = step("Digits");
    digits.as_object().set("individual_digits", true);
    json::Value bytes = step("ByteLevel");
    bytes.as_object().set("add_prefix_space", false);
    bytes.as_object().set("trim_offsets", true);
    bytes.as_object().set("use_regex", true);
    json::Value sequence = step("Sequence");
    sequence.as_object().set("pretokenizers", json::Array{digits, bytes});
    json::Value model = step("BPE");
    for (const char* absent : {"dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix"}) {
        model.as_object().set(absent, nullptr);
    }
    model.as_object().set("fuse_unk", false);
    model.as_object().set("byte_fallback", false);
    model.as_object().set("ignore_merges", false);
    model.as_object().set("vocab", std::move(vocab));
    model.as_object().set("merges", std::move(merges));
    return json::Object{
        {"version", "1.0"},          {"truncation", nullptr},        {"padding", nullptr},
        {"added_tokens", added},     {"normalizer", nullptr},        {"pre_tokenizer", sequence},
        {"post_processor", nullptr}, {"decoder", step("ByteLevel")}, {"model", model}};
}

json::Value small_file() {
    json::Object vocab;
    for (const char* name : {"a", "b", "ab", "Ġ", "Ġab"})
        vocab.append(name, static_cast<std::int64_t>(vocab.size()));
    return byte_level_file(std::move(vocab), {json::Value("a b"), json::Value(json::Array{"Ġ", "ab"})},
                           {added_token(5, "<|end_of_text|>", true), added_token(6, "<tool>", false)});
}

TEST(TokenizerJson, ReadsAByteLevelFile) {
    const auto tokenizer = load(small_file());
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    EXPECT_EQ((*tokenizer)->vocab_size(), 7);
    EXPECT_EQ((*tokenizer)->eos(), 5);
    EXPECT_EQ((*tokenizer)->bos(), -1);
    EXPECT_EQ(*(*tokenizer)->encode("ab ab<tool>a<|end_of_text|>"), (std::vector<TokenId>{2, 4, 6, 0}));
    EXPECT_EQ((*tokenizer)->decode({2, 4, 6, 5}), "ab ab<tool>");
    // The model's configuration wins, and makes its ends control tokens, which text never gives.
    const auto configured = load(small_file(), {.bos = 5, .eos = 6});
    ASSERT_TRUE(configured.has_value());
    EXPECT_EQ((*configured)->bos(), 5);
    EXPECT_EQ((*configured)->eos(), 6);
    EXPECT_EQ(*(*configured)->encode("a<tool>"), (std::vector<TokenId>{0}));
    EXPECT_FALSE(load(small_file(), {.bos = 7, .eos = 5}).has_value());
    EXPECT_FALSE(load(small_file(), {.bos = 0, .eos = 5}).has_value());  // merges make and take "a"
}

TEST(TokenizerJson, TheTemplateNamesBosAndEos) {
    json::Value file = small_file();
    const auto special = [](std::string_view name) {
        return json::Value(json::Object{{"SpecialToken", json::Object{{"id", name}, {"type_id", 0}}}});
    };
    const json::Value text(json::Object{{"Sequence", json::Object{{"id", "A"}, {"type_id", 0}}}});
    json::Value processor = step("TemplateProcessing");
    processor.as_object().set("single", json::Array{special("<|end_of_text|>"), text, special("<tool>")});
    file.as_object().set("post_processor", processor);
    const auto tokenizer = load(file);
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    EXPECT_EQ((*tokenizer)->bos(), 5);
    EXPECT_EQ((*tokenizer)->eos(), 6);
}

// SmolLM2's vocabulary, written as its own tokenizer.json would have it.
TEST(TokenizerJson, SmolLm2GivesTheGoldenIds) {
    const auto vocabulary = testing::smollm2_vocabulary();
    if (!vocabulary) GTEST_SKIP() << "OSTAL_MODELS does not name the folder of SmolLM2's GGUF file";
    json::Object vocab;
    json::Array added;
    for (std::size_t i = 0; i < vocabulary->tokens.size(); ++i) {
        vocab.append(vocabulary->tokens[i], static_cast<std::int64_t>(i));
        if (vocabulary->token_types[i] == 3)
            added.push_back(added_token(static_cast<std::int64_t>(i), vocabulary->tokens[i], true));
    }
    json::Array merges;
    for (const std::string& merge : vocabulary->merges) merges.push_back(merge);
    const auto tokenizer =
        load(byte_level_file(std::move(vocab), std::move(merges), std::move(added)), {.bos = 1, .eos = 2});
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    testing::expect_golden_texts(**tokenizer, testing::golden("text-smollm2.json"));
}

// ---- SentencePiece vocabularies as Hugging Face converts them ----

// Every way to make a piece of two others is a merge, ranked by the piece's score, then by the length of its
// left half, as Hugging Face's converter does.
json::Array merges_of(const SentencePieceModel& model) {
    std::unordered_map<std::string_view, std::size_t> ids;
    for (std::size_t i = 0; i < model.pieces.size(); ++i) {
        if (model.pieces[i].type == TokenType::kNormal) ids.emplace(model.pieces[i].text, i);
    }
    struct Merge {
        float score;
        std::size_t left, right;
    };
    std::vector<Merge> found;
    for (const auto& [text, id] : ids) {
        for (std::size_t cut = 1; cut < text.size(); ++cut) {
            const auto left = ids.find(text.substr(0, cut));
            const auto right = ids.find(text.substr(cut));
            if (left != ids.end() && right != ids.end())
                found.push_back({model.pieces[id].score, left->second, right->second});
        }
    }
    std::sort(found.begin(), found.end(), [&](const Merge& a, const Merge& b) {
        const auto rank = [&](const Merge& m) {
            return std::tuple(-m.score, -static_cast<int>(model.pieces[m.left].text.size()), m.left, m.right);
        };
        return rank(a) < rank(b);
    });
    json::Array merges;
    for (const Merge& merge : found) {
        merges.push_back(json::Array{model.pieces[merge.left].text, model.pieces[merge.right].text});
    }
    return merges;
}

json::Value spelled_file(const SentencePieceModel& model, bool metaspace) {
    json::Object vocab;
    json::Array added;
    for (std::size_t i = 0; i < model.pieces.size(); ++i) {
        const auto& piece = model.pieces[i];
        vocab.append(piece.text, static_cast<std::int64_t>(i));
        if (piece.type == TokenType::kControl || piece.type == TokenType::kUnknown) {
            added.push_back(added_token(static_cast<std::int64_t>(i), piece.text, true));
        }
    }
    json::Value file = byte_level_file(std::move(vocab), merges_of(model), std::move(added));
    json::Object& members = file.as_object();
    json::Value prepend = step("Prepend");
    prepend.as_object().set("prepend", "▁");
    json::Value replace = step("Replace");
    replace.as_object().set("pattern", json::Object{{"String", " "}});
    replace.as_object().set("content", "▁");
    json::Value normalizer = step("Sequence");
    normalizer.as_object().set("normalizers", json::Array{prepend, replace});
    json::Value spaces = step("Metaspace");
    spaces.as_object().set("replacement", "▁");
    spaces.as_object().set("prepend_scheme", "first");
    spaces.as_object().set("split", false);
    members.set("normalizer", metaspace ? json::Value() : normalizer);
    members.set("pre_tokenizer", metaspace ? spaces : json::Value());
    json::Value decoder = step("Sequence");
    decoder.as_object().set("decoders",
                            json::Array{step("Replace"), step("ByteFallback"), step("Fuse"), step("Strip")});
    members.set("decoder", decoder);
    json::Object& bpe = members.find("model")->as_object();
    bpe.set("byte_fallback", true);
    bpe.set("fuse_unk", true);
    bpe.set("unk_token", "<unk>");
    return file;
}

SentencePieceModel model_at(const std::string& path) {
    auto model = parse_sentencepiece_model(as_bytes(testing::read_file(path)));
    EXPECT_TRUE(model.has_value());
    return std::move(*model);
}

TEST(TokenizerJson, AConvertedSentencePieceModelEncodesAsTheOriginal) {
    const SentencePieceModel model = model_at("models/ostal-mini/tokenizer.model");
    const auto original = testing::ostal_mini();
    for (const bool metaspace : {false, true}) {
        const auto tokenizer = load(spelled_file(model, metaspace));
        ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
        EXPECT_EQ((*tokenizer)->bos(), 1);
        EXPECT_EQ((*tokenizer)->eos(), 2);
        EXPECT_TRUE((*tokenizer)->has_dummy_prefix());
        EXPECT_EQ((*tokenizer)->control("[INST]"), original->control("[INST]"));
        SeededRandom random(9);
        for (int i = 0; i < 1000; ++i) {
            const std::string text = testing::random_text(random, 30);
            // Metaspace puts its prefix only before texts that do not begin with a space.
            if (metaspace && (text.empty() || text[0] == ' ' || text.starts_with("▁"))) continue;
            ASSERT_EQ(*(*tokenizer)->encode(text), *original->encode(text)) << json::quote(text);
        }
        if (metaspace) {
            EXPECT_EQ(*(*tokenizer)->encode(" a"), *original->encode("a"));
        }
    }
}

TEST(TokenizerJson, AConvertedV1ModelGivesTheGoldenIds) {
    const auto path = testing::file_under("OSTAL_TOKENIZERS", "tokenizer.model.v1");
    if (!path) GTEST_SKIP() << "OSTAL_TOKENIZERS does not name the folder of Mistral's tokenizer files";
    const auto tokenizer = load(spelled_file(model_at(*path), false));
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    testing::expect_golden_texts(**tokenizer, testing::golden("text-v1.json"));
}

// ---- Hugging Face's tokenizers as oracle ----

TEST(TokenizerJson, EveryKindGivesTheIdsOfTheReference) {
    const json::Value golden = testing::golden("tokenizer-json.json");
    std::size_t cases = 0;
    for (const json::Value& entry : golden.find("files")->as_array()) {
        SCOPED_TRACE(entry.find("name")->as_string());
        const auto tokenizer = load(*entry.find("tokenizer"));
        ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
        for (const json::Value& pair : entry.find("cases")->as_array()) {
            const std::string& text = pair.as_array()[0].as_string();
            const auto ids = (*tokenizer)->encode(text);
            ASSERT_TRUE(ids.has_value()) << json::quote(text);
            EXPECT_EQ(*ids, testing::ids_of(pair.as_array()[1])) << json::quote(text);
            ++cases;
        }
    }
    std::printf("%zu files, %zu cases\n", golden.find("files")->as_array().size(), cases);
}

TEST(TokenizerJson, ControlTokensOfChatFormatsAreControlTokensWhateverTheFileMarksThemAs) {
    json::Value file = small_file();
    file.as_object().find("added_tokens")->as_array().push_back(added_token(7, "<|im_end|>", false));
    const auto tokenizer = load(file);
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    EXPECT_EQ((*tokenizer)->control("<|im_end|>"), 7);
    EXPECT_EQ(*(*tokenizer)->encode("a<|im_end|>b"), (std::vector<TokenId>{0, 1}));
    EXPECT_EQ(*(*tokenizer)->encode("a<tool>b"), (std::vector<TokenId>{0, 6, 1}));
}

// ---- refusals ----

TEST(TokenizerJson, WhatIsNotUnderstoodIsRefusedByName) {
    const auto refused = [](auto change, std::string_view name) {
        json::Value file = small_file();
        change(file.as_object());
        const auto tokenizer = load(file);
        EXPECT_FALSE(tokenizer.has_value()) << name;
        if (tokenizer) return false;
        EXPECT_NE(tokenizer.error().message().find(name), std::string::npos) << tokenizer.error().message();
        return tokenizer.error().code() == Code::kUnsupported;
    };
    const auto in_model = [](std::string key, json::Value value) {
        return [=](json::Object& file) { file.find("model")->as_object().set(key, value); };
    };
    const auto pre = [](json::Value value) {
        return [=](json::Object& file) { file.set("pre_tokenizer", value); };
    };
    EXPECT_TRUE(refused([](json::Object& f) { f.set("extra", 1); }, "extra"));
    EXPECT_TRUE(refused([](json::Object& f) { f.set("normalizer", step("NFC")); }, "NFC"));
    EXPECT_TRUE(
        refused([](json::Object& f) { f.set("post_processor", step("BertProcessing")); }, "BertProcessing"));
    EXPECT_TRUE(refused([](json::Object& f) { f.set("decoder", step("WordPiece")); }, "WordPiece"));
    EXPECT_TRUE(refused(pre(step("Whitespace")), "Whitespace"));
    EXPECT_TRUE(refused(pre(step("ByteLevel")), "add_prefix_space"));
    json::Value split = step("Split");
    split.as_object().set("pattern", json::Object{{"Regex", "[a-z]+"}});
    split.as_object().set("behavior", "Isolated");
    split.as_object().set("invert", false);
    EXPECT_TRUE(refused(pre(split), "[a-z]+"));
    split.as_object().set("pattern", json::Object{{"Regex", "\\p{N}"}});
    split.as_object().set("behavior", "MergedWithNext");
    EXPECT_TRUE(refused(pre(split), "MergedWithNext"));
    EXPECT_TRUE(refused(in_model("type", "WordPiece"), "WordPiece"));
    EXPECT_TRUE(refused(in_model("dropout", 0.1), "dropout"));
    EXPECT_TRUE(refused(in_model("end_of_word_suffix", "</w>"), "end_of_word_suffix"));
    EXPECT_TRUE(refused(in_model("novelty", true), "novelty"));
    EXPECT_TRUE(refused(in_model("byte_fallback", true), "byte_fallback"));
    EXPECT_TRUE(refused(
        [](json::Object& f) { f.find("added_tokens")->as_array()[1].as_object().set("lstrip", true); },
        "lstrip"));
}

TEST(TokenizerJson, MalformedFilesAreInvalid) {
    const auto invalid = [](auto change) {
        json::Value file = small_file();
        change(file.as_object());
        const auto tokenizer = load(file);
        return !tokenizer && tokenizer.error().code() == Code::kInvalidArgument;
    };
    const auto in_model = [](std::string key, json::Value value) {
        return [=](json::Object& file) { file.find("model")->as_object().set(key, value); };
    };
    EXPECT_TRUE(invalid([](json::Object& f) { f.erase("model"); }));
    EXPECT_TRUE(invalid([](json::Object& f) { f.set("model", 1); }));
    EXPECT_TRUE(invalid(in_model("vocab", json::Array{})));
    EXPECT_TRUE(invalid(in_model("vocab", json::Object{{"a", -1}})));
    EXPECT_TRUE(invalid(in_model("vocab", json::Object{{"a", 1'000'000'000}})));
    EXPECT_TRUE(invalid(in_model("vocab", json::Object{{"a", 1}, {"b", 1}})));
    EXPECT_TRUE(invalid(in_model("merges", json::Array{"a b c"})));
    EXPECT_TRUE(invalid(in_model("merges", json::Array{"a"})));
    EXPECT_TRUE(invalid(in_model("merges", json::Array{1})));
    EXPECT_TRUE(invalid(in_model("unk_token", "missing")));
    EXPECT_TRUE(
        invalid([](json::Object& f) { f.find("added_tokens")->as_array()[0].as_object().set("id", 0); }));
    EXPECT_EQ(load_tokenizer_file(as_bytes("{"), "tokenizer.json").error().code(), Code::kInvalidArgument);
    EXPECT_EQ(load_tokenizer_file(as_bytes("[]"), "tokenizer.json").error().code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ostal::engine
