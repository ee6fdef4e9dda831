#include "engine/engine.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "tests/support/allocation_count.h"
#include "tests/support/collecting_sink.h"
#include "tests/support/tiny_model.h"

namespace ostal::engine {
namespace {

using test::Answer;
using test::CollectingSink;
using test::eventually;
using test::MemorySource;
using test::TinyModel;
using test::TinyModelSpec;

constexpr std::int64_t kSecondUs = 1'000'000;
const std::string kMiniFolder = std::string(OSTAL_SOURCE_DIR) + "/models/ostal-mini";

EngineConfig small_config() {
    EngineConfig config;
    config.threads = 2;
    config.max_sequences = 8;
    config.max_queue = 64;
    config.step_token_budget = 32;
    config.kv_block_tokens = 8;
    config.pin_threads = false;
    return config;
}

class EngineTest : public testing::Test {
protected:
    Result<std::unique_ptr<Engine>> try_load(const EngineConfig& config, const WeightSource& source) {
        return Engine::load(config, source, clock_, log_);
    }
    std::unique_ptr<Engine> load(const EngineConfig& config, const WeightSource& source) {
        auto engine = try_load(config, source);
        CHECK(engine.has_value());
        return std::move(*engine);
    }
    std::unique_ptr<Engine> load_mini(const EngineConfig& config) {
        auto source = FolderSource::open(kMiniFolder);
        CHECK(source.has_value());
        return load(config, **source);
    }
    static std::shared_ptr<CollectingSink> submit(Engine& engine, GenerationRequest request,
                                                  CollectingSink::Behaviour behaviour = {}) {
        auto sink = std::make_shared<CollectingSink>(std::move(behaviour));
        const Status status = engine.submit(std::move(request), sink);
        EXPECT_TRUE(status.has_value()) << (status ? "" : status.error().to_string());
        return sink;
    }
    // Bytes of a KV cache that holds `tokens` tokens.
    static std::int64_t kv_bytes(const TinyModelSpec& spec, std::int64_t tokens) {
        return std::int64_t{2} * spec.layers * spec.kv_heads * spec.head_dim * 4 * tokens;
    }
    static void expect_all_blocks_free(Engine& engine) {
        engine.drain(120 * kSecondUs);
        const EngineStats stats = engine.stats();
        EXPECT_EQ(stats.kv_blocks_free, stats.kv_blocks_total);
        EXPECT_EQ(stats.running + stats.waiting, 0);
    }

    ManualClock clock_;
    NullLog log_;
};

GenerationRequest random_request(SeededRandom& random, RequestId id, std::int32_t vocab,
                                 std::int32_t context) {
    GenerationRequest request;
    request.id = id;
    const auto prompt = 1 + random.below(static_cast<std::uint64_t>(context / 2));
    for (std::uint64_t i = 0; i < prompt; ++i) {
        request.prompt.push_back(static_cast<TokenId>(random.below(static_cast<std::uint64_t>(vocab))));
    }
    request.max_tokens = static_cast<std::int32_t>(1 + random.below(40));
    if (id % 2 == 0) {
        request.sampling.temperature = 0.9;
        request.sampling.top_p = id % 4 == 0 ? 0.9 : 1.0;
        request.sampling.top_k = id % 8 == 0 ? 40 : 0;
        request.sampling.seed = id * 77;
    }
    return request;
}

// The promise that the rest of the product builds on: who else is served changes no token.
TEST_F(EngineTest, EightAtOnceGetWhatEachGetsAlone) {
    TinyModelSpec spec;
    spec.context = 128;
    const MemorySource source = TinyModel(spec).folder();
    SeededRandom random(3);
    std::vector<GenerationRequest> requests;
    for (RequestId id = 1; id <= 16; ++id) requests.push_back(random_request(random, id, spec.vocab, 128));

    EngineConfig config = small_config();
    config.threads = 1;
    const auto quiet = load(config, source);
    std::vector<Answer> alone;
    for (const auto& request : requests) alone.push_back(submit(*quiet, request)->wait());

    for (const std::int32_t threads : {1, 2}) {
        for (const std::int32_t budget : {5, 64}) {
            // The smaller cache holds one sequence of full context and a little more: it preempts.
            for (const std::int64_t tokens : {176, 1024}) {
                SCOPED_TRACE(testing::Message()
                             << threads << " threads, budget " << budget << ", " << tokens);
                config.threads = threads;
                config.step_token_budget = budget;
                config.kv_cache_bytes = kv_bytes(spec, tokens);
                const auto engine = load(config, source);
                EXPECT_EQ(engine->info().context_length, 128);
                std::vector<std::shared_ptr<CollectingSink>> sinks;
                for (const auto& request : requests) {
                    sinks.push_back(submit(*engine, request,
                                           request.id % 3 == 0 ? CollectingSink::often_full(request.id, 30)
                                                               : CollectingSink::Behaviour{}));
                    if (random.below(3) == 0) (void)sinks[random.below(sinks.size())]->wait_for_tokens(2);
                }
                for (std::size_t i = 0; i < requests.size(); ++i) {
                    const Answer answer = sinks[i]->wait();
                    EXPECT_EQ(answer.tokens, alone[i].tokens) << "request " << requests[i].id;
                    EXPECT_EQ(answer.text, alone[i].text);
                    EXPECT_EQ(answer.finish, alone[i].finish);
                }
                if (tokens == 176) {
                    EXPECT_GT(engine->stats().preemptions, 0);
                }
                expect_all_blocks_free(*engine);
            }
        }
    }
}

TEST_F(EngineTest, CancelsLeaveTheOthersAlone) {
    TinyModelSpec spec;
    const MemorySource source = TinyModel(spec).folder();
    EngineConfig config = small_config();
    config.kv_cache_bytes = kv_bytes(spec, 320);
    const auto engine = load(config, source);
    const auto quiet = load(small_config(), source);
    SeededRandom random(8);
    std::vector<GenerationRequest> requests;
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (RequestId id = 1; id <= 40; ++id) {
        requests.push_back(random_request(random, id, spec.vocab, 128));
        sinks.push_back(submit(*engine, requests.back()));
        if (id % 4 == 0) engine->cancel(1 + random.below(id));
        if (random.below(4) == 0) (void)sinks[random.below(sinks.size())]->wait_for_tokens(3);
    }
    for (std::size_t i = 0; i < sinks.size(); ++i) {
        const Answer answer = sinks[i]->wait();
        const auto expected = submit(*quiet, requests[i])->wait().tokens;
        if (answer.finish == FinishReason::kCancelled) {
            ASSERT_LE(answer.tokens.size(), expected.size());
            EXPECT_TRUE(std::equal(answer.tokens.begin(), answer.tokens.end(), expected.begin()));
        } else {
            EXPECT_EQ(answer.tokens, expected);
        }
    }
    expect_all_blocks_free(*engine);
}

struct GoldenCase {
    std::vector<TokenId> prompt;
    std::vector<TokenId> greedy;
    std::string text;
    double margin = 0.0;  // the least of all steps
};

std::vector<GoldenCase> golden_cases() {
    PosixFiles files;
    const auto bytes =
        read_file(files, std::string(OSTAL_SOURCE_DIR) + "/tests/golden/logits-ostal-mini.json", 1 << 24);
    CHECK(bytes.has_value());
    const auto parsed = json::parse(as_text(*bytes));
    CHECK(parsed.has_value());
    const auto ids = [](const json::Value& array) {
        std::vector<TokenId> out;
        for (const json::Value& id : array.as_array()) out.push_back(static_cast<TokenId>(*id.to_int64()));
        return out;
    };
    std::vector<GoldenCase> cases;
    for (const json::Value& one : parsed->as_object().find("cases")->as_array()) {
        const json::Object& object = one.as_object();
        GoldenCase golden;
        golden.prompt = ids(*object.find("prompt_ids"));
        golden.greedy = ids(*object.find("greedy_ids"));
        golden.text = object.find("greedy_text")->as_string();
        golden.margin = 1e9;
        for (const json::Value& margin : object.find("margin")->as_array()) {
            golden.margin = std::min(golden.margin, margin.as_double());
        }
        cases.push_back(std::move(golden));
    }
    return cases;
}

TEST_F(EngineTest, OstalMiniSaysWhatTheReferenceSays) {
    const auto cases = golden_cases();
    ASSERT_GE(cases.size(), 5U);
    const auto engine = load_mini(small_config());
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (std::size_t i = 0; i < cases.size(); ++i) {
        ASSERT_GT(cases[i].margin, 2e-3);  // else another order of summation may rightly say something else
        GenerationRequest request;
        request.id = i + 1;
        request.prompt = cases[i].prompt;
        request.max_tokens = 100;
        sinks.push_back(submit(*engine, request));
    }
    for (std::size_t i = 0; i < cases.size(); ++i) {
        const Answer answer = sinks[i]->wait();
        EXPECT_EQ(answer.tokens, cases[i].greedy);
        EXPECT_EQ(answer.text, cases[i].text);
        EXPECT_EQ(answer.finish, FinishReason::kStop);
        EXPECT_EQ(answer.usage.completion_tokens, static_cast<std::int32_t>(cases[i].greedy.size()));
    }
}

TEST_F(EngineTest, OstalMiniServesEightAsItServesOne) {
    const auto cases = golden_cases();
    EngineConfig config = small_config();
    const auto quiet = load_mini(config);
    config.kv_cache_bytes = std::int64_t{2} * 6 * 2 * 32 * 4 * 160;  // 160 tokens for eight: it preempts
    config.max_context_tokens = 128;
    const auto busy = load_mini(config);
    std::vector<GenerationRequest> requests;
    for (RequestId id = 1; id <= 8; ++id) {
        GenerationRequest request;
        request.id = id;
        request.prompt = cases[id % cases.size()].prompt;
        request.max_tokens = 60;
        request.sampling.temperature = id % 2 == 0 ? 1.3 : 0.0;
        request.sampling.top_p = 0.98;
        request.sampling.seed = id;
        requests.push_back(request);
    }
    std::vector<std::shared_ptr<CollectingSink>> sinks;
    for (const auto& request : requests) sinks.push_back(submit(*busy, request));
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const Answer answer = sinks[i]->wait();
        const Answer alone = submit(*quiet, requests[i])->wait();
        EXPECT_EQ(answer.tokens, alone.tokens);
        EXPECT_EQ(answer.text, alone.text);
    }
    EXPECT_GT(busy->stats().preemptions, 0);
}

TEST_F(EngineTest, StopStringsAndTheDummyPrefix) {
    const auto cases = golden_cases();
    const auto engine = load_mini(small_config());
    GenerationRequest request;
    request.id = 1;
    request.prompt = cases[0].prompt;  // "I do not know the word harbour."
    request.max_tokens = 100;
    request.stop = {"know the"};
    Answer answer = submit(*engine, request)->wait();
    EXPECT_EQ(answer.text, "I do not ");
    EXPECT_EQ(answer.finish, FinishReason::kStop);
    request.id = 2;
    request.stop.clear();
    request.continues_text = true;
    answer = submit(*engine, request)->wait();
    EXPECT_EQ(answer.text, " " + cases[0].text);
}

TEST_F(EngineTest, AGgufFileServesAsTheFolderDoes) {
    TinyModelSpec spec;
    const TinyModel model(spec);
    const auto folder = load(small_config(), model.folder(2));
    const auto gguf = load(small_config(), model.gguf(DType::kBF16));
    EXPECT_EQ(folder->info().architecture, "mixtral");
    EXPECT_EQ(gguf->info().parameters, folder->info().parameters);
    SeededRandom random(1);
    for (RequestId id = 1; id <= 4; ++id) {
        const GenerationRequest request = random_request(random, id, spec.vocab, 64);
        EXPECT_EQ(submit(*gguf, request)->wait().text, submit(*folder, request)->wait().text);
    }
}

TEST_F(EngineTest, SaysWhatItLoaded) {
    const auto engine = load_mini(small_config());
    const ModelInfo& info = engine->info();
    EXPECT_EQ(info.architecture, "mixtral");
    EXPECT_EQ(info.weight_types, "bf16");
    EXPECT_FALSE(info.isa.empty());
    EXPECT_EQ(info.parameters, 19'348'736);
    EXPECT_EQ(info.vocab_size, 8192);
    EXPECT_EQ(info.context_length, 1024);
    EXPECT_EQ(info.experts, 8);
    EXPECT_EQ(engine->tokenizer().vocab_size(), 8192);
    EXPECT_EQ(engine->stats().kv_blocks_total, 8 * 1024 / 8);
    GenerationRequest request;
    request.id = 1;
    request.prompt.assign(1000, 5);
    request.max_tokens = 25;
    const Status refused = engine->submit(request, std::make_shared<CollectingSink>());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Code::kContextLengthExceeded);
    EXPECT_NE(refused.error().message().find("1024"), std::string::npos);
    EXPECT_NE(refused.error().message().find("1025"), std::string::npos);
}

TEST_F(EngineTest, WhatCannotBeLoadedIsAnErrorOfItsKind) {
    const TinyModel model(TinyModelSpec{});
    const auto code = [&](const EngineConfig& config, const WeightSource& source) {
        const auto engine = try_load(config, source);
        return engine ? Code::kCancelled : engine.error().code();
    };
    const EngineConfig good = small_config();
    MemorySource source = model.folder();
    EXPECT_EQ(code(good, source), Code::kCancelled);  // it loads
    source.erase("tokenizer.model");
    EXPECT_EQ(code(good, source), Code::kInvalidArgument);
    source = model.folder();
    source.erase("model.safetensors");
    EXPECT_NE(code(good, source), Code::kCancelled);
    source = model.folder();
    source.content("model.safetensors").resize(source.content("model.safetensors").size() / 2);
    source.set("model.safetensors", source.content("model.safetensors"));
    EXPECT_EQ(code(good, source), Code::kInvalidArgument);
    source = model.folder();
    source.set("config.json", Bytes{'{'});
    EXPECT_EQ(code(good, source), Code::kInvalidArgument);
    // A tokenizer of a larger vocabulary.
    TinyModelSpec wide;
    wide.vocab = 400;
    source = model.folder();
    source.set("tokenizer.model", TinyModel(wide).tokenizer_model());
    EXPECT_EQ(code(good, source), Code::kInvalidArgument);

    source = model.folder();
    const auto expect_refused = [&](Code expected, const std::function<void(EngineConfig&)>& change) {
        EngineConfig config = good;
        change(config);
        EXPECT_EQ(code(config, source), expected);
    };
    expect_refused(Code::kInvalidArgument, [](auto& c) { c.threads = -1; });
    expect_refused(Code::kInvalidArgument, [](auto& c) { c.max_sequences = 0; });
    expect_refused(Code::kInvalidArgument, [](auto& c) { c.max_queue = 0; });
    expect_refused(Code::kInvalidArgument, [](auto& c) { c.step_token_budget = 0; });
    expect_refused(Code::kInvalidArgument, [](auto& c) { c.kv_block_tokens = 1000; });
    expect_refused(Code::kInvalidArgument, [](auto& c) { c.kv_cache_bytes = 100; });
    expect_refused(Code::kInvalidArgument, [](auto& c) { c.isa = "abacus"; });
    TinyModelSpec long_heads;
    long_heads.head_dim = 264;
    source = TinyModel(long_heads).folder();
    EXPECT_EQ(code(good, source), Code::kUnsupported);
}

// A sink that copies nothing, so that what is counted is the engine's own. All threads are counted: the
// scheduler's, the team's, and this test's, which sleeps meanwhile. It takes nothing before `open`.
class CountingSink final : public TokenSink {
public:
    explicit CountingSink(const std::atomic<bool>& open) : open_(open) {}
    PushResult push(const TokenEvent& event) override {
        if (!open_) return PushResult::kFull;
        tokens_ += static_cast<std::int64_t>(event.tokens.size());
        if (tokens_ >= 10 && before_ < 0) before_ = now();
        if (tokens_ <= 90 && before_ >= 0) allocations = now() - before_;
        if (event.finish) finished = true;
        return PushResult::kAccepted;
    }
    std::atomic<std::int64_t> allocations{-1};  // between the 10th and the 90th token
    std::atomic<bool> finished{false};

private:
    static std::int64_t now() {
        return static_cast<std::int64_t>(testing_support::allocations_on_all_threads());
    }
    const std::atomic<bool>& open_;
    std::int64_t tokens_ = 0;
    std::int64_t before_ = -1;
};

TEST_F(EngineTest, DecodingAllocatesNothingOnAnyThread) {
    TinyModelSpec spec;
    const auto engine = load(small_config(), TinyModel(spec).folder());
    std::atomic<bool> open{false};
    std::vector<std::shared_ptr<CountingSink>> sinks;
    for (RequestId id = 1; id <= 8; ++id) {
        GenerationRequest request;
        request.id = id;
        request.prompt = {1, static_cast<TokenId>(20 + id)};
        request.max_tokens = 100;
        request.sampling.temperature = 1.0;
        request.sampling.seed = id + 100;
        request.stop = {"a string that hardly comes"};
        sinks.push_back(std::make_shared<CountingSink>(open));
        ASSERT_TRUE(engine->submit(request, sinks.back()).has_value());
    }
    eventually([&] { return engine->stats().paused == 8; });
    open = true;
    for (const auto& sink : sinks) {
        eventually([&] { return sink->finished.load(); });
        EXPECT_EQ(sink->allocations, 0);
    }
}

TEST_F(EngineTest, IsDestroyedWhileItRuns) {
    for (int round = 0; round < 5; ++round) {
        auto engine = load(small_config(), TinyModel(TinyModelSpec{}).folder());
        std::vector<std::shared_ptr<CollectingSink>> sinks;
        for (RequestId id = 1; id <= 20; ++id) {
            GenerationRequest request;
            request.id = id;
            request.prompt.assign(50, static_cast<TokenId>(id + 10));
            request.max_tokens = 200;
            sinks.push_back(submit(*engine, request));
        }
        if (round % 2 == 0) (void)sinks[0]->wait_for_tokens(2);
        engine.reset();
        for (const auto& sink : sinks) {
            EXPECT_TRUE(sink->so_far().finish.has_value());
            EXPECT_EQ(sink.use_count(), 1);
        }
    }
}

}  // namespace
}  // namespace ostal::engine
