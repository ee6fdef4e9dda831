// The files of the audit log and the order in which they are written; one thread. log.h puts it behind a
// queue.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/result.h"
#include "security/audit/keys.h"
#include "security/audit/note.h"
#include "security/audit/record.h"
#include "security/audit/tile_tree.h"
#include "security/audit/verify.h"

namespace ostal::security {

template <std::size_t N>
class Secret;

class AuditStore {
public:
    struct Options {
        std::string folder;
        std::uint64_t reserve_bytes = 0;
    };
    ~AuditStore();
    // See AuditLog::open.
    static Result<std::unique_ptr<AuditStore>> open(const Options& options, Files& files, const Clock& clock,
                                                    LogSink& sink);

    // Durable on success, in the order given; at most room() records. After a failure none of them counts and
    // every write fails (kUnavailable) until repair() succeeds.
    Status write(std::span<const AuditRecord> records, std::uint32_t approvals);
    // Records that still fit into the open bundle; at least 1 unless a rename failed.
    std::size_t room() const;
    // Renames a full bundle into place; nothing to do otherwise.
    Status rotate();
    // Brings the files back to what was acknowledged: cuts what a failed write left, finishes a rename.
    Status repair();

    // Gives it the keys; see AuditLog::unseal. Writes no checkpoint.
    Status set_keys(std::unique_ptr<AuditKeys> keys);
    void drop_keys();
    bool has_keys() const { return keys_ != nullptr; }
    // When the tree grew: MACs, full hash tiles, checkpoint, next MAC key, in this order. Needs the keys.
    Status checkpoint();

    Status restore_reserve();
    Status release_reserve();

    // For a verification beside the writing.
    Result<AuditSnapshot> snapshot();

    std::uint64_t records() const { return tree_.size(); }
    std::uint64_t checkpoint_size() const { return checkpoint_size_; }
    std::uint64_t cut_bytes() const { return cut_bytes_; }

private:
    AuditStore(Options options, Files& files, const Clock& clock, LogSink& sink);
    std::string path(std::string_view name) const { return join_path(options_.folder, name); }

    // Steps of open(), in this order (store_open.cpp).
    Status make_folders();
    Status remove_leftovers();
    Status read_checkpoint();
    Result<std::optional<std::string>> read_text(std::string_view name);
    Status restore_tree();
    Status finish_rename();
    Status read_tail();
    Status read_closed_bundle(std::uint64_t number);
    Status read_open_bundle();
    Status take_record(std::string_view text);
    Status check_strangers();
    Status check_root();
    Status check_mac_size();
    Status record_cut();

    Status ensure_folder(const std::string& file_path);
    Status open_wal();
    Status write_frames(ByteSpan frames);
    Status write_macs(const Secret<32>& key);
    Status write_tiles();
    Status write_checkpoint();

    Options options_;
    Files& files_;
    const Clock& clock_;
    LogSink& sink_;

    TileTree tree_;  // of all durable records
    Digest32 last_leaf_{};
    std::vector<Digest32> pending_leaves_;  // of the records after the checkpoint
    std::vector<Tile> pending_tiles_;       // full, not yet written under a checkpoint
    std::uint64_t checkpoint_size_ = 0;
    Digest32 checkpoint_root_{};
    bool has_checkpoint_ = false;
    std::optional<VerifierKey> verifier_key_;  // of log.vkey

    std::unique_ptr<File> wal_;  // of the open bundle, once it has been written to
    std::uint64_t wal_number_ = 0;
    std::uint64_t wal_bytes_ = 0;  // durable
    std::size_t wal_records_ = 0;
    bool dirty_ = false;  // a failed write may have left bytes after wal_bytes_, or a rename
    std::set<std::string> durable_folders_;  // made sure of since open()

    std::unique_ptr<File> reserve_;
    std::unique_ptr<AuditKeys> keys_;
    std::uint64_t cut_bytes_ = 0;
    std::string cut_detail_;
};

}  // namespace ostal::security
