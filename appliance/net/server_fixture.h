// For tests: a server on a free loopback port with a handler whose paths do what their names say.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>

#include "appliance/net/http/sse.h"
#include "appliance/net/server.h"
#include "appliance/tls/context.h"
#include "appliance/tls/local_ca.h"
#include "base/queue.h"
#include "base/thread.h"
#include "tests/support/tls_client.h"

namespace ostal::http {

using ostal::testing::HttpAnswer;
using ostal::testing::TlsClient;

constexpr std::chrono::seconds kPatience{30};

// Things that happened, by name, for a test to wait for.
class Events {
public:
    void happened(const std::string& name) {
        const std::lock_guard lock(mutex_);
        ++counts_[name];
        changed_.notify_all();
    }
    bool wait_for(const std::string& name, int count = 1) {
        std::unique_lock lock(mutex_);
        return changed_.wait_for(lock, kPatience, [&] { return counts_[name] >= count; });
    }
    int count(const std::string& name) {
        const std::lock_guard lock(mutex_);
        return counts_[name];
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, int> counts_;
};

// A bounded queue of events with a producer thread, as the engine's token streams are: one event each `pace`, `total`
// 0: no end.
class ProducedSource final : public BodySource {
public:
    ProducedSource(Events& events, std::string event, int total, std::chrono::milliseconds pace = {})
        : events_(events), state_(std::make_shared<State>()) {
        events_.happened("source made");
        producer_ = std::thread(
            [state = state_, event = std::move(event), total, pace] { produce(*state, event, total, pace); });
    }
    ~ProducedSource() override {
        state_->stop = true;
        state_->queue.close();
        producer_.join();
        events_.happened("source destroyed");
    }
    std::optional<Chunk> next() override {
        auto bytes = state_->queue.try_pop();
        if (!bytes) return std::nullopt;
        Chunk chunk;
        chunk.last = bytes->empty();
        chunk.bytes = std::move(*bytes);
        if (chunk.last) chunk.bytes = kSseDone;
        return chunk;
    }
    void on_ready(std::function<void()> wake) override {
        const std::lock_guard lock(state_->mutex);
        state_->wake = std::move(wake);
        state_->has_wake.notify_all();
    }

private:
    struct State {
        std::mutex mutex;
        std::condition_variable has_wake;
        std::function<void()> wake;
        BoundedQueue<std::string> queue{8};
        std::atomic<bool> stop{false};
    };
    static void produce(State& state, const std::string& event, int total, std::chrono::milliseconds pace) {
        std::function<void()> wake;
        {
            std::unique_lock lock(state.mutex);
            while (!state.stop && !state.wake) state.has_wake.wait_for(lock, std::chrono::milliseconds(5));
            wake = state.wake;
        }
        for (int i = 0; (total == 0 || i < total) && !state.stop; ++i) {
            if (!state.queue.push(event)) return;
            wake();
            std::this_thread::sleep_for(pace);
        }
        if (!state.stop && state.queue.push("")) wake();
    }

    Events& events_;
    std::shared_ptr<State> state_;
    std::thread producer_;
};

// A source that never has anything and tells when it goes.
class SilentSource final : public BodySource {
public:
    explicit SilentSource(Events& events) : events_(events) { events_.happened("source made"); }
    ~SilentSource() override { events_.happened("source destroyed"); }
    std::optional<Chunk> next() override { return std::nullopt; }
    void on_ready(std::function<void()>) override {}

private:
    Events& events_;
};

class ThrowingSource final : public BodySource {
public:
    std::optional<Chunk> next() override {
        if (++calls_ > 1) throw std::runtime_error("broken source");
        return Chunk{"first", false};
    }
    void on_ready(std::function<void()> wake) override { wake(); }

private:
    int calls_ = 0;
};

class TestHandler final : public Handler {
public:
    TestHandler() : worker_("test-work", [this] { work(); }) {}
    ~TestHandler() override {
        queue_.close();
        worker_.join();
    }

    void admit(std::shared_ptr<Request> request, Admit done) override {
        if (request->path == "/throw-admit") throw std::runtime_error("admit");
        const bool queued = queue_.try_push([this, request, done] { decide(*request, done); });
        EXPECT_TRUE(queued);
    }
    void handle(std::shared_ptr<Request> request, std::shared_ptr<void> context, Respond respond) override {
        if (request->path == "/throw") throw std::runtime_error("handle");
        EXPECT_EQ(*std::static_pointer_cast<std::string>(context), request->path);
        const bool queued = queue_.try_push([this, request, respond] { answer(request, respond); });
        EXPECT_TRUE(queued);
    }

    Events events;
    // Answers what /held holds.
    void release_held() {
        Respond respond;
        {
            const std::lock_guard lock(mutex_);
            respond = std::move(held_);
            held_ = nullptr;
        }
        Response response;
        response.body = "released";
        if (respond) respond(std::move(response));
    }

private:
    void work() {
        while (auto job = queue_.pop()) (*job)();
    }

    void decide(const Request& request, const Admit& done) {
        events.happened("admit " + request.path);
        EXPECT_TRUE(request.body.empty());
        Admission admission;
        if (request.path == "/denied") {
            admission.refusal = json_error(401, "invalid_api_key", "No.", request.request_id);
        } else if (request.path == "/drop-admit") {
            return;
        }
        admission.body_limit_bytes = request.method == Method::kPost ? 1U << 20U : 0;
        admission.context = std::make_shared<std::string>(request.path);
        done(std::move(admission));
        done(Admission{});  // counts for nothing
    }

    void answer(const std::shared_ptr<Request>& request, const Respond& respond) {
        events.happened("handle " + request->path);
        Response response;
        response.headers = {{"content-type", "text/plain"}};
        const std::string& path = request->path;
        if (path == "/echo") {
            response.body = request->body;
        } else if (path == "/who") {
            response.body = request->peer_ip + " " + request->request_id + " " + std::to_string(request->listener);
        } else if (path == "/big") {
            response.body = std::string(8U << 20U, 'b');
        } else if (path == "/events") {
            response.headers = sse_headers();
            response.stream = std::make_unique<ProducedSource>(events, "data: token\n\n", 1000);
        } else if (path == "/endless") {
            response.headers = sse_headers();
            response.stream = std::make_unique<ProducedSource>(events, "data: " + std::string(4000, 'x') + "\n\n", 0);
        } else if (path == "/steady") {
            response.headers = sse_headers();
            response.stream = std::make_unique<ProducedSource>(events, "data: " + std::string(4000, 'x') + "\n\n", 0,
                                                               std::chrono::milliseconds(40));
        } else if (path == "/silent") {
            response.headers = sse_headers();
            response.stream = std::make_unique<SilentSource>(events);
            response.idle_bytes = kSseComment;
        } else if (path == "/broken-stream") {
            response.stream = std::make_unique<ThrowingSource>();
        } else if (path == "/split") {
            response.headers = {{"x", "a\r\nset-cookie: b"}};
        } else if (path == "/close") {
            response.close = true;
        } else if (path == "/drop") {
            return;
        } else if (path == "/held") {
            request->cancellation->on_cancel([this] { events.happened("cancelled"); });
            const std::lock_guard lock(mutex_);
            held_ = respond;
            events.happened("held");
            return;
        } else {
            response.body = "hello " + path;
        }
        respond(std::move(response));
        respond(Response{});  // counts for nothing
    }

    std::mutex mutex_;
    Respond held_;
    BoundedQueue<std::function<void()>> queue_{4096};
    NamedThread worker_;
};

class ServerTest : public ::testing::Test {
protected:
    void start(Limits limits = {}) {
        ServerOptions options;
        options.limits = limits;
        options.allowed_hosts = {"localhost", "127.0.0.1"};
        options.io_threads = 2;
        std::vector<ListenSocket> sockets;
        sockets.push_back(bind_listener({"127.0.0.1", 0}).value());
        auto made = Server::make(options, std::move(sockets), context(), handler_, clock_, random_, log_);
        ASSERT_TRUE(made.has_value()) << made.error().to_string();
        server_ = std::move(*made);
        ASSERT_TRUE(server_->start().has_value());
        port_ = server_->ports().at(0);
    }
    void TearDown() override {
        handler_.release_held();
        if (server_) server_->stop(std::chrono::seconds(10));
        EXPECT_EQ(handler_.events.count("source made"), handler_.events.count("source destroyed"));
    }
    std::shared_ptr<const tls::Context> context(bool allow_tls12 = false) {
        const auto leaf = ca_.issue(key_, {}, clock_, random_);
        return tls::Context::make({.chain = {leaf.value()}, .allow_tls12 = allow_tls12}, key_, clock_).value();
    }
    TlsClient::Options options() const {
        TlsClient::Options options;
        options.port = port_;
        options.ca_pem = ca_.certificate().to_pem();
        return options;
    }
    TlsClient connect() {
        auto client = TlsClient::connect(options());
        EXPECT_TRUE(client.has_value()) << client.error().to_string();
        return std::move(*client);
    }
    static std::string get(const std::string& path, const std::string& more = "") {
        return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + more + "\r\n";
    }
    static std::string post(const std::string& path, const std::string& body, const std::string& more = "") {
        return "POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) +
               "\r\n" + more + "\r\n" + body;
    }
    // One request on a connection of its own.
    HttpAnswer ask(const std::string& request) {
        TlsClient client = connect();
        EXPECT_TRUE(client.send(request).has_value());
        auto answer = client.read_answer();
        EXPECT_TRUE(answer.has_value()) << answer.error().to_string();
        return answer ? *answer : HttpAnswer{};
    }
    // Waits until a gauge or counter of the server has this value at least.
    bool wait_for_stat(std::uint64_t ServerStats::*stat, std::uint64_t value) {
        for (int i = 0; i < 3000; ++i) {
            if (server_->stats().*stat >= value) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }
    bool refuses_connections() const {
        for (int i = 0; i < 3000; ++i) {
            const int descriptor = ::ostal::testing::connect_plain(port_);
            if (descriptor < 0) return true;
            ::close(descriptor);
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }
    bool wait_until_closed() {
        for (int i = 0; i < 3000; ++i) {
            if (server_->stats().open_connections == 0) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }

    SystemClock clock_;
    SystemRandom random_;
    NullLog log_;
    TestHandler handler_;
    tls::PrivateKey key_ = tls::PrivateKey::generate(tls::Curve::kP256).value();
    tls::LocalCa ca_ = tls::LocalCa::create({}, clock_, random_).value();
    std::unique_ptr<Server> server_;
    std::uint16_t port_ = 0;
};

}  // namespace ostal::http
