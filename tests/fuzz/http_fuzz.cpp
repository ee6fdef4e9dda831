// HTTP requests from hostile bytes. The first byte chooses how the rest is split; whatever the split, the
// reader says the same, holds its limits and never lets a request through that breaks a rule of its own.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "appliance/net/http/codec.h"
#include "base/check.h"

namespace {

using ostal::http::Framing;
using ostal::http::HostPolicy;
using ostal::http::Limits;
using ostal::http::Request;
using ostal::http::RequestReader;

constexpr std::uint64_t kBodyLimit = 4096;

void check_request(const Request& request, const Framing& framing) {
    CHECK(!request.path.empty() && request.path.front() == '/');
    CHECK(request.path.find('\0') == std::string::npos);
    CHECK(request.path.find('\\') == std::string::npos);
    CHECK(request.path != "/..");
    CHECK(request.path.find("/../") == std::string::npos);
    CHECK(request.header("host").has_value());
    CHECK_LE(request.headers.size(), 100U);
    CHECK(!(framing.chunked && framing.content_length));
    CHECK(!framing.chunked || framing.http11);
    CHECK(framing.chunked == request.header("transfer-encoding").has_value());
    CHECK(framing.http11 || !framing.keep_alive);
    for (const auto& [name, value] : request.headers) {
        CHECK(name.find_first_of(" \t\r\n:") == std::string::npos);
        CHECK(value.find_first_of("\r\n") == std::string::npos);
        CHECK(value.find('\0') == std::string::npos);
    }
}

// What the reader makes of `bytes`, given in pieces of `piece` bytes.
std::string read_all(std::string_view bytes, std::size_t piece) {
    const Limits limits;
    const HostPolicy hosts({"h", "127.0.0.1"});
    RequestReader reader(limits, hosts);
    std::string seen;
    Request request;
    while (!bytes.empty()) {
        const std::size_t size = std::min({piece, bytes.size(), reader.room()});
        reader.append(bytes.substr(0, size));
        bytes.remove_prefix(size);
        for (bool goes_on = true; goes_on;) {
            switch (reader.advance()) {
                case RequestReader::Step::kNeedMore:
                    CHECK_GT(reader.room(), 0U);
                    goes_on = false;
                    break;
                case RequestReader::Step::kHeader:
                    request = reader.take_header();
                    check_request(request, reader.framing());
                    if (reader.accept_body(kBodyLimit)) return seen + std::to_string(reader.fault().status);
                    break;
                case RequestReader::Step::kComplete:
                    request.body = reader.take_body();
                    CHECK_LE(request.body.size(), kBodyLimit);
                    seen += request.path + " " + request.body + "\n";
                    reader.next_request();
                    break;
                case RequestReader::Step::kFault: return seen + std::to_string(reader.fault().status);
            }
        }
    }
    return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
    const std::string whole = read_all(bytes, 16384);
    CHECK_EQ(whole, read_all(bytes, 1U + data[0]));
    return 0;
}
