#include "security/audit/record.h"

#include <algorithm>
#include <array>
#include <limits>

#include "base/check.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/safe_text.h"

namespace ostal::security {
namespace {

constexpr std::uint64_t kIntegerEnd = 1ULL << 53;  // RFC 8785: integers that every reader keeps exact

// The text members of the caller's half, once, for bounding, writing and reading alike. Doubling by JSON
// escapes included, the limits sum up to less than 8 KiB.
struct TextField {
    std::string_view name;
    std::string AuditRecord::*member;
    std::size_t limit_bytes;
};
constexpr std::array kTextFields = {
    TextField{"id", &AuditRecord::id, 64},
    TextField{"actor", &AuditRecord::actor, 64},
    TextField{"auth", &AuditRecord::auth, 32},
    TextField{"ip", &AuditRecord::ip, 64},
    TextField{"role", &AuditRecord::role, 64},
    TextField{"tenant", &AuditRecord::tenant, 64},
    TextField{"action", &AuditRecord::action, 64},
    TextField{"object", &AuditRecord::object, 512},
    TextField{"decision", &AuditRecord::decision, 32},
    TextField{"model", &AuditRecord::model, 192},
    TextField{"model_digest", &AuditRecord::model_digest, 128},
    TextField{"detail", &AuditRecord::detail, 2048},
};
constexpr std::size_t kMemberCount = kTextFields.size() + 11;

Error malformed(const std::string& why) {
    return Error(Code::kInvalidArgument, "not an audit record: " + why);
}

Result<std::int64_t> integer_member(const json::Object& object, std::string_view name, std::int64_t most) {
    OSTAL_TRY(const std::int64_t value, json::int_member(object, name));
    if (value < 0 || value > most) return fail(malformed(std::string(name) + " is out of range"));
    return value;
}

Result<AuditPair> pair_from_name(std::string_view name) {
    for (const AuditPair pair : {AuditPair::kEvent, AuditPair::kRequest, AuditPair::kResponse}) {
        if (audit_pair_name(pair) == name) return pair;
    }
    return fail(malformed("an unknown pair"));
}

Result<StoredRecord> read_members(const json::Object& object) {
    StoredRecord stored;
    AuditRecord& record = stored.record;
    constexpr auto kMost = static_cast<std::int64_t>(kIntegerEnd) - 1;
    constexpr auto kMost32 = static_cast<std::int64_t>(std::numeric_limits<std::int32_t>::max());
    if (object.size() != kMemberCount) return fail(malformed("members are missing or unknown"));
    OSTAL_TRY(const std::int64_t version, integer_member(object, "v", kMost32));
    if (version != kAuditRecordVersion) return fail(malformed("an unknown version"));
    for (const TextField& field : kTextFields) {
        OSTAL_TRY(record.*field.member, json::string_member(object, field.name));
        const std::string& text = record.*field.member;
        if (text.size() > field.limit_bytes || !is_safe_text(text)) {
            return fail(
                malformed(std::string(field.name) + " is too long or holds characters that are escaped"));
        }
    }
    OSTAL_TRY(const std::string pair, json::string_member(object, "pair"));
    OSTAL_TRY(record.pair, pair_from_name(pair));
    OSTAL_TRY(const std::string time, json::string_member(object, "t"));
    OSTAL_TRY(stored.time_us, from_rfc3339(time));
    OSTAL_TRY(stored.boottime_us, integer_member(object, "boottime", kMost));
    OSTAL_TRY(const std::int64_t seq, integer_member(object, "seq", kMost));
    stored.seq = static_cast<std::uint64_t>(seq);
    OSTAL_TRY(const std::int64_t approvals, integer_member(object, "approvals", kMost32));
    stored.approvals = static_cast<std::uint32_t>(approvals);
    OSTAL_TRY(const std::int64_t policy, integer_member(object, "policy_version", kMost32));
    record.policy_version = static_cast<std::uint32_t>(policy);
    OSTAL_TRY(const std::int64_t in, integer_member(object, "tokens_in", kMost));
    record.tokens_in = static_cast<std::uint64_t>(in);
    OSTAL_TRY(const std::int64_t out, integer_member(object, "tokens_out", kMost));
    record.tokens_out = static_cast<std::uint64_t>(out);
    OSTAL_TRY(const std::int64_t status, integer_member(object, "status", kMost32));
    record.status = static_cast<std::int32_t>(status);
    OSTAL_TRY(const std::string prev, json::string_member(object, "prev"));
    OSTAL_TRY(const Bytes digest, from_hex(prev));
    if (digest.size() != stored.prev.size()) return fail(malformed("prev is no SHA-256"));
    std::copy(digest.begin(), digest.end(), stored.prev.begin());
    return stored;
}

}  // namespace

std::string_view audit_pair_name(AuditPair pair) {
    switch (pair) {
        case AuditPair::kEvent: return "event";
        case AuditPair::kRequest: return "request";
        case AuditPair::kResponse: return "response";
    }
    CHECK_UNREACHABLE("audit pair");
}

AuditRecord bounded(AuditRecord record) {
    for (const TextField& field : kTextFields) {
        record.*field.member = safe_text(record.*field.member, field.limit_bytes);
    }
    record.policy_version =
        std::min<std::uint32_t>(record.policy_version, std::numeric_limits<std::int32_t>::max());
    record.tokens_in = std::min(record.tokens_in, kIntegerEnd - 1);
    record.tokens_out = std::min(record.tokens_out, kIntegerEnd - 1);
    record.status = std::max(record.status, 0);
    return record;
}

std::string encode_record(const StoredRecord& stored) {
    const AuditRecord& record = stored.record;
    json::Object object;
    object.append("v", kAuditRecordVersion);
    object.append("seq", stored.seq);
    object.append("t", to_rfc3339(stored.time_us));
    object.append("boottime", stored.boottime_us);
    object.append("approvals", static_cast<std::int64_t>(stored.approvals));
    object.append("pair", audit_pair_name(record.pair));
    object.append("policy_version", static_cast<std::int64_t>(record.policy_version));
    object.append("tokens_in", record.tokens_in);
    object.append("tokens_out", record.tokens_out);
    object.append("status", static_cast<std::int64_t>(record.status));
    object.append("prev", to_hex(stored.prev));
    for (const TextField& field : kTextFields) object.append(std::string(field.name), record.*field.member);
    CHECK_EQ(object.size(), kMemberCount);
    std::string text = json::to_jcs(object);
    CHECK_LE(text.size(), kMaxRecordBytes);
    return text;
}

Result<StoredRecord> parse_record(std::string_view text) {
    if (text.size() > kMaxRecordBytes) return fail(malformed("too long"));
    OSTAL_TRY(const json::Value value, json::parse(text, {.max_depth = 2, .integers_only = true}));
    if (!value.is_object()) return fail(malformed("no object"));
    OSTAL_TRY(StoredRecord stored, read_members(value.as_object()));
    if (encode_record(stored) != text) return fail(malformed("not in canonical form"));
    return stored;
}

}  // namespace ostal::security
