#include "security/identity/tokens.h"

#include <algorithm>

#include "security/crypto/hash.h"
#include "security/identity/names.h"
#include "security/identity/rows.h"
#include "security/signature/names.h"
#include "security/storage/database.h"
#include "security/storage/row_mac.h"

namespace ostal::security {
namespace {

constexpr std::int64_t kYearUs = 366LL * 24 * 3600 * 1'000'000;
constexpr std::int64_t kLastUsedStepUs = 60'000'000;

tl::unexpected<Error> no_such_key() { return fail(Code::kUnauthenticated, "the API key is not valid"); }

Status check_request(const NewApiKey& request, std::int64_t now_us) {
    OSTAL_TRYV(check_name(request.name));
    for (const Permission scope : request.scopes) {
        if (role_has(Role::kApiClient, scope)) continue;
        return fail(Code::kUnprocessable,
                    "an API key cannot have the scope " + std::string(permission_name(scope)));
    }
    for (const std::string& model : request.models) {
        if (!is_model_name(model))
            return fail(Code::kUnprocessable, "not a model's name in the key's list of models");
    }
    if (request.models.size() > 64)
        return fail(Code::kUnprocessable, "a key is limited to at most 64 models");
    if (request.expires_us != 0 && (request.expires_us <= now_us || request.expires_us > now_us + kYearUs)) {
        return fail(Code::kUnprocessable, "a key expires within one year from now");
    }
    return {};
}

}  // namespace

ApiKeys::ApiKeys(Database& database, Secret<32> lookup_key, const RowMac& mac, const Clock& clock,
                 RandomSource& random)
    : database_(database), lookup_key_(std::move(lookup_key)), mac_(mac), clock_(clock), random_(random) {}

Result<CreatedApiKey> ApiKeys::create(const NewApiKey& request) {
    const std::int64_t now_us = clock_.wall_now_us();
    OSTAL_TRYV(check_request(request, now_us));
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRYV(only(rows.projects("id = ? AND tenant = ?", {request.project, request.tenant}), "project"));
    CreatedApiKey created;
    created.text = make_api_key(request.environment, random_);
    OSTAL_TRY(const ParsedApiKey parsed, parse_api_key(created.text));
    KeyRow row;
    row.secret_mac = hmac_sha256(lookup_key_.view(), as_bytes(parsed.secret));
    ApiKey& key = row.key;
    key.id = new_id(random_);
    key.tenant = request.tenant;
    key.project = request.project;
    key.created_by = request.created_by;
    key.name = request.name;
    key.lookup = parsed.lookup;
    key.environment = request.environment;
    key.scopes = request.scopes;
    key.models = request.models;
    key.created_us = now_us;
    key.expires_us = request.expires_us != 0 ? request.expires_us : now_us + kYearUs;
    OSTAL_TRYV(rows.put(row));
    OSTAL_TRYV(transaction.commit());
    created.key = std::move(key);
    return created;
}

Result<ApiKey> ApiKeys::authenticate(std::string_view text) {
    const auto parsed = parse_api_key(text);
    if (!parsed) return no_such_key();
    const std::int64_t now_us = clock_.wall_now_us();
    ApiKey key;
    {
        OSTAL_TRY(Transaction transaction, database_.begin_read());
        IdentityRows rows(transaction, mac_);
        OSTAL_TRY(auto found, rows.keys("lookup = ?", {parsed->lookup}));
        // The MAC is computed for an unknown key as well: the answer takes the same time.
        const Digest32 expected = found.empty() ? Digest32{} : found.front().secret_mac;
        const bool right =
            constant_time_equal(hmac_sha256(lookup_key_.view(), as_bytes(parsed->secret)), expected);
        if (found.empty() || !right) return no_such_key();
        key = std::move(found.front().key);
        if (key.environment != parsed->environment || key.revoked_us != 0 || key.expires_us <= now_us) {
            return no_such_key();
        }
        OSTAL_TRY(const Project project, only(rows.projects("id = ?", {key.project}), "project"));
        OSTAL_TRY(const Tenant tenant, only(rows.tenants("id = ?", {key.tenant}), "tenant"));
        if (project.tenant != key.tenant || project.disabled || tenant.disabled) return no_such_key();
    }
    if (now_us - key.last_used_us >= kLastUsedStepUs) {
        // A failure here does not keep a valid key out: the time of use is for people.
        if (auto transaction = database_.begin_write()) {
            if (transaction->execute("UPDATE api_keys SET last_used_us = ? WHERE id = ?", {now_us, key.id})) {
                (void)transaction->commit();
            }
        }
        key.last_used_us = now_us;
    }
    return key;
}

Result<ApiKey> ApiKeys::find(const Id& tenant, const Id& id) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    OSTAL_TRY(KeyRow row,
              only(IdentityRows(transaction, mac_).keys("id = ? AND tenant = ?", {id, tenant}), "key"));
    return std::move(row.key);
}

Result<std::vector<ApiKey>> ApiKeys::list(const Id& tenant, const Id& project) const {
    OSTAL_TRY(Transaction transaction, database_.begin_read());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(auto found, rows.keys("tenant = ? AND project = ? ORDER BY created_us, id", {tenant, project}));
    std::vector<ApiKey> keys;
    for (KeyRow& row : found) keys.push_back(std::move(row.key));
    return keys;
}

Status ApiKeys::revoke(const Id& tenant, const Id& id) {
    OSTAL_TRY(Transaction transaction, database_.begin_write());
    IdentityRows rows(transaction, mac_);
    OSTAL_TRY(KeyRow row, only(rows.keys("id = ? AND tenant = ?", {id, tenant}), "key"));
    if (row.key.revoked_us != 0) return {};
    row.key.revoked_us = clock_.wall_now_us();
    OSTAL_TRYV(rows.put(row));
    return transaction.commit();
}

Subject ApiKeys::subject(const ApiKey& key) {
    Subject subject;
    subject.kind = Subject::Kind::kApiKey;
    subject.id = key.id;
    subject.roles = {{Role::kApiClient, key.tenant, key.project}};
    subject.scopes = key.scopes;
    subject.models = key.models;
    return subject;
}

}  // namespace ostal::security
