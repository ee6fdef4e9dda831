#include "security/storage/ids.h"

#include <gtest/gtest.h>

namespace ostal::security {
namespace {

TEST(Ids, RoundTripAndForm) {
    SeededRandom random(1);
    for (int i = 0; i < 200; ++i) {
        const Id id = new_id(random);
        const std::string text = id_text(IdKind::kUser, id);
        ASSERT_EQ(text.size(), 30U);
        EXPECT_TRUE(text.starts_with("usr_"));
        EXPECT_NE(std::string("aeimquy4").find(text.back()), std::string::npos);
        EXPECT_EQ(parse_id(IdKind::kUser, text).value(), id);
        EXPECT_EQ(parse_id(IdKind::kKey, text).error().code(), Code::kNotFound);
    }
    EXPECT_EQ(id_text(IdKind::kTenant, Id{}), "ten_aaaaaaaaaaaaaaaaaaaaaaaaaa");
    Id ones;
    ones.fill(0xff);
    EXPECT_EQ(id_text(IdKind::kSlot, ones),
              "slt_7777777777777777777777777"
              "4");
}

TEST(Ids, EveryOtherSpellingIsUnknown) {
    SeededRandom random(2);
    const Id id = new_id(random);
    const std::string text = id_text(IdKind::kModel, id);
    // Any single character replaced by any byte names another id or none, never this one.
    for (std::size_t i = 0; i < text.size(); ++i) {
        for (int byte = 0; byte < 256; ++byte) {
            std::string other = text;
            other[i] = static_cast<char>(byte);
            if (other == text) continue;
            const auto parsed = parse_id(IdKind::kModel, other);
            if (parsed)
                EXPECT_NE(*parsed, id);
            else
                EXPECT_EQ(parsed.error().code(), Code::kNotFound);
        }
    }
    EXPECT_FALSE(parse_id(IdKind::kModel, text + "a"));
    EXPECT_FALSE(parse_id(IdKind::kModel, text.substr(0, 29)));
    EXPECT_FALSE(parse_id(IdKind::kModel, ""));
    EXPECT_FALSE(parse_id(IdKind::kModel, "mdl_"));
    EXPECT_FALSE(parse_id(IdKind::kModel, text.substr(4)));
    EXPECT_FALSE(parse_id(IdKind::kModel, "mdl_aaaaaaaaaaaaaaaaaaaaaaaaab"));  // unused low bits set
}

}  // namespace
}  // namespace ostal::security
