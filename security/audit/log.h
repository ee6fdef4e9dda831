// The audit log: no record, no action.
//
// append() returns only when the record is durable (fdatasync), so the caller withholds the effect and the
// answer until then. One thread writes; records that arrive together share one fdatasync (group commit).
// When a write fails the log is latched: every later append fails (kNoSpace when the disk was full, else
// kUnavailable) until recover() has repaired the files. A reserve on disk keeps room for what must still be
// possible then: records of Urgency::kEssential (seal, reading the audit, making space).
//
// Files below `folder` (contracts: tlog-tiles, c2sp.org/tlog-tiles; note, c2sp.org/signed-note):
//   wal/<n>            `u16 big-endian length | record`, at most 256 records, appended
//   tile/entries/<n>   the same file, renamed when it holds 256
//   tile/<L>/<n>       256 hashes of level L (8 tree levels a step), RFC 6962 hashing
//   mac                HMAC-SHA-256(k, leaf) of record i at 32 i
//   checkpoint         signed note: origin, tree size, base64 root
//   log.vkey           the verifier key of the note
//   reserve            allocated, never read
// <n> is three decimal digits a step, all but the last prefixed with x: 1234067 is x001/x234/067.
//
// Sealed, the keys are absent: records are written without MACs and checkpoints, and the first checkpoint
// after unseal() covers them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/result.h"
#include "security/audit/keys.h"
#include "security/audit/record.h"
#include "security/audit/verify.h"

namespace ostal::security {

class AuditLog {
public:
    struct Options {
        std::string folder;                               // exists, 0700, ours alone
        std::uint64_t reserve_bytes = 64ULL << 20;        // 0: none
        std::size_t queue_capacity = 4096;                // records waiting for the disk
        std::int64_t checkpoint_interval_us = 1'000'000;  // by Clock::mono_now_us
        std::uint32_t checkpoint_records = 256;
    };
    enum class Urgency {
        kNormal,
        kEssential,  // admitted while the log is latched; may use the reserve
    };
    struct State {
        std::uint64_t records = 0;          // durable
        std::uint64_t checkpoint_size = 0;  // records under the last checkpoint
        bool sealed = true;
        bool latched = false;
        std::string latch_reason;
        std::uint64_t cut_bytes = 0;  // torn tail cut at start (also a record)
    };
    using Done = std::function<void(Status)>;

    // Reads the tail, finishes an interrupted rename, cuts a torn record beyond the last checkpoint (and
    // records that), checks tail, tree and checkpoint against each other, and starts the audit thread. An
    // empty folder becomes a new log. kIntegrity, with the reason, when they disagree: the daemon does not
    // start then. `files`, `clock`, `sink` outlive the log.
    static Result<std::unique_ptr<AuditLog>> open(Options options, Files& files, const Clock& clock,
                                                  LogSink& sink);
    // Writes what is queued and, unsealed, a last checkpoint.
    ~AuditLog();
    AuditLog(const AuditLog&) = delete;
    AuditLog& operator=(const AuditLog&) = delete;

    // Thread-safe. Returns when the record is durable. kUnavailable when latched, closed or the queue is
    // full; kNoSpace when latched by a full disk.
    Status append(AuditRecord record, Urgency urgency = Urgency::kNormal);
    // As above without waiting: `done` is called once, on the audit thread or (refused at once) on this
    // one. It must not block.
    void append(AuditRecord record, Done done, Urgency urgency = Urgency::kNormal);

    // Gives the log its keys and writes the checkpoint that covers the records made while sealed. The first
    // time it writes log.vkey; later kIntegrity when the key is another one.
    Status unseal(std::unique_ptr<AuditKeys> keys);
    // Appends `record` (Urgency::kEssential), writes a checkpoint and drops the keys.
    Status seal(AuditRecord record);
    // Shown in every record (contracts 8): approvals.required once it is known.
    void set_approvals_required(std::uint32_t approvals);

    // A checkpoint now when the tree grew.
    Status checkpoint();
    // Lets the audit thread look at the clock now (it does so at least every 100 ms by itself).
    Status tick();
    // After the operator made room: repairs the tail, restores the reserve, lifts the latch and records it.
    Status recover();
    // Last checkpoint (unsealed), then no more appends. Idempotent.
    Status close();

    State state() const;
    // For verify_audit() of this log's folder while it is written.
    Result<AuditSnapshot> snapshot();
    // Texts of records [first, first + count) that are durable, fewer at the end; count <= 4096.
    Result<std::vector<std::string>> read(std::uint64_t first, std::size_t count) const;

private:
    class Impl;
    explicit AuditLog(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace ostal::security
