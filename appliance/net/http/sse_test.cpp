#include "appliance/net/http/sse.h"

#include <gtest/gtest.h>

namespace ostal::http {
namespace {

std::string sse(const SseEvent& event) {
    std::string out;
    append_sse(out, event);
    return out;
}

TEST(Sse, WritesDataIdAndName) {
    EXPECT_EQ(sse({.data = "{}"}), "data: {}\n\n");
    EXPECT_EQ(sse({.data = "x", .id = "7", .event = "delta"}), "event: delta\nid: 7\ndata: x\n\n");
    EXPECT_EQ(sse({.data = ""}), "data: \n\n");
}

TEST(Sse, LineEndsOfEveryKindMakeDataLines) {
    EXPECT_EQ(sse({.data = "a\nb\r\nc\rd"}), "data: a\ndata: b\ndata: c\ndata: d\n\n");
    EXPECT_EQ(sse({.data = "a\n"}), "data: a\ndata: \n\n");
    EXPECT_EQ(sse({.data = "\n\nid: forged"}), "data: \ndata: \ndata: id: forged\n\n");
}

TEST(SseDeathTest, IdWithALineEndIsOurBug) {
    EXPECT_DEATH(sse({.data = "x", .id = "1\ndata: forged"}), "is_one_line");
}

}  // namespace
}  // namespace ostal::http
