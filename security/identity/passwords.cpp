#include "security/identity/passwords.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <mutex>
#include <optional>

#include "base/bytes.h"
#include "security/secret.h"

namespace ostal::security {
namespace {

constexpr std::size_t kHashBytes = 32;
constexpr std::string_view kScheme = "$argon2id$v=19$";

std::string unpadded_base64(ByteSpan bytes) {
    std::string text = to_base64(bytes);
    text.erase(std::find(text.begin(), text.end(), '='), text.end());
    return text;
}

Result<Bytes> from_unpadded_base64(std::string text) {
    while (text.size() % 4 != 0) text += '=';
    return from_base64(text);
}

struct StoredHash {
    Argon2Cost cost;
    std::array<std::uint8_t, kArgon2SaltBytes> salt{};
    std::array<std::uint8_t, kHashBytes> hash{};
};

// The PHC text of the hash: the form of Argon2's reference implementation.
std::string format(const StoredHash& stored) {
    return std::string(kScheme) + "m=" + std::to_string(stored.cost.memory_bytes / 1024) +
           ",t=" + std::to_string(stored.cost.passes) + ",p=1$" + unpadded_base64(stored.salt) + "$" +
           unpadded_base64(stored.hash);
}

bool take_number(std::string_view& text, std::string_view before, std::uint32_t& value) {
    if (!text.starts_with(before)) return false;
    text.remove_prefix(before.size());
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    return true;
}

Result<StoredHash> parse(std::string_view text) {
    const auto refuse = [] { return fail(Code::kIntegrity, "a stored password hash is malformed"); };
    const std::string_view whole = text;
    StoredHash stored;
    std::uint32_t kibibytes = 0;
    if (!text.starts_with(kScheme)) return refuse();
    text.remove_prefix(kScheme.size());
    if (!take_number(text, "m=", kibibytes) || !take_number(text, ",t=", stored.cost.passes)) return refuse();
    if (!text.starts_with(",p=1$")) return refuse();
    text.remove_prefix(5);
    stored.cost.memory_bytes = std::uint64_t{kibibytes} * 1024;
    const std::size_t dollar = text.find('$');
    if (dollar == std::string_view::npos) return refuse();
    const auto salt = from_unpadded_base64(std::string(text.substr(0, dollar)));
    const auto hash = from_unpadded_base64(std::string(text.substr(dollar + 1)));
    if (!salt || salt->size() != stored.salt.size() || !hash || hash->size() != stored.hash.size())
        return refuse();
    std::copy(salt->begin(), salt->end(), stored.salt.begin());
    std::copy(hash->begin(), hash->end(), stored.hash.begin());
    if (format(stored) != whole) return refuse();
    return stored;
}

}  // namespace

Status check_password_rules(std::string_view password) {
    if (!is_valid_utf8(password)) return fail(Code::kUnprocessable, "the password is not UTF-8");
    std::size_t characters = 0;
    for (const char c : password) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F)
            return fail(Code::kUnprocessable, "the password holds control characters");
        if ((byte & 0xC0U) != 0x80U) ++characters;
    }
    if (characters < kMinPasswordCharacters) {
        return fail(Code::kUnprocessable, "the password has fewer than 12 characters");
    }
    if (characters > kMaxPasswordCharacters) {
        return fail(Code::kUnprocessable, "the password has more than 1024 characters");
    }
    return {};
}

Result<std::string> hash_password(std::string_view password, const Argon2Cost& cost, RandomSource& random) {
    StoredHash stored;
    stored.cost = cost;
    random.fill(stored.salt);
    OSTAL_TRYV(argon2id(as_bytes(password), stored.salt, cost, stored.hash));
    return format(stored);
}

Result<bool> verify_password(std::string_view password, std::string_view hash, const Argon2Limits& limits) {
    OSTAL_TRY(const StoredHash stored, parse(hash));
    OSTAL_TRYV(limits.check(stored.cost));
    std::array<std::uint8_t, kHashBytes> computed{};
    OSTAL_TRYV(argon2id(as_bytes(password), stored.salt, stored.cost, computed));
    return constant_time_equal(computed, stored.hash);
}

Result<Argon2Cost> password_hash_cost(std::string_view hash) {
    OSTAL_TRY(const StoredHash stored, parse(hash));
    return stored.cost;
}

struct PasswordGate::State {
    const unsigned limit;
    const unsigned max_waiting;
    std::mutex mutex;
    std::condition_variable left;
    unsigned inside = 0;
    unsigned waiting = 0;
};

PasswordGate::PasswordGate(unsigned limit, unsigned max_waiting)
    : state_(new State{std::max(limit, 1U), max_waiting, {}, {}, 0, 0}) {}
PasswordGate::~PasswordGate() = default;

Result<PasswordGate::Pass> PasswordGate::enter() {
    std::unique_lock lock(state_->mutex);
    if (state_->inside >= state_->limit) {
        if (state_->waiting >= state_->max_waiting) {
            return fail(Code::kUnavailable, "too many sign-ins at once: try again in a few seconds");
        }
        ++state_->waiting;
        state_->left.wait(lock, [&] { return state_->inside < state_->limit; });
        --state_->waiting;
    }
    ++state_->inside;
    return Pass(*this);
}

void PasswordGate::leave() {
    {
        const std::lock_guard lock(state_->mutex);
        --state_->inside;
    }
    state_->left.notify_one();
}

}  // namespace ostal::security
