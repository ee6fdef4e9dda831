// How an audit log is opened: every fact on disk is compared with the last checkpoint before a record is
// added.
#include <algorithm>

#include "base/check.h"
#include "security/audit/layout.h"
#include "security/audit/store.h"
#include "security/secret.h"

namespace ostal::security {
namespace {

tl::unexpected<Error> refuse(const std::string& why) {
    return fail(Code::kIntegrity, "the audit log does not hold: " + why);
}

std::string record_name(std::uint64_t seq) { return "record " + std::to_string(seq); }

}  // namespace

Result<std::unique_ptr<AuditStore>> AuditStore::open(const Options& options, Files& files, const Clock& clock,
                                                     LogSink& sink) {
    std::unique_ptr<AuditStore> store(new AuditStore(options, files, clock, sink));
    OSTAL_TRYV(store->make_folders());
    OSTAL_TRYV(store->remove_leftovers());
    OSTAL_TRYV(store->read_checkpoint());
    OSTAL_TRYV(store->restore_tree());
    OSTAL_TRYV(store->finish_rename());
    OSTAL_TRYV(store->read_tail());
    OSTAL_TRYV(store->check_strangers());
    OSTAL_TRYV(store->check_mac_size());
    OSTAL_TRYV(store->rotate());
    OSTAL_TRYV(store->record_cut());
    if (auto reserved = store->restore_reserve(); !reserved) {
        sink.warning("no reserve on disk for the audit log", {{"error", reserved.error().to_string()}});
    }
    return store;
}

Status AuditStore::make_folders() {
    OSTAL_TRYV(ensure_folder(wal_path(0)));
    return ensure_folder(entries_path(0));
}

// Temporary files of a replace_file() that a crash interrupted.
Status AuditStore::remove_leftovers() {
    for (const std::string_view name : {kCheckpointFile, kVerifierKeyFile}) {
        const std::string leftover = path(name) + ".new";
        if (files_.info(leftover)) OSTAL_TRYV(files_.remove_file(leftover));
    }
    return {};
}

Result<std::optional<std::string>> AuditStore::read_text(std::string_view name) {
    auto bytes = read_file(files_, path(name), 64 * 1024);
    if (bytes) return std::optional(std::string(as_text(*bytes)));
    if (bytes.error().code() == Code::kNotFound) return std::optional<std::string>();
    return fail(std::move(bytes).error());
}

Status AuditStore::read_checkpoint() {
    OSTAL_TRY(const auto key_text, read_text(kVerifierKeyFile));
    if (key_text) {
        auto key = parse_verifier_key(*key_text);
        if (!key) return refuse("log.vkey: " + key.error().message());
        verifier_key_ = *key;
    }
    OSTAL_TRY(const auto text, read_text(kCheckpointFile));
    if (!text) return {};
    if (!verifier_key_) return refuse("there is a checkpoint but no log.vkey");
    auto checkpoint = open_checkpoint(*text, *verifier_key_);
    if (!checkpoint) return refuse(checkpoint.error().message());
    checkpoint_size_ = checkpoint->size;
    checkpoint_root_ = checkpoint->root;
    has_checkpoint_ = true;
    return {};
}

// The tree of the full bundles under the checkpoint, from their tiles; the rest is hashed from the records.
Status AuditStore::restore_tree() {
    const std::uint64_t floor = checkpoint_size_ - checkpoint_size_ % kTileWidth;
    const auto read_tile = [&](unsigned level, std::uint64_t number) -> Result<std::vector<Digest32>> {
        const std::string name = tile_path(level, number);
        auto bytes = read_file(files_, path(name), kTileWidth * sizeof(Digest32));
        if (!bytes && bytes.error().code() == Code::kNotFound) return refuse(name + " is missing");
        if (!bytes) return fail(std::move(bytes).error());
        return tile_hashes(*bytes);
    };
    OSTAL_TRY(tree_, TileTree::restore(floor, read_tile));
    if (floor > 0) {
        OSTAL_TRY(const auto last_tile, read_tile(0, floor / kTileWidth - 1));
        last_leaf_ = last_tile.back();
    }
    wal_number_ = floor / kTileWidth;
    return check_root();
}

// Called whenever the tree has grown; once it has the checkpoint's size the roots must be equal.
Status AuditStore::check_root() {
    if (!has_checkpoint_ || tree_.size() != checkpoint_size_ || tree_.root() == checkpoint_root_) return {};
    return refuse("the records do not hash to the root of the last checkpoint");
}

// A bundle that was full under the checkpoint but not yet renamed. (One beyond it is found by
// read_open_bundle.)
Status AuditStore::finish_rename() {
    if (wal_number_ == 0) return {};
    const std::string from = wal_path(wal_number_ - 1);
    const std::string to = entries_path(wal_number_ - 1);
    if (!files_.info(path(from)) || files_.info(path(to))) return {};
    OSTAL_TRY(const Bytes bytes, read_file(files_, path(from), kMaxBundleBytes));
    const Frames frames = split_frames(bytes);
    if (frames.records.size() != kTileWidth || frames.bytes != bytes.size()) {
        return refuse(from + " does not hold 256 whole records");
    }
    OSTAL_TRYV(ensure_folder(to));
    OSTAL_TRYV(files_.rename(path(from), path(to)));
    OSTAL_TRYV(files_.sync_directory(path(folder_of(to))));
    return files_.sync_directory(path(folder_of(from)));
}

Status AuditStore::read_tail() {
    while (files_.info(path(entries_path(wal_number_)))) {
        OSTAL_TRYV(read_closed_bundle(wal_number_));
        ++wal_number_;
    }
    OSTAL_TRYV(read_open_bundle());
    if (tree_.size() >= checkpoint_size_) return {};
    return refuse("it ends before " + record_name(tree_.size()) + ", but the last checkpoint covers " +
                  std::to_string(checkpoint_size_) + " records");
}

Status AuditStore::read_closed_bundle(std::uint64_t number) {
    const std::string name = entries_path(number);
    OSTAL_TRY(const Bytes bytes, read_file(files_, path(name), kMaxBundleBytes));
    const Frames frames = split_frames(bytes);
    if (frames.records.size() != kTileWidth || frames.bytes != bytes.size()) {
        return refuse(name + " does not hold 256 whole records");
    }
    for (const std::string_view record : frames.records) {
        const std::uint64_t seq = tree_.size();
        if (!take_record(record)) return refuse(record_name(seq) + " in " + name + " breaks the chain");
        OSTAL_TRYV(check_root());
    }
    return {};
}

// Whether `text` is the next record; added to the tree if so.
Status AuditStore::take_record(std::string_view text) {
    OSTAL_TRY(const StoredRecord stored, parse_record(text));
    if (stored.seq != tree_.size() || stored.prev != last_leaf_) {
        return fail(Code::kIntegrity, "not the next record");
    }
    last_leaf_ = merkle_leaf(as_bytes(text));
    tree_.add(last_leaf_, pending_tiles_);
    if (tree_.size() > checkpoint_size_) pending_leaves_.push_back(last_leaf_);
    return {};
}

Status AuditStore::read_open_bundle() {
    const std::string name = wal_path(wal_number_);
    auto bytes = read_file(files_, path(name), kMaxBundleBytes);
    if (!bytes && bytes.error().code() == Code::kNotFound) return {};
    if (!bytes) return fail(std::move(bytes).error());
    const Frames frames = split_frames(*bytes);
    for (const std::string_view record : frames.records) {
        if (!take_record(record)) break;
        wal_bytes_ += 2 + record.size();
        ++wal_records_;
        OSTAL_TRYV(check_root());
    }
    cut_bytes_ = bytes->size() - wal_bytes_;
    if (cut_bytes_ == 0) return {};
    if (tree_.size() < checkpoint_size_) {
        return refuse(record_name(tree_.size()) + " in " + name +
                      " breaks the chain under the last checkpoint");
    }
    if (wal_records_ == kTileWidth) return refuse(name + " has bytes after its 256 records");
    const ByteSpan torn = ByteSpan(*bytes).subspan(static_cast<std::size_t>(wal_bytes_));
    cut_detail_ = "cut " + std::to_string(cut_bytes_) + " torn bytes with SHA-256 " + to_hex(sha256(torn));
    return {};
}

// Files that a cut or a gap would leave behind.
Status AuditStore::check_strangers() {
    const std::string open_bundle = tile_number_path(wal_number_);
    const std::string closed_folder(folder_of(entries_path(wal_number_)));
    OSTAL_TRY(const auto closed, files_.list_directory(path(closed_folder)));
    for (const std::string& name : closed) {
        if (name.size() == 3 && name >= open_bundle.substr(open_bundle.size() - 3)) {
            return refuse(closed_folder + "/" + name + " lies beyond a gap");
        }
    }
    std::vector<std::string> folders = {"wal"};
    while (!folders.empty()) {
        const std::string folder = folders.back();
        folders.pop_back();
        OSTAL_TRY(const auto names, files_.list_directory(path(folder)));
        for (const std::string& name : names) {
            const std::string below = folder + "/" + name;
            if (name.front() == 'x')
                folders.push_back(below);
            else if (below != wal_path(wal_number_))
                return refuse(below + " is not the open bundle");
        }
    }
    return {};
}

Status AuditStore::check_mac_size() {
    const auto info = files_.info(path(kMacFile));
    if (!info && info.error().code() != Code::kNotFound) return fail(info.error());
    const std::uint64_t size = info ? info->size_bytes : 0;
    if (size < checkpoint_size_ * sizeof(Digest32))
        return refuse("the file mac is too short for the last checkpoint");
    if (size > tree_.size() * sizeof(Digest32))
        return refuse("the file mac covers more records than there are");
    return {};
}

// The record about the cut is written over the torn bytes, so that no crash can leave a cut without it.
Status AuditStore::record_cut() {
    if (cut_bytes_ == 0) return {};
    sink_.warning("the audit log ended in a torn record", {{"detail", cut_detail_}});
    AuditRecord record;
    record.actor = "system";
    record.auth = "none";
    record.action = "audit:cut";
    record.object = wal_path(wal_number_);
    record.detail = cut_detail_;
    OSTAL_TRYV(write({&record, 1}, 0));
    OSTAL_TRYV(wal_->truncate(wal_bytes_));
    OSTAL_TRYV(wal_->fsync());
    return rotate();
}

}  // namespace ostal::security
