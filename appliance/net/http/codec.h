// HTTP/1.1 requests from bytes and answers to bytes, without a socket: pure functions of their input.
//
// The grammar is Beast's (RFC 9112); what Beast lets through and a server must not is refused here
// (security.md b.10). Any fault ends the connection after its answer: what follows cannot be trusted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "appliance/net/http/limits.h"
#include "appliance/net/http/message.h"
#include "appliance/net/http/target.h"
#include "base/result.h"

namespace ostal::http {

// Why a request is refused; the words are constants of this program and hold nothing of the request.
struct Fault {
    int status = 400;
    std::string_view code;
    std::string_view message;
};

// How a request's body is delimited, and what its sender expects.
struct Framing {
    bool http11 = true;
    bool keep_alive = true;                       // HTTP/1.1 without "Connection: close"
    bool chunked = false;
    std::optional<std::uint64_t> content_length;  // never together with chunked
    bool expect_continue = false;
    bool has_body() const { return chunked || content_length.value_or(0) > 0; }
};

// Reads the requests of one connection, one after the other. The order of calls for each request:
// append and advance until kHeader; take_header(); accept_body(); append and advance until kComplete;
// take_body(); next_request(). The result does not depend on how the bytes were split.
//
// The header alone decides everything: trailer fields are read and forgotten.
class RequestReader {
public:
    // Both outlive the reader.
    RequestReader(const Limits& limits, const HostPolicy& hosts);
    ~RequestReader();

    // How many bytes append() takes now.
    std::size_t room() const;
    // CHECK: at most room() bytes.
    void append(std::string_view bytes);
    // No byte of the next request has come (one leading empty line does not count).
    bool empty() const;

    enum class Step { kNeedMore, kHeader, kComplete, kFault };
    Step advance();

    // After kFault.
    const Fault& fault() const { return fault_; }
    // After kHeader: method, path, query and headers; the rest is for the connection to fill.
    Request take_header();
    const Framing& framing() const { return framing_; }
    // After kHeader: how large the body may be. A Fault (413, 415, 417) when the header already says that it
    // will not do.
    std::optional<Fault> accept_body(std::uint64_t limit_bytes);
    // All bytes that came since accept_body, framing included: what the minimum rate is measured on.
    std::uint64_t body_bytes_received() const { return received_; }
    // After kComplete.
    std::string take_body();
    // After kComplete: forgets the request and keeps the bytes behind it.
    void next_request();

private:
    class Parser;
    enum class State { kHeader, kDecision, kBody, kComplete, kFault };
    Step fail_with(int status, std::string_view code, std::string_view message);
    Step read_header();
    Step read_body();
    bool judge_header();

    const Limits& limits_;
    const HostPolicy& hosts_;
    State state_ = State::kHeader;
    std::string buffer_;         // at most limits_.buffer_bytes
    std::size_t scanned_ = 0;    // of the header: no end of it before here
    bool skipped_line_ = false;
    std::unique_ptr<Parser> parser_;
    Request request_;
    Framing framing_;
    Fault fault_;
    std::uint64_t received_ = 0;
};

// The head of an answer: status line, fields, empty line.
struct AnswerFraming {
    bool http11 = true;
    bool keep_alive = true;
    bool head_request = false;
};
using Fields = std::vector<std::pair<std::string, std::string>>;
// `extra` are the connection's own fields (date, request id). kInternal when a field's name is no token or
// its value holds a line end or control character, or when it is one that only the framing may set: a bug of
// whoever made the response, which must not become response splitting.
Result<std::string> serialize_head(const Response& response, const Fields& extra, const AnswerFraming& framing);
// True when the body of such an answer is sent in chunks; false: whole, none, or until the connection closes.
bool is_chunked(const Response& response, const AnswerFraming& framing);
// True when an answer of this status to this method has no body at all.
bool has_no_body(const Response& response, const AnswerFraming& framing);

// One chunk of the chunked coding; empty input appends nothing (an empty chunk would be the last).
void append_chunk(std::string& out, std::string_view bytes);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";
inline constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";

// RFC 9110, section 5.6.7: Sun, 06 Nov 1994 08:49:37 GMT
std::string http_date(std::int64_t wall_us);

}  // namespace ostal::http
