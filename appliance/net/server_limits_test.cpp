// The server against clients that are slow, many, or no clients at all; its TLS; its sockets.
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "appliance/net/server_fixture.h"

namespace ostal::http {
namespace {

using std::chrono::milliseconds;

// What a raw connection still yields before its end; "timeout" when it does not end.
std::string read_raw(int descriptor) {
    std::string out;
    std::array<char, 4096> piece{};
    for (;;) {
        const ssize_t size = ::recv(descriptor, piece.data(), piece.size(), 0);
        if (size == 0 || (size < 0 && errno == ECONNRESET)) return out;
        if (size < 0) return "timeout";
        out.append(piece.data(), static_cast<std::size_t>(size));
    }
}

TEST_F(ServerTest, SlowHeaderIs408) {
    Limits limits;
    limits.header = milliseconds(200);
    start(limits);
    TlsClient client = connect();
    ASSERT_TRUE(client.send("GET / HTTP/1.1\r\nHost: loc"));
    const auto answer = client.read_answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status, 408);
    EXPECT_TRUE(client.ends());
    EXPECT_TRUE(wait_for_stat(&ServerStats::header_timeouts, 1));
}

TEST_F(ServerTest, AHeaderThatDripsIs408) {
    Limits limits;
    limits.header = milliseconds(300);
    start(limits);
    TlsClient client = connect();
    ASSERT_TRUE(client.send("GET / HTTP/1.1\r\n"));
    for (int i = 0; i < 1000; ++i) {  // each byte comes in time, the header never does
        if (!client.send("a: b\r\n")) break;
        std::this_thread::sleep_for(milliseconds(20));
        if (server_->stats().header_timeouts > 0) break;
    }
    EXPECT_EQ(server_->stats().header_timeouts, 1U);
}

TEST_F(ServerTest, SlowBodyIs408) {
    Limits limits;
    limits.body_grace = milliseconds(200);
    start(limits);
    TlsClient client = connect();
    ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc"));
    const auto answer = client.read_answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status, 408);
    EXPECT_TRUE(client.ends());
    EXPECT_EQ(handler_.events.count("handle /echo"), 0);
    EXPECT_EQ(server_->stats().body_timeouts, 1U);
    EXPECT_EQ(server_->stats().faults, 1U);
}

TEST_F(ServerTest, BytesBuyTheBodyTime) {
    Limits limits;
    limits.body_grace = milliseconds(100);
    limits.body_bytes_per_second = 1000;  // 100,000 bytes buy 100 s
    start(limits);
    TlsClient client = connect();
    ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100001\r\n\r\n" +
                            std::string(100'000, 'x')));
    std::this_thread::sleep_for(milliseconds(400));
    ASSERT_TRUE(client.send("y"));
    EXPECT_EQ(client.read_answer()->status, 200);
}

TEST_F(ServerTest, IdleConnectionsAreClosedWithoutAWord) {
    Limits limits;
    limits.idle = milliseconds(200);
    start(limits);
    TlsClient fresh = connect();
    EXPECT_TRUE(fresh.ends());
    TlsClient used = connect();
    ASSERT_TRUE(used.send(get("/hello")));
    EXPECT_EQ(used.read_answer()->status, 200);
    EXPECT_TRUE(used.ends());
    EXPECT_EQ(server_->stats().idle_timeouts, 2U);
}

TEST_F(ServerTest, KeyUpdatesAreNoSignOfLife) {
    Limits limits;
    limits.idle = milliseconds(300);
    limits.shutdown = milliseconds(200);
    start(limits);
    TlsClient client = connect();
    int sent = 0;
    while (server_->stats().idle_timeouts == 0 && client.update_keys()) ++sent;  // and never reads the replies
    EXPECT_GT(sent, 0);
    EXPECT_TRUE(wait_for_stat(&ServerStats::idle_timeouts, 1));
    EXPECT_TRUE(wait_until_closed());
}

TEST_F(ServerTest, ManyKeyUpdatesBeforeARequestDoNoHarm) {
    start();
    TlsClient client = connect();
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(client.update_keys()) << i;
    ASSERT_TRUE(client.send(get("/hello")));
    const auto answer = client.read_answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status, 200);
}

TEST_F(ServerTest, AClientThatDoesNotAnswerTheGoodbyeIsDropped) {
    Limits limits;
    limits.shutdown = milliseconds(200);
    start(limits);
    TlsClient client = connect();
    ASSERT_TRUE(client.send(get("/close")));
    ASSERT_EQ(client.read_answer()->status, 200);
    EXPECT_TRUE(wait_for_stat(&ServerStats::shutdown_timeouts, 1));  // and never reads the close_notify
    EXPECT_TRUE(wait_until_closed());
}

// Holds the soft limit of open files at `count` while it lives.
class DescriptorLimit {
public:
    explicit DescriptorLimit(rlim_t count) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit lowered{count, before_.rlim_max};
        ::setrlimit(RLIMIT_NOFILE, &lowered);
    }
    ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }
    DescriptorLimit(const DescriptorLimit&) = delete;
    DescriptorLimit& operator=(const DescriptorLimit&) = delete;
    const rlimit& before() const { return before_; }

private:
    rlimit before_{};
};

TEST_F(ServerTest, OutOfDescriptorsItWaitsAndAcceptsAgain) {
    start();
    const int early = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(early, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    {
        const DescriptorLimit limit(0);
        ASSERT_EQ(::connect(early, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        EXPECT_TRUE(wait_for_stat(&ServerStats::accept_errors, 2));  // and it tries again
        EXPECT_EQ(server_->stats().accepted, 0U);
    }
    EXPECT_EQ(ask(get("/hello")).status, 200);
    EXPECT_EQ(server_->stats().accepted, 2U);  // the early one was waiting
    ::close(early);
}

TEST(Sockets, ConnectionsLeaveDescriptorsForTheRest) {
    const DescriptorLimit limit(1024);
    const rlim_t hard = limit.before().rlim_max;
    if (hard >= 2048) {
        EXPECT_EQ(make_room_for_connections(1024), 1024U);  // raised
        rlimit now{};
        ::getrlimit(RLIMIT_NOFILE, &now);
        EXPECT_EQ(now.rlim_cur, 1536U);
    }
    const std::size_t all = std::size_t{1} << 40U;
    EXPECT_EQ(make_room_for_connections(all), std::min<rlim_t>(all, hard - std::min<rlim_t>(512, hard / 4 * 3)));
}

TEST_F(ServerTest, ASlowReaderOfAnEndlessStreamIsCut) {
    Limits limits;
    limits.write = milliseconds(300);
    limits.send_buffer_bytes = 16384;
    start(limits);
    TlsClient::Options slow = options();
    slow.receive_buffer_bytes = 16384;
    auto client = TlsClient::connect(slow);
    ASSERT_TRUE(client.has_value());
    ASSERT_TRUE(client->send(get("/endless")));
    ASSERT_EQ(client->read_head()->status, 200);
    EXPECT_TRUE(handler_.events.wait_for("source destroyed"));  // and never read another byte
    EXPECT_TRUE(wait_for_stat(&ServerStats::write_timeouts, 1));
    EXPECT_TRUE(wait_until_closed());
}

// The client's window closes long before the kernel's buffer is full and a write of ours waits.
TEST_F(ServerTest, ASlowReaderOfASlowStreamIsCutByTheSameLimit) {
    Limits limits;
    limits.write = milliseconds(300);
    limits.send_buffer_bytes = 65536;
    start(limits);
    TlsClient::Options slow = options();
    slow.receive_buffer_bytes = 4096;
    auto client = TlsClient::connect(slow);
    ASSERT_TRUE(client.has_value());
    ASSERT_TRUE(client->send(get("/steady")));
    EXPECT_TRUE(handler_.events.wait_for("source destroyed"));
    EXPECT_TRUE(wait_for_stat(&ServerStats::write_timeouts, 1));
    EXPECT_TRUE(wait_until_closed());
}

TEST_F(ServerTest, ASlowReaderOfABigAnswerIsCut) {
    Limits limits;
    limits.write = milliseconds(300);
    limits.send_buffer_bytes = 16384;
    start(limits);
    TlsClient::Options slow = options();
    slow.receive_buffer_bytes = 16384;
    auto client = TlsClient::connect(slow);
    ASSERT_TRUE(client.has_value());
    ASSERT_TRUE(client->send(get("/big")));
    EXPECT_TRUE(wait_for_stat(&ServerStats::write_timeouts, 1));
    EXPECT_TRUE(wait_until_closed());
}

TEST_F(ServerTest, ABigAnswerReachesAClientThatReads) {
    start();
    const HttpAnswer answer = ask(get("/big"));
    EXPECT_EQ(answer.body.size(), 8U << 20U);
}

TEST_F(ServerTest, TwoHundredIdleConnections) {
    Limits limits;
    limits.connections_per_ip = 300;
    start(limits);
    std::vector<TlsClient> clients;
    for (int i = 0; i < 200; ++i) clients.push_back(connect());
    EXPECT_EQ(server_->stats().open_connections, 200U);
    EXPECT_EQ(ask(get("/hello")).status, 200);
    ASSERT_TRUE(clients.front().send(get("/hello")));
    EXPECT_EQ(clients.front().read_answer()->status, 200);
    clients.clear();
    EXPECT_TRUE(wait_until_closed());
}

TEST_F(ServerTest, ConnectionsOfOneAddressAreCapped) {
    Limits limits;
    limits.connections_per_ip = 3;
    start(limits);
    std::vector<TlsClient> clients;
    for (int i = 0; i < 3; ++i) clients.push_back(connect());
    EXPECT_FALSE(TlsClient::connect(options()).has_value());
    EXPECT_TRUE(wait_for_stat(&ServerStats::refused_by_address_cap, 1));
    clients.pop_back();
    for (int i = 0; i < 3000 && server_->stats().open_connections > 2; ++i) {
        std::this_thread::sleep_for(milliseconds(10));
    }
    EXPECT_EQ(ask(get("/hello")).status, 200);
}

TEST_F(ServerTest, AllConnectionsAreCapped) {
    Limits limits;
    limits.connections = 2;
    start(limits);
    const TlsClient first = connect();
    const TlsClient second = connect();
    EXPECT_FALSE(TlsClient::connect(options()).has_value());
    EXPECT_TRUE(wait_for_stat(&ServerStats::refused_by_total_cap, 1));
}

TEST_F(ServerTest, PlainHttpOnTheTlsPortGetsNoAnswer) {
    start();
    const int descriptor = ::ostal::testing::connect_plain(port_);
    ASSERT_GE(descriptor, 0);
    const std::string request = get("/hello");
    ASSERT_GT(::send(descriptor, request.data(), request.size(), MSG_NOSIGNAL), 0);
    EXPECT_EQ(read_raw(descriptor).find("HTTP/"), std::string::npos);
    ::close(descriptor);
    EXPECT_TRUE(wait_for_stat(&ServerStats::handshake_failures, 1));
}

TEST_F(ServerTest, JunkInsteadOfTlsDoesNoHarm) {
    start();
    SeededRandom random(99);
    for (int round = 0; round < 50; ++round) {
        const int descriptor = ::ostal::testing::connect_plain(port_);
        ASSERT_GE(descriptor, 0);
        Bytes junk(1 + random.below(2000));
        random.fill(junk);
        if (round % 2 == 0) {  // the header of a TLS record, then junk
            const std::array<std::uint8_t, 5> record = {0x16, 0x03, 0x01, 0x02, 0x00};
            std::copy_n(record.begin(), std::min(record.size(), junk.size()), junk.begin());
        }
        ASSERT_GT(::send(descriptor, junk.data(), junk.size(), MSG_NOSIGNAL), 0);
        ::shutdown(descriptor, SHUT_WR);
        EXPECT_NE(read_raw(descriptor), "timeout");
        ::close(descriptor);
    }
    EXPECT_TRUE(wait_for_stat(&ServerStats::handshake_failures, 50));
    EXPECT_EQ(ask(get("/hello")).status, 200);
    EXPECT_TRUE(wait_until_closed());
}

TEST_F(ServerTest, AHandshakeThatDoesNotComeIsCut) {
    Limits limits;
    limits.handshake = milliseconds(200);
    start(limits);
    const int descriptor = ::ostal::testing::connect_plain(port_);
    ASSERT_GE(descriptor, 0);
    EXPECT_NE(read_raw(descriptor), "timeout");
    ::close(descriptor);
    EXPECT_TRUE(wait_for_stat(&ServerStats::handshake_failures, 1));
    EXPECT_EQ(server_->stats().handshake_timeouts, 1U);
}

TEST_F(ServerTest, TlsProfile) {
    start();
    const TlsClient client = connect();
    EXPECT_EQ(client.version(), "TLSv1.3");
    EXPECT_EQ(client.cipher(), "TLS_AES_256_GCM_SHA384");
    EXPECT_EQ(client.alpn(), "http/1.1");
    EXPECT_EQ(client.tickets_received(), 0);

    TlsClient::Options old = options();
    old.max_tls = TLS1_2_VERSION;
    EXPECT_FALSE(TlsClient::connect(old).has_value());
    TlsClient::Options h2 = options();
    h2.alpn = {"h2"};
    EXPECT_FALSE(TlsClient::connect(h2).has_value());
    h2.alpn = {"h2", "http/1.1"};
    EXPECT_EQ(TlsClient::connect(h2)->alpn(), "http/1.1");
    TlsClient::Options none = options();
    none.alpn = {};
    EXPECT_TRUE(TlsClient::connect(none).has_value());
    TlsClient::Options stranger = options();
    stranger.server_name = "evil.example";
    EXPECT_EQ(TlsClient::connect(stranger).error().code(), Code::kIntegrity);
}

TEST_F(ServerTest, Tls12OnlyWhereConfigured) {
    start();
    server_->set_tls(context(true));
    TlsClient::Options old = options();
    old.max_tls = TLS1_2_VERSION;
    auto client = TlsClient::connect(old);
    ASSERT_TRUE(client.has_value());
    EXPECT_EQ(client->version(), "TLSv1.2");
    EXPECT_NE(client->cipher().find("ECDHE"), std::string::npos);
    ASSERT_TRUE(client->send(get("/hello")));
    EXPECT_EQ(client->read_answer()->status, 200);
    EXPECT_FALSE(client->renegotiate());
}

TEST_F(ServerTest, ANewCertificateIsTakenWithoutARestart) {
    start();
    TlsClient before = connect();
    const tls::PrivateKey key = tls::PrivateKey::generate(tls::Curve::kP256).value();
    const tls::LocalCa other = tls::LocalCa::create({}, clock_, random_).value();
    const auto leaf = other.issue(key, {}, clock_, random_).value();
    server_->set_tls(tls::Context::make({.chain = {leaf}}, key, clock_).value());
    EXPECT_EQ(TlsClient::connect(options()).error().code(), Code::kIntegrity);
    TlsClient::Options after = options();
    after.ca_pem = other.certificate().to_pem();
    EXPECT_TRUE(TlsClient::connect(after).has_value());
    ASSERT_TRUE(before.send(get("/hello")));
    EXPECT_EQ(before.read_answer()->status, 200);
}

TEST(Sockets, ParsesAddresses) {
    EXPECT_EQ(parse_listen_address("127.0.0.1:8443")->port, 8443);
    EXPECT_EQ(parse_listen_address("[::1]:0")->address, "::1");
    for (const char* bad : {"", "8443", ":8443", "localhost:8443", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
                            "::1:8443", "[::1]", "[127.0.0.1]:1", "127.0.0.1:-1", "127.0.0.1:1x", "[]:1"}) {
        EXPECT_FALSE(parse_listen_address(bad).has_value()) << bad;
    }
}

TEST(Sockets, APortInUseIsExplained) {
    const auto first = bind_listener({"127.0.0.1", 0});
    ASSERT_TRUE(first.has_value());
    EXPECT_NE(first->port(), 0);
    const auto second = bind_listener({"127.0.0.1", first->port()});
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), Code::kConflict);
    EXPECT_NE(second.error().message().find("in use"), std::string::npos);
    EXPECT_NE(second.error().message().find("ss -ltnp"), std::string::npos);
    const auto foreign = bind_listener({"192.0.2.1", 0});
    ASSERT_FALSE(foreign.has_value());
    EXPECT_EQ(foreign.error().code(), Code::kInvalidArgument);
}

TEST(Sockets, AdoptsListeningSocketsOnly) {
    auto bound = bind_listener({"127.0.0.1", 0});
    ASSERT_TRUE(bound.has_value());
    const std::uint16_t port = bound->port();
    auto adopted = adopt_listener(bound->release());
    ASSERT_TRUE(adopted.has_value());
    EXPECT_EQ(adopted->port(), port);
    EXPECT_EQ(adopted->address(), "127.0.0.1");
    const int plain = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_FALSE(adopt_listener(plain).has_value());
    ::close(plain);
    const int datagram = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_FALSE(adopt_listener(datagram).has_value());
    ::close(datagram);
    EXPECT_FALSE(adopt_listener(-1).has_value());
}

TEST(Sockets, PassedSocketsMatchListenersByPort) {
    const auto bind_two = [](std::vector<std::uint16_t>& ports) {
        std::vector<ListenSocket> sockets;
        for (int i = 0; i < 2; ++i) {
            sockets.push_back(bind_listener({"127.0.0.1", 0}).value());
            ports.push_back(sockets.back().port());
        }
        return sockets;
    };
    std::vector<std::uint16_t> ports;
    auto sockets = bind_two(ports);
    const auto matched = match_listeners({{"0.0.0.0", ports[1]}, {"0.0.0.0", ports[0]}}, std::move(sockets));
    ASSERT_TRUE(matched.has_value());
    EXPECT_EQ(matched->at(0).port(), ports[1]);
    EXPECT_EQ(matched->at(1).port(), ports[0]);

    ports.clear();
    sockets = bind_two(ports);
    EXPECT_EQ(match_listeners({{"0.0.0.0", ports[0]}}, std::move(sockets)).error().code(), Code::kConflict);
    ports.clear();
    sockets = bind_two(ports);
    sockets.pop_back();
    EXPECT_EQ(match_listeners({{"0.0.0.0", ports[0]}, {"0.0.0.0", ports[1]}}, std::move(sockets)).error().code(),
              Code::kConflict);
}

}  // namespace
}  // namespace ostal::http
