// API keys: `ost_live_` or `ost_test_`, 10 base62 characters (lookup), 43 (secret), 6 (CRC-32); 68 in all.
//
// The lookup part finds the row; the secret is stored as HMAC-SHA-256(lookup key, its 43 characters) and
// compared in constant time. The CRC tells a mistyped key from a wrong one in tools only: the server
// answers wrong, revoked, expired and malformed keys with one error and one message. A key is shown once,
// when it is made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "security/access/policy.h"
#include "security/secret.h"

namespace ostal::security {

class Database;
class RowMac;

enum class KeyEnvironment : std::uint8_t { kLive, kTest };

inline constexpr std::size_t kApiKeyLength = 68;
inline constexpr std::size_t kApiKeyLookupLength = 10;
inline constexpr std::size_t kApiKeySecretLength = 43;

// Views into the text that was parsed.
struct ParsedApiKey {
    KeyEnvironment environment;
    std::string_view lookup;  // 10
    std::string_view secret;  // 43
};
// By position; kUnauthenticated unless length, prefix, alphabet and CRC hold.
Result<ParsedApiKey> parse_api_key(std::string_view text);
// The text of a new key: lookup and secret are drawn uniformly from base62.
std::string make_api_key(KeyEnvironment environment, RandomSource& random);

struct ApiKey {
    Id id = kNoId;
    Id tenant = kNoId;
    Id project = kNoId;
    Id created_by = kNoId;  // user
    std::string name;
    std::string lookup;  // the 10 characters, for lists: ost_live_XXXXXXXXXX…
    KeyEnvironment environment = KeyEnvironment::kLive;
    std::vector<Permission> scopes;   // empty: all of api-client
    std::vector<std::string> models;  // empty: all that the project was granted
    std::int64_t created_us = 0;
    std::int64_t expires_us = 0;
    std::int64_t revoked_us = 0;    // 0: not revoked
    std::int64_t last_used_us = 0;  // to the minute
};

struct NewApiKey {
    Id tenant = kNoId;
    Id project = kNoId;
    Id created_by = kNoId;
    std::string name;
    KeyEnvironment environment = KeyEnvironment::kLive;
    std::vector<Permission> scopes;
    std::vector<std::string> models;
    std::int64_t expires_us = 0;  // at most a year from now; 0: a year
};
struct CreatedApiKey {
    ApiKey key;
    std::string text;  // shown once; wipe it after
};

// Exists only while the appliance is unsealed. Thread-safe. Every call asks the database: a revocation
// holds for the next request.
class ApiKeys {
public:
    // `lookup_key`: the service key "lookup".
    ApiKeys(Database& database, Secret<32> lookup_key, const RowMac& mac, const Clock& clock,
            RandomSource& random);

    // kNotFound: no such project in the tenant. kUnprocessable: name, a scope that api-client lacks, an
    // expiry in the past or more than a year away.
    Result<CreatedApiKey> create(const NewApiKey& request);
    // The key that `text` is. kUnauthenticated, with one message, for everything else: malformed, unknown,
    // wrong, revoked, expired, of a disabled project or tenant.
    Result<ApiKey> authenticate(std::string_view text);
    Result<ApiKey> find(const Id& tenant, const Id& id) const;
    Result<std::vector<ApiKey>> list(const Id& tenant, const Id& project) const;
    // Idempotent.
    Status revoke(const Id& tenant, const Id& id);

    // What may() needs of a key: api-client of its project.
    static Subject subject(const ApiKey& key);

private:
    Database& database_;
    Secret<32> lookup_key_;
    const RowMac& mac_;
    const Clock& clock_;
    RandomSource& random_;
};

}  // namespace ostal::security
