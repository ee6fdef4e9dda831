// Passwords: what is allowed, at what cost they are hashed, and how many are hashed at once.
//
// Hashes are Argon2id (security/crypto/argon2.h): 3 passes, 64 MiB, one lane, about 120 ms. The database is
// not trusted to choose the cost: what it says is checked against limits before it is spent.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/random.h"
#include "base/result.h"
#include "security/crypto/argon2.h"

namespace ostal::security {

inline constexpr Argon2Cost kPasswordCost{3, 64ULL << 20};
inline constexpr std::size_t kMinPasswordCharacters = 12;
inline constexpr std::size_t kMaxPasswordCharacters = 1024;

// kUnprocessable: fewer or more characters (code points) than allowed, not UTF-8, or control characters.
Status check_password_rules(std::string_view password);

// "$argon2id$v=19$m=65536,t=3,p=1$<salt>$<hash>", with a fresh salt of 16 bytes.
Result<std::string> hash_password(std::string_view password, const Argon2Cost& cost, RandomSource& random);
// kIntegrity for a hash that is malformed or outside of `limits`; kResourceExhausted without memory.
Result<bool> verify_password(std::string_view password, std::string_view hash, const Argon2Limits& limits);
// Of a stored hash, to raise an old cost at the next sign-in. kIntegrity when malformed.
Result<Argon2Cost> password_hash_cost(std::string_view hash);

// At most `limit` Argon2 computations at once; others wait their turn, at most `max_waiting` of them (Argon2
// as a denial of service). Thread-safe.
class PasswordGate {
public:
    PasswordGate(unsigned limit, unsigned max_waiting);
    ~PasswordGate();
    PasswordGate(const PasswordGate&) = delete;
    PasswordGate& operator=(const PasswordGate&) = delete;

    // A place in the gate, given back by the destructor.
    class Pass {
    public:
        explicit Pass(PasswordGate& gate) : gate_(&gate) {}
        Pass(Pass&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
        Pass& operator=(Pass&&) = delete;
        ~Pass() {
            if (gate_ != nullptr) gate_->leave();
        }

    private:
        PasswordGate* gate_;
    };
    // Waits; kUnavailable when too many wait already.
    Result<Pass> enter();

private:
    void leave();
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace ostal::security
