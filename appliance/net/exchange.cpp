// A connection's side towards the handler, and its answers.
#include <boost/asio/post.hpp>

#include "appliance/net/connection_impl.h"
#include "appliance/net/reply_impl.h"

namespace ostal::http {
namespace {

using std::chrono::steady_clock;

bool has_field(const Response& response, std::string_view lower_name) {
    for (const auto& [name, value] : response.headers) {
        if (name == lower_name) return true;
    }
    return false;
}

std::string chunk_of(std::string_view bytes) {
    std::string out;
    append_chunk(out, bytes);
    return out;
}

// One open stream, for the metrics.
class StreamCount {
public:
    explicit StreamCount(Counters& counters) : counters_(counters) { ++counters_.open_streams; }
    ~StreamCount() { --counters_.open_streams; }
    StreamCount(const StreamCount&) = delete;
    StreamCount& operator=(const StreamCount&) = delete;

private:
    Counters& counters_;
};

}  // namespace

void Connection::begin_fault() {
    request_id_ = core_.make_request_id();
    keep_alive_ = false;
    is_head_ = false;
    http11_ = true;
}

void Connection::begin_request() {
    ++core_.counters.requests;
    request_id_ = core_.make_request_id();
    keep_alive_ = reader_.framing().keep_alive;
    http11_ = reader_.framing().http11;
    cancellation_ = std::make_shared<Cancellation>();
    request_ = std::make_shared<Request>(reader_.take_header());
    request_->request_id = request_id_;
    request_->peer_ip = peer_.ip;
    request_->listener = peer_.listener;
    request_->cancellation = cancellation_;
    is_head_ = request_->method == Method::kHead;
}

void Connection::begin_admission() {
    const auto reply = std::make_shared<Reply<Admission>>(inbox_, ++exchange_);
    try {
        core_.handler.admit(request_, [reply](Admission admission) { reply->settle(std::move(admission)); });
    } catch (const std::exception&) {
        core_.log.error("admitting a request threw", {{"request_id", request_id_}});
        reply->settle(std::nullopt);
    }
}

void Connection::begin_handling(std::shared_ptr<void> context) {
    const auto reply = std::make_shared<Reply<Response>>(inbox_, ++exchange_);
    try {
        core_.handler.handle(std::move(request_), std::move(context),
                             [reply](Response response) { reply->settle(std::move(response)); });
    } catch (const std::exception&) {
        core_.log.error("handling a request threw", {{"request_id", request_id_}});
        reply->settle(std::nullopt);
    }
}

void Connection::settle(std::uint64_t exchange, std::optional<Admission> admission) {
    if (exchange != exchange_ || peer_gone_) return;
    admission_ = std::move(admission);
    if (!admission_) {
        admission_.emplace();
        admission_->refusal = error_response(500, "internal_error", "The request could not be handled.");
    }
    event_.notify();
}

void Connection::settle(std::uint64_t exchange, std::optional<Response> response) {
    if (exchange != exchange_ || peer_gone_) return;
    response_ = std::move(response);
    if (!response_) response_ = error_response(500, "internal_error", "The request could not be handled.");
    event_.notify();
}

// A refused request without a body leaves nothing unread: the connection may go on.
bool Connection::skip_missing_body() {
    if (reader_.framing().has_body() || reader_.accept_body(0)) return false;
    if (reader_.advance() != RequestReader::Step::kComplete) return false;
    reader_.next_request();
    room_.notify();
    return true;
}

bool Connection::wants_continue() {
    return reader_.framing().expect_continue && reader_.framing().has_body() &&
           reader_.advance() == RequestReader::Step::kNeedMore;
}

Response Connection::error_response(int status, std::string_view code, std::string_view message) const {
    try {
        if (core_.options.error_body) return core_.options.error_body(status, code, message, request_id_);
    } catch (const std::exception&) {
        core_.log.error("making an error body threw", {{"request_id", request_id_}});
    }
    return json_error(status, code, message, request_id_);
}

Response Connection::fault_response() {
    ++core_.counters.faults;
    const Fault fault = timeout_ ? *timeout_ : reader_.fault();
    core_.log.debug("a request was refused", {{"request_id", request_id_},
                                              {"peer_ip", peer_.ip},
                                              {"status", std::to_string(fault.status)},
                                              {"code", std::string(fault.code)}});
    Response response = error_response(fault.status, fault.code, fault.message);
    response.close = true;
    return response;
}

AnswerFraming Connection::framing() const {
    AnswerFraming framing;
    framing.http11 = http11_;
    framing.keep_alive = keep_alive_;
    framing.head_request = is_head_;
    return framing;
}

Fields Connection::own_fields(const Response& response) const {
    Fields fields = {{"date", http_date(core_.clock.wall_now_us())}};
    if (!has_field(response, "x-request-id")) fields.emplace_back("x-request-id", request_id_);
    if (!has_field(response, "x-content-type-options")) fields.emplace_back("x-content-type-options", "nosniff");
    if (!has_field(response, "cache-control")) fields.emplace_back("cache-control", "no-store");
    if (core_.options.hsts) fields.emplace_back("strict-transport-security", "max-age=31536000");
    return fields;
}

// The head of `response`, which becomes a 500 where it cannot be sent.
std::string Connection::make_head(Response& response) const {
    auto head = serialize_head(response, own_fields(response), framing());
    if (!head) {
        core_.log.error(head.error().message(), {{"request_id", request_id_}});
        response = error_response(500, "internal_error", "The answer could not be sent.");
        head = serialize_head(response, own_fields(response), framing());
        if (!head) {  // the error body has a broken header field, too
            response = json_error(500, "internal_error", "The answer could not be sent.", request_id_);
            head = serialize_head(response, own_fields(response), framing());
        }
    }
    return std::move(*head);
}

Connection::Gathered Connection::start_source(BodySource& source) {
    try {
        source.on_ready(make_waker());
        return Gathered::kMore;
    } catch (const std::exception&) {
        core_.log.error("the source of a streamed answer threw", {{"request_id", request_id_}});
        return Gathered::kFailed;
    }
}

// Takes what the source has, up to about one piece.
Connection::Gathered Connection::gather(BodySource& source, std::string& out, bool chunked) const {
    try {
        while (out.size() < limits_.write_piece_bytes) {
            const std::optional<BodySource::Chunk> chunk = source.next();
            if (!chunk) return Gathered::kMore;
            if (chunked) append_chunk(out, chunk->bytes);
            if (!chunked) out += chunk->bytes;
            if (!chunk->last) continue;
            if (chunked) out += kLastChunk;
            return Gathered::kLast;
        }
        return Gathered::kMore;
    } catch (const std::exception&) {
        core_.log.error("the source of a streamed answer threw", {{"request_id", request_id_}});
        return Gathered::kFailed;
    }
}

std::function<void()> Connection::make_waker() {
    // One wake-up under way is enough; it is marked as arrived before the connection looks at the source.
    auto is_under_way = std::make_shared<std::atomic<bool>>(false);
    return [inbox = inbox_, is_under_way] {
        if (is_under_way->exchange(true)) return;
        inbox->post([is_under_way](Connection& connection) {
            *is_under_way = false;
            connection.event_.notify();
        });
    };
}

// False when the connection is to end.
asio::awaitable<bool> Connection::write_answer(Response response) {
    if (cancellation_) cancellation_->finish();
    cancellation_.reset();
    keep_alive_ = keep_alive_ && !response.close && !core_.draining();
    std::string out = make_head(response);
    if (has_no_body(response, framing())) {
        response.stream.reset();
    } else if (response.stream) {
        const bool chunked = is_chunked(response, framing());
        const bool is_complete = co_await write_stream(std::move(response.stream), std::move(out),
                                                       std::move(response.idle_bytes), chunked);
        co_return is_complete && keep_alive_;
    } else {
        out += response.body;
    }
    const bool is_written = co_await write_all(out);
    co_return is_written && keep_alive_;
}

asio::awaitable<bool> Connection::write_stream(std::unique_ptr<BodySource> source, std::string out,
                                               std::string idle_bytes, bool chunked) {
    const StreamCount count(core_.counters);
    if (chunked) idle_bytes = chunk_of(idle_bytes);
    Gathered gathered = start_source(*source);
    for (;;) {
        if (gathered != Gathered::kFailed) gathered = gather(*source, out, chunked);
        const bool is_written = co_await write_all(out);
        if (!is_written || gathered == Gathered::kFailed) break;
        if (gathered == Gathered::kLast) co_return true;
        if (out.size() >= limits_.write_piece_bytes) {  // there may be more at once
            out.clear();
            continue;
        }
        out.clear();
        const SteadyTime idle_since = steady_clock::now();
        const SteadyTime deadline = idle_bytes.empty() ? SteadyTime::max() : idle_since + limits_.keep_alive_comment;
        const bool is_awake = co_await event_.wait_until(deadline);
        if (!is_awake) out = idle_bytes;
    }
    source.reset();  // cancels what feeds it before the goodbye takes its time
    if (peer_gone_) ++core_.counters.clients_gone;
    co_return false;
}

// False when the client is gone or took too long.
asio::awaitable<bool> Connection::write_all(std::string_view bytes) {
    while (!bytes.empty() && !peer_gone_) {
        const std::string_view piece = bytes.substr(0, limits_.write_piece_bytes);
        is_writing_ = true;
        const bool is_written = co_await stream_->write(piece, limits_.write);
        is_writing_ = false;
        if (!is_written) {
            peer_gone_ = true;
            co_return false;
        }
        bytes.remove_prefix(piece.size());
    }
    co_return !peer_gone_;
}

}  // namespace ostal::http
