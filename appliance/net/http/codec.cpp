#include "appliance/net/http/codec.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <charconv>

#include "base/check.h"

namespace ostal::http {
namespace {

namespace beast = boost::beast;
using BeastError = beast::error_code;

constexpr std::uint64_t kChunkOverheadBytes = 65536;
constexpr std::size_t kShortestChunkedBody = 5;  // 0 CR LF CR LF

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

std::string_view trim(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
    return text;
}

Method method_of(std::string_view name) {
    for (const Method method : {Method::kGet, Method::kHead, Method::kPost, Method::kPut, Method::kPatch,
                                Method::kDelete, Method::kOptions}) {
        if (name == method_name(method)) return method;
    }
    return Method::kOther;
}

// Lines end in CRLF and only there, no line is folded (RFC 9112, section 5.2), no control character hides.
bool lines_are_clean(std::string_view head) {
    for (std::size_t i = 0; i < head.size(); ++i) {
        const auto byte = static_cast<unsigned char>(head[i]);
        if (byte == '\r') {
            if (i + 1 == head.size() || head[i + 1] != '\n') return false;
        } else if (byte == '\n') {
            if (i == 0 || head[i - 1] != '\r') return false;
            if (i + 1 < head.size() && (head[i + 1] == ' ' || head[i + 1] == '\t')) return false;
        } else if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

bool list_has(std::string_view list, std::string_view token) {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(','), list.size());
        if (lower(trim(list.substr(0, end))) == token) return true;
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    return false;
}

// "METHOD target HTTP/d.d": a version that is well written, if not spoken here.
bool names_a_version(std::string_view head) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    if (std::count(line.begin(), line.end(), ' ') != 2 || line.size() < 9) return false;
    const std::string_view version = line.substr(line.size() - 9);
    return version.starts_with(" HTTP/") && is_digit(version[6]) && version[7] == '.' && is_digit(version[8]);
}

std::optional<std::uint64_t> parse_length(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
    return value;
}

}  // namespace

// Collects what Beast's parser finds. Sets a Beast error where a limit of ours is reached.
class RequestReader::Parser final : public beast::http::basic_parser<true> {
public:
    explicit Parser(const Limits& limits) : max_fields_(limits.header_fields) {
        header_limit(static_cast<std::uint32_t>(limits.header_bytes));
        body_limit(boost::none);  // judged here, after the route is known
        eager(false);
    }

    std::string method;
    std::string target;
    int version = 11;
    Fields fields;
    std::string body;
    std::uint64_t max_body = 0;
    const char* framing_begin = nullptr;  // in the bytes being parsed: what follows the last byte of the body
    bool too_many_fields = false;
    bool too_large = false;

private:
    void on_request_impl(beast::http::verb, beast::string_view method_text, beast::string_view target_text,
                         int version_number, BeastError& error) override {
        error = {};
        method.assign(method_text.data(), method_text.size());
        target.assign(target_text.data(), target_text.size());
        version = version_number;
    }
    void on_response_impl(int, beast::string_view, int, BeastError&) override {}
    void on_field_impl(beast::http::field, beast::string_view name, beast::string_view value,
                       BeastError& error) override {
        error = {};
        if (is_header_complete_) return;  // a trailer
        if (fields.size() == max_fields_) {
            too_many_fields = true;
            error = beast::http::error::header_limit;
            return;
        }
        fields.emplace_back(lower({name.data(), name.size()}), trim({value.data(), value.size()}));
    }
    void on_header_impl(BeastError& error) override {
        error = {};
        is_header_complete_ = true;
    }
    void on_body_init_impl(const boost::optional<std::uint64_t>&, BeastError& error) override { error = {}; }
    std::size_t on_body_impl(beast::string_view bytes, BeastError& error) override {
        return take(bytes, error);
    }
    void on_chunk_header_impl(std::uint64_t size, beast::string_view, BeastError& error) override {
        error = {};
        if (size > max_body - body.size()) refuse(error);
    }
    std::size_t on_chunk_body_impl(std::uint64_t, beast::string_view bytes, BeastError& error) override {
        return take(bytes, error);
    }
    void on_finish_impl(BeastError& error) override { error = {}; }

    std::size_t take(beast::string_view bytes, BeastError& error) {
        error = {};
        if (bytes.size() > max_body - body.size()) {
            refuse(error);
            return 0;
        }
        body.append(bytes.data(), bytes.size());
        framing_begin = bytes.data() + bytes.size();
        return bytes.size();
    }
    void refuse(BeastError& error) {
        too_large = true;
        error = beast::http::error::body_limit;
    }

    std::size_t max_fields_;
    bool is_header_complete_ = false;
};

RequestReader::RequestReader(const Limits& limits, const HostPolicy& hosts)
    : limits_(limits), hosts_(hosts), parser_(std::make_unique<Parser>(limits)) {}
RequestReader::~RequestReader() = default;

std::size_t RequestReader::room() const { return limits_.buffer_bytes - buffer_.size(); }

void RequestReader::append(std::string_view bytes) {
    CHECK_LE(bytes.size(), room());
    buffer_ += bytes;
    if (state_ == State::kBody) received_ += bytes.size();
}

bool RequestReader::empty() const { return state_ == State::kHeader && buffer_.empty(); }

RequestReader::Step RequestReader::fail_with(int status, std::string_view code, std::string_view message) {
    state_ = State::kFault;
    fault_.status = status;
    fault_.code = code;
    fault_.message = message;
    return Step::kFault;
}

RequestReader::Step RequestReader::advance() {
    try {
        switch (state_) {
            case State::kHeader: return read_header();
            case State::kDecision: return Step::kHeader;
            case State::kBody: return read_body();
            case State::kComplete: return Step::kComplete;
            case State::kFault: return Step::kFault;
        }
    } catch (const std::exception&) {
        // Beast throws on some inputs, and beast_impl.cpp turns its assertions into exceptions.
    }
    return fail_with(400, "bad_request", "The request is not valid HTTP.");
}

RequestReader::Step RequestReader::read_header() {
    if (!skipped_line_ && buffer_.starts_with("\r\n")) {  // RFC 9112, section 2.2: one is forgiven
        buffer_.erase(0, 2);
        skipped_line_ = true;
    }
    const std::size_t end = buffer_.find("\r\n\r\n", scanned_);
    const std::size_t size = end == std::string::npos ? buffer_.size() : end + 4;
    if (size > limits_.header_bytes) {
        return fail_with(431, "header_too_large", "The request's header is too large.");
    }
    if (end == std::string::npos) {
        scanned_ = buffer_.size() < 3 ? 0 : buffer_.size() - 3;
        return Step::kNeedMore;
    }
    const std::string_view head = std::string_view(buffer_).substr(0, size);
    if (!lines_are_clean(head)) {
        return fail_with(400, "bad_request", "The request's header holds a broken line.");
    }
    BeastError error;
    const std::size_t consumed = parser_->put(boost::asio::const_buffer(head.data(), head.size()), error);
    if (parser_->too_many_fields) {
        return fail_with(431, "header_too_large", "The request's header has too many fields.");
    }
    if (error == beast::http::error::bad_version && names_a_version(head)) {
        return fail_with(505, "http_version", "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    }
    if (error || consumed != size || !parser_->is_header_done()) {
        return fail_with(400, "bad_request", "The request is not valid HTTP.");
    }
    if (!judge_header()) return Step::kFault;
    buffer_.erase(0, size);
    state_ = State::kDecision;
    return Step::kHeader;
}

// The rules of RFC 9112 that Beast leaves to the server; sets request_ and framing_, or the fault.
bool RequestReader::judge_header() {
    const auto refuse = [this](int status, std::string_view code, std::string_view message) {
        fail_with(status, code, message);
        return false;
    };
    std::vector<std::string_view> hosts;
    std::vector<std::string_view> codings;
    std::vector<std::string_view> lengths;
    framing_ = {};
    framing_.http11 = parser_->version == 11;
    framing_.keep_alive = framing_.http11;
    for (const auto& [name, value] : parser_->fields) {
        if (name == "host") hosts.push_back(value);
        if (name == "transfer-encoding") codings.push_back(value);
        if (name == "content-length") lengths.push_back(value);
        if (name == "connection" && list_has(value, "close")) framing_.keep_alive = false;
        if (name == "expect" && framing_.http11 && lower(value) == "100-continue")
            framing_.expect_continue = true;
    }
    if (hosts.size() != 1) return refuse(400, "bad_host", "A request has exactly one Host field.");
    if (!codings.empty()) {
        if (codings.size() != 1 || lower(codings.front()) != "chunked") {
            return refuse(400, "bad_transfer_encoding", "The only transfer coding read here is chunked.");
        }
        if (!framing_.http11) {
            return refuse(400, "bad_transfer_encoding", "HTTP/1.0 has no transfer codings.");
        }
        if (!lengths.empty()) {
            return refuse(400, "bad_framing", "A request has a length or a transfer coding, not both.");
        }
        framing_.chunked = true;
    }
    if (!lengths.empty()) {
        framing_.content_length = parse_length(lengths.front());
        if (lengths.size() != 1 || !framing_.content_length) {
            return refuse(400, "bad_content_length", "Content-Length is one decimal number.");
        }
    }
    if (parser_->target.size() > limits_.target_bytes) {
        return refuse(414, "target_too_long", "The request's target is too long.");
    }
    auto target = parse_target(parser_->target);
    if (!target) return refuse(400, "bad_target", "The request's target is not a plain path.");
    switch (hosts_.judge(hosts.front())) {
        case HostPolicy::Verdict::kAllowed: break;
        case HostPolicy::Verdict::kMalformed: return refuse(400, "bad_host", "The Host field is malformed.");
        case HostPolicy::Verdict::kForeign:
            return refuse(421, "misdirected_request", "This machine does not answer for that host name.");
    }
    request_ = {};
    request_.method = method_of(parser_->method);
    request_.path = std::move(target->path);
    request_.query = std::move(target->query);
    request_.headers = parser_->fields;
    return true;
}

Request RequestReader::take_header() {
    CHECK(state_ == State::kDecision);
    return std::move(request_);
}

std::optional<Fault> RequestReader::accept_body(std::uint64_t limit_bytes) {
    CHECK(state_ == State::kDecision);
    for (const auto& [name, value] : parser_->fields) {
        if (name == "content-encoding" && lower(value) != "identity") {
            fail_with(415, "content_encoding", "Encoded bodies are not read here.");
            return fault_;
        }
        if (name == "expect" && framing_.http11 && lower(value) != "100-continue") {
            fail_with(417, "expectation_failed", "The only expectation known here is 100-continue.");
            return fault_;
        }
    }
    if (framing_.content_length.value_or(0) > limit_bytes) {
        fail_with(413, "too_large", "The request's body is too large.");
        return fault_;
    }
    parser_->max_body = limit_bytes;
    parser_->eager(true);
    received_ = buffer_.size();
    state_ = State::kBody;
    return std::nullopt;
}

RequestReader::Step RequestReader::read_body() {
    // Beast 1.81 asserts that an empty last chunk comes as 5 bytes or more; no chunked body is shorter.
    const bool is_untouched = received_ == buffer_.size();
    if (framing_.chunked && is_untouched && buffer_.size() < kShortestChunkedBody) return Step::kNeedMore;
    std::size_t used = 0;
    while (!parser_->is_done() && used < buffer_.size()) {
        BeastError error;
        const std::string_view rest = std::string_view(buffer_).substr(used);
        parser_->framing_begin = rest.data();
        const std::size_t consumed = parser_->put(boost::asio::const_buffer(rest.data(), rest.size()), error);
        used += consumed;
        if (parser_->too_large) return fail_with(413, "too_large", "The request's body is too large.");
        if (error && error != beast::http::error::need_more) {
            return fail_with(400, "bad_request", "The request's body is not framed as HTTP.");
        }
        // The trailers come in one piece with the last chunk's header, which Beast takes only as a whole. It
        // unfolds their lines; the rules for a header's lines hold for them, too.
        if (framing_.chunked && parser_->is_done()) {
            const char* const framing_end = rest.data() + consumed;
            const auto framing_size = static_cast<std::size_t>(framing_end - parser_->framing_begin);
            if (!lines_are_clean({parser_->framing_begin, framing_size})) {
                return fail_with(400, "bad_request", "The request's trailers hold a broken line.");
            }
        }
        if (consumed == 0) break;
    }
    buffer_.erase(0, used);
    if (parser_->is_done()) {
        state_ = State::kComplete;
        return Step::kComplete;
    }
    // A chunk's header or the trailers fill the whole buffer, or chunks are mostly framing.
    const std::uint64_t framing_bytes = received_ - buffer_.size() - parser_->body.size();
    if (room() == 0 || framing_bytes > parser_->max_body + kChunkOverheadBytes) {
        return fail_with(400, "bad_request", "The request's body holds too much framing.");
    }
    return Step::kNeedMore;
}

std::string RequestReader::take_body() {
    CHECK(state_ == State::kComplete);
    return std::move(parser_->body);
}

void RequestReader::next_request() {
    CHECK(state_ == State::kComplete);
    parser_ = std::make_unique<Parser>(limits_);
    state_ = State::kHeader;
    scanned_ = 0;
    skipped_line_ = false;
    received_ = 0;
}

}  // namespace ostal::http
