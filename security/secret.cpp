#include "security/secret.h"

#include <sodium.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "base/check.h"
#include "security/crypto/self_test.h"

namespace ostal::security {

void wipe(MutableByteSpan bytes) { sodium_memzero(bytes.data(), bytes.size()); }

void wipe(std::string& text) {
    sodium_memzero(text.data(), text.size());
    text.clear();
}

void wipe(Bytes& bytes) {
    sodium_memzero(bytes.data(), bytes.size());
    bytes.clear();
}

bool constant_time_equal(ByteSpan a, ByteSpan b) {
    return a.size() == b.size() && (a.empty() || sodium_memcmp(a.data(), b.data(), a.size()) == 0);
}

Status check_memory_locking() {
    const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    void* page = ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return fail(errno_error(errno, "cannot map a page"));
    const int locked = ::mlock(page, page_bytes);
    ::munmap(page, page_bytes);
    if (locked == 0) return {};
    return fail(Code::kResourceExhausted,
                "memory cannot be locked, so keys may reach swap: raise the limit of locked memory "
                "(LimitMEMLOCK=, ulimit -l) or switch swap off");
}

SecretBytes::SecretBytes(std::size_t size) : size_(size) {
    if (size == 0) return;
    init_crypto();
    // Locking failures are ignored by sodium_malloc; check_memory_locking() tells of them.
    data_ = static_cast<std::uint8_t*>(sodium_malloc(size));
    CHECK(data_ != nullptr);
    sodium_memzero(data_, size);
}

SecretBytes::~SecretBytes() { reset(); }

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
    if (this != &other) {
        reset();
        data_ = std::exchange(other.data_, nullptr);
        size_ = std::exchange(other.size_, 0);
    }
    return *this;
}

void SecretBytes::reset() {
    if (data_ != nullptr) sodium_free(data_);  // zeroes first
    data_ = nullptr;
    size_ = 0;
}

SecretBytes SecretBytes::from_random(RandomSource& random, std::size_t size) {
    SecretBytes out(size);
    random.fill(out.mutable_bytes());
    return out;
}

SecretBytes SecretBytes::copy_of(ByteSpan bytes) {
    SecretBytes out(bytes.size());
    if (!bytes.empty()) std::memcpy(out.data_, bytes.data(), bytes.size());
    return out;
}

SecretBytes SecretBytes::take(std::string& text) {
    SecretBytes out = copy_of(as_bytes(text));
    wipe(text);
    return out;
}

namespace detail {
void empty_secret_used() { CHECK_UNREACHABLE("a Secret was used after it was moved from or reset"); }
}  // namespace detail

}  // namespace ostal::security
