#include "appliance/net/http/target.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"

namespace ostal::http {
namespace {

int hex_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

std::optional<std::string> percent_decode(std::string_view text, bool plus_is_space) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '+' && plus_is_space) {
            out += ' ';
        } else if (text[i] != '%') {
            out += text[i];
        } else {
            if (i + 2 >= text.size()) return std::nullopt;
            const int high = hex_value(text[i + 1]);
            const int low = hex_value(text[i + 2]);
            if (high < 0 || low < 0) return std::nullopt;
            out += static_cast<char>(high * 16 + low);
            i += 2;
        }
    }
    if (!is_valid_utf8(out)) return std::nullopt;
    return out;
}

// One segment between slashes, still encoded.
std::optional<std::string> decode_segment(std::string_view text) {
    auto decoded = percent_decode(text, false);
    if (!decoded || *decoded == "." || *decoded == "..") return std::nullopt;
    const bool bad = std::any_of(decoded->begin(), decoded->end(), [](char c) {
        const auto byte = static_cast<unsigned char>(c);
        return c == '/' || c == '\\' || byte < 0x20 || byte == 0x7f;
    });
    if (bad) return std::nullopt;
    return decoded;
}

std::optional<std::string> decode_path(std::string_view text) {
    std::string path;
    while (!text.empty()) {
        text.remove_prefix(1);  // the '/'
        const std::size_t end = std::min(text.find('/'), text.size());
        const auto segment = decode_segment(text.substr(0, end));
        if (!segment) return std::nullopt;
        path += '/';
        path += *segment;
        text.remove_prefix(end);
    }
    return path;
}

std::string lower(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return out;
}

// The one spelling of an IP address, or nothing when `text` is none.
std::optional<std::string> normal_address(const std::string& text, int family) {
    std::array<unsigned char, 16> binary{};
    std::array<char, INET6_ADDRSTRLEN> out{};
    if (inet_pton(family, text.c_str(), binary.data()) != 1) return std::nullopt;
    if (inet_ntop(family, binary.data(), out.data(), out.size()) == nullptr) return std::nullopt;
    return std::string(out.data());
}

std::string normal_name(std::string_view text) {
    std::string name = lower(text);
    if (name.size() > 1 && name.back() == '.') name.pop_back();
    if (auto address = normal_address(name, AF_INET6)) return *address;
    return name;
}

bool is_name(std::string_view text) {
    return !text.empty() && text.size() <= 255 && text != "." && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
               c == '_';
    });
}

bool is_port(std::string_view text) {
    if (text.empty() || text.size() > 5) return false;
    unsigned value = 0;
    for (const char c : text) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + static_cast<unsigned>(c - '0');
    }
    return value <= 65535;
}

}  // namespace

std::optional<Target> parse_target(std::string_view text) {
    if (text.empty() || text.front() != '/') return std::nullopt;
    for (const char c : text) {
        if (c <= 0x20 || c >= 0x7f || c == '#' || c == '\\') return std::nullopt;
    }
    const std::size_t mark = std::min(text.find('?'), text.size());
    auto path = decode_path(text.substr(0, mark));
    if (!path) return std::nullopt;
    Target target;
    target.path = std::move(*path);
    std::string_view query = text.substr(std::min(mark + 1, text.size()));
    while (!query.empty()) {
        const std::size_t end = std::min(query.find('&'), query.size());
        const std::string_view pair = query.substr(0, end);
        query.remove_prefix(std::min(end + 1, query.size()));
        if (pair.empty()) continue;
        const std::size_t equals = std::min(pair.find('='), pair.size());
        auto key = percent_decode(pair.substr(0, equals), true);
        auto value = percent_decode(pair.substr(std::min(equals + 1, pair.size())), true);
        if (!key || !value) return std::nullopt;
        if (key->find('\0') != std::string::npos || value->find('\0') != std::string::npos) return std::nullopt;
        target.query.emplace_back(std::move(*key), std::move(*value));
    }
    return target;
}

HostPolicy::HostPolicy(const std::vector<std::string>& allowed) {
    for (const std::string& name : allowed) allowed_.push_back(normal_name(name));
    std::sort(allowed_.begin(), allowed_.end());
}

HostPolicy::Verdict HostPolicy::judge(std::string_view host) const {
    std::string name;
    std::string_view port;
    bool has_port = false;
    if (host.starts_with('[')) {
        const std::size_t end = host.find(']');
        if (end == std::string_view::npos) return Verdict::kMalformed;
        const auto address = normal_address(std::string(host.substr(1, end - 1)), AF_INET6);
        if (!address) return Verdict::kMalformed;
        name = *address;
        const std::string_view rest = host.substr(end + 1);
        has_port = !rest.empty();
        if (has_port && rest.front() != ':') return Verdict::kMalformed;
        if (has_port) port = rest.substr(1);
    } else {
        const std::size_t colon = host.find(':');
        has_port = colon != std::string_view::npos;
        if (has_port) port = host.substr(colon + 1);
        if (!is_name(host.substr(0, colon))) return Verdict::kMalformed;
        name = normal_name(host.substr(0, colon));
    }
    if (has_port && !is_port(port)) return Verdict::kMalformed;
    return std::binary_search(allowed_.begin(), allowed_.end(), name) ? Verdict::kAllowed : Verdict::kForeign;
}

}  // namespace ostal::http
