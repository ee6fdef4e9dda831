#include "engine/tokenizer/load.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>

#include "engine/tokenizer/sentencepiece_model.h"
#include "engine/tokenizer/smollm2_vocabulary.h"
#include "engine/tokenizer/testing.h"

namespace ostal::engine {
namespace {

// A writer of protocol buffers, for models that no trainer would write.
class Message {
public:
    Message& number(unsigned field, std::uint64_t value) {
        varint(field << 3);
        varint(value);
        return *this;
    }
    Message& bytes(unsigned field, std::string_view value) {
        varint(field << 3 | 2);
        varint(value.size());
        out_ += value;
        return *this;
    }
    Message& real(unsigned field, float value) {
        varint(field << 3 | 5);
        std::uint8_t little[4];
        store_le(little, std::bit_cast<std::uint32_t>(value));
        out_ += as_text(little);
        return *this;
    }
    const std::string& text() const { return out_; }

private:
    void varint(std::uint64_t value) {
        for (; value >= 0x80; value >>= 7) out_ += static_cast<char>((value & 0x7F) | 0x80);
        out_ += static_cast<char>(value);
    }
    std::string out_;
};

std::string piece(std::string_view text, float score, unsigned type) {
    return Message().bytes(1, text).real(2, score).number(3, type).text();
}
std::string trainer(unsigned type = 2) { return Message().number(3, type).text(); }
std::string normalizer(std::string_view name = "identity", std::string_view charsmap = "") {
    return Message().bytes(1, name).bytes(2, charsmap).number(3, 1).number(4, 0).text();
}
std::string small_model(const std::string& more_pieces = {}) {
    return Message()
               .bytes(1, piece("<unk>", 0, 2))
               .bytes(1, piece("<s>", 0, 3))
               .bytes(1, piece("</s>", 0, 3))
               .bytes(1, piece("a", -1, 1))
               .text() +
           more_pieces;
}
std::string with_specs(const std::string& pieces, const std::string& trainer_spec,
                       const std::string& normalizer_spec) {
    return pieces + Message().bytes(2, trainer_spec).bytes(3, normalizer_spec).text();
}

Result<std::unique_ptr<Tokenizer>> load(const std::string& bytes, std::string_view name = "tokenizer.model") {
    return load_tokenizer_file(as_bytes(bytes), name);
}
Code refusal(const std::string& bytes) {
    const auto tokenizer = load(bytes);
    EXPECT_FALSE(tokenizer.has_value());
    return tokenizer ? Code::kInternal : tokenizer.error().code();
}

TEST(SentencePieceModel, ReadsWhatTheFileSays) {
    const auto tokenizer = load(with_specs(small_model(), trainer(), normalizer()));
    ASSERT_TRUE(tokenizer.has_value()) << tokenizer.error().to_string();
    EXPECT_EQ((*tokenizer)->vocab_size(), 4);
    EXPECT_EQ((*tokenizer)->bos(), 1);
    EXPECT_EQ((*tokenizer)->eos(), 2);
    EXPECT_EQ((*tokenizer)->unknown(), 0);
    EXPECT_TRUE((*tokenizer)->has_dummy_prefix());
    EXPECT_EQ(*(*tokenizer)->encode("aa"), (std::vector<TokenId>{0, 3, 3}));  // U+2581 is unknown here
    // Unknown fields are skipped.
    const std::string more = Message().number(900, 7).real(901, 1).bytes(902, "x").text();
    EXPECT_TRUE(load(with_specs(small_model(), trainer(), normalizer()) + more).has_value());
}

TEST(SentencePieceModel, RefusesOtherKindsByName) {
    for (const auto& [type, name] : std::initializer_list<std::pair<unsigned, const char*>>{
             {1, "unigram"}, {3, "word"}, {4, "character"}, {9, "unknown"}}) {
        const auto tokenizer = load(with_specs(small_model(), trainer(type), normalizer()));
        ASSERT_FALSE(tokenizer.has_value());
        EXPECT_EQ(tokenizer.error().code(), Code::kUnsupported);
        EXPECT_NE(tokenizer.error().message().find(name), std::string::npos);
    }
    EXPECT_EQ(refusal(with_specs(small_model(), "", normalizer())),
              Code::kUnsupported);  // unigram is the default
    const auto nfkc = load(with_specs(small_model(), trainer(), normalizer("nmt_nfkc", "map")));
    ASSERT_FALSE(nfkc.has_value());
    EXPECT_EQ(nfkc.error().code(), Code::kUnsupported);
    EXPECT_NE(nfkc.error().message().find("nmt_nfkc"), std::string::npos);
    EXPECT_EQ(refusal(with_specs(small_model(), trainer() + Message().number(24, 1).text(), normalizer())),
              Code::kUnsupported);
}

TEST(SentencePieceModel, RefusesPiecesThatNoEncoderCanUse) {
    const auto refused = [&](const std::string& more) {
        return refusal(with_specs(small_model(Message().bytes(1, more).text()), trainer(), normalizer())) ==
               Code::kInvalidArgument;
    };
    EXPECT_TRUE(refused(piece("a", -2, 1)));  // twice
    EXPECT_TRUE(refused(piece("", -2, 1)));
    EXPECT_TRUE(refused(piece("\xC3", -2, 1)));
    EXPECT_TRUE(refused(piece("b", std::numeric_limits<float>::quiet_NaN(), 1)));
    EXPECT_TRUE(refused(piece("b", -2, 7)));
    EXPECT_TRUE(refused(piece("<unk2>", -2, 2)));  // two unknown pieces
    EXPECT_TRUE(refused(piece("b", -2, 6)));       // a byte that is none
    EXPECT_TRUE(refused(piece(std::string(5000, 'b'), -2, 1)));
    EXPECT_EQ(refusal(with_specs("", trainer(), normalizer())), Code::kInvalidArgument);
    EXPECT_EQ(refusal(with_specs(small_model(), trainer() + Message().number(35, 1).text(), normalizer())),
              Code::kInvalidArgument);  // byte fallback without bytes
}

TEST(SentencePieceModel, EveryCutOfAFileIsRefusedOrHoldsTogether) {
    const std::string whole = with_specs(small_model(), trainer(), normalizer());
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto tokenizer = load(whole.substr(0, size));
        EXPECT_FALSE(tokenizer.has_value())
            << size;  // cut before the specs: unigram; within a message: malformed
    }
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (int bit = 0; bit < 8; ++bit) {
            std::string changed = whole;
            changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
            const auto tokenizer = load(changed);
            EXPECT_TRUE(!tokenizer || (*tokenizer)->encode("a <s>").has_value());
        }
    }
}

TEST(LoadTokenizer, ChoosesTekkenThenTheNewestSentencePieceModelThenJson) {
    using Names = std::vector<std::string>;
    const auto choose = [](const Names& names) { return choose_tokenizer_file(names); };
    EXPECT_EQ(choose({"tokenizer.json", "tokenizer.model", "tokenizer.model.v3", "tokenizer.model.v1"}),
              "tokenizer.model.v3");
    EXPECT_EQ(choose({"config.json", "tokenizer.json", "tokenizer.model"}), "tokenizer.model");
    EXPECT_EQ(choose({"tokenizer.model.v3", "tokenizer.json", "tekken.json"}), "tekken.json");
    EXPECT_EQ(choose({"tokenizer.json", "tokenizer.model.bak"}), "tokenizer.json");
    EXPECT_FALSE(choose({"model.gguf", "tokenizer_config.json"}).has_value());
    const auto tekken = load("{}", "tekken.json");
    ASSERT_FALSE(tekken.has_value());
    EXPECT_EQ(tekken.error().code(), Code::kInvalidArgument);
    EXPECT_NE(tekken.error().message().find("tekken.json: config"), std::string::npos);
}

// The pieces of a .model file as a GGUF file has them.
TEST(EmbeddedVocabulary, ScoredTokensEncodeAsTheSentencePieceModelDoes) {
    const std::string bytes = testing::read_file("models/ostal-mini/tokenizer.model");
    const auto model = parse_sentencepiece_model(as_bytes(bytes));
    ASSERT_TRUE(model.has_value());
    EmbeddedVocabulary vocabulary;
    vocabulary.model = "llama";
    for (const auto& p : model->pieces) {
        vocabulary.tokens.push_back(p.text);
        vocabulary.scores.push_back(p.score);
        vocabulary.token_types.push_back(static_cast<std::int32_t>(p.type));
    }
    vocabulary.bos = 1;
    vocabulary.eos = 2;
    vocabulary.unknown = 0;
    const auto embedded = load_embedded_tokenizer(vocabulary);
    ASSERT_TRUE(embedded.has_value()) << embedded.error().to_string();
    const auto original = testing::ostal_mini();
    SeededRandom random(8);
    for (int i = 0; i < 500; ++i) {
        const std::string text = testing::random_text(random, 40);
        ASSERT_EQ(*(*embedded)->encode(text), *original->encode(text));
    }
    EXPECT_EQ((*embedded)->control("[INST]"), original->control("[INST]"));

    vocabulary.scores.pop_back();
    EXPECT_EQ(load_embedded_tokenizer(vocabulary).error().code(), Code::kInvalidArgument);
}

TEST(EmbeddedVocabulary, RefusesWhatDoesNotHoldTogether) {
    EmbeddedVocabulary vocabulary;
    vocabulary.model = "gpt2";
    vocabulary.tokens = {"a", "b", "ab", "<end>"};
    vocabulary.token_types = {1, 1, 1, 1};
    vocabulary.merges = {"a b"};
    vocabulary.eos = 3;
    const auto tokenizer = load_embedded_tokenizer(vocabulary);
    ASSERT_TRUE(tokenizer.has_value());
    EXPECT_EQ(*(*tokenizer)->encode("ab<end>"), (std::vector<TokenId>{2}));  // other characters have no token
    EXPECT_TRUE((*tokenizer)->is_control(3));  // an end is a control token, whatever the file marks it as

    const auto refused = [&](auto change) {
        EmbeddedVocabulary changed = vocabulary;
        change(changed);
        const auto result = load_embedded_tokenizer(changed);
        EXPECT_FALSE(result.has_value());
        return result ? Code::kInternal : result.error().code();
    };
    EXPECT_EQ(refused([](auto& v) { v.model = "bert"; }), Code::kUnsupported);
    EXPECT_EQ(refused([](auto& v) { v.pre = "deepseek-coder"; }), Code::kUnsupported);
    EXPECT_EQ(refused([](auto& v) { v.tokens.clear(); }), Code::kInvalidArgument);
    EXPECT_EQ(refused([](auto& v) { v.token_types = {1}; }), Code::kInvalidArgument);
    EXPECT_EQ(refused([](auto& v) { v.token_types[0] = 9; }), Code::kInvalidArgument);
    EXPECT_EQ(refused([](auto& v) { v.eos = 4; }), Code::kInvalidArgument);
    EXPECT_EQ(refused([](auto& v) { v.merges = {"ab"}; }), Code::kInvalidArgument);
    EXPECT_EQ(refused([](auto& v) { v.merges = {""}; }), Code::kInvalidArgument);
    EXPECT_EQ(refused([](auto& v) { v.merges = {"b a"}; }), Code::kInvalidArgument);
}

}  // namespace
}  // namespace ostal::engine
