#include "engine/core/arena.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>
#include <utility>

namespace ostal::engine {
namespace {

std::int64_t aligned_bytes(const View& view) {
    const std::int64_t bytes = view.rows() * row_bytes(view.dtype, view.columns());
    return (bytes + Arena::kAlignment - 1) / Arena::kAlignment * Arena::kAlignment;
}

}  // namespace

View ArenaPlan::allocate(DType dtype, std::initializer_list<std::int64_t> shape) {
    const View view = View::make(nullptr, dtype, shape);
    bytes_ += aligned_bytes(view);
    return view;
}

Result<Arena> Arena::create(std::string_view what, std::int64_t size_bytes) {
    CHECK_GE(size_bytes, 0);
    constexpr std::int64_t kPage = 4096;
    const std::int64_t size = (size_bytes + kPage - 1) / kPage * kPage;
    Arena arena;
    if (size == 0) return arena;
    const auto length = static_cast<std::size_t>(size);
    void* base = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return fail(Code::kResourceExhausted,
                    "no memory for " + std::string(what) + ": " + std::to_string(size) + " bytes");
    }
    // Advice: a kernel without huge pages serves small ones, and that is only slower.
    ::madvise(base, length, MADV_HUGEPAGE);
    if (::madvise(base, length, MADV_DONTDUMP) != 0) {
        const int error = errno;
        ::munmap(base, length);
        return fail(errno_error(error, "keeping memory out of core dumps (MADV_DONTDUMP)"));
    }
    arena.base_ = static_cast<std::uint8_t*>(base);
    arena.size_ = size;
    return arena;
}

Arena::Arena(Arena&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      used_(std::exchange(other.used_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(size_, other.size_);
    std::swap(used_, other.used_);
    return *this;
}

Arena::~Arena() {
    if (base_ != nullptr) ::munmap(base_, static_cast<std::size_t>(size_));
}

View Arena::allocate(DType dtype, std::initializer_list<std::int64_t> shape) {
    View view = View::make(nullptr, dtype, shape);
    const std::int64_t bytes = aligned_bytes(view);
    CHECK_LE(used_ + bytes, size_);
    view.data = base_ + used_;
    used_ += bytes;
    return view;
}

Status Arena::make_read_only() {
    if (base_ != nullptr && ::mprotect(base_, static_cast<std::size_t>(size_), PROT_READ) != 0) {
        return fail(errno_error(errno, "making the weights read-only (mprotect)"));
    }
    return {};
}

MutableByteSpan Arena::range() const { return {base_, static_cast<std::size_t>(size_)}; }

}  // namespace ostal::engine
