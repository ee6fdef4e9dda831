#include "security/storage/cell.h"

#include <gtest/gtest.h>

#include "security/storage/row_mac.h"
#include "security/storage/wrap.h"

namespace ostal::security {
namespace {

class CellTest : public testing::Test {
protected:
    SeededRandom random_{11};
    const Dek dek_{new_id(random_), Secret<32>::from_random(random_)};
    const Id row_ = new_id(random_);
    const CellAddress address_{"messages", "body", row_};
};

TEST_F(CellTest, RoundTrip) {
    for (const std::size_t size : {0U, 1U, 1000U}) {
        Bytes plaintext(size);
        random_.fill(plaintext);
        const Bytes cell = seal_cell(dek_, address_, plaintext, random_);
        EXPECT_EQ(cell.size(), size + kCellOverheadBytes);
        EXPECT_EQ(cell_dek_id(cell).value(), dek_.id);
        EXPECT_EQ(open_cell(dek_, address_, cell).value(), plaintext);
        EXPECT_TRUE(constant_time_equal(open_secret_cell(dek_, address_, cell)->bytes(), plaintext));
    }
    EXPECT_NE(seal_cell(dek_, address_, as_bytes("x"), random_),
              seal_cell(dek_, address_, as_bytes("x"), random_));
}

TEST_F(CellTest, EveryAlteredByteAndLengthIsRefused) {
    Bytes cell = seal_cell(dek_, address_, as_bytes("private"), random_);
    for (std::size_t i = 0; i < cell.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            cell[i] ^= static_cast<std::uint8_t>(1 << bit);
            EXPECT_EQ(open_cell(dek_, address_, cell).error().code(), Code::kIntegrity);
            EXPECT_FALSE(open_secret_cell(dek_, address_, cell));
            cell[i] ^= static_cast<std::uint8_t>(1 << bit);
        }
        EXPECT_FALSE(open_cell(dek_, address_, ByteSpan(cell).first(i)));
    }
    cell.push_back(0);
    EXPECT_FALSE(open_cell(dek_, address_, cell));
}

TEST_F(CellTest, AMovedCellIsRefused) {
    const Bytes cell = seal_cell(dek_, address_, as_bytes("private"), random_);
    EXPECT_FALSE(open_cell(dek_, {"messages", "body", new_id(random_)}, cell));
    EXPECT_FALSE(open_cell(dek_, {"messages", "title", row_}, cell));
    EXPECT_FALSE(open_cell(dek_, {"files", "body", row_}, cell));
    EXPECT_FALSE(open_cell(dek_, {"messagesb", "ody", row_}, cell));
    EXPECT_FALSE(open_cell({dek_.id, Secret<32>::from_random(random_)}, address_, cell));
    EXPECT_FALSE(open_cell({new_id(random_), dek_.key.clone()}, address_, cell));
}

TEST_F(CellTest, ANulInANameIsOurBug) {
    EXPECT_DEATH((void)seal_cell(dek_, {std::string_view("a\0b", 3), "c", row_}, {}, random_), "table");
}

TEST(Wrap, LayoutAndEveryAlteredBit) {
    SeededRandom random(12);
    const auto wrapping = Secret<32>::from_random(random);
    const auto key = Secret<32>::from_random(random);
    const Id id = new_id(random);
    const WrapLabel label{WrapType::kDek, 0x01020304, id, "dek/tenant/1/user/2/content"};
    Bytes wrap = seal_wrap(wrapping.view(), label, key.view(), random);
    ASSERT_EQ(wrap.size(), 94U);
    EXPECT_EQ(wrap[0], 1);
    EXPECT_EQ(wrap[1], 4);
    EXPECT_EQ(to_hex(ByteSpan(wrap).subspan(2, 4)), "04030201");
    EXPECT_TRUE(std::equal(id.begin(), id.end(), wrap.begin() + 6));
    EXPECT_EQ(wrap_kek_epoch(wrap).value(), 0x01020304U);
    EXPECT_TRUE(*open_wrap(wrapping.view(), label, wrap) == key);
    for (std::size_t i = 0; i < wrap.size(); ++i) {
        for (int bit = 0; bit < 8; ++bit) {
            wrap[i] ^= static_cast<std::uint8_t>(1 << bit);
            EXPECT_EQ(open_wrap(wrapping.view(), label, wrap).error().code(), Code::kIntegrity);
            wrap[i] ^= static_cast<std::uint8_t>(1 << bit);
        }
    }
    WrapLabel other = label;
    other.owner = "dek/tenant/1/user/3/content";
    EXPECT_FALSE(open_wrap(wrapping.view(), other, wrap));
    other = label;
    other.id = new_id(random);
    EXPECT_FALSE(open_wrap(wrapping.view(), other, wrap));
    other = label;
    other.type = WrapType::kKek;
    EXPECT_FALSE(open_wrap(wrapping.view(), other, wrap));
    EXPECT_FALSE(open_wrap(wrapping.view(), label, ByteSpan(wrap).first(93)));
    EXPECT_FALSE(wrap_kek_epoch(ByteSpan(wrap).first(93)));
}

TEST(RowMac, DependsOnEveryValueTypeBorderAndOrder) {
    SeededRandom random(13);
    const RowMac mac(Secret<32>::from_random(random));
    const std::vector<Parameters> rows = {{"ab", "c"},
                                          {"a", "bc"},
                                          {"abc"},
                                          {"c", "ab"},
                                          {"ab", "c", nullptr},
                                          {Bytes{'a', 'b'}, "c"},
                                          {1, 2},
                                          {2, 1},
                                          {0},
                                          {nullptr},
                                          {""},
                                          {Bytes{}},
                                          {-1},
                                          {},
                                          {"ab", Bytes{'c'}}};
    std::vector<Digest32> macs;
    for (const Parameters& row : rows) macs.push_back(mac.of_row("roles", row));
    for (std::size_t i = 0; i < rows.size(); ++i) {
        EXPECT_TRUE(mac.check_row("roles", rows[i], macs[i]));
        EXPECT_EQ(mac.check_row("grants", rows[i], macs[i]).error().code(), Code::kIntegrity);
        for (std::size_t j = 0; j < rows.size(); ++j) {
            if (i != j) {
                EXPECT_FALSE(mac.check_row("roles", rows[i], macs[j])) << i << " " << j;
            }
        }
    }
    EXPECT_FALSE(mac.check_row("roles", rows[0], {}));
    const RowMac other(Secret<32>::from_random(random));
    EXPECT_FALSE(other.check_row("roles", rows[0], macs[0]));

    const Digest32 table = mac.of_table("roles", macs);
    EXPECT_TRUE(mac.check_table("roles", macs, table));
    EXPECT_FALSE(mac.check_table("roles", std::span(macs).first(macs.size() - 1), table));
    EXPECT_FALSE(mac.check_table("grants", macs, table));
    std::swap(macs[0], macs[1]);
    EXPECT_FALSE(mac.check_table("roles", macs, table));
}

}  // namespace
}  // namespace ostal::security
