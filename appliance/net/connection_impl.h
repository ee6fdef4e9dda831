// One connection: reads requests, asks the handler, writes answers. For the .cpp files of this folder.
//
// Two coroutines run on the connection's strand. The pump always has a read under way as long as the
// request reader has room, so that a client that goes away is noticed at once; what comes while an answer
// is due is a pipelined request and waits in the reader (at most Limits::buffer_bytes, then the pump waits).
// serve() does the rest, one request at a time, and is the only one that writes.
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "appliance/net/byte_stream_impl.h"
#include "appliance/net/core_impl.h"
#include "appliance/net/event_impl.h"
#include "appliance/net/http/codec.h"

namespace ostal::http {

// How other threads reach a connection that may be gone by then. Thread-safe.
class Inbox {
public:
    explicit Inbox(Connection& connection) : connection_(&connection) {}
    // Runs `action` on the connection's strand, or destroys it here when the connection is gone.
    void post(std::function<void(Connection&)> action);
    void close();

private:
    std::mutex mutex_;
    Connection* connection_;
};

class Connection : public std::enable_shared_from_this<Connection> {
public:
    struct Peer {
        std::string ip;
        std::string cap_key;
        std::size_t listener = 0;
    };
    Connection(Core& core, asio::any_io_executor strand, std::shared_ptr<ByteStream> stream, Peer peer);
    // Runs it to its end; it keeps itself alive.
    void start();
    // Thread-safe. Looks at Core::draining(): it ends after the request under way, or at once without one.
    void drain();
    // Thread-safe. At once.
    void cut();

private:
    friend class Inbox;
    template <typename T>
    friend class Reply;
    enum class Outcome { kEnd, kReady, kFault };

    static asio::awaitable<void> run(std::shared_ptr<Connection> self);
    static asio::awaitable<void> pump(std::shared_ptr<Connection> self);
    asio::awaitable<void> serve();
    asio::awaitable<bool> exchange();
    asio::awaitable<Outcome> read_header();
    asio::awaitable<Outcome> read_body();
    asio::awaitable<bool> wait_for_admission();
    asio::awaitable<bool> wait_for_response();
    asio::awaitable<bool> write_answer(Response response);
    asio::awaitable<bool> write_stream(std::unique_ptr<BodySource> source, std::string out,
                                       std::string idle_bytes, bool chunked);
    asio::awaitable<bool> write_all(std::string_view bytes);
    asio::awaitable<void> say_goodbye();

    enum class Gathered { kMore, kLast, kFailed };

    void begin_fault();
    void begin_request();
    void begin_admission();
    void begin_handling(std::shared_ptr<void> context);
    bool skip_missing_body();
    void settle(std::uint64_t exchange, std::optional<Admission> admission);
    void settle(std::uint64_t exchange, std::optional<Response> response);
    Response fault_response();
    Response error_response(int status, std::string_view code, std::string_view message) const;
    AnswerFraming framing() const;
    Fields own_fields(const Response& response) const;
    std::string make_head(Response& response) const;
    Gathered start_source(BodySource& source);
    Gathered gather(BodySource& source, std::string& out, bool chunked) const;
    std::function<void()> make_waker();
    bool wants_continue();
    void client_left();
    void finish();

    Core& core_;
    const Limits& limits_;
    const asio::any_io_executor strand_;
    const std::shared_ptr<ByteStream> stream_;
    const Peer peer_;
    const std::uint64_t id_;
    const std::shared_ptr<Inbox> inbox_;

    RequestReader reader_;
    std::vector<std::uint8_t> input_;
    Event event_;               // something for serve(): bytes, an answer, a wake-up, the end
    Event room_;                // something for the pump: room in the reader, the end
    bool peer_gone_ = false;
    bool stop_reading_ = false;
    bool pump_runs_ = false;
    bool is_writing_ = false;     // serve() waits for the kernel to take bytes

    // The request under way.
    std::uint64_t exchange_ = 0;  // answers to earlier ones are not for this
    std::shared_ptr<Request> request_;
    std::shared_ptr<Cancellation> cancellation_;
    std::string request_id_;
    bool is_head_ = false;
    bool keep_alive_ = false;
    bool http11_ = true;
    std::optional<Admission> admission_;
    std::optional<Response> response_;
    std::optional<Fault> timeout_;
};

}  // namespace ostal::http
