// Messages over the control socket: `u32 LE length | JSON`, with descriptors beside them.
//
// One request a connection; the daemon answers with any number of {"progress": ...} and then one
// {"result": ...} or {"error": {"code", "message", "reason"}}.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/json.h"
#include "base/result.h"

namespace ostal {

// Owns one descriptor.
class Descriptor {
public:
    explicit Descriptor(int value = -1) : value_(value) {}
    Descriptor(Descriptor&& other) noexcept : value_(other.release()) {}
    Descriptor& operator=(Descriptor&& other) noexcept;
    ~Descriptor() { reset(); }
    int get() const { return value_; }
    int release();
    void reset();

private:
    int value_;
};

// One end of a connected stream socket. One thread at a time; blocks.
class Channel {
public:
    static constexpr std::size_t kMaxMessageBytes = 8 << 20;
    static constexpr std::size_t kMaxDescriptors = 200;

    explicit Channel(Descriptor socket) : socket_(std::move(socket)) {}
    // Connects to the daemon. kUnavailable, saying how to look for the reason, when nobody listens.
    static Result<Channel> connect(const std::string& path);

    struct Message {
        json::Value value;
        std::vector<Descriptor> descriptors;
    };
    Status send(const json::Value& value, const std::vector<int>& descriptors = {});
    // kUnavailable at the end of the connection; kInvalidArgument for what is no message.
    Result<Message> receive();
    // SO_PEERCRED.
    Result<unsigned> peer_uid() const;
    int descriptor() const { return socket_.get(); }

private:
    Status send_frame(ByteSpan frame, const std::vector<int>& descriptors);
    Descriptor socket_;
};

// The longest path that a UNIX socket address holds.
std::size_t max_socket_path();

json::Value error_to_json(const Error& error);
Error error_from_json(const json::Value& value);

}  // namespace ostal
