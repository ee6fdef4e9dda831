#include "appliance/net/connection_impl.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

namespace ostal::http {

using std::chrono::steady_clock;

namespace {

constexpr std::size_t kReadBytes = 16384;  // one TLS record
constexpr SteadyTime kNever = SteadyTime::max();

}  // namespace

void Inbox::post(std::function<void(Connection&)> action) {
    const std::lock_guard lock(mutex_);
    if (connection_ == nullptr) return;
    asio::post(connection_->strand_,
               [connection = connection_->shared_from_this(), action = std::move(action)] { action(*connection); });
}

void Inbox::close() {
    const std::lock_guard lock(mutex_);
    connection_ = nullptr;
}

Connection::Connection(Core& core, asio::any_io_executor strand, std::shared_ptr<ByteStream> stream, Peer peer)
    : core_(core),
      limits_(core.options.limits),
      strand_(std::move(strand)),
      stream_(std::move(stream)),
      peer_(std::move(peer)),
      id_(core.next_id()),
      inbox_(std::make_shared<Inbox>(*this)),
      reader_(limits_, core.hosts),
      input_(kReadBytes),
      event_(strand_),
      room_(strand_) {}

void Connection::start() {
    const std::shared_ptr<Connection> self = shared_from_this();
    core_.add(id_, self);
    asio::co_spawn(strand_, run(self), [self](const std::exception_ptr& thrown) {
        if (thrown) self->core_.log.error("a connection ended by an exception");
        self->finish();
    });
}

void Connection::drain() {
    inbox_->post([](Connection& connection) { connection.event_.notify(); });
}

void Connection::cut() {
    inbox_->post([](Connection& connection) {
        connection.client_left();
        connection.stream_->abort();
    });
}

// The last of the connection, on its strand: nobody reaches it from here on and what it waited for ends.
void Connection::finish() {
    inbox_->close();
    client_left();
    admission_.reset();
    response_.reset();
    stop_reading_ = true;
    room_.notify();
    stream_->abort();
    core_.remove(id_, peer_.cap_key);
}

void Connection::client_left() {
    peer_gone_ = true;
    event_.notify();
    if (!cancellation_) return;
    ++core_.counters.clients_gone;
    const std::shared_ptr<Cancellation> cancellation = std::move(cancellation_);
    try {
        cancellation->cancel();
    } catch (const std::exception&) {
        core_.log.error("a cancellation callback threw");
    }
}

asio::awaitable<void> Connection::run(std::shared_ptr<Connection> self) { co_await self->serve(); }

asio::awaitable<void> Connection::pump(std::shared_ptr<Connection> self) {
    while (!self->stop_reading_) {
        const std::size_t room = std::min(self->reader_.room(), self->input_.size());
        if (room == 0) {
            co_await self->room_.wait_until(kNever);
            continue;
        }
        const MutableByteSpan into(self->input_.data(), room);
        const std::size_t size = co_await self->stream_->read_some(into);
        if (self->stop_reading_) break;
        if (size == 0) {
            self->client_left();
            if (self->is_writing_) self->stream_->abort();
            break;
        }
        self->reader_.append(as_text(ByteSpan(into.data(), size)));
        self->event_.notify();
    }
}

asio::awaitable<void> Connection::serve() {
    const bool is_secure = co_await stream_->handshake(limits_.handshake);
    if (!is_secure) {
        ++core_.counters.handshake_failures;
        if (stream_->timed_out()) ++core_.counters.handshake_timeouts;
        co_return;
    }
    pump_runs_ = true;
    asio::co_spawn(strand_, pump(shared_from_this()), [self = shared_from_this()](const std::exception_ptr& thrown) {
        self->pump_runs_ = false;
        if (thrown) self->client_left();
        self->event_.notify();
    });
    for (;;) {
        const bool goes_on = co_await exchange();
        if (!goes_on) break;
    }
    if (stream_->timed_out()) ++core_.counters.write_timeouts;
    co_await say_goodbye();
}

asio::awaitable<void> Connection::say_goodbye() {
    stop_reading_ = true;
    room_.notify();
    while (pump_runs_) {
        stream_->cancel_read();  // again and again: a read that had just got bytes may have gone on
        const SteadyTime again = steady_clock::now() + std::chrono::milliseconds(20);
        co_await event_.wait_until(again);
    }
    if (stream_->timed_out()) co_return;
    co_await stream_->shutdown(limits_.shutdown, limits_.shutdown_drain_bytes);
    if (stream_->timed_out()) ++core_.counters.shutdown_timeouts;
}

// One request and its answer; false when the connection is to end.
asio::awaitable<bool> Connection::exchange() {
    const Outcome header = co_await read_header();
    if (header == Outcome::kEnd) co_return false;
    if (header == Outcome::kFault) {
        begin_fault();
        co_await write_answer(fault_response());
        co_return false;
    }
    begin_request();
    begin_admission();
    const bool is_admitted = co_await wait_for_admission();
    if (!is_admitted) co_return false;
    Admission admission = std::move(*admission_);
    admission_.reset();
    if (admission.refusal) {
        keep_alive_ = skip_missing_body() && keep_alive_;
        const bool goes_on = co_await write_answer(std::move(*admission.refusal));
        co_return goes_on;
    }
    if (reader_.accept_body(admission.body_limit_bytes)) {
        keep_alive_ = false;
        co_await write_answer(fault_response());
        co_return false;
    }
    if (wants_continue()) {
        const bool is_written = co_await write_all(kContinue);
        if (!is_written) co_return false;
    }
    const Outcome body = co_await read_body();
    if (body == Outcome::kEnd) co_return false;
    if (body == Outcome::kFault) {
        keep_alive_ = false;
        co_await write_answer(fault_response());
        co_return false;
    }
    request_->body = reader_.take_body();
    reader_.next_request();
    room_.notify();
    begin_handling(std::move(admission.context));
    const bool is_answered = co_await wait_for_response();
    if (!is_answered) co_return false;
    Response response = std::move(*response_);
    response_.reset();
    const bool goes_on = co_await write_answer(std::move(response));
    co_return goes_on;
}

asio::awaitable<Connection::Outcome> Connection::read_header() {
    timeout_.reset();
    const SteadyTime idle_deadline = steady_clock::now() + limits_.idle;
    std::optional<SteadyTime> header_deadline;
    for (;;) {
        const RequestReader::Step step = reader_.advance();
        room_.notify();
        if (peer_gone_) co_return Outcome::kEnd;
        if (step == RequestReader::Step::kHeader) co_return Outcome::kReady;
        if (step == RequestReader::Step::kFault) co_return Outcome::kFault;
        const bool is_idle = reader_.empty();
        if (is_idle && core_.draining()) co_return Outcome::kEnd;
        if (!is_idle && !header_deadline) header_deadline = steady_clock::now() + limits_.header;
        const SteadyTime deadline = is_idle ? idle_deadline : *header_deadline;
        const bool is_awake = co_await event_.wait_until(deadline);
        if (is_awake && steady_clock::now() < deadline) continue;
        if (is_idle) {
            ++core_.counters.idle_timeouts;
            co_return Outcome::kEnd;
        }
        ++core_.counters.header_timeouts;
        timeout_ = Fault{408, "request_timeout", "The request's header did not come in time."};
        co_return Outcome::kFault;
    }
}

asio::awaitable<Connection::Outcome> Connection::read_body() {
    const SteadyTime grace_end = steady_clock::now() + limits_.body_grace;
    for (;;) {
        const RequestReader::Step step = reader_.advance();
        room_.notify();
        if (peer_gone_) co_return Outcome::kEnd;
        if (step == RequestReader::Step::kComplete) co_return Outcome::kReady;
        if (step == RequestReader::Step::kFault) co_return Outcome::kFault;
        // At the minimum rate the bytes that came so far buy this much time.
        const std::uint64_t bought_s = reader_.body_bytes_received() / limits_.body_bytes_per_second;
        const SteadyTime deadline = grace_end + std::chrono::seconds(bought_s);
        const bool is_awake = co_await event_.wait_until(deadline);
        if (is_awake && steady_clock::now() < deadline) continue;
        ++core_.counters.body_timeouts;
        timeout_ = Fault{408, "request_timeout", "The request's body comes too slowly."};
        co_return Outcome::kFault;
    }
}

asio::awaitable<bool> Connection::wait_for_admission() {
    while (!admission_ && !peer_gone_) co_await event_.wait_until(kNever);
    co_return !peer_gone_;
}

asio::awaitable<bool> Connection::wait_for_response() {
    while (!response_ && !peer_gone_) co_await event_.wait_until(kNever);
    co_return !peer_gone_;
}

}  // namespace ostal::http
