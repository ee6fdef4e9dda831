#include "appliance/control/channel.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"

namespace ostal {
namespace {

constexpr std::size_t kHeaderBytes = 4;
constexpr Code kCodes[] = {
    Code::kInvalidArgument, Code::kUnprocessable, Code::kContextLengthExceeded, Code::kTooLarge, Code::kUnsupported,
    Code::kUsage, Code::kUnauthenticated, Code::kPermissionDenied, Code::kNotFound, Code::kConflict,
    Code::kUnavailable, Code::kResourceExhausted, Code::kDeadlineExceeded, Code::kNoSpace, Code::kIntegrity,
    Code::kIo, Code::kCancelled, Code::kInternal};

// Receives up to out.size() bytes and any descriptors that come with them; 0 at the end.
Result<std::size_t> receive_some(int socket, MutableByteSpan out, std::vector<Descriptor>& descriptors) {
    iovec part{out.data(), out.size()};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(sizeof(int) * Channel::kMaxDescriptors));
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ssize_t got = 0;
    do {
        got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0) return fail(errno_error(errno, "cannot read from the control socket"));
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int fd = -1;
            std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
            descriptors.emplace_back(fd);
        }
    }
    return static_cast<std::size_t>(got);
}

Status receive_all(int socket, MutableByteSpan out, std::vector<Descriptor>& descriptors) {
    while (!out.empty()) {
        OSTAL_TRY(const std::size_t got, receive_some(socket, out, descriptors));
        if (got == 0) return fail(Code::kUnavailable, "the other side closed the control connection");
        out = out.subspan(got);
    }
    return {};
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    if (this != &other) {
        reset();
        value_ = other.release();
    }
    return *this;
}
int Descriptor::release() { return std::exchange(value_, -1); }
void Descriptor::reset() {
    if (value_ >= 0) ::close(value_);
    value_ = -1;
}

std::size_t max_socket_path() { return sizeof(sockaddr_un::sun_path) - 1; }

Result<Channel> Channel::connect(const std::string& path) {
    if (path.size() > max_socket_path()) {
        return fail(Code::kInvalidArgument, "the path " + path + " is too long for a UNIX socket (at most " +
                                                std::to_string(max_socket_path()) + " bytes)");
    }
    Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (socket.get() < 0) return fail(errno_error(errno, "cannot make a socket"));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
        const std::string why = errno_error(errno, "").message();
        return fail(Code::kUnavailable, "no daemon answers at " + path + why + "; is ostald running? Name its socket with --socket");
    }
    return Channel(std::move(socket));
}

Status Channel::send(const json::Value& value, const std::vector<int>& descriptors) {
    std::string text = json::to_string(value);
    if (text.size() > kMaxMessageBytes || descriptors.size() > kMaxDescriptors) {
        return fail(Code::kTooLarge, "a control message is too large");
    }
    Bytes frame(kHeaderBytes);
    store_le<std::uint32_t>(frame.data(), static_cast<std::uint32_t>(text.size()));
    append(frame, as_bytes(text));
    ::explicit_bzero(text.data(), text.size());
    const Status sent = send_frame(frame, descriptors);
    ::explicit_bzero(frame.data(), frame.size());
    return sent;
}

Status Channel::send_frame(ByteSpan frame, const std::vector<int>& descriptors) {

    std::vector<char> control(CMSG_SPACE(sizeof(int) * descriptors.size()));
    std::size_t done = 0;
    while (done < frame.size()) {
        iovec part{const_cast<std::uint8_t*>(frame.data()) + done, frame.size() - done};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        if (done == 0 && !descriptors.empty()) {
            message.msg_control = control.data();
            message.msg_controllen = control.size();
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(sizeof(int) * descriptors.size());
            std::memcpy(CMSG_DATA(header), descriptors.data(), sizeof(int) * descriptors.size());
        }
        const ssize_t sent = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return fail(errno_error(errno, "cannot write to the control socket"));
        done += static_cast<std::size_t>(sent);
    }
    return {};
}

Result<Channel::Message> Channel::receive() {
    Message out;
    Bytes header(kHeaderBytes);
    OSTAL_TRYV(receive_all(socket_.get(), header, out.descriptors));
    const auto length = load_le<std::uint32_t>(header.data());
    if (length > kMaxMessageBytes) return fail(Code::kInvalidArgument, "a control message is too large");
    Bytes text(length);
    OSTAL_TRYV(receive_all(socket_.get(), text, out.descriptors));
    auto value = json::parse(as_text(text));
    // Secrets cross this socket: no copy of a message stays behind.
    ::explicit_bzero(text.data(), text.size());
    OSTAL_TRY(out.value, std::move(value));
    return out;
}

Result<unsigned> Channel::peer_uid() const {
    ucred credentials{};
    socklen_t size = sizeof credentials;
    if (::getsockopt(socket_.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        return fail(errno_error(errno, "cannot ask who is at the control socket"));
    }
    return credentials.uid;
}

json::Value error_to_json(const Error& error) {
    return json::Object{{"code", code_name(error.code())}, {"message", error.to_string()}, {"reason", error.reason()}};
}

Error error_from_json(const json::Value& value) {
    const auto text = [&](const char* key) {
        const json::Value* member = value.find(key);
        return member != nullptr && member->is_string() ? member->as_string() : std::string();
    };
    for (const Code code : kCodes) {
        if (code_name(code) == text("code")) return Error(code, text("message")).because(text("reason"));
    }
    return Error(Code::kInternal, "the daemon's answer cannot be read");
}

}  // namespace ostal
