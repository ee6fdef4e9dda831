// Every way known to us of making two readers disagree about where a request ends or whom it is for:
// exactly one answer, a refusal, and the connection's end.
#include <gtest/gtest.h>

#include "appliance/net/http/reader_fixture.h"

namespace ostal::http {
namespace {

// The tail that would be taken for a second request.
const std::string kHidden = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";

void expect_refused(const std::string& head, int status = 400) {
    const Seen seen = read_all(head + "\r\n" + kHidden);
    EXPECT_EQ(seen.fault, status) << head;
    EXPECT_TRUE(seen.requests.empty()) << head;
}

TEST(Smuggling, TransferEncodingIsExactlyChunkedOnce) {
    for (const char* value : {"xchunked", "gzip", "identity", "chunked, identity", "chunked, chunked", "gzip, chunked",
                              "chunked;q=1", "\"chunked\"", "chunked,", ",chunked", "", "chunke", "chunked\x0b",
                              "chunked\xa0", "cow"}) {
        expect_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: " + std::string(value) + "\r\n");
        expect_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: " + std::string(value) +
                       "\r\n");
    }
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n");
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n");
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n");
}

TEST(Smuggling, LengthAndCodingTogether) {
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n");
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n");
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n");
}

TEST(Smuggling, NoCodingBeforeHttp11) {
    expect_refused("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n");
}

TEST(Smuggling, DisguisedFieldNames) {
    for (const char* field : {"Transfer-Encoding : chunked", " Transfer-Encoding: chunked", "Transfer\tEncoding: chunked",
                              "Transfer-Encoding\x0b: chunked", "X: y\r\n Transfer-Encoding: chunked", ": chunked",
                              "X: y\r\n\tz", "X: y\rTransfer-Encoding: chunked", "X: y\nTransfer-Encoding: chunked",
                              "Content-Length : 5", "Host : x", "(x): y", "X\x80: y"}) {
        expect_refused("POST / HTTP/1.1\r\nHost: h\r\n" + std::string(field) + "\r\n");
    }
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nX: y" + std::string(1, '\0') + "\r\n");
    expect_refused("POST / HTTP/1.1\r\n Host: h\r\n");
}

TEST(Smuggling, ContentLengthIsOneDecimalNumber) {
    for (const char* value : {"5, 5", "5,6", "+5", "-5", "0x5", "5 5", "", "5.0", "1e1", "99999999999999999999", "\"5\"",
                              "5;x"}) {
        expect_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::string(value) + "\r\n");
    }
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n");
    expect_refused("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 6\r\n");
}

TEST(Smuggling, HostIsExactlyOneOfOurs) {
    expect_refused("GET / HTTP/1.1\r\n");
    expect_refused("GET / HTTP/1.0\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: h\r\nhost: evil\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost:\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: h/path\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: h, h\r\n");
    expect_refused("GET / HTTP/1.1\r\nHost: evil\r\n", 421);
    expect_refused("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", 421);
}

TEST(Smuggling, RequestLines) {
    for (const char* line : {"GET http://h/ HTTP/1.1", "GET https://h/x HTTP/1.1", "CONNECT h:443 HTTP/1.1",
                             "OPTIONS * HTTP/1.1", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET /\tHTTP/1.1", "GET /",
                             " GET / HTTP/1.1", "GET\t/ HTTP/1.1", "G(T / HTTP/1.1", "GET / http/1.1", "GET /a b HTTP/1.1",
                             "GET /%00 HTTP/1.1", "GET /%2f HTTP/1.1", "GET /.. HTTP/1.1", "GET /%zz HTTP/1.1",
                             "GET /\xc3\xa9 HTTP/1.1", "\r\nGET / HTTP/1.1"}) {
        const Seen seen = read_all(std::string(line) + "\r\nHost: h\r\n\r\n" + kHidden);
        if (std::string_view(line).starts_with("\r\n")) continue;  // one empty line is forgiven
        EXPECT_EQ(seen.fault, 400) << line;
        EXPECT_TRUE(seen.requests.empty()) << line;
    }
    for (const char* version : {"HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "HTTP/3.0"}) {
        expect_refused("GET / " + std::string(version) + "\r\nHost: h\r\n", 505);
    }
    expect_refused("GET / HTTP/11\r\nHost: h\r\n");
    EXPECT_EQ(read_all("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").fault, 505);
    EXPECT_EQ(read_all("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").fault, 400);
}

TEST(Smuggling, ChunkFraming) {
    const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (const char* body : {"5\nhello\r\n0\r\n\r\n", "5\r\nhello0\r\n\r\n", "5\r\nhelloXX0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n",
                             "-5\r\nhello\r\n", "+5\r\nhello\r\n", " 5\r\nhello\r\n", "5 \nhello", "g\r\nhello\r\n",
                             "\r\nhello\r\n", "5\r\nhello\n0\r\n\r\n", "5;\nhello\r\n", "100000000000000005\r\nhello\r\n"}) {
        const Seen seen = read_all(head + body + "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n");
        EXPECT_EQ(seen.fault, 400) << body;
        EXPECT_TRUE(seen.requests.empty()) << body;
    }
}

// However the bytes are cut, a trailer's lines keep the rules of a header's.
TEST(Smuggling, Trailers) {
    const std::string head =
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe\nlo\r\n0\r\n";
    const auto read_cut = [&](const std::string& trailers, std::size_t cut) {
        return read_all(head + trailers + "\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n", {cut});
    };
    for (std::size_t cut = head.size() - 12; cut < head.size() + 12; ++cut) {
        for (const char* trailers :
             {"X: a\r\n b\r\n", "X: a\r\n\tb\r\n", "X: a\nY: b\r\n", "X: a\rb\r\n", "X: \x1b\r\n",
              "X : a\r\n", "X\r\n", " X: a\r\n", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"}) {
            const Seen seen = read_cut(trailers, cut);
            EXPECT_EQ(seen.fault, 400) << trailers << cut;
            EXPECT_TRUE(seen.requests.empty()) << trailers << cut;
        }
        const Seen good = read_cut("X: a\r\nAuthorization: Bearer y\r\n", cut);
        EXPECT_EQ(good.fault, 0) << cut;
        ASSERT_EQ(good.requests.size(), 2U) << cut;
        EXPECT_EQ(good.requests[0].body, "he\nlo") << cut;
        EXPECT_FALSE(good.requests[0].header("authorization")) << cut;
    }
}

}  // namespace
}  // namespace ostal::http
