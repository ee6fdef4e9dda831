// One audit record: what a caller says, what the log adds, and the one text form of both.
//
// The text is canonical JSON (RFC 8785), at most kMaxRecordBytes. Members: v, seq, t (RFC 3339, UTC,
// microseconds), boottime (CLOCK_BOOTTIME microseconds), id, pair, actor, auth, ip, role, tenant, action,
// object, decision, policy_version, approvals, model, model_digest, tokens_in, tokens_out, status, detail,
// prev. All members are always present; "" and 0 mean "does not apply".
//
// Values that came from clients are made harmless and cut at their field's limit before they enter a record
// (bounded(), base/safe_text.h). A record therefore never breaks a line or a terminal, however it is shown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "security/crypto/hash.h"

namespace ostal::security {

inline constexpr std::size_t kMaxRecordBytes = 60'000;
inline constexpr int kAuditRecordVersion = 1;

// A privileged call makes two records: kRequest before its effect, kResponse after it, with the same id.
// Inference makes one at admission and one at its end. Everything else is an event.
enum class AuditPair { kEvent, kRequest, kResponse };
std::string_view audit_pair_name(AuditPair pair);  // "event" "request" "response"

// The caller's half. Never put prompts, answers, names of persons or key material in it: actors appear as
// their random id.
struct AuditRecord {
    std::string id;  // request id, req_…; the same in both records of a pair
    AuditPair pair = AuditPair::kEvent;
    std::string actor;     // usr_…, key_…, "root" (the local socket), "system", "anonymous"
    std::string auth;      // "password", "session", "api-key", "socket" or "none"
    std::string ip;        // peer address; "" on the local socket
    std::string role;      // the role that admitted the action
    std::string tenant;    // ten_…
    std::string action;    // a permission ("model:approve") or an event ("audit:start")
    std::string object;    // what it acts on, by id or name
    std::string decision;  // "allow", "deny" or "" for an event
    std::uint32_t policy_version = 0;
    std::string model;         // name/version
    std::string model_digest;  // hex
    std::uint64_t tokens_in = 0;
    std::uint64_t tokens_out = 0;
    std::int32_t status = 0;  // HTTP status, or 0
    std::string detail;       // reason of a denial, error code, count: for people, never parsed
};

// The log's half.
struct StoredRecord {
    AuditRecord record;
    std::uint64_t seq = 0;     // from 0, without gaps
    std::int64_t time_us = 0;  // wall clock
    std::int64_t boottime_us = 0;
    std::uint32_t approvals = 0;  // approvals.required when it was written; 0 while sealed
    Digest32 prev{};              // leaf hash of the record before; zeros for seq 0
};

// The record with every text harmless and within its field's limit, and every number below 2^53.
AuditRecord bounded(AuditRecord record);
// Text of a record whose caller's half is bounded(). Never longer than kMaxRecordBytes (CHECKed).
std::string encode_record(const StoredRecord& stored);
// The strict inverse: kInvalidArgument unless the text is exactly what encode_record writes.
Result<StoredRecord> parse_record(std::string_view text);

}  // namespace ostal::security
