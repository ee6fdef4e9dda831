#include "tests/support/tls_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>

namespace ostal::testing {
namespace {

Status trust(SSL_CTX* context, const std::string& pem) {
    BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
    X509* root = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr);
    BIO_free(bio);
    if (root == nullptr) return fail(Code::kInvalidArgument, "no CA certificate");
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root);
    X509_free(root);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    return {};
}

void set_timeout(int descriptor, std::chrono::milliseconds timeout) {
    timeval limit{};
    limit.tv_sec = timeout.count() / 1000;
    limit.tv_usec = (timeout.count() % 1000) * 1000;
    ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

int open_socket(const TlsClient::Options& options) {
    std::signal(SIGPIPE, SIG_IGN);  // OpenSSL writes with write(2)
    sockaddr_storage storage{};
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    socklen_t size = sizeof(sockaddr_in);
    if (::inet_pton(AF_INET, options.address.c_str(), &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(options.port);
    } else {
        ::inet_pton(AF_INET6, options.address.c_str(), &v6->sin6_addr);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(options.port);
        size = sizeof(sockaddr_in6);
    }
    const int descriptor = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    set_timeout(descriptor, options.timeout);
    if (options.receive_buffer_bytes > 0) {
        ::setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer_bytes,
                     sizeof options.receive_buffer_bytes);
    }
    if (::connect(descriptor, reinterpret_cast<sockaddr*>(&storage), size) == 0) return descriptor;
    ::close(descriptor);
    return -1;
}

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    return text;
}

}  // namespace

int connect_plain(std::uint16_t port, std::chrono::milliseconds timeout) {
    TlsClient::Options options;
    options.port = port;
    options.timeout = timeout;
    return open_socket(options);
}

std::string HttpAnswer::header(std::string_view name) const {
    std::string found;
    int count = 0;
    for (const auto& [key, value] : headers) {
        if (key != name) continue;
        found = value;
        ++count;
    }
    return count == 1 ? found : "";
}

int TlsClient::on_session(ssl_st* ssl, ssl_session_st*) {
    ++static_cast<TlsClient*>(SSL_get_app_data(ssl))->tickets_;
    return 0;
}

Result<TlsClient> TlsClient::connect(const Options& options) {
    TlsClient client;
    client.descriptor_ = open_socket(options);
    if (client.descriptor_ < 0) return fail(errno_error(errno, "connecting"));
    client.context_ = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_session_cache_mode(client.context_, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(client.context_, on_session);
    if (options.max_tls != 0) SSL_CTX_set_max_proto_version(client.context_, options.max_tls);
    if (!options.ca_pem.empty()) OSTAL_TRYV(trust(client.context_, options.ca_pem));
    client.ssl_ = SSL_new(client.context_);
    SSL_set_app_data(client.ssl_, &client);
    std::string protocols;
    for (const std::string& name : options.alpn) {
        protocols += static_cast<char>(name.size());
        protocols += name;
    }
    if (!protocols.empty()) {
        SSL_set_alpn_protos(client.ssl_, reinterpret_cast<const unsigned char*>(protocols.data()),
                            static_cast<unsigned>(protocols.size()));
    }
    if (!options.ca_pem.empty()) {
        X509_VERIFY_PARAM* param = SSL_get0_param(client.ssl_);
        if (X509_VERIFY_PARAM_set1_ip_asc(param, options.server_name.c_str()) != 1) {
            SSL_set1_host(client.ssl_, options.server_name.c_str());
        }
    }
    SSL_set_fd(client.ssl_, client.descriptor_);
    const int connected = SSL_connect(client.ssl_);
    const long verdict = SSL_get_verify_result(client.ssl_);
    if (connected == 1) return client;
    ERR_clear_error();
    if (!options.ca_pem.empty() && verdict != X509_V_OK) {
        return fail(Code::kIntegrity, X509_verify_cert_error_string(verdict));
    }
    return fail(Code::kIo, "the TLS handshake failed");
}

TlsClient::TlsClient(TlsClient&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      context_(std::exchange(other.context_, nullptr)),
      ssl_(std::exchange(other.ssl_, nullptr)),
      buffer_(std::move(other.buffer_)),
      ended_(other.ended_),
      tickets_(other.tickets_) {
    if (ssl_ != nullptr) SSL_set_app_data(ssl_, this);
}

TlsClient::~TlsClient() { close(); }

void TlsClient::close() {
    if (ssl_ != nullptr) SSL_free(ssl_);
    if (context_ != nullptr) SSL_CTX_free(context_);
    if (descriptor_ >= 0) ::close(descriptor_);
    ssl_ = nullptr;
    context_ = nullptr;
    descriptor_ = -1;
    ended_ = true;
}

void TlsClient::reset() {
    const linger hard{1, 0};
    ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
}

bool TlsClient::renegotiate() { return SSL_renegotiate(ssl_) == 1 && SSL_do_handshake(ssl_) == 1; }
bool TlsClient::update_keys() { return SSL_key_update(ssl_, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(ssl_) == 1; }
void TlsClient::half_close() { SSL_shutdown(ssl_); }
void TlsClient::shut_down_socket() { ::shutdown(descriptor_, SHUT_WR); }

std::string TlsClient::alpn() const {
    const unsigned char* name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(ssl_, &name, &size);
    return {reinterpret_cast<const char*>(name), size};
}

std::string TlsClient::version() const { return SSL_get_version(ssl_); }
std::string TlsClient::cipher() const { return SSL_get_cipher_name(ssl_); }

Status TlsClient::send(std::string_view bytes) {
    while (!bytes.empty()) {
        std::size_t written = 0;
        ERR_clear_error();
        if (SSL_write_ex(ssl_, bytes.data(), bytes.size(), &written) != 1) {
            return fail(Code::kIo, "sending failed");
        }
        bytes.remove_prefix(written);
    }
    return {};
}

Status TlsClient::fill() {
    if (ended_) return {};
    std::array<char, 16384> piece{};
    std::size_t size = 0;
    ERR_clear_error();
    if (SSL_read_ex(ssl_, piece.data(), piece.size(), &size) == 1) {
        buffer_.append(piece.data(), size);
        return {};
    }
    const int error = SSL_get_error(ssl_, 0);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return fail(Code::kDeadlineExceeded, "nothing came in time");
    }
    ended_ = true;
    return {};
}

Result<std::string> TlsClient::read_some() {
    if (buffer_.empty()) OSTAL_TRYV(fill());
    return std::exchange(buffer_, {});
}

bool TlsClient::ends() {
    if (buffer_.empty() && !fill()) return false;
    return ended_ && buffer_.empty();
}

Result<std::string> TlsClient::take(std::size_t size) {
    while (buffer_.size() < size) {
        if (ended_) return fail(Code::kIo, "the connection ended within an answer");
        OSTAL_TRYV(fill());
    }
    std::string out = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return out;
}

Result<std::string> TlsClient::take_line() {
    for (;;) {
        const std::size_t end = buffer_.find("\r\n");
        if (end != std::string::npos) {
            std::string line = buffer_.substr(0, end);
            buffer_.erase(0, end + 2);
            return line;
        }
        if (ended_) return fail(Code::kIo, buffer_.empty() ? "no answer" : "the connection ended within an answer");
        OSTAL_TRYV(fill());
    }
}

Result<HttpAnswer> TlsClient::read_head() {
    OSTAL_TRY(const std::string status_line, take_line());
    HttpAnswer answer;
    if (!status_line.starts_with("HTTP/1.1 ") || status_line.size() < 12) {
        return fail(Code::kInvalidArgument, "no HTTP status line: " + status_line);
    }
    std::from_chars(status_line.data() + 9, status_line.data() + 12, answer.status);
    for (;;) {
        OSTAL_TRY(const std::string line, take_line());
        if (line.empty()) break;
        const std::size_t colon = line.find(": ");
        if (colon == std::string::npos) return fail(Code::kInvalidArgument, "a broken field: " + line);
        answer.headers.emplace_back(lower(line.substr(0, colon)), line.substr(colon + 2));
    }
    answer.chunked = answer.header("transfer-encoding") == "chunked";
    return answer;
}

Result<HttpAnswer> TlsClient::read_answer(bool to_head) {
    OSTAL_TRY(HttpAnswer answer, read_head());
    if (to_head || answer.status < 200 || answer.status == 204 || answer.status == 304) return answer;
    if (answer.chunked) {
        for (;;) {
            OSTAL_TRY(const std::string size_line, take_line());
            std::size_t size = 0;
            std::from_chars(size_line.data(), size_line.data() + size_line.size(), size, 16);
            OSTAL_TRY(const std::string chunk, take(size + 2));
            if (!chunk.ends_with("\r\n")) return fail(Code::kInvalidArgument, "a broken chunk");
            answer.body += chunk.substr(0, size);
            if (size == 0) return answer;
        }
    }
    const std::string length = answer.header("content-length");
    if (length.empty()) {
        while (!ended_) OSTAL_TRYV(fill());
        answer.body = std::exchange(buffer_, {});
        return answer;
    }
    std::size_t size = 0;
    std::from_chars(length.data(), length.data() + length.size(), size);
    OSTAL_TRY(std::string body, take(size));
    answer.body = std::move(body);
    return answer;
}

}  // namespace ostal::testing
