// Every limit of the HTTP layer in one place. The defaults are those of the product.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace ostal::http {

struct Limits {
    using Duration = std::chrono::milliseconds;

    // Bytes received and not yet parsed; also bounds a chunk's header, its extensions and the trailers.
    std::size_t buffer_bytes = 32768;
    std::size_t header_bytes = 16384;
    std::size_t header_fields = 100;
    std::size_t target_bytes = 8000;

    Duration handshake{10'000};
    Duration header{10'000};         // from a request's first byte to the end of its header
    Duration idle{60'000};           // between requests
    Duration body_grace{10'000};     // a body may always take this long, then it keeps the rate below
    std::uint64_t body_bytes_per_second = 1024;
    Duration write{30'000};          // for each piece of at most write_piece_bytes
    std::size_t write_piece_bytes = 65536;
    Duration shutdown{2'000};        // close_notify, and reading away what a refused client still sends
    std::uint64_t shutdown_drain_bytes = 4U << 20U;
    // A stream writes Response::idle_bytes after this long without another byte.
    Duration keep_alive_comment{5'000};

    std::size_t connections = 1024;
    std::size_t connections_per_ip = 64;  // an IPv6 client is its /64
    // Kernel send buffer of a connection; 0 leaves the system's. Small values make slow readers felt early.
    int send_buffer_bytes = 262144;
};

}  // namespace ostal::http
