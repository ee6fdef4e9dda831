#include "security/signature/names.h"

#include <algorithm>

namespace ostal::security {
namespace {

bool is_lower_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_mark(char c) { return c == '.' || c == '_' || c == '-'; }

template <typename First, typename Rest>
bool matches(std::string_view name, std::size_t max_length, First first, Rest rest) {
    return !name.empty() && name.size() <= max_length && first(name[0]) &&
           std::all_of(name.begin() + 1, name.end(), rest);
}

}  // namespace

bool is_model_name(std::string_view name) {
    return matches(name, 64, is_lower_or_digit, [](char c) { return is_lower_or_digit(c) || is_mark(c); });
}

bool is_file_name(std::string_view name) {
    return matches(
        name, 128, [](char c) { return is_lower_or_digit(c) || is_upper(c); },
        [](char c) { return is_lower_or_digit(c) || is_upper(c) || is_mark(c); });
}

std::string fold_case(std::string_view name) {
    std::string folded(name);
    for (char& c : folded) {
        if (is_upper(c)) c = static_cast<char>(c - 'A' + 'a');
    }
    return folded;
}

std::optional<std::uint64_t> parse_version(std::string_view text) {
    if (text.empty() || text.size() > 16 || text[0] == '0') return std::nullopt;
    std::uint64_t version = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return std::nullopt;
        version = version * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (version > kMaxVersion) return std::nullopt;
    return version;
}

std::string TargetPath::to_string() const {
    return "models/" + model + "/" + std::to_string(version) + "/" + file;
}

std::string TargetPath::on_medium(std::string_view sha256_hex) const {
    return "targets/models/" + model + "/" + std::to_string(version) + "/" + std::string(sha256_hex) + "." +
           file;
}

Result<TargetPath> parse_target_path(std::string_view path) {
    const auto refuse = [&](std::string_view why) {
        return fail(Error(Code::kIntegrity,
                          "the target path \"" + std::string(path.substr(0, 200)) + "\" " + std::string(why))
                        .because("malformed"));
    };
    constexpr std::string_view kPrefix = "models/";
    if (!path.starts_with(kPrefix)) return refuse("does not start with models/");
    std::string_view rest = path.substr(kPrefix.size());
    const std::size_t first = rest.find('/');
    const std::size_t second = first == std::string_view::npos ? first : rest.find('/', first + 1);
    if (second == std::string_view::npos) return refuse("is not models/<name>/<version>/<file>");
    TargetPath out;
    out.model = rest.substr(0, first);
    out.file = rest.substr(second + 1);
    if (!is_model_name(out.model)) return refuse("has no valid model name");
    if (!is_file_name(out.file)) return refuse("has no valid file name");
    const auto version = parse_version(rest.substr(first + 1, second - first - 1));
    if (!version) return refuse("has no valid version number");
    out.version = *version;
    return out;
}

}  // namespace ostal::security
