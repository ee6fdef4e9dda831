#include "base/bytes.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace ostal {
namespace {

TEST(Bytes, FixedEndianLoadsAndStores) {
    const std::uint8_t raw[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x88};
    EXPECT_EQ(load_le<std::uint32_t>(raw), 0x04030201U);
    EXPECT_EQ(load_be<std::uint32_t>(raw), 0x01020304U);
    EXPECT_EQ(load_le<std::uint64_t>(raw), 0x8807060504030201ULL);
    std::uint8_t back[8];
    store_be<std::uint64_t>(back, 0x0102030405060788ULL);
    EXPECT_EQ(to_hex(back), "0102030405060788");
}

TEST(Bytes, EncodingsMatchRfc4648) {
    // RFC 4648 section 10.
    EXPECT_EQ(to_base64(as_bytes("foob")), "Zm9vYg==");
    EXPECT_EQ(to_base64(as_bytes("fooba")), "Zm9vYmE=");
    EXPECT_EQ(to_base32_lower(as_bytes("foobar")), "mzxw6ytboi");
    EXPECT_EQ(to_hex(as_bytes("foobar")), "666f6f626172");
}

TEST(Bytes, EncodingsRoundTripEveryLength) {
    SeededRandom random(7);
    for (std::size_t length = 0; length < 70; ++length) {
        Bytes bytes(length);
        random.fill(bytes);
        EXPECT_EQ(*from_base64(to_base64(bytes)), bytes);
        EXPECT_EQ(*from_base32_lower(to_base32_lower(bytes)), bytes);
        EXPECT_EQ(*from_hex(to_hex(bytes)), bytes);
    }
}

TEST(Bytes, DecodersRefuseOtherSpellings) {
    EXPECT_FALSE(from_base64("Zm9vYh=="));  // unused bits set
    EXPECT_FALSE(from_base64("Zm9v="));
    EXPECT_FALSE(from_base64("Zm9*"));
    EXPECT_FALSE(from_base32_lower("mzxw6ytbo"));  // not whole bytes in canonical form
    EXPECT_FALSE(from_base32_lower("MZXW6YTBOI"));
    EXPECT_FALSE(from_hex("0g"));
    EXPECT_FALSE(from_hex("012"));
}

TEST(Bytes, IdsOfSixteenBytesEndInOneOfEightLetters) {
    SeededRandom random(3);
    for (int i = 0; i < 200; ++i) {
        Bytes id(16);
        random.fill(id);
        const std::string text = to_base32_lower(id);
        ASSERT_EQ(text.size(), 26U);
        EXPECT_NE(std::string("aeimquy4").find(text.back()), std::string::npos);
    }
}

TEST(Bytes, CheckedArithmetic) {
    std::uint64_t out = 0;
    EXPECT_TRUE(checked_mul<std::uint64_t>(1ULL << 32, 1ULL << 31, out));
    EXPECT_FALSE(checked_mul<std::uint64_t>(1ULL << 32, 1ULL << 32, out));
    EXPECT_FALSE(checked_add<std::uint64_t>(UINT64_MAX, 1, out));
}

TEST(Bytes, ReaderStopsAtTheEnd) {
    const Bytes bytes{1, 2, 3};
    ByteReader reader(bytes);
    EXPECT_EQ(*reader.le<std::uint16_t>(), 0x0201);
    EXPECT_FALSE(reader.le<std::uint16_t>());
    EXPECT_FALSE(reader.take(UINT64_MAX));
    EXPECT_EQ(reader.remaining(), 1U);
}

TEST(Bytes, Utf8) {
    EXPECT_TRUE(is_valid_utf8("h\xC3\xA9llo \xF0\x9F\x98\x80"));
    EXPECT_FALSE(is_valid_utf8("\xC0\x80"));          // overlong
    EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));      // surrogate
    EXPECT_FALSE(is_valid_utf8("\xF4\x90\x80\x80"));  // above U+10FFFF
    EXPECT_FALSE(is_valid_utf8("\xE2\x82"));          // cut
    EXPECT_EQ(utf8_character("\xE2\x82\xAC!"), 3);
    EXPECT_EQ(utf8_character("\xE2\x82"), 0);
    EXPECT_EQ(utf8_character("\x82"), -1);
    EXPECT_EQ(utf8_complete_prefix("ab\xE2\x82"), 2U);
    EXPECT_EQ(utf8_complete_prefix("ab\xE2\x82\xAC"), 5U);
    EXPECT_EQ(utf8_complete_prefix("ab\x82"), 3U);  // broken, not incomplete
    EXPECT_EQ(utf8_complete_prefix("\xF0\x9F\x98"), 0U);
}

}  // namespace
}  // namespace ostal
