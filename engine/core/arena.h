// Arena: the owner of the engine's large memory: weights, KV blocks, scratch. Sized once, before the first
// token.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "engine/core/view.h"

namespace ostal::engine {

// Adds up what an Arena must hold, with the same alignment as Arena::allocate.
class ArenaPlan {
public:
    View allocate(DType dtype, std::initializer_list<std::int64_t> shape);  // a View without memory
    std::int64_t bytes() const { return bytes_; }

private:
    std::int64_t bytes_ = 0;
};

// Anonymous, zeroed, private memory: huge pages asked for, left out of core dumps. Move-only; not thread-safe
// while allocating. range() lets the owner lock it (mlock) where the appliance asks for that.
class Arena {
public:
    static constexpr std::int64_t kAlignment = 64;  // of every allocation

    Arena() = default;
    // kResourceExhausted when the system has no such memory; the message names `what` and the size.
    static Result<Arena> create(std::string_view what, std::int64_t size_bytes);
    Arena(Arena&& other) noexcept;
    Arena& operator=(Arena&& other) noexcept;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena();

    // Contiguous zeroed rows. CHECK: it fits (an ArenaPlan sized the arena).
    View allocate(DType dtype, std::initializer_list<std::int64_t> shape);
    // From now on a write ends the process (weights after loading).
    Status make_read_only();
    MutableByteSpan range() const;
    std::int64_t size_bytes() const { return size_; }

private:
    std::uint8_t* base_ = nullptr;
    std::int64_t size_ = 0;
    std::int64_t used_ = 0;
};

}  // namespace ostal::engine
