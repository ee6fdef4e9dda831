#include "security/audit/layout.h"

#include <algorithm>
#include <cstdio>

#include "base/check.h"

namespace ostal::security {

std::string tile_number_path(std::uint64_t number) {
    char digits[8];
    std::snprintf(digits, sizeof digits, "%03u", static_cast<unsigned>(number % 1000));
    std::string path = digits;
    for (number /= 1000; number > 0; number /= 1000) {
        std::snprintf(digits, sizeof digits, "x%03u/", static_cast<unsigned>(number % 1000));
        path.insert(0, digits);
    }
    return path;
}

std::string wal_path(std::uint64_t number) { return "wal/" + tile_number_path(number); }
std::string entries_path(std::uint64_t number) { return "tile/entries/" + tile_number_path(number); }
std::string tile_path(unsigned level, std::uint64_t number) {
    return "tile/" + std::to_string(level) + "/" + tile_number_path(number);
}

void append_frame(Bytes& out, std::string_view record) {
    CHECK(!record.empty() && record.size() <= 0xFFFF);
    std::uint8_t length[2];
    store_be(length, static_cast<std::uint16_t>(record.size()));
    append(out, length);
    append(out, as_bytes(record));
}

Frames split_frames(ByteSpan bytes) {
    Frames frames;
    while (frames.records.size() < kTileWidth && bytes.size() - frames.bytes >= 2) {
        const std::size_t length = load_be<std::uint16_t>(bytes.data() + frames.bytes);
        if (length == 0 || length > bytes.size() - frames.bytes - 2) break;
        frames.records.push_back(as_text(bytes.subspan(frames.bytes + 2, length)));
        frames.bytes += 2 + length;
    }
    return frames;
}

std::string_view folder_of(std::string_view path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

namespace {

Result<Bytes> read_bundle(Files& files, const std::string& folder, std::uint64_t number) {
    const std::string closed = join_path(folder, entries_path(number));
    const std::string open = join_path(folder, wal_path(number));
    for (const std::string& path : {closed, open, closed}) {
        auto bytes = read_file(files, path, kMaxBundleBytes);
        if (bytes || bytes.error().code() != Code::kNotFound) return bytes;
    }
    return fail(Code::kIntegrity, "the audit records of " + entries_path(number) + " are missing");
}

}  // namespace

Result<std::vector<std::string>> read_records(Files& files, const std::string& folder, std::uint64_t first,
                                              std::size_t count) {
    std::vector<std::string> records;
    while (records.size() < count) {
        const std::uint64_t next = first + records.size();
        OSTAL_TRY(const Bytes bytes, read_bundle(files, folder, next / kTileWidth));
        const Frames frames = split_frames(bytes);
        const std::size_t begin = next % kTileWidth;
        if (begin >= frames.records.size()) {
            return fail(Code::kIntegrity, "audit record " + std::to_string(next) + " is missing");
        }
        const std::size_t end = std::min(frames.records.size(), begin + count - records.size());
        for (std::size_t i = begin; i < end; ++i) records.emplace_back(frames.records[i]);
    }
    return records;
}

}  // namespace ostal::security
