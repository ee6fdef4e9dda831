// Memory that ends at a page nobody may touch: an access one byte past the end kills the test.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"

namespace ostal::test {

// `count` values of a trivial type, the last one just before a PROT_NONE page.
template <typename T>
class Guarded {
public:
    explicit Guarded(std::size_t count) : count_(count) {
        constexpr std::size_t kPage = 4096;
        const std::size_t bytes = count * sizeof(T);
        mapped_ = (bytes + kPage - 1) / kPage * kPage + kPage;
        base_ = static_cast<char*>(
            ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        CHECK(base_ != MAP_FAILED);
        CHECK_EQ(::mprotect(base_ + mapped_ - kPage, kPage, PROT_NONE), 0);
        data_ = reinterpret_cast<T*>(base_ + mapped_ - kPage - bytes);
    }
    explicit Guarded(const std::vector<T>& values) : Guarded(values.size()) {
        if (!values.empty()) std::memcpy(data_, values.data(), values.size() * sizeof(T));
    }
    Guarded(Guarded&& other) noexcept { swap(other); }
    Guarded& operator=(Guarded&& other) noexcept {
        swap(other);
        return *this;
    }
    ~Guarded() {
        if (base_ != nullptr) ::munmap(base_, mapped_);
    }

    T* data() { return data_; }
    const T* data() const { return data_; }
    std::size_t size() const { return count_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }
    T* begin() { return data_; }
    T* end() { return data_ + count_; }
    std::vector<T> copy() const { return {data_, data_ + count_}; }

private:
    void swap(Guarded& other) noexcept {
        std::swap(base_, other.base_);
        std::swap(mapped_, other.mapped_);
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
    }
    char* base_ = nullptr;
    std::size_t mapped_ = 0;
    T* data_ = nullptr;
    std::size_t count_ = 0;
};

}  // namespace ostal::test
