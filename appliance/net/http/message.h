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

#include "appliance/net/http/cancellation.h"

namespace ostal::http {

// kOther is any token that is none of the others (TRACE, CONNECT, BREW): the router answers it 501, after
// authentication.
enum class Method { kGet, kHead, kPost, kPut, kPatch, kDelete, kOptions, kOther };
std::string_view method_name(Method method);

// A request whose header has passed every rule of codec.h. While it is being admitted (server.h) `body` is
// empty; when it is handled the body is complete.
struct Request {
    Method method = Method::kGet;
    std::string path;                                           // decoded once, begins with '/'
    std::vector<std::pair<std::string, std::string>> query;     // decoded, in order
    std::vector<std::pair<std::string, std::string>> headers;   // names in lower case, values trimmed
    std::string body;
    std::string request_id;                                     // req_..., made here
    std::string peer_ip;                                        // "10.1.2.3", "2001:db8::1"
    std::size_t listener = 0;                                   // index of the listening socket it came by
    std::vector<std::pair<std::string, std::string>> path_params;  // filled by the router: {"id", "..."}
    // Fires when the client goes away before the answer is given. Never null in a Handler.
    std::shared_ptr<Cancellation> cancellation;

    // The single value of a header, or nothing (also when it occurs more than once).
    std::optional<std::string_view> header(std::string_view lower_name) const;
    // A path parameter.
    std::optional<std::string_view> param(std::string_view name) const;
    // The single value of a query parameter, or nothing (also when it occurs more than once).
    std::optional<std::string_view> query_value(std::string_view name) const;
};

// The body of a streamed answer. The connection calls next() on its strand; when nothing is ready it waits
// until the source calls the waker. Destroying the source (client gone, write timeout, shutdown) cancels
// what feeds it; it is destroyed at once then, and also when its last chunk was written.
class BodySource {
public:
    struct Chunk {
        std::string bytes;
        bool last = false;
    };
    virtual ~BodySource() = default;
    // A chunk, or nothing when none is ready yet. Never blocks. A throw ends the connection without the
    // final chunk, so that the client sees a truncated answer.
    virtual std::optional<Chunk> next() = 0;
    // Called once before the first next(). `wake` is thread-safe, cheap, callable from any thread for as long
    // as the source lives and after, and may be called spuriously.
    virtual void on_ready(std::function<void()> wake) = 0;
};

struct Response {
    int status = 200;
    std::vector<std::pair<std::string, std::string>> headers;  // content-type and more; not framing headers
    std::string body;                                          // whole answers
    std::unique_ptr<BodySource> stream;                        // set: the body is chunked from it instead
    // Streams: written when nothing else was for Limits::keep_alive_comment (kSseComment of sse.h).
    std::string idle_bytes;
    bool close = false;                                        // end the connection after this answer
};

// Completes one request: called exactly once, from any thread. Dropping it without a call answers 500;
// calls after the first, and calls after the client went away, do nothing but destroy the Response.
using Respond = std::function<void(Response)>;

// The body of an error that the HTTP layer itself answers (400, 408, 413, 421, 431 ...). `code` is a short
// stable word, `message` a sentence for people; neither holds anything of the request.
using ErrorBody = std::function<Response(int status, std::string_view code, std::string_view message,
                                         std::string_view request_id)>;
// The default: one JSON object that carries both dialects' shapes, flat members and the same under "error".
Response json_error(int status, std::string_view code, std::string_view message, std::string_view request_id);

}  // namespace ostal::http
