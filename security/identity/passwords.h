// Passwords: Argon2id (RFC 9106), 12 to 1024 characters.
//
// A hash is the PHC text that libsodium writes; its cost is judged against our limits before it is
// computed, since the database is not trusted to choose it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace ostal::security {

struct PasswordCost {
    std::uint32_t passes = 3;
    std::uint64_t memory_bytes = 64ULL << 20;  // one lane
};
inline constexpr std::size_t kMinPasswordCharacters = 12;
inline constexpr std::size_t kMaxPasswordCharacters = 1024;

// kUnprocessable: too short, too long, not UTF-8, or holding control characters.
Status check_password_rules(std::string_view password);

// Thread-safe; takes about 120 ms and `memory_bytes` at the default cost, so callers bound how many run
// at once
// (PasswordGate).
Result<std::string> hash_password(std::string_view password, const PasswordCost& cost);
// True when it fits. False also for a malformed hash or one whose cost exceeds 16 passes or 1 GiB.
bool verify_password(std::string_view password, const std::string& hash);
// The hash was made with less than `cost`: hash again at sign-in.
bool needs_rehash(const std::string& hash, const PasswordCost& cost);

// At most `limit` Argon2 computations at once; more callers wait their turn, and `max_waiting` is the end of
// the queue (Argon2 as a denial of service).
class PasswordGate {
public:
    PasswordGate(unsigned limit, unsigned max_waiting);
    ~PasswordGate();
    PasswordGate(const PasswordGate&) = delete;
    PasswordGate& operator=(const PasswordGate&) = delete;
    // Runs `work` in turn; kUnavailable when the queue is full.
    template <typename Work>
    auto run(Work work) -> Result<decltype(work())> {
        if (!enter()) return fail(Code::kUnavailable, "too many sign-ins at once: try again in a few seconds");
        struct Leave {
            PasswordGate& gate;
            ~Leave() { gate.leave(); }
        } leave_after{*this};
        return work();
    }

private:
    bool enter();
    void leave();
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace ostal::security
