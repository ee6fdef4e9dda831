#include "security/audit/store.h"

#include <algorithm>

#include "base/check.h"
#include "security/audit/layout.h"
#include "security/crypto/hash.h"
#include "security/secret.h"

namespace ostal::security {

AuditStore::AuditStore(Options options, Files& files, const Clock& clock, LogSink& sink)
    : options_(std::move(options)), files_(files), clock_(clock), sink_(sink) {}

AuditStore::~AuditStore() = default;

std::size_t AuditStore::room() const { return kTileWidth - wal_records_; }

Status AuditStore::write(std::span<const AuditRecord> records, std::uint32_t approvals) {
    if (dirty_) return fail(Code::kUnavailable, "the audit log waits for repair after a failed write");
    CHECK_GT(records.size(), 0U);
    CHECK_LE(records.size(), room());
    Bytes frames;
    std::vector<Digest32> leaves;
    for (const AuditRecord& record : records) {
        StoredRecord stored;
        stored.record = bounded(record);
        stored.seq = tree_.size() + leaves.size();
        stored.time_us = clock_.wall_now_us();
        stored.boottime_us = clock_.mono_now_us();
        stored.approvals = approvals;
        stored.prev = leaves.empty() ? last_leaf_ : leaves.back();
        const std::string text = encode_record(stored);
        append_frame(frames, text);
        leaves.push_back(merkle_leaf(as_bytes(text)));
    }
    if (auto status = write_frames(frames); !status) {
        dirty_ = true;
        return status;
    }
    wal_bytes_ += frames.size();
    wal_records_ += leaves.size();
    last_leaf_ = leaves.back();
    for (const Digest32& leaf : leaves) tree_.add(leaf, pending_tiles_);
    pending_leaves_.insert(pending_leaves_.end(), leaves.begin(), leaves.end());
    return {};
}

Status AuditStore::write_frames(ByteSpan frames) {
    OSTAL_TRYV(open_wal());
    OSTAL_TRYV(wal_->pwrite(frames, wal_bytes_));
    return wal_->fdatasync();
}

// The directory entry of a new file is made durable before the first record in it is.
Status AuditStore::open_wal() {
    if (wal_) return {};
    const std::string name = wal_path(wal_number_);
    OSTAL_TRYV(ensure_folder(name));
    OSTAL_TRY(auto file, files_.open(path(name), Files::Open::kReadWrite));
    OSTAL_TRYV(files_.sync_directory(path(folder_of(name))));
    wal_ = std::move(file);
    return {};
}

Status AuditStore::ensure_folder(const std::string& file_path) {
    const std::string folder(folder_of(file_path));
    if (folder.empty() || durable_folders_.contains(folder)) return {};
    OSTAL_TRYV(ensure_folder(folder));
    OSTAL_TRYV(files_.make_directory(path(folder)));
    OSTAL_TRYV(files_.sync_directory(path(folder_of(folder))));
    durable_folders_.insert(folder);
    return {};
}

Status AuditStore::rotate() {
    if (wal_records_ < kTileWidth) return {};
    wal_.reset();
    dirty_ = true;
    const std::string from = wal_path(wal_number_);
    const std::string to = entries_path(wal_number_);
    OSTAL_TRYV(ensure_folder(to));
    auto renamed = files_.rename(path(from), path(to));
    // A rename whose folders could not be synced is found done by the next attempt.
    if (!renamed && (renamed.error().code() != Code::kNotFound || !files_.info(path(to)))) return renamed;
    OSTAL_TRYV(files_.sync_directory(path(folder_of(to))));
    OSTAL_TRYV(files_.sync_directory(path(folder_of(from))));
    ++wal_number_;
    wal_bytes_ = 0;
    wal_records_ = 0;
    dirty_ = false;
    return {};
}

Status AuditStore::repair() {
    if (!dirty_) return {};
    if (wal_records_ == kTileWidth) return rotate();
    wal_.reset();
    OSTAL_TRYV(open_wal());
    OSTAL_TRYV(wal_->truncate(wal_bytes_));
    OSTAL_TRYV(wal_->fsync());
    dirty_ = false;
    return {};
}

Status AuditStore::set_keys(std::unique_ptr<AuditKeys> keys) {
    const VerifierKey key{keys->origin(), keys->public_key()};
    if (!is_key_name(key.name))
        return fail(Code::kInvalidArgument, "the audit log's origin is not a key name");
    Secret<32> mac_key;
    std::uint64_t counter = 0;
    OSTAL_TRYV(keys->load_mac_key(mac_key, counter));
    if (counter > 0 && !has_checkpoint_) {
        return fail(Code::kIntegrity,
                    "the audit log has no checkpoint, but its key says that there were some");
    }
    if (!verifier_key_) {
        const std::string text = verifier_key_text(key) + "\n";
        OSTAL_TRYV(replace_file(files_, path(kVerifierKeyFile), as_bytes(text)));
        verifier_key_ = key;
    }
    if (*verifier_key_ != key) {
        return fail(Code::kIntegrity, "the audit log was begun with another key than the keystore holds");
    }
    keys_ = std::move(keys);
    return {};
}

void AuditStore::drop_keys() { keys_.reset(); }

Status AuditStore::checkpoint() {
    CHECK(keys_ != nullptr);
    if (pending_leaves_.empty()) return {};
    Secret<32> key;
    std::uint64_t counter = 0;
    OSTAL_TRYV(keys_->load_mac_key(key, counter));
    OSTAL_TRYV(write_macs(key));
    OSTAL_TRYV(write_tiles());
    OSTAL_TRYV(write_checkpoint());
    const Digest32 evolved = hmac_sha256(key.view(), as_bytes("next"));
    const auto next = Secret<32>::copy_of(evolved);
    return keys_->store_mac_key(next, counter + 1);
}

Status AuditStore::write_macs(const Secret<32>& key) {
    Bytes macs;
    macs.reserve(pending_leaves_.size() * sizeof(Digest32));
    for (const Digest32& leaf : pending_leaves_) append(macs, hmac_sha256(key.view(), leaf));
    const std::string file_path = path(kMacFile);
    const bool exists = checkpoint_size_ > 0;
    OSTAL_TRY(const auto file, files_.open(file_path, Files::Open::kReadWrite));
    OSTAL_TRYV(file->pwrite(macs, checkpoint_size_ * sizeof(Digest32)));
    OSTAL_TRYV(file->fdatasync());
    return exists ? Status() : files_.sync_directory(options_.folder);
}

Status AuditStore::write_tiles() {
    for (const Tile& tile : pending_tiles_) {
        const std::string name = tile_path(tile.level, tile.number);
        OSTAL_TRYV(ensure_folder(name));
        OSTAL_TRYV(replace_file(files_, path(name), tile_bytes(tile.hashes)));
    }
    return {};
}

Status AuditStore::write_checkpoint() {
    const Checkpoint checkpoint{verifier_key_->name, tree_.size(), tree_.root()};
    OSTAL_TRY(const auto signature, keys_->sign(as_bytes(checkpoint_body(checkpoint))));
    const std::string text = checkpoint_text(checkpoint, *verifier_key_, signature);
    OSTAL_TRYV(replace_file(files_, path(kCheckpointFile), as_bytes(text)));
    checkpoint_size_ = checkpoint.size;
    checkpoint_root_ = checkpoint.root;
    has_checkpoint_ = true;
    pending_leaves_.clear();
    pending_tiles_.clear();
    return {};
}

Result<AuditSnapshot> AuditStore::snapshot() {
    AuditSnapshot out;
    OSTAL_TRY(out.scan, scan_audit_folder(files_, options_.folder));
    OSTAL_TRY(out.checkpoint, read_text(kCheckpointFile));
    out.open_number = wal_number_;
    if (out.scan.open.contains(wal_number_)) {
        OSTAL_TRY(out.open_bundle, read_file(files_, path(wal_path(wal_number_)), kMaxBundleBytes));
        // What a failed write may have left was never acknowledged.
        out.open_bundle.resize(std::min<std::size_t>(out.open_bundle.size(), wal_bytes_));
    }
    if (const auto mac = files_.info(path(kMacFile)); mac) out.mac_bytes = mac->size_bytes;
    return out;
}

Status AuditStore::restore_reserve() {
    if (options_.reserve_bytes == 0 || reserve_) return {};
    OSTAL_TRY(auto file, files_.open(path(kReserveFile), Files::Open::kReadWrite));
    if (auto allocated = file->allocate(options_.reserve_bytes); !allocated) {
        (void)files_.remove_file(path(kReserveFile));  // what was got of it would be missed elsewhere
        return allocated;
    }
    reserve_ = std::move(file);
    return {};
}

Status AuditStore::release_reserve() {
    reserve_.reset();
    auto removed = files_.remove_file(path(kReserveFile));
    return removed || removed.error().code() == Code::kNotFound ? Status() : removed;
}

}  // namespace ostal::security
