#include "appliance/net/http/sse.h"

#include "base/check.h"

namespace ostal::http {
namespace {

void append_line(std::string& out, std::string_view field, std::string_view value) {
    out += field;
    out += ": ";
    out += value;
    out += '\n';
}

bool is_one_line(std::string_view text) {
    return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

}  // namespace

void append_sse(std::string& out, const SseEvent& event) {
    CHECK(is_one_line(event.id));
    CHECK(is_one_line(event.event));
    if (!event.event.empty()) append_line(out, "event", event.event);
    if (!event.id.empty()) append_line(out, "id", event.id);
    std::string_view rest = event.data;
    for (;;) {
        const std::size_t end = rest.find_first_of("\r\n");
        append_line(out, "data", rest.substr(0, end));
        if (end == std::string_view::npos) break;
        const bool is_pair = rest.substr(end, 2) == "\r\n";
        rest.remove_prefix(end + (is_pair ? 2 : 1));
    }
    out += '\n';
}

std::vector<std::pair<std::string, std::string>> sse_headers() {
    return {{"content-type", "text/event-stream; charset=utf-8"},
            {"cache-control", "no-cache"},
            {"x-accel-buffering", "no"}};
}

}  // namespace ostal::http
