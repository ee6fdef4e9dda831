// Secret bytes: keys, passphrases, seeds.
//
// Memory comes from sodium_malloc: own pages between guard pages, locked out of
// swap where the system allows it, left out of core dumps, zeroed before
// release. Secrets move, are never copied implicitly, are never printed, and
// compare in constant time.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/random.h"
#include "base/result.h"

namespace ostal::security {

// A view of a 256-bit key; whoever owns the key outlives it.
using KeyView = std::span<const std::uint8_t, 32>;

// Overwrites memory in a way the compiler keeps.
void wipe(MutableByteSpan bytes);
// Overwrites the characters, then empties the string.
void wipe(std::string& text);
void wipe(Bytes& bytes);

// True when both have the same length and content; the time depends on the
// length alone.
[[nodiscard]] bool constant_time_equal(ByteSpan a, ByteSpan b);

// Whether this process can lock memory (RLIMIT_MEMLOCK). Secrets work without
// it, but may then reach swap: the caller logs the error once and goes on.
// kResourceExhausted with what to change.
Status check_memory_locking();

// Secret bytes of a length known at run time. One thread at a time; const
// methods any number.
class SecretBytes {
public:
    SecretBytes() = default;
    // `size` zero bytes.
    explicit SecretBytes(std::size_t size);
    ~SecretBytes();
    SecretBytes(SecretBytes&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    SecretBytes& operator=(SecretBytes&& other) noexcept;
    SecretBytes(const SecretBytes&) = delete;
    SecretBytes& operator=(const SecretBytes&) = delete;

    static SecretBytes from_random(RandomSource& random, std::size_t size);
    // The source stays as it is: its owner wipes it.
    static SecretBytes copy_of(ByteSpan bytes);
    // Takes the characters over and wipes the string.
    static SecretBytes take(std::string& text);

    SecretBytes clone() const { return copy_of(bytes()); }
    ByteSpan bytes() const { return {data_, size_}; }
    MutableByteSpan mutable_bytes() { return {data_, size_}; }
    std::string_view text() const { return as_text(bytes()); }
    std::size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    // Zeroes and releases; empty afterwards.
    void reset();

    friend bool operator==(const SecretBytes& a, const SecretBytes& b) {
        return constant_time_equal(a.bytes(), b.bytes());
    }
    friend std::ostream& operator<<(std::ostream&, const SecretBytes&) = delete;

private:
    std::uint8_t* data_ = nullptr;
    std::size_t size_ = 0;
};

// N secret bytes. A moved-from Secret is empty: has_value() is false and view()
// is CHECKed.
template <std::size_t N>
class Secret {
public:
    // Zero bytes, to be filled through mutable_bytes().
    Secret() : bytes_(N) {}
    static Secret from_random(RandomSource& random) {
        Secret out;
        random.fill(out.mutable_bytes());
        return out;
    }
    static Secret copy_of(std::span<const std::uint8_t, N> from) {
        Secret out;
        std::memcpy(out.bytes_.mutable_bytes().data(), from.data(), N);
        return out;
    }
    Secret clone() const { return copy_of(view()); }
    bool has_value() const { return !bytes_.empty(); }
    std::span<const std::uint8_t, N> view() const {
        check_present();
        return std::span<const std::uint8_t, N>(bytes_.bytes().data(), N);
    }
    ByteSpan bytes() const { return view(); }
    std::span<std::uint8_t, N> mutable_bytes() {
        check_present();
        return std::span<std::uint8_t, N>(bytes_.mutable_bytes().data(), N);
    }
    static constexpr std::size_t size() { return N; }
    void reset() { bytes_.reset(); }

    friend bool operator==(const Secret& a, const Secret& b) { return a.bytes_ == b.bytes_; }
    friend std::ostream& operator<<(std::ostream&, const Secret&) = delete;

private:
    void check_present() const;
    SecretBytes bytes_;
};

namespace detail {
[[noreturn]] void empty_secret_used();
}
template <std::size_t N>
void Secret<N>::check_present() const {
    if (bytes_.empty()) detail::empty_secret_used();
}

}  // namespace ostal::security
