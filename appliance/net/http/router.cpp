#include "appliance/net/http/router.h"

#include <algorithm>
#include <numeric>

namespace ostal::http {
namespace {

std::vector<std::string_view> split_path(std::string_view path) {
    std::vector<std::string_view> segments;
    while (!path.empty()) {
        path.remove_prefix(1);  // the '/'
        const std::size_t end = std::min(path.find('/'), path.size());
        segments.push_back(path.substr(0, end));
        path.remove_prefix(end);
    }
    return segments;
}

bool is_word(std::string_view text, std::string_view extra) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || extra.find(c) != std::string_view::npos;
    });
}

bool is_permission(std::string_view name) {
    const std::size_t colon = name.find(':');
    return colon != std::string_view::npos && is_word(name.substr(0, colon), "-_") &&
           is_word(name.substr(colon + 1), "-_");
}

Status check_route(const Route& route) {
    if (route.method == Method::kHead || route.method == Method::kOptions || route.method == Method::kOther) {
        return fail(Code::kInvalidArgument, "route " + route.pattern + ": the method " +
                                                std::string(method_name(route.method)) + " cannot be routed");
    }
    const auto* permission = std::get_if<Permission>(&route.access);
    if (permission != nullptr && !is_permission(permission->name)) {
        return fail(Code::kInvalidArgument,
                    "route " + route.pattern + ": \"" + permission->name + "\" is no resource:verb");
    }
    return {};
}

bool answers(Method route, Method request) {
    return route == request || (route == Method::kGet && request == Method::kHead);
}

}  // namespace

Result<Router::Pattern> Router::parse(const std::string& text) {
    const auto bad = [&](const char* why) { return fail(Code::kInvalidArgument, "route " + text + ": " + why); };
    if (text.empty() || text.front() != '/') return bad("a pattern begins with '/'");
    Pattern pattern;
    std::vector<std::string> names;
    for (std::string_view segment : split_path(text)) {
        if (!pattern.segments.empty() && pattern.segments.back().first == Segment::kRest) {
            return bad("{name...} must be last");
        }
        if (segment.find_first_of("{}") == std::string_view::npos) {
            pattern.segments.emplace_back(Segment::kLiteral, segment);
            continue;
        }
        if (segment.size() < 3 || segment.front() != '{' || segment.back() != '}') return bad("a broken {name}");
        std::string_view name = segment.substr(1, segment.size() - 2);
        const bool rest = name.ends_with("...");
        if (rest) name.remove_suffix(3);
        if (!is_word(name, "_")) return bad("a parameter's name is lower_snake_case");
        if (std::find(names.begin(), names.end(), name) != names.end()) return bad("a parameter occurs twice");
        names.emplace_back(name);
        pattern.segments.emplace_back(rest ? Segment::kRest : Segment::kParam, name);
    }
    return pattern;
}

// Order of specificity, most specific first; 0 when both match the same paths.
int Router::compare(const Pattern& a, const Pattern& b) {
    const std::size_t common = std::min(a.segments.size(), b.segments.size());
    for (std::size_t i = 0; i < common; ++i) {
        const auto& [kind_a, text_a] = a.segments[i];
        const auto& [kind_b, text_b] = b.segments[i];
        if (kind_a != kind_b) return kind_a < kind_b ? -1 : 1;
        if (kind_a == Segment::kLiteral && text_a != text_b) return text_a < text_b ? -1 : 1;
    }
    if (a.segments.size() == b.segments.size()) return 0;
    return a.segments.size() > b.segments.size() ? -1 : 1;
}

Result<Router> Router::make(std::vector<Route> routes) {
    Router router;
    std::vector<Pattern> patterns;
    for (const Route& route : routes) {
        OSTAL_TRYV(check_route(route));
        OSTAL_TRY(Pattern pattern, parse(route.pattern));
        for (std::size_t i = 0; i < patterns.size(); ++i) {
            if (routes[i].method == route.method && compare(patterns[i], pattern) == 0) {
                return fail(Code::kInvalidArgument, "route " + route.pattern + ": the same method and shape as " +
                                                        routes[i].pattern);
            }
        }
        patterns.push_back(std::move(pattern));
    }
    std::vector<std::size_t> order(routes.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return compare(patterns[a], patterns[b]) < 0; });
    for (const std::size_t i : order) {
        router.routes_.push_back(std::move(routes[i]));
        router.patterns_.push_back(std::move(patterns[i]));
    }
    return router;
}

bool Router::matches(const Pattern& pattern, const std::vector<std::string_view>& segments) {
    std::size_t i = 0;
    for (const auto& [kind, text] : pattern.segments) {
        if (i == segments.size()) return false;
        if (kind == Segment::kRest) {
            return std::none_of(segments.begin() + static_cast<std::ptrdiff_t>(i), segments.end(),
                                [](std::string_view s) { return s.empty(); });
        }
        if (kind == Segment::kLiteral ? segments[i] != text : segments[i].empty()) return false;
        ++i;
    }
    return i == segments.size();
}

Match Router::match(Method method, std::string_view path) const {
    Match match;
    if (path.empty() || path.front() != '/') return match;
    const std::vector<std::string_view> segments = split_path(path);
    std::vector<std::string_view> allowed;
    const Pattern* found = nullptr;  // the most specific pattern decides; less specific ones are not asked
    for (std::size_t i = 0; i < routes_.size(); ++i) {
        if (found != nullptr ? compare(*found, patterns_[i]) != 0 : !matches(patterns_[i], segments)) continue;
        found = &patterns_[i];
        allowed.push_back(method_name(routes_[i].method));
        if (answers(routes_[i].method, method)) match.route = &routes_[i];
    }
    if (found == nullptr) return match;
    if (match.route != nullptr) {
        match.kind = Match::Kind::kFound;
        const Pattern& pattern = patterns_[static_cast<std::size_t>(match.route - routes_.data())];
        for (std::size_t i = 0; i < pattern.segments.size(); ++i) {
            const auto& [kind, name] = pattern.segments[i];
            if (kind == Segment::kParam) match.params.emplace_back(name, segments[i]);
            if (kind == Segment::kRest) {
                const auto offset = static_cast<std::size_t>(segments[i].data() - path.data());
                match.params.emplace_back(name, path.substr(offset));
            }
        }
        return match;
    }
    match.kind = method == Method::kOther ? Match::Kind::kUnknownMethod : Match::Kind::kOtherMethod;
    if (std::find(allowed.begin(), allowed.end(), "GET") != allowed.end()) allowed.emplace_back("HEAD");
    std::sort(allowed.begin(), allowed.end());
    for (const std::string_view name : allowed) {
        if (!match.allow.empty()) match.allow += ", ";
        match.allow += name;
    }
    return match;
}

}  // namespace ostal::http
