#include "security/audit/verify.h"

#include <algorithm>
#include <array>
#include <map>

#include "base/check.h"
#include "base/safe_text.h"
#include "security/audit/layout.h"
#include "security/audit/note.h"
#include "security/audit/record.h"
#include "security/audit/tile_tree.h"
#include "security/crypto/hash.h"
#include "security/secret.h"

namespace ostal::security {
namespace {

constexpr std::size_t kMaxConflicts = 8;  // 2 or 3 values each are tried against the root

// What is known of one position of the log. The leaf hash of a record is claimed by up to three witnesses:
// the record itself, its hash tile, and the `prev` of the record after it.
struct Position {
    std::optional<Digest32> computed;  // of the record's bytes
    std::optional<Digest32> tile;
    std::optional<Digest32> chained;  // `prev` of the next record
    bool parsed = false;              // looked at
    bool well_formed = false;         // canonical, with the right seq
    std::optional<Digest32> prev;     // its own
};

std::string name_of(std::uint64_t record) { return "record " + std::to_string(record); }

// Leaves in groups of 256, so that a changed leaf costs one group and not the whole tree.
class GroupedTree {
public:
    explicit GroupedTree(std::vector<Digest32> leaves) : leaves_(std::move(leaves)) {
        for (std::size_t group = 0; group < leaves_.size() / kTileWidth; ++group) {
            roots_.push_back(merkle_root(members(group)));
        }
    }
    void set(std::size_t index, const Digest32& leaf) {
        leaves_[index] = leaf;
        const std::size_t group = index / kTileWidth;
        if (group < roots_.size()) roots_[group] = merkle_root(members(group));
    }
    Digest32 root() const {
        std::vector<Digest32> peaks;
        append_peaks(roots_, peaks);
        append_peaks(std::span(leaves_).subspan(roots_.size() * kTileWidth), peaks);
        return fold_peaks(peaks);
    }
    const std::vector<Digest32>& leaves() const { return leaves_; }

private:
    std::span<const Digest32> members(std::size_t group) const {
        return std::span(leaves_).subspan(group * kTileWidth, kTileWidth);
    }
    std::vector<Digest32> leaves_;
    std::vector<Digest32> roots_;
};

class Verifier {
public:
    Verifier(const AuditVerifyOptions& options, Files& files) : options_(options), files_(files) {}

    Result<AuditVerdict> run() {
        OSTAL_TRYV(load_key());
        OSTAL_TRYV(load_checkpoint());  // before the files that it must not be ahead of
        OSTAL_TRYV(scan());
        OSTAL_TRYV(load_bundles());
        OSTAL_TRYV(load_tiles());
        check_names();
        resolve();
        judge_records();
        OSTAL_TRYV(judge_tiles());
        judge_tail();
        OSTAL_TRYV(judge_macs());
        judge_older();
        return finish();
    }

private:
    std::string path(std::string_view name) const { return join_path(options_.folder, name); }
    std::uint64_t size() const { return checkpoint_ ? checkpoint_->size : 0; }
    // Positions under the checkpoint that can be looked at.
    std::uint64_t covered() const { return std::min<std::uint64_t>(size(), positions_.size()); }

    void problem(std::string text) { problems_.push_back(std::move(text)); }
    void bad(std::uint64_t record, std::string text) {
        problems_.push_back(std::move(text));
        if (!verdict_.first_bad || record < *verdict_.first_bad) {
            verdict_.first_bad = record;
            std::swap(problems_.front(), problems_.back());
        }
    }

    Result<std::optional<std::string>> read_small(std::string_view name);
    Status scan();
    Result<Bytes> read_bundle(const std::string& name);
    Status load_key();
    Status load_checkpoint();
    Status load_bundles();
    Status load_tiles();
    void check_names();
    void parse_range(std::uint64_t first, std::uint64_t last);
    void resolve();
    bool resolve_by(std::optional<Digest32> (*choose)(const Position&));
    void resolve_by_search();
    void judge_records();
    void judge_unresolved();
    Status judge_tiles();
    void judge_tail();
    Status judge_macs();
    void judge_older();
    AuditVerdict finish();

    const AuditVerifyOptions& options_;
    Files& files_;
    AuditScan scan_;
    std::optional<VerifierKey> key_;
    std::optional<Checkpoint> checkpoint_;
    std::vector<Position> positions_;
    std::map<std::uint64_t, std::string> bundles_;   // path by number
    std::optional<std::vector<Digest32>> resolved_;  // leaves that hash to the checkpoint's root
    std::vector<std::string> problems_;
    AuditVerdict verdict_;
};

Result<std::optional<std::string>> Verifier::read_small(std::string_view name) {
    auto bytes = read_file(files_, path(name), 64 * 1024);
    if (bytes) return std::optional(std::string(as_text(*bytes)));
    if (bytes.error().code() == Code::kNotFound) return std::optional<std::string>();
    return fail(std::move(bytes).error());
}

Status Verifier::load_key() {
    OSTAL_TRY(const auto text, read_small(kVerifierKeyFile));
    if (!text) problem("log.vkey is missing");
    std::optional<VerifierKey> own;
    if (text) {
        auto parsed = parse_verifier_key(*text);
        if (parsed && verifier_key_text(*parsed) + "\n" == *text)
            own = *parsed;
        else
            problem("log.vkey is malformed");
    }
    key_ = own;
    if (!options_.verifier_key) return {};
    OSTAL_TRY(key_, parse_verifier_key(*options_.verifier_key));
    if (own && *own != *key_) problem("log.vkey is not the given key");
    return {};
}

Status Verifier::load_checkpoint() {
    std::optional<std::string> text;
    if (options_.snapshot != nullptr) {
        text = options_.snapshot->checkpoint;
    } else {
        OSTAL_TRY(text, read_small(kCheckpointFile));
    }
    if (!text) {
        problem("there is no checkpoint");
        return {};
    }
    if (!key_) return {};
    auto opened = open_checkpoint(*text, *key_);
    if (!opened) {
        problem(opened.error().message());
        return {};
    }
    checkpoint_ = std::move(*opened);
    verdict_.authorship = options_.verifier_key.has_value();
    verdict_.checkpoint_size = checkpoint_->size;
    verdict_.root = to_base64(checkpoint_->root);
    return {};
}

Status Verifier::scan() {
    if (options_.snapshot != nullptr) {
        scan_ = options_.snapshot->scan;
        return {};
    }
    OSTAL_TRY(scan_, scan_audit_folder(files_, options_.folder));
    return {};
}

Result<Bytes> Verifier::read_bundle(const std::string& name) {
    if (options_.snapshot != nullptr && name == wal_path(options_.snapshot->open_number)) {
        return options_.snapshot->open_bundle;
    }
    return read_file(files_, path(name), kMaxBundleBytes);
}

// Bundles by the number in their path; a gap leaves positions without a record.
Status Verifier::load_bundles() {
    std::map<std::uint64_t, std::string> bundles = scan_.closed;
    for (const auto& [number, name] : scan_.open) {
        if (!bundles.emplace(number, name).second) problem(name + " exists beside its closed bundle");
    }
    for (const auto& [number, name] : bundles) {
        const bool is_open = name.starts_with("wal/");
        if (number > bundles.size() + scan_.tiles.size() || (is_open && name != bundles.rbegin()->second)) {
            problem(name + " lies out of order");
            continue;
        }
        OSTAL_TRY(const Bytes bytes, read_bundle(name));
        const Frames frames = split_frames(bytes);
        const std::uint64_t first = number * kTileWidth;
        positions_.resize(std::max<std::size_t>(positions_.size(), first + frames.records.size()));
        for (std::size_t i = 0; i < frames.records.size(); ++i) {
            positions_[first + i].computed = merkle_leaf(as_bytes(frames.records[i]));
        }
        if (frames.bytes != bytes.size()) {
            problem(name + " has " + std::to_string(bytes.size() - frames.bytes) + " bytes after record " +
                    std::to_string(first + frames.records.size()) + " that are no record");
        } else if (!is_open && frames.records.size() != kTileWidth) {
            problem(name + " holds fewer than 256 records");
        }
        bundles_[number] = name;
    }
    return {};
}

Status Verifier::load_tiles() {
    for (const auto& [number, name] : scan_.tiles) {
        if (number > positions_.size() / kTileWidth + 1) {
            problem(name + " covers records that do not exist");
            continue;
        }
        OSTAL_TRY(const Bytes bytes, read_file(files_, path(name), kMaxBundleBytes));
        const auto hashes = tile_hashes(bytes);
        if (!hashes) {
            problem(name + " is no full hash tile");
            continue;
        }
        const std::uint64_t first = number * kTileWidth;
        if (first + kTileWidth > size()) continue;  // left by a crash before its checkpoint
        positions_.resize(std::max<std::size_t>(positions_.size(), first + kTileWidth));
        for (std::size_t i = 0; i < kTileWidth; ++i) positions_[first + i].tile = (*hashes)[i];
    }
    return {};
}

void Verifier::check_names() {
    for (const std::string& name : scan_.strangers)
        problem(safe_text(name, 256) + " belongs to no audit log");
    for (const std::string& name : scan_.leftovers) {
        verdict_.notes.push_back(name + " was left by an interrupted write; the daemon removes it at start");
    }
}

// Reads what the records of [first, last) say of themselves and of the one before.
void Verifier::parse_range(std::uint64_t first, std::uint64_t last) {
    Bytes bytes;
    Frames frames;
    std::optional<std::uint64_t> split;
    for (std::uint64_t i = first; i < last; ++i) {
        Position& position = positions_[i];
        if (position.parsed || !position.computed) continue;
        position.parsed = true;
        if (split != i / kTileWidth) {
            split = i / kTileWidth;
            bytes = read_bundle(bundles_.at(*split)).value_or(Bytes());
            frames = split_frames(bytes);
        }
        if (i % kTileWidth >= frames.records.size()) continue;
        const auto stored = parse_record(frames.records[i % kTileWidth]);
        if (!stored) continue;
        position.well_formed = stored->seq == i;
        position.prev = stored->prev;
        // A record out of its place is no witness of the one before.
        if (i > 0 && position.well_formed) positions_[i - 1].chained = stored->prev;
    }
}

// Looks for leaves that hash to the signed root: by the records alone, then by the tiles and the chain,
// then by trying the witnesses where they disagree. What it finds is proven, and shows which records are
// not themselves.
void Verifier::resolve() {
    if (!checkpoint_ || checkpoint_->size > positions_.size()) return parse_range(0, positions_.size());
    if (resolve_by([](const Position& position) { return position.computed; })) return;
    parse_range(size() - size() % kTileWidth, size());
    if (resolve_by([](const Position& position) {
            return position.tile ? position.tile : position.chained ? position.chained : position.computed;
        })) {
        return;
    }
    parse_range(0, positions_.size());
    resolve_by_search();
}

bool Verifier::resolve_by(std::optional<Digest32> (*choose)(const Position&)) {
    std::vector<Digest32> leaves;
    leaves.reserve(size());
    for (std::uint64_t i = 0; i < size(); ++i) {
        const std::optional<Digest32> leaf = choose(positions_[i]);
        if (!leaf) return false;
        leaves.push_back(*leaf);
    }
    GroupedTree tree(std::move(leaves));
    if (tree.root() != checkpoint_->root) return false;
    resolved_ = tree.leaves();
    return true;
}

void Verifier::resolve_by_search() {
    struct Choice {
        std::size_t index;
        std::vector<Digest32> values;
        std::size_t now = 0;
    };
    std::vector<Choice> choices;
    std::vector<Digest32> leaves;
    for (std::uint64_t i = 0; i < size(); ++i) {
        const Position& position = positions_[i];
        Choice choice{static_cast<std::size_t>(i), {}, 0};
        for (const auto& value : {position.tile, position.chained, position.computed}) {
            const bool known =
                std::find(choice.values.begin(), choice.values.end(), value) != choice.values.end();
            if (value && !known) choice.values.push_back(*value);
        }
        if (choice.values.empty()) return;
        leaves.push_back(choice.values.front());
        if (choice.values.size() > 1) choices.push_back(std::move(choice));
        if (choices.size() > kMaxConflicts) return;
    }
    GroupedTree tree(std::move(leaves));
    while (tree.root() != checkpoint_->root) {
        // The next combination: an odometer over the choices.
        std::size_t at = 0;
        for (; at < choices.size(); ++at) {
            Choice& choice = choices[at];
            choice.now = (choice.now + 1) % choice.values.size();
            tree.set(choice.index, choice.values[choice.now]);
            if (choice.now != 0) break;
        }
        if (at == choices.size()) return;
    }
    resolved_ = tree.leaves();
}

void Verifier::judge_records() {
    if (!resolved_) return judge_unresolved();
    for (std::uint64_t i = 0; i < size(); ++i) {
        if (positions_[i].computed == (*resolved_)[i]) continue;
        const bool missing = !positions_[i].computed;
        return bad(i, name_of(i) + (missing ? " is missing"
                                            : " was changed: its hash is not the one under the checkpoint"));
    }
    // All records are those that were signed. What they say must be right as well.
    parse_range(0, size());
    for (std::uint64_t i = 0; i < size(); ++i) {
        const Digest32 before = i == 0 ? Digest32{} : *positions_[i - 1].computed;
        if (positions_[i].well_formed && positions_[i].prev == before) continue;
        return bad(i, name_of(i) + " is signed but breaks the chain or its form");
    }
}

// No set of leaves fits the root (or there is none): what stands against a record by itself.
void Verifier::judge_unresolved() {
    for (std::uint64_t i = 0; i < covered(); ++i) {
        const Position& position = positions_[i];
        if (!position.computed) return bad(i, name_of(i) + " is missing");
        if (!position.well_formed) return bad(i, name_of(i) + " is malformed or has a wrong number");
        if (position.tile && position.tile != position.computed) {
            return bad(i, name_of(i) + " and its hash tile disagree");
        }
        if (position.chained && position.chained != position.computed) {
            problem("the chain is broken between " + name_of(i) + " and " + name_of(i + 1));
            verdict_.bad_from = i;
            verdict_.bad_to = std::min<std::uint64_t>(i + 2, size());
            return;
        }
    }
    if (!checkpoint_) return;
    if (size() > positions_.size()) {
        return bad(positions_.size(), name_of(positions_.size()) + " is missing: the checkpoint covers " +
                                          std::to_string(size()) + " records");
    }
    const std::uint64_t tiled = size() % kTileWidth == 0 ? 0 : size() - size() % kTileWidth;
    verdict_.bad_from = tiled;
    verdict_.bad_to = size();
    problem("the records do not hash to the checkpoint's root; those before " + std::to_string(tiled) +
            " agree with their hash tiles");
}

// Every full tile under the checkpoint, recomputed.
Status Verifier::judge_tiles() {
    if (!checkpoint_ || size() > positions_.size()) return {};
    TileTree tree;
    std::vector<Tile> tiles;
    for (std::uint64_t i = 0; i < size(); ++i) {
        const std::optional<Digest32> leaf = resolved_ ? (*resolved_)[i] : positions_[i].computed;
        if (!leaf) return {};
        tree.add(*leaf, tiles);
    }
    for (const Tile& tile : tiles) {
        const std::string name = tile_path(tile.level, tile.number);
        const std::uint64_t reach = 1ULL << (8 * tile.level);  // records a hash covers
        const std::uint64_t first = tile.number * kTileWidth * reach;
        auto bytes = read_file(files_, path(name), kMaxBundleBytes);
        const Bytes expected = tile_bytes(tile.hashes);
        if (bytes && *bytes == expected) continue;
        if (bytes && tile.level == 0 && bytes->size() == expected.size()) {
            const auto differs =
                std::mismatch(bytes->begin(), bytes->end(), expected.begin()).first - bytes->begin();
            const std::uint64_t record = first + static_cast<std::uint64_t>(differs) / sizeof(Digest32);
            bad(record, name + " holds another hash of " + name_of(record) + " than the record has");
            continue;
        }
        problem(name + (bytes ? " is not the tile of its records" : " is missing"));
        if (verdict_.bad_to == 0) {
            verdict_.bad_from = first;
            verdict_.bad_to = first + kTileWidth * reach;
        }
    }
    return {};
}

// Records after the checkpoint: the chain alone speaks for them.
void Verifier::judge_tail() {
    verdict_.records = positions_.size();
    parse_range(size(), positions_.size());
    for (std::uint64_t i = size(); i < positions_.size(); ++i) {
        const auto before = i == 0 ? std::optional(Digest32{}) : positions_[i - 1].computed;
        if (positions_[i].computed && positions_[i].well_formed && positions_[i].prev == before) continue;
        return bad(i, name_of(i) + ", after the checkpoint, breaks the chain or its form");
    }
    if (checkpoint_ && positions_.size() > size()) {
        verdict_.notes.push_back(std::to_string(positions_.size() - size()) +
                                 " records after the last checkpoint are chained but not signed yet");
    }
}

Status Verifier::judge_macs() {
    const auto info = files_.info(path(kMacFile));
    if (!info && info.error().code() != Code::kNotFound) return fail(info.error());
    std::uint64_t mac_bytes = info ? info->size_bytes : 0;
    if (options_.snapshot != nullptr) mac_bytes = std::min(mac_bytes, options_.snapshot->mac_bytes);
    const std::uint64_t macs = mac_bytes / sizeof(Digest32);
    if (macs < size()) problem("the file mac is too short for the checkpoint");
    if (mac_bytes > positions_.size() * sizeof(Digest32)) {
        problem("the file mac covers more records than there are");
    }
    if (!options_.mac_key) return {};
    if (options_.mac_key->size() != 32) return fail(Code::kInvalidArgument, "the MAC key has not 32 bytes");
    verdict_.macs_checked = true;
    if (macs == 0) return {};
    OSTAL_TRY(const auto file, files_.open(path(kMacFile), Files::Open::kRead));
    Digest32 key{};
    std::copy(options_.mac_key->begin(), options_.mac_key->end(), key.begin());
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(macs, positions_.size()); ++i) {
        Digest32 stored{};
        OSTAL_TRY(const std::size_t got, file->pread(stored, i * sizeof(Digest32)));
        if (!positions_[i].computed || got != stored.size()) break;
        const Digest32& leaf = *positions_[i].computed;
        if (constant_time_equal(hmac_sha256(key, leaf), stored)) continue;
        // The key goes on by one step with each checkpoint, so at most by one from record to record.
        key = hmac_sha256(key, as_bytes("next"));
        if (constant_time_equal(hmac_sha256(key, leaf), stored)) continue;
        bad(i, "the MAC of " + name_of(i) + " does not hold");
        break;
    }
    wipe(MutableByteSpan(key));
    return {};
}

void Verifier::judge_older() {
    if (!options_.older_checkpoint) {
        verdict_.notes.push_back(
            "a log cut back to one of its earlier checkpoints is found only with --against OLD");
        return;
    }
    if (!key_ || !checkpoint_) return;
    const auto older = open_checkpoint(*options_.older_checkpoint, *key_);
    if (!older) return problem("the older checkpoint: " + older.error().message());
    if (older->size > size()) {
        problem("the log was cut back: the older checkpoint covers " + std::to_string(older->size) +
                " records, this one " + std::to_string(size()));
        return;
    }
    std::vector<Digest32> leaves;
    for (std::uint64_t i = 0; i < older->size; ++i) {
        const auto leaf = resolved_ ? std::optional((*resolved_)[i]) : positions_[i].computed;
        if (!leaf) return problem("records under the older checkpoint are missing");
        leaves.push_back(*leaf);
    }
    if (merkle_root(leaves) == older->root) {
        if (!resolved_ && verdict_.bad_to != 0) verdict_.bad_from = std::max(verdict_.bad_from, older->size);
        return;
    }
    problem("the log is no extension of the older checkpoint");
    if (verdict_.bad_to == 0) verdict_.bad_to = older->size;
}

AuditVerdict Verifier::finish() {
    verdict_.ok = problems_.empty();
    if (!verdict_.ok) verdict_.problem = problems_.front();
    for (std::size_t i = 1; i < problems_.size(); ++i) verdict_.notes.push_back("also: " + problems_[i]);
    if (verdict_.first_bad) verdict_.bad_from = verdict_.bad_to = 0;
    if (!options_.verifier_key) {
        verdict_.notes.push_back(
            "log.vkey was used: this proves that the log is consistent, not who wrote it");
    }
    if (!options_.mac_key) verdict_.notes.push_back("the MACs were not checked (--mac-key)");
    return verdict_;
}

// What a writer moves while it works: the checkpoint, and names and sizes of open bundles.
Result<std::string> writers_place(Files& files, const std::string& folder) {
    const auto checkpoint = read_file(files, join_path(folder, kCheckpointFile), 64 * 1024);
    std::string place = checkpoint ? std::string(as_text(*checkpoint)) : "";
    OSTAL_TRY(const AuditScan scan, scan_audit_folder(files, folder));
    for (const auto& [number, name] : scan.open) {
        const auto info = files.info(join_path(folder, name));
        place += name + " " + std::to_string(info ? info->size_bytes : 0) + "\n";
    }
    return place;
}

}  // namespace

Result<AuditVerdict> verify_audit(const AuditVerifyOptions& options, Files& files) {
    constexpr int kAttempts = 8;
    if (options.snapshot != nullptr) return Verifier(options, files).run();
    for (int attempt = 1;; ++attempt) {
        const auto before = writers_place(files, options.folder);
        auto verdict = Verifier(options, files).run();
        if ((verdict && verdict->ok) || attempt == kAttempts) return verdict;
        const auto after = writers_place(files, options.folder);
        // The same place twice: nobody writes, and what was found is what there is.
        if (before && after && *before == *after) return verdict;
        if (!before && !after) return verdict;
    }
}

}  // namespace ostal::security
