#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "appliance/cli/ostal_engine/commands.h"
#include "base/check.h"
#include "base/json.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine_tool {
namespace {

using engine::DType;

struct Outcome {
    int code = 0;
    std::string out;
    std::string err;
};

Outcome call(const std::vector<std::string>& words, const std::string& input = {}) {
    std::istringstream in(input);
    std::ostringstream out;
    std::ostringstream err;
    const SystemClock clock;
    const int code = run(words, clock, {in, out, err});
    return {code, out.str(), err.str()};
}

json::Value parse(const std::string& text) {
    auto value = json::parse(text);
    EXPECT_TRUE(value) << text;
    return value ? *std::move(value) : json::Value();
}

std::vector<std::int64_t> ids_of(const json::Value& value) {
    std::vector<std::int64_t> ids;
    for (const json::Value& id : value.as_array()) ids.push_back(*id.to_int64());
    return ids;
}
std::vector<std::int64_t> ids_of(const std::string& line) { return ids_of(parse(line)); }

// The same model as a folder, as shards and as GGUF files.
class EngineTool : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        std::string path = ::testing::TempDir() + "ostal_engine_tool_XXXXXX";
        CHECK(::mkdtemp(path.data()) != nullptr);
        root_ = path;
        const test::TinyModel model({});
        put("folder", model.folder());
        put("shards", model.folder(3));
        put("mistral", model.mistral(3));
        put("f32", model.gguf(DType::kF32));
        put("bf16", model.gguf(DType::kBF16));
    }
    static void TearDownTestSuite() { std::filesystem::remove_all(root_); }
    static void put(const std::string& name, const test::MemorySource& source) {
        std::filesystem::create_directory(root_ + "/" + name);
        test::TinyModel::write(source, root_ + "/" + name);
    }
    static std::string folder(const std::string& name = "folder") { return root_ + "/" + name; }
    static std::string gguf(const std::string& name = "f32") { return root_ + "/" + name + "/model.gguf"; }
    static std::string root_;
};
std::string EngineTool::root_;

TEST_F(EngineTool, HelpNamesEveryCommandAndOption) {
    const Outcome all = call({"--help"});
    EXPECT_EQ(all.code, 0);
    for (const Command& command :
         {tokenize_command(), detokenize_command(), template_command(), logits_command(), generate_command(),
          bench_command(), inspect_command(), perplexity_command()}) {
        EXPECT_NE(all.out.find(command.name), std::string::npos);
        const Outcome help = call({std::string(command.name), "--help"});
        EXPECT_EQ(help.code, 0);
        for (const Option& option : command.options) {
            EXPECT_NE(help.out.find(option.name), std::string::npos) << command.name << " " << option.name;
        }
        EXPECT_NE(help.out.find("Exit codes"), std::string::npos) << command.name;
    }
}

TEST_F(EngineTool, UsageErrorsAreExitCode2) {
    const std::vector<std::vector<std::string>> kWrong = {
        {},
        {"dance"},
        {"tokenize"},
        {"tokenize", "--model"},
        {"tokenize", "--model", folder(), "--tokenizer", folder() + "/tokenizer.model"},
        {"tokenize", "--model", folder(), "--model", folder()},
        {"tokenize", "--model", folder(), "word"},
        {"tokenize", "--model", folder(), "--no-special=yes"},
        {"tokenize", "--model", folder(), "--unknown", "1"},
        {"template", "--model", folder(), "--format", "v3"},
        {"template", "--model", folder(), "--chat"},
        {"template", "--model", folder(), "--chat", "--format", "v99"},
        {"template", "--model", folder(), "--chat", "--fim", "--format", "v3"},
        {"logits", "--model", folder(), "--top", "3"},
        {"logits", "--model", folder(), "--ids", "", "--top", "3"},
        {"logits", "--model", folder(), "--ids", "1,,2"},
        {"logits", "--model", folder(), "--ids", "1,2,"},
        {"logits", "--model", folder(), "--ids", "1,x"},
        {"logits", "--model", folder(), "--ids", "-1"},
        {"logits", "--model", folder(), "--ids", "1,384"},
        {"logits", "--model", folder(), "--ids", "9223372036854775808"},
        {"logits", "--model", folder(), "--ids", "1", "--top", "0"},
        {"logits", "--model", folder(), "--ids", "1", "--top", "385"},
        {"logits", "--model", folder(), "--ids", "1", "--isa", "mmx"},
        {"convert", "--model", folder(), "--out", "/nowhere/m.gguf"},
        {"convert", "--model", folder(), "--out", "/nowhere/m.gguf", "--quantize", "q5"},
        {"convert", "--model", folder(), "--out", "/nowhere/m.bin", "--quantize", "q8"},
        {"logits", "--model", folder(), "--ids", "1", "--threads", "0"},
        {"generate", "--model", folder(), "--ids", "384"},
        {"generate", "--model", folder(), "--ids", "1", "--prompt", "a"},
        {"generate", "--model", folder(), "--ids", "1", "--chat", "--format", "v3"},
        {"generate", "--model", folder(), "--prompt", "a", "--chat"},
        {"generate", "--model", folder(), "--prompt", "a", "--system", "b"},
        {"generate", "--model", folder(), "--prompt", "a", "--temperature", "-1"},
        {"generate", "--model", folder(), "--prompt", "a", "--temperature", "nan"},
        {"generate", "--model", folder(), "--prompt", "a", "--top-p", "0"},
        {"generate", "--model", folder(), "--prompt", "a", "--top-p", "1.5"},
        {"generate", "--model", folder(), "--prompt", "a", "--top-k", "-1"},
        {"generate", "--model", folder(), "--prompt", "a", "--max-tokens", "0"},
        {"generate", "--model", folder(), "--prompt", "a", "--seed", "-1"},
        {"generate", "--model", folder(), "--prompt", "a", "--stop", ""},
        {"inspect"},
        {"inspect", "--model", folder(), "--json=1"},
        {"perplexity", "--model", folder()},
        {"perplexity", "--file", folder() + "/config.json"},
        {"perplexity", "--model", folder(), "--file", folder() + "/config.json", "--context", "1"},
        {"perplexity", "--model", folder(), "--file", folder() + "/config.json", "--context", "257"},
        {"perplexity", "--model", folder(), "--file", folder() + "/config.json", "--context", "8", "--stride",
         "9"},
        {"perplexity", "--model", folder(), "--file", folder() + "/config.json", "--stride", "0"},
        {"bench", "--model", folder(), "--batch", "0"},
        {"bench", "--model", folder(), "--batch", "1,a"},
        {"bench", "--model", folder(), "--gen", "0"},
    };
    for (const auto& words : kWrong) {
        const Outcome outcome = call(words, "{}");
        EXPECT_EQ(outcome.code, 2) << (words.empty() ? "" : words[0]) << ": " << outcome.err << outcome.out;
        EXPECT_TRUE(outcome.out.empty());
        EXPECT_FALSE(outcome.err.empty());
    }
}

TEST_F(EngineTool, BrokenModelsAreExitCode1WithTheReason) {
    const std::pair<std::vector<std::string>, std::string> kBroken[] = {
        {{"logits", "--model", root_ + "/nothing", "--ids", "1"}, "nothing"},
        {{"logits", "--model", root_, "--ids", "1"}, "no model is here"},
        {{"tokenize", "--tokenizer", folder() + "/config.json"}, "config.json"},
        {{"tokenize", "--tokenizer", folder() + "/model.safetensors"}, "model.safetensors"},
        {{"tokenize", "--tokenizer", root_ + "/nothing"}, "nothing"},
    };
    for (const auto& [words, part] : kBroken) {
        const Outcome outcome = call(words);
        EXPECT_EQ(outcome.code, 1) << outcome.err;
        EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
        EXPECT_TRUE(outcome.out.empty());
    }
    test::MemorySource scaled = test::TinyModel({}).folder();
    std::string config(as_text(scaled.content("config.json")));
    config.insert(1, R"("rope_scaling": {"type": "longrope", "factor": 2.0},)");
    scaled.set("config.json", Bytes(config.begin(), config.end()));
    put("scaled", scaled);
    const Outcome refused = call({"logits", "--model", folder("scaled"), "--ids", "1"});
    EXPECT_EQ(refused.code, 1);
    EXPECT_NE(refused.err.find("rope_scaling"), std::string::npos) << refused.err;
}

TEST_F(EngineTool, TokenizesAndDetokenizes) {
    const std::string text = "the [INST] cat </s> sat\n";
    const std::vector<std::int64_t> with_bos = ids_of(call({"tokenize", "--model", folder()}, text).out);
    ASSERT_FALSE(with_bos.empty());
    EXPECT_EQ(with_bos[0], 1);
    const std::vector<std::int64_t> plain =
        ids_of(call({"tokenize", "--model", folder(), "--no-special"}, text).out);
    EXPECT_EQ(plain, std::vector<std::int64_t>(with_bos.begin() + 1, with_bos.end()));
    // Control names in the text never become control tokens.
    for (const std::int64_t id : plain) EXPECT_GE(id, 10);
    for (const std::vector<std::string>& vocabulary :
         std::vector<std::vector<std::string>>{{"--model", gguf()},
                                               {"--model", folder("shards")},
                                               {"--tokenizer", folder() + "/tokenizer.model"},
                                               {"--tokenizer", gguf()}}) {
        std::vector<std::string> words{"tokenize"};
        words.insert(words.end(), vocabulary.begin(), vocabulary.end());
        EXPECT_EQ(ids_of(call(words, text).out), with_bos) << vocabulary[1];
        words[0] = "detokenize";
        EXPECT_EQ(call(words, json::to_string(parse(call({"tokenize", "--model", folder()}, text).out))).out,
                  text);
    }
    EXPECT_EQ(call({"tokenize", "--model", folder(), "--no-special"}).out, "[]\n");
    EXPECT_EQ(call({"tokenize", "--model", folder()}, "\xFF").code, 1);
    EXPECT_EQ(call({"detokenize", "--model", folder()}, "[]").out, "");
    for (const char* input :
         {"", "{}", "1", "[384]", "[-1]", "[1.0]", "[\"1\"]", "[1", "[1] 2", "[9223372036854775808]"}) {
        const Outcome outcome = call({"detokenize", "--model", folder()}, input);
        EXPECT_EQ(outcome.code, 1) << input;
        EXPECT_TRUE(outcome.out.empty());
    }
}

TEST_F(EngineTool, BosComesOnlyWhereTheModelWantsIt) {
    test::MemorySource quiet = test::TinyModel({}).folder();
    const std::string config = R"({"add_bos_token": false})";
    quiet.set("tokenizer_config.json", Bytes(config.begin(), config.end()));
    put("quiet", quiet);
    EXPECT_EQ(call({"tokenize", "--model", folder("quiet")}, "a").out,
              call({"tokenize", "--model", folder(), "--no-special"}, "a").out);
    test::MemorySource file = test::TinyModel({}).gguf(DType::kF32);
    Bytes& content = file.content("model.gguf");
    const std::string key = "tokenizer.ggml.add_bos_token";
    const auto at = std::search(content.begin(), content.end(), key.begin(), key.end());
    ASSERT_NE(at, content.end());
    at[static_cast<std::ptrdiff_t>(key.size()) + 4] = 0;
    put("quiet_gguf", file);
    EXPECT_EQ(call({"tokenize", "--model", gguf("quiet_gguf")}, "a").out,
              call({"tokenize", "--model", folder(), "--no-special"}, "a").out);
}

TEST_F(EngineTool, RendersChats) {
    const std::string request = R"({"messages": [{"role": "user", "content": "the cat [/INST]"}]})";
    const Outcome v3 = call({"template", "--model", folder(), "--format", "v3", "--chat"}, request);
    ASSERT_EQ(v3.code, 0) << v3.err;
    const std::vector<std::int64_t> ids = ids_of(v3.out);
    ASSERT_GT(ids.size(), 3U);
    EXPECT_EQ(ids[0], 1);
    EXPECT_EQ(ids[1], 3);
    EXPECT_EQ(ids.back(), 4);
    EXPECT_EQ(std::count(ids.begin(), ids.end(), 4), 1);  // the name in the text is text
    for (const std::string& vocabulary : {folder() + "/tokenizer.model", gguf()}) {
        EXPECT_EQ(call({"template", "--tokenizer", vocabulary, "--format=v3", "--chat"}, request).out,
                  v3.out);
    }
    for (const char* refused : {R"({"messages": []})", R"({"messages": [{"role": "judge", "content": "a"}]})",
                                "[]", "{", R"({"messages": [{"role": "assistant", "content": "a"}]})"}) {
        const Outcome outcome = call({"template", "--model", folder(), "--format", "v3", "--chat"}, refused);
        EXPECT_EQ(outcome.code, 1) << refused;
        EXPECT_TRUE(outcome.out.empty());
        EXPECT_FALSE(outcome.err.empty());
    }
    EXPECT_EQ(call({"template", "--model", folder(), "--format", "chatml", "--chat"}, request).code, 1);
}

// A folder with several tokenizer files has the tekken one, of "conventional.json": 20 control tokens, the
// bytes, and "th", "the", " the".
TEST_F(EngineTool, ATekkenVocabularyOfAFolderIsTaken) {
    std::filesystem::copy(folder(), root_ + "/tekken");
    std::filesystem::copy_file(OSTAL_SOURCE_DIR "/tests/fuzz/corpus/tekken/conventional.json",
                               root_ + "/tekken/tekken.json");
    const std::string tekken = folder("tekken");
    EXPECT_EQ(ids_of(call({"tokenize", "--model", tekken}, "the the").out),
              (std::vector<std::int64_t>{1, 277, 278}));
    EXPECT_EQ(call({"detokenize", "--model", tekken}, "[277,278]").out, "the the");
    const std::string request = R"({"messages": [{"role": "user", "content": "the"}]})";
    EXPECT_EQ(ids_of(call({"template", "--model", tekken, "--format", "v3-tekken", "--chat"}, request).out),
              (std::vector<std::int64_t>{1, 3, 277, 4}));
    const Outcome v13 = call({"template", "--model", tekken, "--format", "v13-tekken", "--chat"}, request);
    EXPECT_EQ(v13.code, 1);
    EXPECT_NE(v13.err.find("[ARGS]"), std::string::npos) << v13.err;
}

TEST_F(EngineTool, RendersFillInTheMiddle) {
    const std::vector<std::string> words{"template", "--model", folder(), "--format", "v3", "--fim"};
    const Outcome both = call(words, R"({"prompt": "the ", "suffix": "cat"})");
    ASSERT_EQ(both.code, 0) << both.err;
    EXPECT_EQ(ids_of(both.out).front(), 1);
    const Outcome alone = call(words, R"({"prompt": "the "})");
    ASSERT_EQ(alone.code, 0) << alone.err;
    EXPECT_EQ(call(words, R"({"prompt": "the ", "suffix": null})").out, alone.out);
    EXPECT_LT(ids_of(alone.out).size(), ids_of(both.out).size());
    for (const char* refused :
         {"[]", R"({"suffix": "x"})", R"({"prompt": 1})", R"({"prompt": "", "suffix": 2})"}) {
        EXPECT_EQ(call(words, refused).code, 1) << refused;
    }
    EXPECT_EQ(call({"template", "--model", folder(), "--format", "v1", "--fim"}, R"({"prompt": "a"})").code,
              1);
}

// [position][k] -> (id, log-probability)
std::vector<std::vector<std::pair<std::int64_t, double>>> logits_of(const std::string& out) {
    std::vector<std::vector<std::pair<std::int64_t, double>>> all;
    const json::Value value = parse(out);
    for (const json::Value& position : value.as_array()) {
        EXPECT_EQ(*position.find("pos")->to_int64(), static_cast<std::int64_t>(all.size()));
        all.emplace_back();
        for (const json::Value& pair : position.find("top")->as_array()) {
            all.back().emplace_back(*pair.as_array()[0].to_int64(), pair.as_array()[1].as_double());
        }
    }
    return all;
}

TEST_F(EngineTool, LogitsAreTheSameInEveryLayout) {
    std::string ids = "1";  // more than one chunk of positions
    for (int i = 0; i < 69; ++i) ids += "," + std::to_string(10 + 37 * i % 300);
    const Outcome first = call({"logits", "--model", folder(), "--ids", ids, "--top", "384"});
    ASSERT_EQ(first.code, 0) << first.err;
    const auto expected = logits_of(first.out);
    ASSERT_EQ(expected.size(), 70U);
    for (const auto& position : expected) {
        ASSERT_EQ(position.size(), 384U);
        double sum = 0.0;
        for (std::size_t k = 0; k < position.size(); ++k) {
            sum += std::exp(position[k].second);
            if (k > 0) {
                EXPECT_GE(position[k - 1].second, position[k].second);
            }
        }
        EXPECT_NEAR(sum, 1.0, 1e-5);
    }
    for (const std::vector<std::string>& more :
         std::vector<std::vector<std::string>>{{"--model", folder("shards")},
                                               {"--model", gguf("f32")},
                                               {"--model", gguf("bf16")},
                                               {"--model", folder(), "--isa", "scalar"},
                                               {"--model", folder(), "--threads", "2"}}) {
        std::vector<std::string> words{"logits", "--ids", ids, "--top", "5"};
        words.insert(words.end(), more.begin(), more.end());
        const Outcome outcome = call(words);
        ASSERT_EQ(outcome.code, 0) << outcome.err;
        const auto found = logits_of(outcome.out);
        ASSERT_EQ(found.size(), expected.size());
        for (std::size_t i = 0; i < found.size(); ++i) {
            ASSERT_EQ(found[i].size(), 5U);
            EXPECT_NEAR(found[i][0].second, expected[i][0].second, 1e-3) << more[1] << " position " << i;
            const bool clear = expected[i][0].second - expected[i][1].second > 2e-3;
            if (clear) {
                EXPECT_EQ(found[i][0].first, expected[i][0].first) << more[1] << " position " << i;
            }
        }
    }
    std::string long_ids = "1";
    for (int i = 0; i < 256; ++i) long_ids += ",10";
    const Outcome over = call({"logits", "--model", folder(), "--ids", long_ids});
    EXPECT_EQ(over.code, 1);
    EXPECT_NE(over.err.find("257"), std::string::npos) << over.err;
    EXPECT_NE(over.err.find("256"), std::string::npos) << over.err;
}

TEST_F(EngineTool, GeneratesWhatTheLogitsSay) {
    const Outcome outcome =
        call({"generate", "--model", folder(), "--ids", "1,20,30", "--max-tokens", "6", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const json::Value answer = parse(outcome.out);
    const std::vector<std::int64_t> ids = ids_of(*answer.find("ids"));
    ASSERT_FALSE(ids.empty());
    std::string all = "1,20,30";
    for (const std::int64_t id : ids) {
        const auto logits = logits_of(call({"logits", "--model", folder(), "--ids", all, "--top", "2"}).out);
        if (logits.back()[0].second - logits.back()[1].second > 2e-3) {
            EXPECT_EQ(id, logits.back()[0].first);
        }
        all += "," + std::to_string(id);
    }
    EXPECT_EQ(*answer.find("usage")->find("prompt_tokens")->to_int64(), 3);
    EXPECT_EQ(*answer.find("usage")->find("completion_tokens")->to_int64(),
              static_cast<std::int64_t>(ids.size()));
    const std::string& reason = answer.find("finish_reason")->as_string();
    EXPECT_EQ(reason, ids.size() == 6 && ids.back() != 2 ? "length" : "stop");
    // Streamed, the text is the same.
    const Outcome streamed = call({"generate", "--model", folder(), "--ids", "1,20,30", "--max-tokens", "6"});
    EXPECT_EQ(streamed.out, answer.find("text")->as_string() + "\n");
}

TEST_F(EngineTool, SamplingIsReproducibleAndStopsWhereAsked) {
    const std::vector<std::string> kDraw{"generate", "--model",      folder(),  "--prompt",      "the cat",
                                         "--json",   "--max-tokens", "40",      "--temperature", "1.5",
                                         "--top-k",  "50",           "--top-p", "0.95",          "--seed"};
    const auto draw = [&](const std::string& seed) {
        std::vector<std::string> words = kDraw;
        words.push_back(seed);
        const Outcome outcome = call(words);
        EXPECT_EQ(outcome.code, 0) << outcome.err;
        return outcome.out;
    };
    const std::string first = draw("7");
    EXPECT_EQ(draw("7"), first);
    EXPECT_NE(draw("8"), first);
    // The text of the input without its last newline is the same prompt.
    std::vector<std::string> words = kDraw;
    words.push_back("7");
    words.erase(words.begin() + 3, words.begin() + 5);
    EXPECT_EQ(call(words, "the cat\n").out, first);
    const json::Value drawn = parse(first);
    const std::string& text = drawn.find("text")->as_string();
    ASSERT_GT(text.size(), 4U);
    const std::size_t from = utf8_complete_prefix(text.substr(0, 4));
    const std::size_t length = std::max<std::size_t>(utf8_complete_prefix(text.substr(from, 3)), 1);
    const std::string stop = text.substr(from, length);
    words = kDraw;
    words.insert(words.end(), {"7", "--stop", stop});
    const json::Value stopped = parse(call(words).out);
    EXPECT_EQ(stopped.find("text")->as_string(), text.substr(0, text.find(stop)));
    EXPECT_EQ(stopped.find("finish_reason")->as_string(), "stop");
}

TEST_F(EngineTool, ChatsAsTheTemplateSays) {
    const Outcome rendered = call(
        {"template", "--model", folder(), "--format", "v3", "--chat"},
        R"({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]})");
    std::string ids = rendered.out.substr(1, rendered.out.size() - 3);
    const json::Value chat =
        parse(call({"generate", "--model", folder(), "--chat", "--format", "v3", "--system", "be brief",
                    "--prompt", "hi", "--json", "--max-tokens", "5"})
                  .out);
    const json::Value plain =
        parse(call({"generate", "--model", folder(), "--ids", ids, "--json", "--max-tokens", "5"}).out);
    EXPECT_EQ(*chat.find("ids"), *plain.find("ids"));
    const Outcome over = call({"generate", "--model", folder(), "--prompt", "hi", "--max-tokens", "300"});
    EXPECT_EQ(over.code, 1);
    EXPECT_NE(over.err.find("256"), std::string::npos) << over.err;
}

TEST_F(EngineTool, ConvertWritesAModelThatAnswersAlike) {
    const std::string out = root_ + "/converted.gguf";
    const std::vector<std::string> words = {"convert", "--model", folder(), "--quantize", "q8", "--out", out};
    const Outcome done = call(words);
    ASSERT_EQ(done.code, 0) << done.err;
    const json::Value report = parse(done.out);
    EXPECT_EQ(*report.find("bytes")->to_int64(), static_cast<std::int64_t>(std::filesystem::file_size(out)));
    EXPECT_EQ(report.find("weights")->as_string(), "q8_0+f32");
    const Outcome again = call(words);
    EXPECT_EQ(again.code, 1);
    EXPECT_NE(again.err.find("exists"), std::string::npos) << again.err;
    std::vector<std::string> forced = words;
    forced.push_back("--force");
    EXPECT_EQ(call(forced).code, 0);
    const std::vector<std::string> tokenize = {"tokenize", "--model", folder()};
    const std::vector<std::string> of_converted = {"tokenize", "--model", out};
    EXPECT_EQ(call(tokenize, "hello  world").out, call(of_converted, "hello  world").out);
    EXPECT_EQ(call({"logits", "--model", out, "--ids", "1,20,30"}).code, 0);
}

TEST_F(EngineTool, BenchReportsWhatItDid) {
    const Outcome outcome = call({"bench", "--model", folder(), "--threads", "1", "--prompt", "16", "--gen",
                                  "8", "--batch", "1,3", "--repeat", "1", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const json::Value report = parse(outcome.out);
    EXPECT_EQ(report.find("model")->find("architecture")->as_string(), "mixtral");
    EXPECT_EQ(*report.find("threads")->to_int64(), 1);
    EXPECT_EQ(*report.find("prompt")->to_int64(), 16);
    EXPECT_EQ(*report.find("gen")->to_int64(), 8);
    const json::Array& runs = report.find("runs")->as_array();
    ASSERT_EQ(runs.size(), 2U);
    for (std::size_t i = 0; i < 2; ++i) {
        const std::int64_t batch = i == 0 ? 1 : 3;
        EXPECT_EQ(*runs[i].find("batch")->to_int64(), batch);
        EXPECT_EQ(*runs[i].find("prefill_tokens")->to_int64(), 16 * batch);
        EXPECT_GT(*runs[i].find("decode_tokens")->to_int64(), 0);
        EXPECT_LE(*runs[i].find("decode_tokens")->to_int64(), 8 * batch);
        for (const char* key :
             {"prefill_s", "prefill_tokens_per_s", "first_token_s", "decode_s", "decode_tokens_per_s"}) {
            ASSERT_NE(runs[i].find(key), nullptr) << key;
            EXPECT_GT(runs[i].find(key)->as_double(), 0.0) << key;
        }
    }
    EXPECT_EQ(call({"bench", "--model", folder(), "--prompt", "250", "--gen", "8"}).code, 1);
    const Outcome table =
        call({"bench", "--model", folder(), "--prompt", "4", "--gen", "4", "--batch", "2", "--repeat", "1"});
    EXPECT_EQ(table.code, 0);
    EXPECT_NE(table.out.find("prefill"), std::string::npos);
}

TEST_F(EngineTool, InspectSaysWhatAModelIs) {
    const auto inspect = [](const std::string& path) {
        const Outcome outcome = call({"inspect", "--model", path, "--json"});
        EXPECT_EQ(outcome.code, 0) << outcome.err;
        return parse(outcome.out);
    };
    const json::Value hf = inspect(folder());
    const json::Value mistral = inspect(folder("mistral"));
    const json::Value file = inspect(gguf());
    EXPECT_EQ(*hf.find("source"), json::Value("Hugging Face folder"));
    EXPECT_EQ(*mistral.find("source"), json::Value("Mistral folder"));
    EXPECT_EQ(*file.find("source"), json::Value("GGUF file"));
    // One model: one configuration, as many parameters.
    EXPECT_EQ(*hf.find("config"), *mistral.find("config"));
    EXPECT_EQ(*hf.find("config"), *file.find("config"));
    EXPECT_EQ(*hf.find("parameters"), *file.find("parameters"));
    EXPECT_EQ(hf.find("config")->find("experts")->to_int64().value(), 4);
    EXPECT_TRUE(hf.find("refused")->is_null());
    const json::Value& tensors = hf.find("tensors")->as_array().at(0);
    EXPECT_EQ(*tensors.find("type"), json::Value("bf16"));
    EXPECT_EQ(*tensors.find("bytes"), *hf.find("weight_bytes"));
    EXPECT_EQ(*hf.find("tokenizer")->find("kind"), json::Value("SentencePiece model"));
    EXPECT_EQ(*file.find("tokenizer")->find("kind"), json::Value("embedded in GGUF, llama (SentencePiece)"));
    for (const json::Value* found : {&hf, &mistral, &file})
        EXPECT_EQ(found->find("tokenizer")->find("tokens")->to_int64().value(), 384);
    // No template and no version: no guess; the file's name is one.
    EXPECT_TRUE(hf.find("format")->find("name")->is_null());
    EXPECT_EQ(*mistral.find("format")->find("name"), json::Value("v3"));
    const Outcome text = call({"inspect", "--model", folder("mistral")});
    EXPECT_EQ(text.code, 0);
    for (const char* line : {"source: Mistral folder\n", "config.norm_eps: 1e-05\n",
                             "config.rope.theta: ", "refused: null\n", "tensors:  type bf16  tensors "}) {
        EXPECT_NE(text.out.find(line), std::string::npos) << line << text.out;
    }
}

TEST_F(EngineTool, InspectSaysWhyAModelIsRefused) {
    test::MemorySource longrope = test::TinyModel({}).folder();
    std::string config(as_text(longrope.content("config.json")));
    config.insert(config.find('{') + 1, "\"rope_scaling\": {\"type\": \"longrope\"},");
    longrope.set("config.json", Bytes(config.begin(), config.end()));
    put("longrope", longrope);
    test::MemorySource half = test::TinyModel({}).mistral(3);
    half.erase("consolidated-00002-of-00003.safetensors");
    put("half", half);
    const std::pair<std::string, std::string> kRefused[] = {
        {"longrope", "the RoPE scaling \"longrope\""},
        {"half", "consolidated-00002-of-00003.safetensors is missing"},
    };
    for (const auto& [name, part] : kRefused) {
        const Outcome outcome = call({"inspect", "--model", folder(name), "--json"});
        EXPECT_EQ(outcome.code, 1);
        EXPECT_NE(parse(outcome.out).find("refused")->as_string().find(part), std::string::npos)
            << outcome.out;
        EXPECT_NE(outcome.err.find(part), std::string::npos) << outcome.err;
        EXPECT_FALSE(parse(outcome.out).find("source")->is_null());
    }
    // A folder that is no model at all.
    std::filesystem::create_directory(root_ + "/empty");
    const Outcome empty = call({"inspect", "--model", root_ + "/empty", "--json"});
    EXPECT_EQ(empty.code, 1);
    EXPECT_TRUE(parse(empty.out).find("source")->is_null());
    EXPECT_NE(empty.err.find("no model is here"), std::string::npos);
}

// By its definition from the log-probabilities that `logits` gives, window by window.
TEST_F(EngineTool, PerplexityIsThatOfTheLogits) {
    const std::string path = root_ + "/text.txt";
    const std::string text = "the singer sings in the rain, and again";
    std::ofstream(path) << text;
    const std::vector<std::int64_t> ids = ids_of(call({"tokenize", "--model", folder()}, text).out);
    constexpr std::size_t kContext = 12, kStride = 5;
    ASSERT_GT(ids.size(), 2 * kContext);
    double sum = 0;
    std::int64_t predicted = 0;
    for (std::size_t begin = 0, done = 1; done < ids.size(); begin += kStride) {
        const std::size_t end = std::min(begin + kContext, ids.size());
        std::string list;
        for (std::size_t i = begin; i < end; ++i) list += (i > begin ? "," : "") + std::to_string(ids[i]);
        const json::Value rows =
            parse(call({"logits", "--model", folder(), "--ids", list, "--top", "384"}).out);
        for (std::size_t i = std::max(done, begin + 1); i < end; ++i, ++predicted) {
            for (const json::Value& pair : rows.as_array()[i - begin - 1].find("top")->as_array()) {
                if (pair.as_array()[0].to_int64().value() == ids[i]) sum -= pair.as_array()[1].as_double();
            }
        }
        done = end;
    }
    const Outcome outcome = call(
        {"perplexity", "--model", folder(), "--file", path, "--context", "12", "--stride", "5", "--json"});
    ASSERT_EQ(outcome.code, 0) << outcome.err;
    const json::Value found = parse(outcome.out);
    EXPECT_EQ(found.find("tokens")->to_int64().value(), static_cast<std::int64_t>(ids.size()));
    EXPECT_EQ(found.find("predicted")->to_int64().value(), predicted);
    EXPECT_EQ(predicted, static_cast<std::int64_t>(ids.size()) - 1);
    EXPECT_NEAR(found.find("nll")->as_double(), sum, 1e-4);
    EXPECT_NEAR(found.find("perplexity")->as_double(), std::exp(sum / static_cast<double>(predicted)), 1e-3);
    EXPECT_GT(found.find("standard_error")->as_double(), 0.0);
    const Outcome lines =
        call({"perplexity", "--model", folder(), "--file", path, "--context", "12", "--stride", "5"});
    for (const char* name : {"predicted", "perplexity", "standard_error"}) {
        const std::string line = std::string(name) + ": " + json::to_string(*found.find(name)) + "\n";
        EXPECT_NE(lines.out.find(line), std::string::npos) << line << lines.out;
    }
    std::ofstream(root_ + "/nothing.txt") << "";
    EXPECT_EQ(call({"perplexity", "--model", folder(), "--file", root_ + "/nothing.txt"}).code, 1);
    std::ofstream(root_ + "/broken.txt") << "\xFF\xFE broken";
    EXPECT_EQ(call({"perplexity", "--model", folder(), "--file", root_ + "/broken.txt"}).code, 1);
}

}  // namespace
}  // namespace ostal::engine_tool
