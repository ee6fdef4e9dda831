// For tests: runs bytes through a RequestReader as a connection would.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "appliance/net/http/codec.h"

namespace ostal::http {

struct Seen {
    std::vector<Request> requests;    // complete ones
    std::vector<Framing> framings;    // of every header
    int fault = 0;                    // status
    std::string fault_code;
};

// Feeds `bytes` in pieces that end before each of `cuts`; every body may have 100 bytes, the host is "h".
inline Seen read_all(const std::string& bytes, std::vector<std::size_t> cuts = {}) {
    const Limits limits;
    const HostPolicy hosts({"h"});
    RequestReader reader(limits, hosts);
    Seen seen;
    Request request;
    // False after a fault.
    const auto digest = [&] {
        for (;;) {
            switch (reader.advance()) {
                case RequestReader::Step::kNeedMore: return true;
                case RequestReader::Step::kHeader:
                    request = reader.take_header();
                    seen.framings.push_back(reader.framing());
                    if (!reader.accept_body(100)) break;
                    [[fallthrough]];
                case RequestReader::Step::kFault:
                    seen.fault = reader.fault().status;
                    seen.fault_code = reader.fault().code;
                    return false;
                case RequestReader::Step::kComplete:
                    request.body = reader.take_body();
                    seen.requests.push_back(std::move(request));
                    reader.next_request();
                    break;
            }
        }
    };
    std::sort(cuts.begin(), cuts.end());
    cuts.push_back(bytes.size());
    std::size_t from = 0;
    for (const std::size_t cut : cuts) {
        const std::size_t end = std::min(cut, bytes.size());
        while (from < end) {
            const std::size_t size = std::min(end - from, reader.room());
            reader.append(std::string_view(bytes).substr(from, size));
            from += size;
            if (!digest()) return seen;
        }
    }
    return seen;
}

inline std::string describe(const Seen& seen) {
    std::string out;
    for (std::size_t i = 0; i < seen.requests.size(); ++i) {
        const Request& request = seen.requests[i];
        out += std::string(method_name(request.method)) + " " + request.path + " [" + request.body + "] " +
               (seen.framings[i].keep_alive ? "keep" : "close") + "\n";
    }
    if (seen.fault != 0) out += std::to_string(seen.fault) + " " + seen.fault_code + "\n";
    return out;
}

}  // namespace ostal::http
