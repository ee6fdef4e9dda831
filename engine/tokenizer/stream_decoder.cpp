#include "engine/tokenizer/stream_decoder.h"

#include "base/bytes.h"

namespace ostal::engine {
namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
}

void append_valid_utf8(std::string& out, std::string_view bytes) {
    while (!bytes.empty()) {
        const int length = utf8_character(bytes);
        if (length > 0) {
            out += bytes.substr(0, static_cast<std::size_t>(length));
            bytes.remove_prefix(static_cast<std::size_t>(length));
        } else {
            out += kReplacement;
            bytes.remove_prefix(1);
        }
    }
}

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool starts_text)
    : tokenizer_(tokenizer), strip_prefix_(starts_text && tokenizer.has_dummy_prefix()) {}

std::string StreamDecoder::push(TokenId id) {
    std::string out;
    push(id, out);
    return out;
}

void StreamDecoder::push(TokenId id, std::string& out) {
    std::string_view bytes = tokenizer_.token_bytes(id);
    if (bytes.empty()) return;
    if (strip_prefix_) {
        strip_prefix_ = false;
        if (bytes.front() == ' ') bytes.remove_prefix(1);
    }
    held_ += bytes;
    const std::size_t whole = utf8_complete_prefix(held_);
    append_valid_utf8(out, std::string_view(held_).substr(0, whole));
    held_.erase(0, whole);
}

std::string StreamDecoder::flush() {
    std::string out;
    append_valid_utf8(out, held_);
    held_.clear();
    return out;
}

}  // namespace ostal::engine
