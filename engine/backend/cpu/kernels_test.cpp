// Each kernel alone: the scalar ones against double precision, the vector ones against the scalar ones, with
// operands that end at forbidden pages.
#include "engine/backend/cpu/kernels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "engine/backend/cpu/isa.h"
#include "tests/support/guarded.h"
#include "tests/support/random_weight.h"

namespace ostal::engine::cpu {
namespace {

using test::Guarded;
using test::kWeightTypes;
using test::random_floats;
using test::random_rows;
using test::row_values;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

std::uint32_t bits_of(float value) { return std::bit_cast<std::uint32_t>(value); }

// Every kernel table of this machine.
class KernelsTest : public testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        const auto selected = select_kernels(GetParam());
        if (!selected) GTEST_SKIP() << selected.error().to_string();
        kernels_ = *selected;
    }
    const Kernels* kernels_ = nullptr;
};

TEST_P(KernelsTest, HalfFloatsAreReadExactly) {
    std::vector<std::uint16_t> all(65536);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<std::uint16_t>(i);
    const Guarded<std::uint16_t> row(all);
    Guarded<float> out(all.size());
    kernels_->dequantise[kBF16](row.data(), 65536, out.data());
    for (std::size_t i = 0; i < all.size(); ++i)
        ASSERT_EQ(bits_of(out[i]), bits_of(f32_from_bf16(all[i]))) << i;
    kernels_->dequantise[kF16](row.data(), 65536, out.data());
    for (std::size_t i = 0; i < all.size(); ++i) {
        const float expected = f32_from_f16(all[i]);
        if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(out[i])) << i;
        } else {
            ASSERT_EQ(bits_of(out[i]), bits_of(expected)) << i;
        }
    }
}

TEST_P(KernelsTest, DequantisesEveryTypeAndLength) {
    SeededRandom random(1);
    for (const DType type : kWeightTypes) {
        const std::int64_t longest = is_quantised(type) ? 5 * block_elements(type) : 160;
        for (std::int64_t n = block_elements(type); n <= longest; n += block_elements(type)) {
            const Guarded<std::uint8_t> row(random_rows(random, type, 1, n));
            Guarded<float> out(static_cast<std::size_t>(n));
            kernels_->dequantise[format_of(type)](row.data(), n, out.data());
            const std::vector<double> expected = row_values(type, {row.data(), row.size()});
            for (std::size_t i = 0; i < out.size(); ++i) {
                ASSERT_EQ(static_cast<double>(out[i]), expected[i])
                    << dtype_name(type) << " " << n << " " << i;
            }
        }
    }
}

// A product with its operands, all at forbidden pages.
struct Product {
    DType type;
    std::int64_t rows, k, tokens;
    Guarded<std::uint8_t> weight;
    Guarded<float> x;
    Guarded<float> out;
    Guarded<std::int32_t> x_rows{0};
    Guarded<std::int32_t> out_rows{0};
    Guarded<float> scale{0};
    MultiplyArgs args{};

    Product(SeededRandom& random, DType dtype, std::int64_t r, std::int64_t columns, std::int64_t t,
            MultiplyMode mode, bool indexed)
        : type(dtype),
          rows(r),
          k(columns),
          tokens(t),
          weight(random_rows(random, dtype, r, columns)),
          x(random_floats(random, t * columns)),
          out(random_floats(random, t * r)) {
        args.weight = weight.data();
        args.row_stride_bytes = row_bytes(type, k);
        args.rows = rows;
        args.k = k;
        args.x = x.data();
        args.x_stride = k;
        args.tokens = tokens;
        args.out = out.data();
        args.out_stride = rows;
        args.mode = mode;
        if (indexed) {  // token t reads row (t * 7) mod T and writes row T - 1 - t
            std::vector<std::int32_t> from, to;
            for (std::int64_t i = 0; i < t; ++i) from.push_back(static_cast<std::int32_t>(i * 7 % t));
            for (std::int64_t i = 0; i < t; ++i) to.push_back(static_cast<std::int32_t>(t - 1 - i));
            x_rows = Guarded<std::int32_t>(from);
            out_rows = Guarded<std::int32_t>(to);
            scale = Guarded<float>(random_floats(random, t));
            args.x_rows = x_rows.data();
            args.out_rows = out_rows.data();
            args.scale = scale.data();
        }
    }

    // What must come out for (token, row), and the sum of the products' magnitudes, in double.
    std::pair<double, double> expected(const std::vector<double>& w, const std::vector<float>& before,
                                       std::int64_t token, std::int64_t row) const {
        const std::int64_t from = args.x_rows != nullptr ? args.x_rows[token] : token;
        double dot = 0, magnitude = 0;
        for (std::int64_t i = 0; i < k; ++i) {
            const double product = w[static_cast<std::size_t>(row * k + i)] *
                                   static_cast<double>(x[static_cast<std::size_t>(from * k + i)]);
            dot += product;
            magnitude += std::fabs(product);
        }
        const double scale_value = args.scale != nullptr ? static_cast<double>(args.scale[token]) : 1.0;
        const double old = static_cast<double>(before[static_cast<std::size_t>(out_index(token, row))]);
        switch (args.mode) {
            case kMultiplyStore: return {scale_value * dot, magnitude};
            case kMultiplyAdd: return {old + scale_value * dot, magnitude + 1};
            case kMultiplyGate: return {old / (1 + std::exp(-old)) * dot, magnitude};
        }
        return {};
    }
    std::int64_t out_index(std::int64_t token, std::int64_t row) const {
        return (args.out_rows != nullptr ? args.out_rows[token] : token) * rows + row;
    }
};

// f32 sums against double: rounding of at most 2100 additions.
constexpr double kSumTolerance = 2e-6;

TEST_P(KernelsTest, MultipliesAllShapes) {
    SeededRandom random(2);
    const std::int64_t lengths[] = {1,  2,  7,  8,   9,   15,  16,  17,   31,   32,   33,   63,
                                    64, 65, 96, 256, 384, 512, 576, 1024, 1031, 1056, 2080, 2304};
    const std::int64_t token_counts[] = {1, 2, 3, 4, 5, 6, 7, 11, 48, 50};
    const std::int64_t row_counts[] = {1, 3, 4, 5, 8};
    int shape = 0;
    for (const DType type : kWeightTypes) {
        for (const std::int64_t k : lengths) {
            if (k % block_elements(type) != 0) continue;
            for (const std::int64_t tokens : token_counts) {
                // Every mode and every row count comes by for every (type, k, tokens) some of the time.
                ++shape;
                const std::int64_t rows = row_counts[shape % 5];
                const auto mode = static_cast<MultiplyMode>(shape % 3);
                Product product(random, type, rows, k, tokens, mode, shape % 2 == 0 && mode != kMultiplyGate);
                const std::vector<double> w =
                    row_values(type, {product.weight.data(), product.weight.size()});
                const std::vector<float> before = product.out.copy();
                kernels_->multiply[format_of(type)](product.args);
                for (std::int64_t t = 0; t < tokens; ++t) {
                    for (std::int64_t r = 0; r < rows; ++r) {
                        const auto [value, magnitude] = product.expected(w, before, t, r);
                        const float got = product.out[static_cast<std::size_t>(product.out_index(t, r))];
                        ASSERT_NEAR(static_cast<double>(got), value, kSumTolerance * (magnitude + 1e-3))
                            << dtype_name(type) << " k " << k << " tokens " << tokens << " rows " << rows
                            << " mode " << mode << " at " << t << ", " << r;
                    }
                }
            }
        }
    }
}

// The engine's promise: a token's products do not know who else is in the batch.
TEST_P(KernelsTest, AProductIsBitEqualAloneAndInABatch) {
    SeededRandom random(3);
    for (const DType type : kWeightTypes) {
        const std::int64_t block = block_elements(type);
        for (const std::int64_t k :
             {std::max<std::int64_t>(block, 32), 1024 + std::max<std::int64_t>(block, 32)}) {
            Product batch(random, type, 7, k, 53, kMultiplyStore, false);
            kernels_->multiply[format_of(type)](batch.args);
            for (std::int64_t first = 0; first < 53; ++first) {
                const std::int64_t count = std::min<std::int64_t>(53 - first, 1 + first % 5);
                std::vector<float> alone(static_cast<std::size_t>(count * 3));
                MultiplyArgs args = batch.args;
                args.weight =
                    batch.weight.data() + 2 * args.row_stride_bytes;  // other rows share the panel, too
                args.rows = 3;
                args.x += first * k;
                args.tokens = count;
                args.out = alone.data();
                args.out_stride = 3;
                kernels_->multiply[format_of(type)](args);
                for (std::int64_t t = 0; t < count; ++t) {
                    for (std::int64_t r = 0; r < 3; ++r) {
                        ASSERT_EQ(bits_of(alone[static_cast<std::size_t>(t * 3 + r)]),
                                  bits_of(batch.out[static_cast<std::size_t>((first + t) * 7 + 2 + r)]))
                            << dtype_name(type) << " " << k << " " << first + t;
                    }
                }
            }
        }
    }
}

TEST_P(KernelsTest, SiluIsExactEnoughEverywhere) {
    std::vector<float> z;
    for (int i = -12000; i <= 12000; ++i) z.push_back(static_cast<float>(i) * 0.01F);
    z.insert(z.end(), {1e30F, -1e30F, 88.3F, 88.8F, 0.0F, -0.0F, 1e-30F});
    const float one = 1.0F;
    Guarded<float> out(z);
    const std::vector<float> x(z.size(), 1.0F);
    MultiplyArgs args{};
    args.weight = &one;
    args.rows = 1;
    args.k = 1;
    args.x = x.data();
    args.x_stride = 1;
    args.tokens = static_cast<std::int64_t>(z.size());
    args.out = out.data();
    args.out_stride = 1;
    args.mode = kMultiplyGate;
    kernels_->multiply[kF32](args);
    for (std::size_t i = 0; i < z.size(); ++i) {
        const double v = static_cast<double>(z[i]);
        const double expected = v / (1 + std::exp(-v));
        ASSERT_NEAR(static_cast<double>(out[i]), expected, 4e-7 * std::fabs(expected) + 1e-35) << z[i];
    }
    out[0] = kNan;
    out[1] = 1.0F;
    out[2] = kInf;
    kernels_->multiply[kF32](args);
    EXPECT_TRUE(std::isnan(out[0]));
    EXPECT_FALSE(std::isnan(out[1]));
    EXPECT_EQ(out[2], kInf);
}

// A sequence's keys and values in a paged cache whose blocks lie in a scattered order, unused places NaN.
struct AttentionCase {
    std::int32_t dim, group, block_tokens, cached, tokens;
    Format format;
    std::vector<std::vector<double>> keys, values;  // by position
    std::vector<std::int32_t> table;
    Guarded<std::uint8_t> key_cache{0}, value_cache{0};
    Guarded<float> q{0}, out{0};
    AttentionArgs args{};

    AttentionCase(SeededRandom& random, std::int32_t d, std::int32_t g, std::int32_t b, std::int32_t c,
                  std::int32_t t, Format f, std::int32_t window = 0)
        : dim(d), group(g), block_tokens(b), cached(c), tokens(t), format(f) {
        const DType type = format == kF32 ? DType::kF32 : DType::kBF16;
        const std::int32_t total = cached + tokens;
        const std::int32_t blocks = (total + block_tokens - 1) / block_tokens;
        const std::int32_t first = window > 0 ? std::max(cached + 1 - window, 0) : 0;  // that is read
        for (std::int32_t i = 0; i < blocks; ++i) table.push_back(blocks - 1 - i);
        const auto row = static_cast<std::size_t>(row_bytes(type, dim));
        const std::size_t bytes = row * static_cast<std::size_t>(blocks * block_tokens);
        for (auto* cache : {&key_cache, &value_cache}) {
            auto& by_position = cache == &key_cache ? keys : values;
            std::vector<std::uint8_t> memory(bytes, 0xFF);  // a NaN in both formats
            for (std::int32_t p = 0; p < total; ++p) {
                const Bytes one = random_rows(random, type, 1, dim, cache == &key_cache ? 3.0F : 1.0F);
                by_position.push_back(row_values(type, one));
                if (p < first) continue;
                const std::int32_t block = table[static_cast<std::size_t>(p / block_tokens)];
                std::memcpy(
                    memory.data() + static_cast<std::size_t>(block * block_tokens + p % block_tokens) * row,
                    one.data(), row);
            }
            *cache = Guarded<std::uint8_t>(memory);
        }
        q = Guarded<float>(random_floats(random, std::int64_t{tokens} * group * dim));
        out = Guarded<float>(q.size());
        args.q = q.data();
        args.q_stride = std::int64_t{group} * dim;
        args.out = out.data();
        args.out_stride = args.q_stride;
        args.tokens = tokens;
        args.group = group;
        args.first_position = cached;
        args.window = window;
        args.head_dim = dim;
        args.block_tokens = block_tokens;
        args.keys = key_cache.data();
        args.values = value_cache.data();
        args.block_stride_bytes = std::int64_t{block_tokens} * row_bytes(type, dim);
        args.block_table = table.data();
        args.scale = 1.0F / std::sqrt(static_cast<float>(dim));
    }

    std::vector<double> expected(std::int32_t token, std::int32_t head) const {
        std::vector<double> weights;
        const float* query = q.data() + (token * group + head) * dim;
        double sum = 0;
        for (std::int32_t p = 0; p <= cached + token; ++p) {
            if (args.window > 0 && p + args.window <= cached + token) {
                weights.push_back(0);
                continue;
            }
            double dot = 0;
            for (std::int32_t i = 0; i < dim; ++i) {
                dot += static_cast<double>(query[i]) *
                       keys[static_cast<std::size_t>(p)][static_cast<std::size_t>(i)];
            }
            weights.push_back(std::exp(dot * static_cast<double>(args.scale)));
            sum += weights.back();
        }
        std::vector<double> result(static_cast<std::size_t>(dim));
        for (std::size_t p = 0; p < weights.size(); ++p) {
            for (std::size_t i = 0; i < result.size(); ++i) result[i] += weights[p] / sum * values[p][i];
        }
        return result;
    }
};

TEST_P(KernelsTest, AttendsToAllShapes) {
    SeededRandom random(4);
    for (const Format format : {kF32, kBF16}) {
        for (const std::int32_t dim : {2, 10, 16, 20, 32, 46, 64, 80, 128, 256}) {
            for (const std::int32_t group : {1, 3, 4, 9}) {
                const std::int32_t block_tokens = group == 3 ? 5 : group == 9 ? 128 : 32;
                for (const auto& [cached, window] : {std::pair{0, 0},
                                                     {1, 0},
                                                     {31, 0},
                                                     {70, 0},
                                                     {0, 1},
                                                     {3, 4},
                                                     {31, 32},
                                                     {70, 1},
                                                     {70, 7},
                                                     {70, 33},
                                                     {70, 1000}}) {
                    const std::int32_t tokens = 1 + (cached + dim) % 9;
                    AttentionCase c(random, dim, group, block_tokens, cached, tokens, format, window);
                    kernels_->attention[format](c.args);
                    for (std::int32_t t = 0; t < tokens; ++t) {
                        for (std::int32_t h = 0; h < group; ++h) {
                            const std::vector<double> expected = c.expected(t, h);
                            for (std::int32_t i = 0; i < dim; ++i) {
                                ASSERT_NEAR(static_cast<double>(
                                                c.out[static_cast<std::size_t>((t * group + h) * dim + i)]),
                                            expected[static_cast<std::size_t>(i)], 3e-6)
                                    << format << " dim " << dim << " group " << group << " cached " << cached
                                    << " window " << window << " token " << t << " head " << h << " at " << i;
                            }
                        }
                    }
                }
            }
        }
    }
}

TEST_P(KernelsTest, AttentionIsBitEqualInEveryTile) {
    SeededRandom random(5);
    for (const Format format : {kF32, kBF16}) {
        for (const std::int32_t window : {0, 1, 11, 16, 17, 40}) {
            AttentionCase c(random, 48, 3, 16, 29, 21, format, window);
            kernels_->attention[format](c.args);
            const std::vector<float> whole = c.out.copy();
            for (std::int32_t size : {1, 2, 5, 8}) {
                for (std::int32_t first = 0; first < c.tokens; first += size) {
                    AttentionArgs args = c.args;
                    args.q += first * args.q_stride;
                    args.out += first * args.out_stride;
                    args.first_position += first;
                    args.tokens = std::min(size, c.tokens - first);
                    kernels_->attention[format](args);
                }
                EXPECT_EQ(std::memcmp(whole.data(), c.out.data(), whole.size() * sizeof(float)), 0)
                    << "tiles of " << size << ", window " << window;
            }
        }
    }
}

TEST_P(KernelsTest, AttentionKeepsNotANumberWhereItBelongs) {
    SeededRandom random(6);
    AttentionCase c(random, 32, 2, 16, 20, 3, kF32);
    c.q[1 * 64 + 5] = kNan;  // token 1, head 0
    kernels_->attention[kF32](c.args);
    for (std::size_t i = 0; i < c.out.size(); ++i) {
        EXPECT_EQ(std::isnan(c.out[i]), i >= 64 && i < 96) << i;
    }
}

TEST_P(KernelsTest, LargeScoresDoNotOverflow) {
    SeededRandom random(7);
    AttentionCase c(random, 16, 1, 16, 40, 2, kF32);
    c.args.scale = 1000.0F;  // the weights become one and zeros
    kernels_->attention[kF32](c.args);
    for (const float value : c.out) EXPECT_TRUE(std::isfinite(value));
}

TEST_P(KernelsTest, NormalisesAllLengths) {
    SeededRandom random(8);
    for (std::int64_t n = 1; n <= 70; ++n) {
        const std::vector<float> values = random_floats(random, n);
        Guarded<float> x(values);
        const Guarded<float> gain(random_floats(random, n));
        Guarded<float> out(static_cast<std::size_t>(n));
        kernels_->rms_norm(x.data(), gain.data(), n, 1e-5F, out.data());
        double squares = 0;
        for (const float v : values) squares += static_cast<double>(v) * static_cast<double>(v);
        for (std::size_t i = 0; i < values.size(); ++i) {
            const double expected = static_cast<double>(values[i]) /
                                    std::sqrt(squares / static_cast<double>(n) + 1e-5) *
                                    static_cast<double>(gain[i]);
            ASSERT_NEAR(static_cast<double>(out[i]), expected, 2e-6) << n << " " << i;
        }
        kernels_->rms_norm(x.data(), gain.data(), n, 1e-5F, x.data());  // in place
        EXPECT_EQ(x.copy(), out.copy());
    }
}

TEST_P(KernelsTest, RotatesAllHeadSizes) {
    SeededRandom random(9);
    for (std::int64_t half = 1; half <= 70; ++half) {
        const std::int64_t heads = 1 + half % 3;
        const std::vector<float> values = random_floats(random, heads * 2 * half);
        std::vector<float> c, s;
        for (std::int64_t i = 0; i < half; ++i) {
            c.push_back(std::cos(static_cast<float>(i)));
            s.push_back(std::sin(static_cast<float>(i)));
        }
        const Guarded<float> cosines(c), sines(s);
        Guarded<float> x(values);
        kernels_->rope(x.data(), cosines.data(), sines.data(), heads, half, x.data());
        for (std::int64_t h = 0; h < heads; ++h) {
            for (std::int64_t i = 0; i < half; ++i) {
                const auto low = static_cast<std::size_t>(h * 2 * half + i);
                const auto high = low + static_cast<std::size_t>(half);
                const auto at = static_cast<std::size_t>(i);
                ASSERT_NEAR(x[low], values[low] * c[at] - values[high] * s[at], 3e-7F);
                ASSERT_NEAR(x[high], values[high] * c[at] + values[low] * s[at], 3e-7F);
            }
        }
    }
}

TEST_P(KernelsTest, RoundsToBf16) {
    SeededRandom random(10);
    std::vector<float> values = {0.0F,        -0.0F,       kInf,
                                 -kInf,       kNan,        std::bit_cast<float>(0x7F800001U),
                                 1.00390625F, 1.01171875F, std::numeric_limits<float>::max(),
                                 1e-45F};
    for (int i = 0; i < 3000; ++i)
        values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(random.next())));
    for (std::size_t n : {std::size_t{1}, std::size_t{7}, std::size_t{9}, std::size_t{15}, std::size_t{16},
                          std::size_t{17}, std::size_t{33}, values.size()}) {
        const Guarded<float> x(
            std::vector<float>(values.end() - static_cast<std::ptrdiff_t>(n), values.end()));
        Guarded<std::uint16_t> out(n);
        kernels_->to_bf16(x.data(), static_cast<std::int64_t>(n), out.data());
        for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(out[i], bf16_from_f32(x[i])) << i << " " << x[i];
    }
}

TEST_P(KernelsTest, FindsEveryNonFiniteValue) {
    for (std::size_t n = 1; n <= 70; ++n) {
        Guarded<float> x(n);
        std::fill(x.begin(), x.end(), std::numeric_limits<float>::max());
        EXPECT_EQ(kernels_->all_finite(x.data(), static_cast<std::int64_t>(n)), 1);
        for (std::size_t i = 0; i < n; ++i) {
            for (const float bad : {kNan, -kNan, kInf, -kInf}) {
                x[i] = bad;
                ASSERT_EQ(kernels_->all_finite(x.data(), static_cast<std::int64_t>(n)), 0) << n << " " << i;
            }
            x[i] = -1.0F;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Isa, KernelsTest, testing::Values("scalar", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

}  // namespace
}  // namespace ostal::engine::cpu
