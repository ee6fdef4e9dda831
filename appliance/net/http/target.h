// Request targets and Host values: strict readers without second chances. Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ostal::http {

struct Target {
    std::string path;
    std::vector<std::pair<std::string, std::string>> query;
};

// Origin-form only (RFC 9112, section 3.2.1): printable ASCII beginning with '/', strict %XX decoded once.
// Nothing for: absolute-, authority- and asterisk-form, '#', '\', a broken escape, a decoded path that holds
// '/', '\', control characters, "." or ".." segments or is not UTF-8 (%00, %2f and %5c among them), a
// decoded query that holds NUL or is not UTF-8. In the query '+' is a space.
std::optional<Target> parse_target(std::string_view text);

// The names by which clients may address this machine.
class HostPolicy {
public:
    // DNS names, or IP addresses in text form (IPv6 without brackets). An empty list refuses every Host.
    explicit HostPolicy(const std::vector<std::string>& allowed);

    enum class Verdict { kAllowed, kMalformed, kForeign };
    // A Host field's value: name or address, IPv6 in brackets, optionally ":port" (any port: the appliance
    // may be reached through a forwarded one). Case and one trailing dot do not matter.
    Verdict judge(std::string_view host) const;

private:
    std::vector<std::string> allowed_;  // normal forms, sorted
};

}  // namespace ostal::http
