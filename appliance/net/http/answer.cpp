// The answer's side of codec.h.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "appliance/net/http/codec.h"
#include "base/check.h"

namespace ostal::http {
namespace {

std::string_view reason_phrase(int status) {
    switch (status) {
        case 200: return "OK";
        case 201: return "Created";
        case 202: return "Accepted";
        case 204: return "No Content";
        case 206: return "Partial Content";
        case 301: return "Moved Permanently";
        case 302: return "Found";
        case 303: return "See Other";
        case 304: return "Not Modified";
        case 307: return "Temporary Redirect";
        case 308: return "Permanent Redirect";
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 414: return "URI Too Long";
        case 415: return "Unsupported Media Type";
        case 416: return "Range Not Satisfiable";
        case 417: return "Expectation Failed";
        case 421: return "Misdirected Request";
        case 422: return "Unprocessable Content";
        case 428: return "Precondition Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 499: return "Client Closed Request";
        case 500: return "Internal Server Error";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 505: return "HTTP Version Not Supported";
        default: return "Status";
    }
}

bool is_token(std::string_view text) {
    constexpr std::string_view kPunctuation = "!#$%&'*+-.^_`|~";
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               kPunctuation.find(c) != std::string_view::npos;
    });
}

bool is_field_value(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
    });
}

bool equals_ignoring_case(std::string_view a, std::string_view lower) {
    return a.size() == lower.size() && std::equal(a.begin(), a.end(), lower.begin(), [](char x, char y) {
        return (x >= 'A' && x <= 'Z' ? static_cast<char>(x - 'A' + 'a') : x) == y;
    });
}

bool is_framing_field(std::string_view name) {
    for (const std::string_view framing : {"content-length", "transfer-encoding", "connection", "keep-alive",
                                           "upgrade", "trailer", "date"}) {
        if (equals_ignoring_case(name, framing)) return true;
    }
    return false;
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
    out += name;
    out += ": ";
    out += value;
    out += "\r\n";
}

bool forbids_body(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

bool has_no_body(const Response& response, const AnswerFraming& framing) {
    return framing.head_request || forbids_body(response.status);
}

bool is_chunked(const Response& response, const AnswerFraming& framing) {
    return response.stream != nullptr && framing.http11 && !forbids_body(response.status);
}

Result<std::string> serialize_head(const Response& response, const Fields& extra, const AnswerFraming& framing) {
    if (response.status < 200 || response.status > 599) {
        return fail(Code::kInternal, "a response has the status " + std::to_string(response.status));
    }
    std::string out = "HTTP/1.1 " + std::to_string(response.status) + " ";
    out += reason_phrase(response.status);
    out += "\r\n";
    for (const auto& [name, value] : response.headers) {
        if (!is_token(name) || !is_field_value(value) || is_framing_field(name)) {
            return fail(Code::kInternal, "a response has a header field that cannot be sent");
        }
        append_field(out, name, value);
    }
    for (const auto& [name, value] : extra) {
        CHECK(is_token(name));
        CHECK(is_field_value(value));
        append_field(out, name, value);
    }
    if (is_chunked(response, framing)) {
        append_field(out, "transfer-encoding", "chunked");
    } else if (response.stream == nullptr && !forbids_body(response.status)) {
        append_field(out, "content-length", std::to_string(response.body.size()));
    }
    if (!framing.keep_alive) append_field(out, "connection", "close");
    out += "\r\n";
    return out;
}

void append_chunk(std::string& out, std::string_view bytes) {
    if (bytes.empty()) return;
    std::array<char, 16> size{};
    const auto [end, error] = std::to_chars(size.data(), size.data() + size.size(), bytes.size(), 16);
    CHECK(error == std::errc());
    out.append(size.data(), end);
    out += "\r\n";
    out += bytes;
    out += "\r\n";
}

std::string http_date(std::int64_t wall_us) {
    using std::chrono::days;
    using std::chrono::seconds;
    constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const std::chrono::sys_seconds time{
        std::chrono::floor<seconds>(std::chrono::microseconds(wall_us))};
    const auto day = std::chrono::floor<days>(time);
    const std::chrono::year_month_day date(day);
    const std::chrono::hh_mm_ss clock(time - day);
    const auto pad = [](std::int64_t value, std::size_t width) {
        std::string text = std::to_string(value);
        return text.size() < width ? std::string(width - text.size(), '0') + text : text;
    };
    std::string out(kDays[std::chrono::weekday(day).c_encoding()]);
    out += ", " + pad(static_cast<unsigned>(date.day()), 2) + " ";
    out += kMonths[static_cast<unsigned>(date.month()) - 1];
    out += " " + pad(static_cast<int>(date.year()), 4) + " " + pad(clock.hours().count(), 2) + ":" +
           pad(clock.minutes().count(), 2) + ":" + pad(clock.seconds().count(), 2) + " GMT";
    return out;
}

}  // namespace ostal::http
