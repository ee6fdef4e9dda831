// Ownership of OpenSSL objects; for the .cpp files of this folder alone.
#pragma once

#include <memory>

namespace ostal::security {

template <auto Free>
struct OpensslFree {
    template <typename T>
    void operator()(T* object) const {
        Free(object);
    }
};

template <typename T, auto Free>
using OpensslPtr = std::unique_ptr<T, OpensslFree<Free>>;

}  // namespace ostal::security
