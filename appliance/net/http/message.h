// HTTP as the rest of the appliance sees it: plain values, no sockets, no Beast.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ostal::http {

enum class Method { kGet, kHead, kPost, kPut, kPatch, kDelete, kOptions };
std::string_view method_name(Method method);

// A request whose header has passed every rule of codec.h and whose body is complete.
struct Request {
    Method method = Method::kGet;
    std::string path;                                           // decoded once, begins with '/'
    std::vector<std::pair<std::string, std::string>> query;     // decoded, in order
    std::vector<std::pair<std::string, std::string>> headers;   // names in lower case, values trimmed
    std::string body;
    std::string request_id;                                     // req_..., made here
    std::string peer_ip;
    std::vector<std::pair<std::string, std::string>> path_params;  // filled by the router: {"id", "..."}

    // The single value of a header, or nothing (also when it occurs more than once).
    std::optional<std::string_view> header(std::string_view lower_name) const;
    std::optional<std::string_view> param(std::string_view name) const;
};

// The body of a streamed answer. The connection calls next() on its strand; when nothing is ready it waits
// until the source calls the waker. Destroying the source (client gone, write timeout, shutdown) cancels
// what feeds it.
class BodySource {
public:
    struct Chunk {
        std::string bytes;
        bool last = false;
    };
    virtual ~BodySource() = default;
    // A chunk, or nothing when none is ready yet. Never blocks.
    virtual std::optional<Chunk> next() = 0;
    // Called once before the first next(). `wake` is thread-safe, cheap, callable from any thread for as long
    // as the source lives, and may be called spuriously.
    virtual void on_ready(std::function<void()> wake) = 0;
};

struct Response {
    int status = 200;
    std::vector<std::pair<std::string, std::string>> headers;  // content-type and more; not framing headers
    std::string body;                                          // whole answers
    std::unique_ptr<BodySource> stream;                        // set: the body is chunked from it instead
    bool close = false;                                        // end the connection after this answer
};

// Completes one request: called exactly once, from any thread.
using Respond = std::function<void(Response)>;

}  // namespace ostal::http
