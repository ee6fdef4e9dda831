#include "security/audit/scan.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "security/audit/layout.h"

namespace ostal::security {
namespace {

constexpr int kMaxDepth = 10;

// The number whose path `text` is: "x001/234" is 1234.
std::optional<std::uint64_t> number_of(std::string_view text) {
    std::string digits;
    for (const char c : text) {
        if (c >= '0' && c <= '9') digits += c;
    }
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc() || end != digits.data() + digits.size() || tile_number_path(number) != text)
        return {};
    return number;
}

bool is_top_file(std::string_view name) {
    return name == kMacFile || name == kCheckpointFile || name == kVerifierKeyFile || name == kReserveFile;
}

class Scanner {
public:
    Scanner(Files& files, const std::string& folder) : files_(files), folder_(folder) {}

    Status walk(const std::string& below, int depth) {
        OSTAL_TRY(const auto names, files_.list_directory(join_path(folder_, below)));
        for (const std::string& name : names) {
            const std::string path = below.empty() ? name : below + "/" + name;
            OSTAL_TRY(const FileInfo info, files_.info(join_path(folder_, path)));
            if (info.kind == FileInfo::Kind::kDirectory && depth < kMaxDepth && is_folder(path)) {
                OSTAL_TRYV(walk(path, depth + 1));
            } else if (info.kind != FileInfo::Kind::kRegular || !place(path)) {
                scan.strangers.push_back(path);
            }
        }
        return {};
    }

    AuditScan scan;

private:
    static bool is_folder(std::string_view path) {
        if (path == "wal" || path == "tile") return true;
        return path.starts_with("wal/x") || path.starts_with("tile/");
    }

    // Puts a regular file where it belongs; false when it belongs nowhere.
    bool place(std::string path) {
        if (path.ends_with(".new")) {
            scan.leftovers.push_back(path);
            path.resize(path.size() - 4);
            return is_top_file(path) || level_of(path).has_value();
        }
        if (is_top_file(path)) return true;
        if (path.starts_with("wal/")) return keep(scan.open, path, 4);
        if (path.starts_with("tile/entries/")) return keep(scan.closed, path, 13);
        const auto level = level_of(path);
        return level && (*level > 0 || keep(scan.tiles, path, 7));
    }

    static bool keep(std::map<std::uint64_t, std::string>& into, const std::string& path,
                     std::size_t prefix) {
        const auto number = number_of(std::string_view(path).substr(prefix));
        return number && into.emplace(*number, path).second;
    }

    // Of "tile/<level>/<n>".
    static std::optional<unsigned> level_of(std::string_view path) {
        if (path.size() < 8 || !path.starts_with("tile/") || path[6] != '/') return {};
        if (path[5] < '0' || path[5] > '7' || !number_of(path.substr(7))) return {};
        return static_cast<unsigned>(path[5] - '0');
    }

    Files& files_;
    const std::string& folder_;
};

}  // namespace

Result<AuditScan> scan_audit_folder(Files& files, const std::string& folder) {
    Scanner scanner(files, folder);
    OSTAL_TRYV(scanner.walk("", 0));
    return std::move(scanner.scan);
}

}  // namespace ostal::security
