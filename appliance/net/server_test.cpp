// The server over real sockets and real TLS: answers, streams, clients that go, shutdown.
#include <openssl/ssl.h>

#include "appliance/net/server_fixture.h"

namespace ostal::http {
namespace {

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
    start();
    TlsClient client = connect();
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(client.send(get("/hello")));
        const auto answer = client.read_answer();
        ASSERT_TRUE(answer.has_value());
        EXPECT_EQ(answer->status, 200);
        EXPECT_EQ(answer->body, "hello /hello");
        EXPECT_EQ(answer->header("content-length"), "12");
        EXPECT_EQ(answer->header("connection"), "");
        EXPECT_EQ(answer->header("x-request-id").size(), 30U);
        EXPECT_TRUE(answer->header("x-request-id").starts_with("req_"));
        EXPECT_EQ(answer->header("date").size(), 29U);
        EXPECT_EQ(answer->header("x-content-type-options"), "nosniff");
        EXPECT_EQ(answer->header("strict-transport-security"), "max-age=31536000");
    }
    EXPECT_EQ(server_->stats().requests, 3U);
    EXPECT_EQ(server_->stats().accepted, 1U);
}

TEST_F(ServerTest, HandsOnPeerAndListener) {
    start();
    const HttpAnswer answer = ask(get("/who"));
    EXPECT_EQ(answer.body, "127.0.0.1 " + answer.header("x-request-id") + " 0");
}

TEST_F(ServerTest, EchoesBodiesOfEveryFraming) {
    start();
    TlsClient client = connect();
    const std::string body(1U << 20U, 'e');
    ASSERT_TRUE(client.send(post("/echo", body)));
    EXPECT_EQ(client.read_answer()->body, body);
    std::string chunked = "POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 100; ++i) chunked += "a;x=y\r\n0123456789\r\n";
    ASSERT_TRUE(client.send(chunked + "0\r\nAuthorization: late\r\n\r\n"));
    EXPECT_EQ(client.read_answer()->body.size(), 1000U);
    ASSERT_TRUE(client.send(post("/echo", "")));
    EXPECT_EQ(client.read_answer()->status, 200);
}

TEST_F(ServerTest, HeadHasNoBody) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send("HEAD /hello HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/next")));
    EXPECT_EQ(client.read_answer(true)->header("content-length"), "12");
    EXPECT_EQ(client.read_answer()->body, "hello /next");
    ASSERT_TRUE(client.send("HEAD /events HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/next")));
    EXPECT_EQ(client.read_answer(true)->status, 200);
    EXPECT_EQ(client.read_answer()->body, "hello /next");
}

TEST_F(ServerTest, OldClientsGetAnAnswerAndTheEnd) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send("GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n"));
    const auto answer = client.read_answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_FALSE(answer->chunked);
    EXPECT_EQ(answer->header("connection"), "close");
    EXPECT_TRUE(answer->body.ends_with("data: [DONE]\n\n"));
}

TEST_F(ServerTest, ConnectionCloseFromEitherSide) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send(get("/hello", "Connection: close\r\n")));
    EXPECT_EQ(client.read_answer()->header("connection"), "close");
    EXPECT_TRUE(client.ends());
    TlsClient other = connect();
    ASSERT_TRUE(other.send(get("/close")));
    EXPECT_EQ(other.read_answer()->header("connection"), "close");
    EXPECT_TRUE(other.ends());
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
    start();
    TlsClient client = connect();
    std::string requests;
    for (int i = 0; i < 200; ++i) requests += post("/echo", "body " + std::to_string(i));
    ASSERT_TRUE(client.send(requests));
    for (int i = 0; i < 200; ++i) ASSERT_EQ(client.read_answer()->body, "body " + std::to_string(i));
}

TEST_F(ServerTest, PipeliningIsHeldBackNotLost) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send(get("/held")));
    ASSERT_TRUE(handler_.events.wait_for("held"));
    std::string requests;  // more than the server buffers
    for (int i = 0; i < 100; ++i) requests += post("/echo", std::string(1000, static_cast<char>('a' + i % 26)));
    ASSERT_TRUE(client.send(requests));
    handler_.release_held();
    EXPECT_EQ(client.read_answer()->body, "released");
    for (int i = 0; i < 100; ++i) {
        ASSERT_EQ(client.read_answer()->body, std::string(1000, static_cast<char>('a' + i % 26)));
    }
}

TEST_F(ServerTest, ByteByByte) {
    start();
    TlsClient client = connect();
    const std::string request = post("/echo", "slowly");
    for (const char c : request) ASSERT_TRUE(client.send(std::string_view(&c, 1)));
    EXPECT_EQ(client.read_answer()->body, "slowly");
}

TEST_F(ServerTest, ExpectContinue) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    EXPECT_EQ(client.read_answer()->status, 100);
    ASSERT_TRUE(client.send("body"));
    EXPECT_EQ(client.read_answer()->body, "body");
    // A refusal comes instead, without the body.
    ASSERT_TRUE(client.send("POST /denied HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
    EXPECT_EQ(client.read_answer()->status, 401);
    EXPECT_TRUE(client.ends());
}

TEST_F(ServerTest, RefusesBeforeTheBodyIsRead) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send("POST /denied HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"));
    // The answer comes while the client has not sent anything of its body.
    const auto answer = client.read_answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->status, 401);
    EXPECT_EQ(answer->header("connection"), "close");
    EXPECT_EQ(handler_.events.count("handle /denied"), 0);
}

TEST_F(ServerTest, AClientThatSendsItsBodyFirstStillReadsTheRefusal) {
    start();
    for (int i = 0; i < 5; ++i) {
        TlsClient client = connect();
        const auto sent = client.send(post("/denied", std::string(1'000'000, 'x')));
        EXPECT_TRUE(sent.has_value());
        const auto answer = client.read_answer();
        ASSERT_TRUE(answer.has_value()) << answer.error().to_string();
        EXPECT_EQ(answer->status, 401);
    }
}

TEST_F(ServerTest, ARefusalWithoutABodyKeepsTheConnection) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send(get("/denied") + get("/hello")));
    EXPECT_EQ(client.read_answer()->status, 401);
    EXPECT_EQ(client.read_answer()->status, 200);
}

TEST_F(ServerTest, TooLargeIsSaidByTheHeaderOrFoundOnTheWay) {
    start();
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1048577\r\n\r\n").status, 413);
    EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n").status, 413);
    EXPECT_EQ(ask(get("/hello", "Content-Length: 1\r\n")).status, 413);
    EXPECT_EQ(ask(post("/echo", "x", "Content-Encoding: gzip\r\n")).status, 415);
    EXPECT_EQ(ask(get("/hello", "X: " + std::string(20000, 'a') + "\r\n")).status, 431);
    EXPECT_EQ(handler_.events.count("handle /echo"), 0);
}

TEST_F(ServerTest, FaultsAreAnsweredOnceAndEndTheConnection) {
    start();
    for (const char* head : {"GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: evil\r\n\r\n", "nonsense\r\n\r\n",
                             "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
                             "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
                             "GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n"}) {
        TlsClient client = connect();
        ASSERT_TRUE(client.send(head + std::string("0\r\n\r\n") + get("/hidden")));
        const auto answer = client.read_answer();
        ASSERT_TRUE(answer.has_value()) << head;
        EXPECT_TRUE(answer->status == 400 || answer->status == 421) << head;
        EXPECT_EQ(answer->header("content-type"), "application/json");
        EXPECT_EQ(answer->header("connection"), "close");
        EXPECT_TRUE(client.ends()) << head;
    }
    EXPECT_EQ(handler_.events.count("admit /hidden"), 0);
}

TEST_F(ServerTest, HandlersThatFailAreAnswered500) {
    start();
    TlsClient client = connect();
    for (const char* path : {"/throw-admit", "/throw", "/drop-admit", "/drop", "/split"}) {
        ASSERT_TRUE(client.send(get(path)));
        const auto answer = client.read_answer();
        ASSERT_TRUE(answer.has_value()) << path;
        EXPECT_EQ(answer->status, 500) << path;
        EXPECT_EQ(answer->header("set-cookie"), "");
    }
    ASSERT_TRUE(client.send(get("/hello")));
    EXPECT_EQ(client.read_answer()->status, 200);
}

TEST_F(ServerTest, StreamsEvents) {
    start();
    TlsClient client = connect();
    for (int round = 0; round < 3; ++round) {
        ASSERT_TRUE(client.send(get("/events")));
        const auto answer = client.read_answer();
        ASSERT_TRUE(answer.has_value());
        EXPECT_TRUE(answer->chunked);
        EXPECT_EQ(answer->header("content-type"), "text/event-stream; charset=utf-8");
        EXPECT_EQ(answer->body.size(), 1000 * 13U + 14U);
        EXPECT_TRUE(answer->body.ends_with("data: [DONE]\n\n"));
    }
    EXPECT_TRUE(handler_.events.wait_for("source destroyed", 3));
}

TEST_F(ServerTest, ASilentStreamStartsAtOnceAndIsKeptAlive) {
    Limits limits;
    limits.keep_alive_comment = std::chrono::milliseconds(50);
    start(limits);
    TlsClient client = connect();
    ASSERT_TRUE(client.send(get("/silent")));
    EXPECT_EQ(client.read_head()->status, 200);
    std::string seen;
    while (seen.find(": keepalive\n\n\r\nd\r\n: keepalive\n\n\r\n") == std::string::npos) {
        const auto more = client.read_some();
        ASSERT_TRUE(more.has_value());
        ASSERT_FALSE(more->empty());
        seen += *more;
    }
    client.close();
    EXPECT_TRUE(handler_.events.wait_for("source destroyed"));
}

TEST_F(ServerTest, ABrokenSourceTruncatesTheAnswer) {
    start();
    TlsClient client = connect();
    ASSERT_TRUE(client.send(get("/broken-stream")));
    EXPECT_FALSE(client.read_answer().has_value());
    EXPECT_TRUE(client.ends());
}

TEST_F(ServerTest, AClientThatGoesEndsItsStreamAtOnce) {
    start();
    int gone = 0;
    for (const char* path : {"/endless", "/silent"}) {
        for (int way = 0; way < 4; ++way) {
            TlsClient client = connect();
            ASSERT_TRUE(client.send(get(path)));
            ASSERT_EQ(client.read_head()->status, 200);
            if (way == 0) client.close();
            if (way == 1) client.reset();
            if (way == 2) client.half_close();
            if (way == 3) client.shut_down_socket();
            EXPECT_TRUE(handler_.events.wait_for("source destroyed", ++gone)) << path << way;
        }
    }
    EXPECT_TRUE(wait_for_stat(&ServerStats::clients_gone, 8));
}

TEST_F(ServerTest, AClientThatGoesCancelsAWholeAnswer) {
    start();
    for (int way = 0; way < 4; ++way) {
        TlsClient client = connect();
        ASSERT_TRUE(client.send(get("/held")));
        ASSERT_TRUE(handler_.events.wait_for("held", way + 1));
        EXPECT_EQ(handler_.events.count("cancelled"), way);
        if (way == 0) client.close();
        if (way == 1) client.reset();
        if (way == 2) client.half_close();
        if (way == 3) client.shut_down_socket();
        EXPECT_TRUE(handler_.events.wait_for("cancelled", way + 1)) << way;
        handler_.release_held();  // too late; nobody is hurt
    }
    EXPECT_TRUE(wait_until_closed());
}

TEST_F(ServerTest, OneClientsGoingDoesNotTouchAnother) {
    start();
    TlsClient stays = connect();
    ASSERT_TRUE(stays.send(get("/held")));
    ASSERT_TRUE(handler_.events.wait_for("held"));
    {
        TlsClient goes = connect();
        ASSERT_TRUE(goes.send(get("/silent")));
        ASSERT_EQ(goes.read_head()->status, 200);
    }
    ASSERT_TRUE(handler_.events.wait_for("source destroyed"));
    EXPECT_EQ(handler_.events.count("cancelled"), 0);
    handler_.release_held();
    EXPECT_EQ(stays.read_answer()->body, "released");
}

TEST_F(ServerTest, StopLetsRequestsEndAndClosesIdleConnections) {
    start();
    TlsClient busy = connect();
    TlsClient idle = connect();
    ASSERT_TRUE(idle.send(get("/hello")));
    ASSERT_TRUE(idle.read_answer());
    ASSERT_TRUE(busy.send(get("/held")));
    ASSERT_TRUE(handler_.events.wait_for("held"));
    NamedThread stopper("test-stop", [this] { server_->stop(kPatience); });
    EXPECT_TRUE(idle.ends());
    EXPECT_TRUE(refuses_connections());
    handler_.release_held();
    const auto answer = busy.read_answer();
    ASSERT_TRUE(answer.has_value());
    EXPECT_EQ(answer->body, "released");
    EXPECT_EQ(answer->header("connection"), "close");
    busy.close();
    stopper.join();
    EXPECT_EQ(server_->stats().open_connections, 0U);
}

TEST_F(ServerTest, StopCutsWhatDoesNotEnd) {
    start();
    TlsClient streaming = connect();
    ASSERT_TRUE(streaming.send(get("/silent")));
    ASSERT_EQ(streaming.read_head()->status, 200);
    TlsClient waiting = connect();
    ASSERT_TRUE(waiting.send(get("/held")));
    ASSERT_TRUE(handler_.events.wait_for("held"));
    server_->stop(std::chrono::milliseconds(50));
    EXPECT_EQ(handler_.events.count("source destroyed"), 1);
    EXPECT_EQ(handler_.events.count("cancelled"), 1);
    EXPECT_EQ(server_->stats().open_connections, 0U);
    handler_.release_held();  // after the server's end
}

TEST_F(ServerTest, ManyClientsAtOnce) {
    start();
    std::vector<NamedThread> threads;
    std::atomic<int> good{0};
    for (int t = 0; t < 8; ++t) {
        threads.emplace_back("test-client", [&, t] {
            for (int round = 0; round < 5; ++round) {
                TlsClient client = connect();
                const std::string body = "body " + std::to_string(t) + " " + std::to_string(round);
                if (!client.send(post("/echo", body) + get("/events"))) continue;
                const auto echo = client.read_answer();
                const auto events = client.read_answer();
                if (echo && echo->body == body && events && events->body.size() == 13014) ++good;
            }
        });
    }
    threads.clear();
    EXPECT_EQ(good, 40);
}

}  // namespace
}  // namespace ostal::http
