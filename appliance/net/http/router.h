// The route table: pure data and one look-up. Who may use a route is part of the route.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "appliance/net/http/message.h"
#include "base/result.h"

namespace ostal::http {

// Who may use a route; there is no default.
struct Public {};    // no credential: health, page shells, assets, sign-in, set-up, unseal and nothing else
struct SignedIn {};  // any valid credential: who am I, sign out
struct Permission {  // resource:verb
    explicit Permission(std::string permission) : name(std::move(permission)) {}
    std::string name;
};
using Access = std::variant<Public, SignedIn, Permission>;

// A pattern is a path whose segments are literals, {name} (one segment, not empty) or, last only, {name...}
// (one segment or more).
struct Route {
    Route(Method route_method, std::string route_pattern, Access route_access, std::uint64_t limit_bytes,
          std::size_t handler_id)
        : method(route_method),
          pattern(std::move(route_pattern)),
          access(std::move(route_access)),
          body_limit_bytes(limit_bytes),
          handler(handler_id) {}

    Method method;
    std::string pattern;
    Access access;
    std::uint64_t body_limit_bytes;
    std::size_t handler;
};

struct Match {
    enum class Kind {
        kFound,
        kNoPath,         // 404
        kOtherMethod,    // 405 with `allow`
        kUnknownMethod,  // 501
    };
    Kind kind = Kind::kNoPath;
    const Route* route = nullptr;  // kFound; owned by the Router
    std::vector<std::pair<std::string, std::string>> params;
    std::string allow;             // "GET, HEAD, POST"
};

class Router {
public:
    // kInvalidArgument names a malformed pattern or permission, a second route of the same method and shape,
    // or a method that cannot be routed (HEAD comes with GET by itself, OPTIONS and unknown ones never).
    static Result<Router> make(std::vector<Route> routes);

    // Literal segments win over parameters, parameters over {name...}, from left to right. Paths compare byte
    // by byte: a trailing slash, an empty segment or another case is another path. HEAD finds a GET route.
    Match match(Method method, std::string_view path) const;

    // For the test that every route is refused without a credential.
    const std::vector<Route>& routes() const { return routes_; }

private:
    enum class Segment { kLiteral, kParam, kRest };
    struct Pattern {
        std::vector<std::pair<Segment, std::string>> segments;
    };
    static Result<Pattern> parse(const std::string& text);
    static bool matches(const Pattern& pattern, const std::vector<std::string_view>& segments);
    static int compare(const Pattern& a, const Pattern& b);

    std::vector<Route> routes_;
    std::vector<Pattern> patterns_;  // beside routes_, most specific first
};

}  // namespace ostal::http
