// Real weights against golden log-probabilities of an independent f32 implementation
// (tests/tools/reference.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/io/weight_source.h"
#include "tests/support/model_runner.h"

namespace ostal::engine {
namespace {

json::Value read_json(const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    auto value = json::parse(text.str());
    EXPECT_TRUE(value) << path;
    return value ? std::move(*value) : json::Value();
}

std::vector<std::int32_t> ids_of(const json::Value& value) {
    std::vector<std::int32_t> ids;
    for (const json::Value& id : value.as_array()) ids.push_back(static_cast<std::int32_t>(*id.to_int64()));
    return ids;
}

// The id of the highest logit and its log-probability.
std::pair<std::int32_t, double> best_of(const float* logits, std::int64_t count) {
    const auto best = std::max_element(logits, logits + count) - logits;
    double sum = 0;
    for (std::int64_t i = 0; i < count; ++i) {
        sum += std::exp(static_cast<double>(logits[i]) - static_cast<double>(logits[best]));
    }
    return {static_cast<std::int32_t>(best), -std::log(sum)};
}

// Teacher forced: prompt + greedy answer in chunks of 16; after each position the best id and its
// log-probability.
void expect_golden(const std::string& model, const std::string& golden, const std::string& isa,
                   std::size_t max_cases) {
    const auto source = FolderSource::open(model);
    ASSERT_TRUE(source) << source.error().to_string();
    test::RunnerOptions options;
    options.isa = isa;
    options.threads = 2;
    options.block_tokens = 32;
    options.max_sequences = 1;
    test::ModelRunner runner(**source, options);
    const json::Value file = read_json(golden);
    const json::Array& cases = file.find("cases")->as_array();
    double worst = 0;
    for (std::size_t c = 0; c < std::min(cases.size(), max_cases); ++c) {
        std::vector<std::int32_t> ids = ids_of(*cases[c].find("prompt_ids"));
        const std::vector<std::int32_t> greedy = ids_of(*cases[c].find("greedy_ids"));
        ids.insert(ids.end(), greedy.begin(), greedy.end());
        const json::Array& top5 = cases[c].find("top5")->as_array();
        ASSERT_LE(top5.size(), ids.size());
        const std::vector<float> logits = runner.run(ids, 16);
        const std::int64_t vocab = runner.config().vocab;
        for (std::size_t i = 0; i < top5.size(); ++i) {
            const json::Array& first = top5[i].as_array()[0].as_array();
            const json::Array& second = top5[i].as_array()[1].as_array();
            const double expected = first[1].as_double();
            const auto [id, logprob] = best_of(logits.data() + static_cast<std::int64_t>(i) * vocab, vocab);
            ASSERT_NEAR(logprob, expected, 1e-3) << "case " << c << " position " << i;
            if (expected - second[1].as_double() > 2e-3) {
                ASSERT_EQ(id, *first[0].to_int64()) << "case " << c << " position " << i;
            }
            worst = std::max(worst, std::fabs(logprob - expected));
        }
    }
    std::cout << "largest difference in log-probability " << worst << "\n";
}

constexpr const char* kMini = OSTAL_SOURCE_DIR "/models/ostal-mini";
constexpr const char* kMiniGolden = OSTAL_SOURCE_DIR "/tests/golden/logits-ostal-mini.json";
constexpr const char* kSmolGolden = OSTAL_SOURCE_DIR "/tests/golden/logits-smollm2.json";

TEST(Golden, OstalMini) { expect_golden(kMini, kMiniGolden, "", 1000); }
TEST(Golden, OstalMiniScalar) { expect_golden(kMini, kMiniGolden, "scalar", 2); }
TEST(Golden, OstalMiniAvx512) {
    const auto backend = make_cpu_backend({.isa = "avx512", .threads = 1, .pin_threads = false});
    if (!backend) GTEST_SKIP() << backend.error().to_string();
    expect_golden(kMini, kMiniGolden, "avx512", 5);
}

// The file is no part of the project; OSTAL_SMOLLM2_GGUF names a copy.
TEST(Golden, SmolLm2) {
    const char* path = std::getenv("OSTAL_SMOLLM2_GGUF");
    if (path == nullptr) GTEST_SKIP() << "OSTAL_SMOLLM2_GGUF is not set";
    expect_golden(path, kSmolGolden, "", 1000);
}

}  // namespace
}  // namespace ostal::engine
