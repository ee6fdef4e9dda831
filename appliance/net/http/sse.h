// Server-sent events (WHATWG HTML, section 9.2): what a text/event-stream body is made of.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ostal::http {

// A comment line that keeps proxies and clients from timing out; no event for the client.
inline constexpr std::string_view kSseComment = ": keepalive\n\n";
// The end of an OpenAI or Mistral stream.
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";

struct SseEvent {
    std::string_view data;
    std::string_view id = {};     // "id:" line when not empty
    std::string_view event = {};  // "event:" line when not empty
};
// Appends one event. Line ends in `data` make several "data:" lines; `id` and `event` hold no line ends and
// no NUL: CHECK.
void append_sse(std::string& out, const SseEvent& event);

// Header fields of an event stream: its content type, and no caching or buffering on the way.
std::vector<std::pair<std::string, std::string>> sse_headers();

}  // namespace ostal::http
