#include "appliance/net/http/codec.h"

#include <gtest/gtest.h>

#include "appliance/net/http/reader_fixture.h"
#include "base/random.h"

namespace ostal::http {
namespace {

using Step = RequestReader::Step;

TEST(RequestReader, ReadsAHeaderAndABody) {
    const auto seen = read_all("POST /v1/chat%20x?a=b HTTP/1.1\r\nHost: h\r\nContent-Type:  a/b \r\nX: 1\r\nx: 2\r\n"
                               "Content-Length: 5\r\n\r\nhello");
    ASSERT_EQ(seen.requests.size(), 1U);
    const Request& request = seen.requests[0];
    EXPECT_EQ(request.method, Method::kPost);
    EXPECT_EQ(request.path, "/v1/chat x");
    EXPECT_EQ(request.query_value("a"), "b");
    EXPECT_EQ(request.header("content-type"), "a/b");
    EXPECT_FALSE(request.header("x"));
    EXPECT_EQ(request.body, "hello");
    EXPECT_TRUE(seen.framings[0].keep_alive);
    EXPECT_EQ(seen.fault, 0);
}

TEST(RequestReader, ReadsChunksAndForgetsTrailers) {
    const auto seen = read_all("POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: Chunked\r\n\r\n"
                               "3;ext=\"a\"\r\nabc\r\n00D\r\n0123456789abc\r\n0\r\nAuthorization: Bearer evil\r\n"
                               "Host: other\r\nConnection: close\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    ASSERT_EQ(seen.requests.size(), 2U);
    EXPECT_EQ(seen.requests[0].body, "abc0123456789abc");
    EXPECT_FALSE(seen.requests[0].header("authorization"));
    EXPECT_EQ(seen.requests[0].header("host"), "h");
    EXPECT_TRUE(seen.framings[0].keep_alive);
    EXPECT_EQ(seen.requests[1].path, "/next");
}

TEST(RequestReader, TheSplitOfTheBytesDoesNotMatter) {
    const std::string stream =
        "\r\nPOST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello world"
        "GET /b?x=1 HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"
        "PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n1;x=y\r\nf\r\n0\r\nT: 1\r\n\r\n"
        "BREW /d HTTP/1.1\r\nHost: h\r\n\r\n"
        "GET /e HTTP/1.0\r\nHost: h\r\n\r\n";
    const std::string expected = describe(read_all(stream));
    EXPECT_EQ(expected, "POST /a [hello world] keep\nGET /b [] keep\nPUT /c [abcdef] keep\nother /d [] keep\n"
                        "GET /e [] close\n");
    for (std::size_t cut = 0; cut <= stream.size(); ++cut) {
        EXPECT_EQ(describe(read_all(stream, {cut})), expected) << cut;
    }
    std::vector<std::size_t> every_byte;
    for (std::size_t i = 0; i < stream.size(); ++i) every_byte.push_back(i);
    EXPECT_EQ(describe(read_all(stream, every_byte)), expected);
}

TEST(RequestReader, AnEmptyChunkedBodyMayComeInAnyPieces) {
    const std::string text =
        "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: 1\r\n\r\n"
        "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    for (std::size_t a = 0; a < text.size(); ++a) {
        for (std::size_t b = a; b < std::min(a + 6, text.size()); ++b) {
            ASSERT_EQ(describe(read_all(text, {a, b})), "POST /a [] keep\nPOST /b [] keep\n") << a << " " << b;
        }
    }
}

TEST(RequestReader, TheSplitDoesNotMatterForFaultsEither) {
    for (const char* bad : {"GET /a HTTP/1.1\r\nHost: h\r\nX : y\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n",
                            "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdeX\r\n0\r\n\r\n",
                            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n"}) {
        const std::string text = bad;
        const std::string expected = describe(read_all(text));
        for (std::size_t cut = 0; cut <= text.size(); ++cut) EXPECT_EQ(describe(read_all(text, {cut})), expected);
    }
}

TEST(RequestReader, ConnectionCloseAndOldVersions) {
    const auto keep = [](const std::string& head) { return read_all(head + "\r\n").framings.at(0).keep_alive; };
    EXPECT_TRUE(keep("GET / HTTP/1.1\r\nHost: h\r\n"));
    EXPECT_FALSE(keep("GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"));
    EXPECT_FALSE(keep("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n"));
    EXPECT_FALSE(keep("GET / HTTP/1.1\r\nHost: h\r\nConnection: x\r\nConnection: close\r\n"));
    EXPECT_TRUE(keep("GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n"));
    EXPECT_FALSE(keep("GET / HTTP/1.0\r\nHost: h\r\n"));
    EXPECT_FALSE(keep("GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n"));
}

TEST(RequestReader, ExpectContinue) {
    const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n";
    EXPECT_TRUE(read_all(head + "Expect: 100-Continue\r\n\r\n").framings.at(0).expect_continue);
    EXPECT_FALSE(read_all(head + "\r\n").framings.at(0).expect_continue);
    EXPECT_EQ(read_all(head + "Expect: 200-ok\r\n\r\n").fault, 417);
    EXPECT_EQ(read_all(head + "Expect: 100-continue\r\nExpect: 200-ok\r\n\r\n").fault, 417);
    EXPECT_EQ(read_all("POST / HTTP/1.0\r\nHost: h\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\nx").fault, 0);
}

TEST(RequestReader, BodyLimits) {
    const std::string head = "POST / HTTP/1.1\r\nHost: h\r\n";
    EXPECT_EQ(read_all(head + "Content-Length: 100\r\n\r\n" + std::string(100, 'x')).requests.size(), 1U);
    EXPECT_EQ(read_all(head + "Content-Length: 101\r\n\r\n").fault, 413);
    EXPECT_EQ(read_all(head + "Content-Length: 18446744073709551615\r\n\r\n").fault, 413);
    const std::string chunked = head + "Transfer-Encoding: chunked\r\n\r\n";
    EXPECT_EQ(read_all(chunked + "64\r\n" + std::string(100, 'x') + "\r\n0\r\n\r\n").requests.size(), 1U);
    EXPECT_EQ(read_all(chunked + "65\r\nx").fault, 413);
    EXPECT_EQ(read_all(chunked + "63\r\n" + std::string(99, 'x') + "\r\n2\r\n").fault, 413);
    EXPECT_EQ(read_all(chunked + "ffffffffffffffff\r\n").fault, 413);
    EXPECT_EQ(read_all(chunked + "10000000000000000\r\n").fault, 400);
    EXPECT_EQ(read_all(head + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx").fault, 415);
    EXPECT_EQ(read_all(head + "Content-Encoding: identity\r\nContent-Length: 1\r\n\r\nx").fault, 0);
}

TEST(RequestReader, FramingMayNotGrowWithoutEnd) {
    const std::string head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    // One chunk extension, or the trailers, longer than the buffer.
    EXPECT_EQ(read_all(head + "1;" + std::string(40000, 'a')).fault, 400);
    EXPECT_EQ(read_all(head + "0\r\nX: " + std::string(70000, 'a')).fault, 400);
    std::string trailers = head + "0\r\n";
    for (int i = 0; i < 10000; ++i) trailers += "a: b\r\n";
    EXPECT_EQ(read_all(trailers).fault, 400);
    // Many chunks of one byte with long extensions.
    std::string chunks = head;
    for (int i = 0; i < 90; ++i) chunks += "1;" + std::string(2000, 'a') + "\r\nx\r\n";
    EXPECT_EQ(read_all(chunks).fault, 400);
}

TEST(RequestReader, HeaderLimits) {
    const std::string start = "GET / HTTP/1.1\r\nHost: h\r\n";
    const auto with_size = [&](std::size_t size) {
        std::string head = start + "X: ";
        head += std::string(size - head.size() - 4, 'a');
        return head + "\r\n\r\n";
    };
    EXPECT_EQ(read_all(with_size(16384)).requests.size(), 1U);
    EXPECT_EQ(read_all(with_size(16385)).fault, 431);
    EXPECT_EQ(read_all(start + "X: " + std::string(40000, 'a')).fault, 431);
    std::string fields = start;
    for (int i = 0; i < 99; ++i) fields += "a: b\r\n";
    EXPECT_EQ(read_all(fields + "\r\n").requests.size(), 1U);
    EXPECT_EQ(read_all(fields + "a: b\r\n\r\n").fault, 431);
    EXPECT_EQ(read_all("GET /" + std::string(7999, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n").requests.size(), 1U);
    EXPECT_EQ(read_all("GET /" + std::string(8000, 'a') + " HTTP/1.1\r\nHost: h\r\n\r\n").fault, 414);
    EXPECT_EQ(read_all("GET /" + std::string(40000, 'a')).fault, 431);
}

TEST(RequestReader, NothingIsReadBehindAFault) {
    const auto seen = read_all("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n");
    EXPECT_EQ(seen.fault, 400);
    EXPECT_TRUE(seen.requests.empty());
}

TEST(RequestReader, EmptyTellsIdleFromBegun) {
    const Limits limits;
    const HostPolicy hosts({"h"});
    RequestReader reader(limits, hosts);
    EXPECT_TRUE(reader.empty());
    reader.append("\r\n");
    EXPECT_EQ(reader.advance(), Step::kNeedMore);
    EXPECT_TRUE(reader.empty());
    reader.append("G");
    EXPECT_FALSE(reader.empty());
}

TEST(RequestReader, MutatedRequestsNeverBreakIt) {
    const std::string base =
        "POST /v1/x?y=z HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n4;a=b\r\nbody\r\n0\r\nA: b\r\n\r\n";
    SeededRandom random(20260101);
    for (int round = 0; round < 20000; ++round) {
        std::string text = base;
        const std::uint64_t edits = 1 + random.below(3);
        for (std::uint64_t i = 0; i < edits; ++i) {
            const std::size_t at = random.below(text.size());
            switch (random.below(3)) {
                case 0: text[at] = static_cast<char>(random.below(256)); break;
                case 1: text.erase(at, 1 + random.below(4)); break;
                default: text.insert(at, text.substr(random.below(text.size()), random.below(8))); break;
            }
        }
        const std::size_t cut = random.below(text.size() + 1);
        ASSERT_EQ(describe(read_all(text)), describe(read_all(text, {cut}))) << text;
    }
}

}  // namespace
}  // namespace ostal::http
