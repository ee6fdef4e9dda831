// SQLite's file system with faults, for tests: while this object lives it is the default VFS, and the k-th
// call that changes anything (write, sync, truncate, delete, creation) fails, with `crash` every later one
// too (as after a kill: what was written stays).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

struct sqlite3_vfs;

namespace ostal::security {

class FaultyVfs {
public:
    FaultyVfs();
    ~FaultyVfs();
    FaultyVfs(const FaultyVfs&) = delete;
    FaultyVfs& operator=(const FaultyVfs&) = delete;

    // Counts from 1 anew. With `disk_full` the failure reads as SQLITE_FULL, else as an I/O error.
    void fail_at(std::uint64_t call, bool disk_full, bool crash);
    void heal() { fail_at(0, false, false); }
    bool has_failed() const { return failed_.load(); }

    // For the VFS's own functions.
    bool next_call_fails();
    bool disk_full() const { return disk_full_.load(); }
    sqlite3_vfs* under() const { return under_; }

private:
    sqlite3_vfs* under_;
    std::unique_ptr<sqlite3_vfs> vfs_;
    std::atomic<std::uint64_t> calls_{0};
    std::atomic<std::uint64_t> fail_at_{0};
    std::atomic<bool> disk_full_{false};
    std::atomic<bool> crash_{false};
    std::atomic<bool> failed_{false};
};

}  // namespace ostal::security
