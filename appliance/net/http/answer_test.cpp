#include <gtest/gtest.h>

#include "appliance/net/http/codec.h"

namespace ostal::http {
namespace {

class NoSource final : public BodySource {
public:
    std::optional<Chunk> next() override { return std::nullopt; }
    void on_ready(std::function<void()>) override {}
};

TEST(Answer, WritesAWholeHead) {
    Response response;
    response.status = 404;
    response.headers = {{"content-type", "text/plain"}, {"x-a", "caf\xc3\xa9\tb"}};
    response.body = "12345";
    EXPECT_EQ(serialize_head(response, {{"date", "now"}}, {}).value(),
              "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain\r\nx-a: caf\xc3\xa9\tb\r\ndate: now\r\n"
              "content-length: 5\r\n\r\n");
    EXPECT_NE(serialize_head(response, {}, {.keep_alive = false}).value().find("connection: close\r\n"),
              std::string::npos);
}

// The phrases of RFC 9110, section 15, and RFC 6585.
TEST(Answer, EachStatusThatIsAnsweredHasItsPhrase) {
    const std::pair<int, const char*> phrases[] = {{200, "OK"},
                                                   {201, "Created"},
                                                   {202, "Accepted"},
                                                   {206, "Partial Content"},
                                                   {304, "Not Modified"},
                                                   {400, "Bad Request"},
                                                   {401, "Unauthorized"},
                                                   {403, "Forbidden"},
                                                   {405, "Method Not Allowed"},
                                                   {408, "Request Timeout"},
                                                   {409, "Conflict"},
                                                   {413, "Content Too Large"},
                                                   {414, "URI Too Long"},
                                                   {415, "Unsupported Media Type"},
                                                   {417, "Expectation Failed"},
                                                   {421, "Misdirected Request"},
                                                   {422, "Unprocessable Content"},
                                                   {429, "Too Many Requests"},
                                                   {431, "Request Header Fields Too Large"},
                                                   {500, "Internal Server Error"},
                                                   {501, "Not Implemented"},
                                                   {503, "Service Unavailable"},
                                                   {505, "HTTP Version Not Supported"},
                                                   {299, "Status"}};
    for (const auto& [status, phrase] : phrases) {
        Response response;
        response.status = status;
        const std::string line = "HTTP/1.1 " + std::to_string(status) + " " + phrase + "\r\n";
        EXPECT_TRUE(serialize_head(response, {}, {}).value().starts_with(line)) << line;
    }
}

TEST(Answer, FramingFollowsStatusMethodAndVersion) {
    Response whole;
    EXPECT_TRUE(has_no_body(whole, {.head_request = true}));
    EXPECT_NE(serialize_head(whole, {}, {.head_request = true})->find("content-length: 0"),
              std::string::npos);
    whole.status = 204;
    EXPECT_TRUE(has_no_body(whole, {}));
    EXPECT_EQ(serialize_head(whole, {}, {}).value(), "HTTP/1.1 204 No Content\r\n\r\n");

    Response stream;
    stream.stream = std::make_unique<NoSource>();
    EXPECT_TRUE(is_chunked(stream, {}));
    EXPECT_EQ(serialize_head(stream, {}, {}).value(),
              "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    EXPECT_FALSE(is_chunked(stream, {.http11 = false}));
    EXPECT_EQ(serialize_head(stream, {}, {.http11 = false, .keep_alive = false}).value(),
              "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
}

TEST(Answer, RefusesResponseSplittingAndForeignFraming) {
    const std::vector<std::pair<std::string, std::string>> refused = {{"x", "a\r\nset-cookie: b"},
                                                                      {"x", "a\nb"},
                                                                      {"x", std::string("a\0b", 3)},
                                                                      {"x\r\ny", "a"},
                                                                      {"", "a"},
                                                                      {"x y", "a"},
                                                                      {"x:", "a"},
                                                                      {"Content-Length", "5"},
                                                                      {"transfer-encoding", "x"},
                                                                      {"Connection", "close"},
                                                                      {"x", "a\x7f"}};
    for (const auto& field : refused) {
        Response response;
        response.headers = {field};
        EXPECT_FALSE(serialize_head(response, {}, {}).has_value()) << field.first;
    }
    Response response;
    response.status = 99;
    EXPECT_FALSE(serialize_head(response, {}, {}).has_value());
}

TEST(Answer, Chunks) {
    std::string out;
    append_chunk(out, "");
    EXPECT_EQ(out, "");
    append_chunk(out, std::string(26, 'x'));
    EXPECT_EQ(out, "1a\r\n" + std::string(26, 'x') + "\r\n");
}

TEST(Answer, HttpDate) {
    EXPECT_EQ(http_date(784111777LL * 1'000'000), "Sun, 06 Nov 1994 08:49:37 GMT");
    EXPECT_EQ(http_date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
    EXPECT_EQ(http_date(951827696LL * 1'000'000 + 999'999), "Tue, 29 Feb 2000 12:34:56 GMT");
}

}  // namespace
}  // namespace ostal::http
