// A blocking HTTPS client for tests: every byte on the wire is the test's own choice.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;

namespace ostal::testing {

struct HttpAnswer {
    int status = 0;
    std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
    std::string body;
    bool chunked = false;
    // The single value, or "".
    std::string header(std::string_view name) const;
};

class TlsClient {
public:
    struct Options {
        std::uint16_t port = 0;
        std::string address = "127.0.0.1";
        std::string ca_pem;                   // verified when not empty, for `server_name`
        std::string server_name = "localhost";
        std::vector<std::string> alpn = {"http/1.1"};
        int max_tls = 0;                      // an OpenSSL version constant; 0: the newest
        int receive_buffer_bytes = 0;         // SO_RCVBUF; 0 leaves the system's
        std::chrono::milliseconds timeout{20'000};
    };
    // TCP and TLS handshake. kIo, kDeadlineExceeded, kIntegrity for a certificate that does not hold.
    static Result<TlsClient> connect(const Options& options);
    TlsClient(TlsClient&& other) noexcept;
    TlsClient& operator=(TlsClient&&) = delete;
    ~TlsClient();

    Status send(std::string_view bytes);
    // What came, at least one byte; "" at the end of the connection, clean or not. kDeadlineExceeded.
    Result<std::string> read_some();
    // One whole answer; `to_head`: the answer to a HEAD request, which has no body. kIo when the connection
    // ends within it (or before: "no answer").
    Result<HttpAnswer> read_answer(bool to_head = false);
    // Up to and with the empty line of an answer; the rest stays for read_some.
    Result<HttpAnswer> read_head();
    // True when the server ends the connection before another byte comes.
    bool ends();

    // TLS 1.2: another handshake on this connection; false when the server will not.
    bool renegotiate();
    // TLS 1.3: a KeyUpdate that asks for one in return; false when the connection has ended.
    bool update_keys();
    // close_notify, but the socket stays open.
    void half_close();
    // shutdown(SHUT_WR) of the socket below TLS.
    void shut_down_socket();
    // The connection vanishes by RST, unread bytes or not.
    void reset();
    void close();

    std::string alpn() const;
    std::string version() const;         // "TLSv1.3"
    std::string cipher() const;
    int tickets_received() const { return tickets_; }
    int descriptor() const { return descriptor_; }

private:
    TlsClient() = default;
    static int on_session(ssl_st* ssl, ssl_session_st*);
    Status fill();
    Result<std::string> take(std::size_t size);
    Result<std::string> take_line();

    int descriptor_ = -1;
    ssl_ctx_st* context_ = nullptr;
    ssl_st* ssl_ = nullptr;
    std::string buffer_;
    bool ended_ = false;
    int tickets_ = 0;
};

// A plain TCP connection to 127.0.0.1; -1 when it fails. The caller closes it.
int connect_plain(std::uint16_t port, std::chrono::milliseconds timeout = std::chrono::milliseconds(20'000));

}  // namespace ostal::testing
