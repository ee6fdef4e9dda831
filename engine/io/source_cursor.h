// A forward-only little-endian reader over one file of a WeightSource, and how names from files are shown.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/json.h"
#include "base/result.h"
#include "engine/io/weight_source.h"

namespace ostal::engine {

// Reads ahead in windows of 1 MiB; every read is checked against the size of the file before memory is taken.
class SourceCursor {
public:
    SourceCursor(const WeightSource& source, std::string_view file, std::uint64_t size)
        : source_(source), file_(file), size_(size) {}

    std::uint64_t position() const { return position_; }
    std::uint64_t remaining() const { return size_ - position_; }

    // The next `count` bytes, valid until the next call. kInvalidArgument past the end of the file. Callers
    // bound `count` themselves: that much memory is used.
    Result<ByteSpan> take(std::uint64_t count) {
        if (count > remaining()) {
            return fail(Code::kInvalidArgument, "the file ends at byte " + std::to_string(size_) + ", but " +
                                                    std::to_string(count) + " bytes are announced at byte " +
                                                    std::to_string(position_));
        }
        if (position_ + count > window_start_ + window_.size()) {
            window_.resize(static_cast<std::size_t>(std::max(count, std::min(kWindowBytes, remaining()))));
            window_start_ = position_;
            OSTAL_TRYV(source_.read(file_, window_start_, window_));
        }
        const ByteSpan bytes(window_.data() + (position_ - window_start_), static_cast<std::size_t>(count));
        position_ += count;
        return bytes;
    }
    template <typename T>
    Result<T> le() {
        OSTAL_TRY(const ByteSpan bytes, take(sizeof(T)));
        return load_le<T>(bytes.data());
    }

private:
    static constexpr std::uint64_t kWindowBytes = 1ULL << 20U;
    const WeightSource& source_;
    std::string_view file_;
    std::uint64_t size_;
    std::uint64_t position_ = 0;
    std::uint64_t window_start_ = 0;
    Bytes window_;
};

// Text from a file as it may stand in a message: quoted, escaped, cut to 80 bytes.
inline std::string shown(std::string_view text) {
    constexpr std::size_t kLimit = 80;
    if (text.size() <= kLimit) return is_valid_utf8(text) ? json::quote(text) : "(not UTF-8)";
    const std::string_view head = text.substr(0, utf8_complete_prefix(text.substr(0, kLimit)));
    return (is_valid_utf8(head) ? json::quote(head) : "(not UTF-8)") + "...";
}

// "[8192, 256]"
template <typename Sizes>
std::string shape_text(const Sizes& shape) {
    std::string text = "[";
    for (const auto size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

}  // namespace ostal::engine
