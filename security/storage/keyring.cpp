#include "security/storage/keyring.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <shared_mutex>

#include "base/check.h"
#include "security/crypto/hkdf.h"
#include "security/storage/database.h"
#include "security/storage/schema.h"
#include "security/storage/wrap.h"

namespace ostal::security {
namespace {

constexpr std::string_view kAuditMacName = "audit-mac";
constexpr std::size_t kMaxLabelBytes = 200;

std::string_view service_name(ServiceKey key) {
    switch (key) {
        case ServiceKey::kMeta: return "meta";
        case ServiceKey::kLookup: return "lookup";
        case ServiceKey::kSession: return "session";
        case ServiceKey::kFloor: return "floor";
        case ServiceKey::kBackup: return "backup";
        case ServiceKey::kCa: return "ca";
        case ServiceKey::kAuditSign: return "audit-sign";
    }
    CHECK_UNREACHABLE("a service key without a name");
}
constexpr ServiceKey kServiceKeys[] = {ServiceKey::kMeta,     ServiceKey::kLookup, ServiceKey::kSession,
                                       ServiceKey::kFloor,    ServiceKey::kBackup, ServiceKey::kCa,
                                       ServiceKey::kAuditSign};

std::string service_owner(std::string_view name, std::uint64_t counter) {
    return "service/" + std::string(name) + "/" + std::to_string(counter);
}
std::string dek_owner(std::string_view owner) { return "dek/" + std::string(owner); }
WrapLabel service_label(const std::string& owner) { return {WrapType::kServiceKey, 0, Id{}, owner}; }
WrapLabel kek_label(std::uint32_t epoch) { return {WrapType::kKek, epoch, Id{}, "kek"}; }

struct Slot {
    SlotInfo info;
    Argon2Cost cost;  // zero for key files
    std::array<std::uint8_t, kArgon2SaltBytes> salt{};
    Bytes wrap;
};

// Every field of the slot's row: an edited one makes the wrap fail. The label comes last, as it is free text.
std::string slot_owner(const Id& instance, const Slot& slot) {
    return "instance/" + to_hex(instance) + "/slot/" + std::to_string(static_cast<int>(slot.info.kind)) +
           "/" + std::to_string(slot.cost.passes) + "/" + std::to_string(slot.cost.memory_bytes) + "/" +
           to_hex(slot.salt) + "/" + std::to_string(slot.info.created_us) + "/" + slot.info.label;
}

Status check_secret(const SlotSecret& secret) {
    if (secret.kind == SlotKind::kKeyFile && secret.secret.size() != 32) {
        return fail(Code::kInvalidArgument, "a key file holds exactly 32 bytes");
    }
    if (secret.secret.empty()) return fail(Code::kInvalidArgument, "the passphrase is empty");
    return {};
}

Result<Secret<32>> slot_key(const SlotSecret& secret, const Slot& slot) {
    Secret<32> key;
    if (slot.info.kind == SlotKind::kKeyFile) {
        std::copy_n(secret.secret.bytes().data(), key.size(), key.mutable_bytes().data());
    } else {
        OSTAL_TRYV(argon2id(secret.secret.bytes(), slot.salt, slot.cost, key.mutable_bytes()));
    }
    return key;
}

// What exists only while unsealed.
struct Keys {
    Secret<32> root;
    Secret<32> wrap_key;
    std::map<std::uint32_t, Secret<32>> keks;  // by epoch; new data keys use the last
    std::map<ServiceKey, Secret<32>> services;
};

Secret<32> derive_wrap_key(KeyView root, const Id& instance) {
    Secret<32> key;
    CHECK(hkdf_sha512(root, instance, as_bytes("ostal/v1/wrap"), key.mutable_bytes()));
    return key;
}

Result<std::vector<Slot>> read_slots(Transaction& tx) {
    const auto rows = tx.query<Id, std::int64_t, std::string, std::int64_t, std::int64_t, std::int64_t,
                               std::array<std::uint8_t, kArgon2SaltBytes>, Bytes>(
        "SELECT id, kind, label, created_us, passes, memory_bytes, salt, wrap FROM slots ORDER BY "
        "created_us, id");
    if (!rows) return fail(rows.error());
    std::vector<Slot> slots;
    for (const auto& [id, kind, label, created_us, passes, memory_bytes, salt, wrap] : *rows) {
        if (kind != static_cast<int>(SlotKind::kPassphrase) && kind != static_cast<int>(SlotKind::kKeyFile)) {
            return fail(Code::kIntegrity, "the keystore has a slot of an unknown kind");
        }
        if (passes < 0 || passes > UINT32_MAX || memory_bytes < 0) {
            return fail(Code::kIntegrity, "the keystore has a slot with a malformed cost");
        }
        slots.push_back({{id, static_cast<SlotKind>(kind), label, created_us},
                         {static_cast<std::uint32_t>(passes), static_cast<std::uint64_t>(memory_bytes)},
                         salt,
                         wrap});
    }
    return slots;
}

Status insert_slot(Transaction& tx, const Slot& slot) {
    OSTAL_TRYV(
        tx.execute("INSERT INTO slots(id, kind, label, created_us, passes, memory_bytes, salt, wrap) VALUES "
                   "(?,?,?,?,?,?,?,?)",
                   {slot.info.id, static_cast<int>(slot.info.kind), slot.info.label, slot.info.created_us,
                    static_cast<std::int64_t>(slot.cost.passes),
                    static_cast<std::int64_t>(slot.cost.memory_bytes), slot.salt, slot.wrap}));
    return {};
}

Status store_service(Transaction& tx, std::string_view name, std::uint64_t counter, const Bytes& wrap) {
    OSTAL_TRYV(tx.execute("INSERT INTO service_keys(name, counter, wrap) VALUES (?,?,?)",
                          {name, static_cast<std::int64_t>(counter), wrap}));
    return {};
}

struct StoredService {
    std::uint64_t counter = 0;
    Secret<32> key;
};

Result<StoredService> load_service(Transaction& tx, std::string_view name, KeyView wrap_key) {
    const auto row =
        tx.query_one<std::int64_t, Bytes>("SELECT counter, wrap FROM service_keys WHERE name = ?", {name});
    if (!row) return fail(row.error());
    if (!*row) return fail(Code::kIntegrity, "the keystore lacks the service key " + std::string(name));
    const auto& [counter, wrap] = **row;
    const auto count = static_cast<std::uint64_t>(counter);
    OSTAL_TRY(Secret<32> key, open_wrap(wrap_key, service_label(service_owner(name, count)), wrap));
    return StoredService{count, std::move(key)};
}

// Unwraps everything below ROOT, so that damage is seen at once and not in mid-work.
Result<Keys> load_keys(Transaction& tx, Secret<32> root, const Id& instance) {
    Keys keys;
    keys.wrap_key = derive_wrap_key(root.view(), instance);
    keys.root = std::move(root);
    for (const ServiceKey service : kServiceKeys) {
        OSTAL_TRY(StoredService stored, load_service(tx, service_name(service), keys.wrap_key.view()));
        keys.services.emplace(service, std::move(stored.key));
    }
    OSTAL_TRYV(load_service(tx, kAuditMacName, keys.wrap_key.view()));
    const auto keks = tx.query<std::int64_t, Bytes>("SELECT epoch, wrap FROM keks");
    if (!keks) return fail(keks.error());
    for (const auto& [epoch, wrap] : *keks) {
        if (epoch < 1 || epoch > UINT32_MAX)
            return fail(Code::kIntegrity, "the keystore has a malformed epoch");
        const auto number = static_cast<std::uint32_t>(epoch);
        OSTAL_TRY(Secret<32> kek, open_wrap(keys.wrap_key.view(), kek_label(number), wrap));
        keys.keks.emplace(number, std::move(kek));
    }
    if (keys.keks.empty()) return fail(Code::kIntegrity, "the keystore has no key-encryption key");
    return keys;
}

tl::unexpected<Error> sealed_error() { return fail(Code::kUnavailable, "the appliance is sealed"); }

}  // namespace

struct Keyring::State {
    State(const Seams& with, const Options& chosen) : seams(with), options(chosen) {}

    Seams seams;
    Options options;
    std::unique_ptr<Database> database;
    Id instance{};
    std::mutex unsealing;             // one attempt at a time
    mutable std::shared_mutex mutex;  // guards keys
    std::optional<Keys> keys;

    static Result<std::unique_ptr<State>> open(const Seams& seams, const std::string& state_folder,
                                               const Options& options);
    Result<Slot> make_slot(const SlotSecret& secret, std::string_view label, const Secret<32>& root) const;
    // ROOT as the first slot that accepts the secret gives it.
    Result<Secret<32>> find_root(const std::vector<Slot>& slots, const SlotSecret& secret) const;
};

Result<std::unique_ptr<Keyring::State>> Keyring::State::open(const Seams& seams,
                                                             const std::string& state_folder,
                                                             const Options& options) {
    Database::Options database_options;
    database_options.path = join_path(state_folder, "db/keystore.db");
    database_options.migrations = keystore_migrations();
    database_options.snapshot_folder = join_path(state_folder, "backups");
    auto state = std::make_unique<State>(seams, options);
    OSTAL_TRY(state->database, Database::open(seams.files, seams.clock, database_options));
    return state;
}

Result<Slot> Keyring::State::make_slot(const SlotSecret& secret, std::string_view label,
                                       const Secret<32>& root) const {
    OSTAL_TRYV(check_secret(secret));
    if (label.size() > kMaxLabelBytes || !is_valid_utf8(label) ||
        label.find('\0') != std::string_view::npos) {
        return fail(Code::kInvalidArgument, "a slot's label is text of at most 200 bytes");
    }
    Slot slot;
    slot.info = {new_id(seams.random), secret.kind, std::string(label), seams.clock.wall_now_us()};
    seams.random.fill(slot.salt);
    slot.cost = secret.kind == SlotKind::kPassphrase ? options.passphrase_cost : Argon2Cost{0, 0};
    OSTAL_TRY(const Secret<32> key, slot_key(secret, slot));
    const std::string owner = slot_owner(instance, slot);
    slot.wrap = seal_wrap(key.view(), {WrapType::kRoot, 0, slot.info.id, owner}, root.view(), seams.random);
    return slot;
}

Result<Secret<32>> Keyring::State::find_root(const std::vector<Slot>& slots, const SlotSecret& secret) const {
    Status damage;
    for (const Slot& slot : slots) {
        if (slot.info.kind != secret.kind) continue;
        if (slot.info.kind == SlotKind::kPassphrase) {
            // Before any memory is taken: the cost comes from a file that anybody may have edited.
            if (auto cost = options.passphrase_limits.check(slot.cost); !cost) {
                damage = std::move(cost);
                continue;
            }
        }
        OSTAL_TRY(const Secret<32> key, slot_key(secret, slot));
        const std::string owner = slot_owner(instance, slot);
        auto root = open_wrap(key.view(), {WrapType::kRoot, 0, slot.info.id, owner}, slot.wrap);
        if (root) return root;
    }
    if (!damage) return fail(damage.error());
    return fail(Code::kUnauthenticated, "no slot accepts this secret");
}

Keyring::Keyring(std::unique_ptr<State> state) : state_(std::move(state)) {}
Keyring::~Keyring() = default;
const Id& Keyring::instance_id() const { return state_->instance; }

Result<std::unique_ptr<Keyring>> Keyring::create(const Seams& seams, const std::string& state_folder,
                                                 const SlotSecret& secret, std::string_view label,
                                                 const Options& options) {
    OSTAL_TRYV(options.passphrase_limits.check(options.passphrase_cost));
    OSTAL_TRYV(seams.files.make_directory(join_path(state_folder, "db")));
    OSTAL_TRY(auto state, State::open(seams, state_folder, options));
    state->instance = new_id(seams.random);

    Secret<32> root = Secret<32>::from_random(seams.random);
    const Secret<32> wrap_key = derive_wrap_key(root.view(), state->instance);
    OSTAL_TRY(const Slot slot, state->make_slot(secret, label, root));

    // One transaction: after a crash there is a whole keystore or none.
    OSTAL_TRY(Transaction tx, state->database->begin_write());
    OSTAL_TRY(const auto existing, tx.query_one<Id>("SELECT id FROM instance"));
    if (existing) return fail(Code::kConflict, "there is a keystore already in " + state_folder);
    OSTAL_TRYV(tx.execute("INSERT INTO instance(one, id) VALUES (1, ?)", {state->instance}));
    OSTAL_TRYV(insert_slot(tx, slot));
    const auto add_service = [&](std::string_view name) {
        const auto key = Secret<32>::from_random(seams.random);
        const std::string owner = service_owner(name, 0);
        return store_service(tx, name, 0,
                             seal_wrap(wrap_key.view(), service_label(owner), key.view(), seams.random));
    };
    for (const ServiceKey service : kServiceKeys) OSTAL_TRYV(add_service(service_name(service)));
    OSTAL_TRYV(add_service(kAuditMacName));
    const auto kek = Secret<32>::from_random(seams.random);
    OSTAL_TRYV(tx.execute(
        "INSERT INTO keks(epoch, created_us, wrap) VALUES (1, ?, ?)",
        {seams.clock.wall_now_us(), seal_wrap(wrap_key.view(), kek_label(1), kek.view(), seams.random)}));
    OSTAL_TRY(Keys keys, load_keys(tx, std::move(root), state->instance));
    OSTAL_TRYV(tx.commit());
    state->keys = std::move(keys);
    return std::unique_ptr<Keyring>(new Keyring(std::move(state)));
}

Result<std::unique_ptr<Keyring>> Keyring::open(const Seams& seams, const std::string& state_folder,
                                               const Options& options) {
    OSTAL_TRYV(options.passphrase_limits.check(options.passphrase_cost));
    const Error none(Code::kNotFound, "there is no keystore in " + state_folder);
    const auto info = seams.files.info(join_path(state_folder, "db/keystore.db"));
    if (!info) return fail(info.error().code() == Code::kNotFound ? none : info.error());
    OSTAL_TRY(auto state, State::open(seams, state_folder, options));
    {
        OSTAL_TRY(Transaction tx, state->database->begin_read());
        OSTAL_TRY(const auto row, tx.query_one<Id>("SELECT id FROM instance"));
        if (!row) return fail(none);  // its making was cut short
        state->instance = std::get<0>(*row);
    }
    return std::unique_ptr<Keyring>(new Keyring(std::move(state)));
}

Status Keyring::unseal(const SlotSecret& secret) {
    const std::lock_guard one_attempt(state_->unsealing);
    if (!is_sealed()) return fail(Code::kConflict, "the appliance is unsealed already");
    OSTAL_TRYV(check_secret(secret));
    std::vector<Slot> slots;
    {
        OSTAL_TRY(Transaction tx, state_->database->begin_read());
        OSTAL_TRY(slots, read_slots(tx));
    }
    OSTAL_TRY(Secret<32> root, state_->find_root(slots, secret));  // takes long; no lock is held but ours
    OSTAL_TRY(Transaction tx, state_->database->begin_read());
    OSTAL_TRY(Keys keys, load_keys(tx, std::move(root), state_->instance));
    const std::unique_lock lock(state_->mutex);
    state_->keys = std::move(keys);
    return {};
}

void Keyring::seal() {
    const std::unique_lock lock(state_->mutex);
    state_->keys.reset();
}

bool Keyring::is_sealed() const {
    const std::shared_lock lock(state_->mutex);
    return !state_->keys.has_value();
}

Result<std::vector<SlotInfo>> Keyring::list_slots() const {
    OSTAL_TRY(Transaction tx, state_->database->begin_read());
    OSTAL_TRY(const auto slots, read_slots(tx));
    std::vector<SlotInfo> infos;
    for (const Slot& slot : slots) infos.push_back(slot.info);
    return infos;
}

Result<Id> Keyring::add_slot(const SlotSecret& secret, std::string_view label) {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    OSTAL_TRY(const Slot slot, state_->make_slot(secret, label, state_->keys->root));
    OSTAL_TRY(Transaction tx, state_->database->begin_write());
    OSTAL_TRY(const auto count, tx.query_one<std::int64_t>("SELECT count(*) FROM slots"));
    if (!count || std::get<0>(*count) >= static_cast<std::int64_t>(kMaxSlots)) {
        return fail(Code::kConflict, "all " + std::to_string(kMaxSlots) + " slots are taken");
    }
    OSTAL_TRYV(insert_slot(tx, slot));
    OSTAL_TRYV(tx.commit());
    return slot.info.id;
}

Status Keyring::remove_slot(const Id& id) {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    {
        OSTAL_TRY(Transaction tx, state_->database->begin_write());
        OSTAL_TRY(const std::int64_t removed, tx.execute("DELETE FROM slots WHERE id = ?", {id}));
        if (removed == 0) return fail(Code::kNotFound, "there is no such slot");
        OSTAL_TRY(const auto left, tx.query_one<std::int64_t>("SELECT count(*) FROM slots"));
        if (!left || std::get<0>(*left) == 0) {
            return fail(Code::kConflict,
                        "the last slot cannot be removed: nothing could unseal the appliance then");
        }
        OSTAL_TRYV(tx.commit());
    }
    return state_->database->truncate_wal();
}

Result<Secret<32>> Keyring::service_key(ServiceKey key) const {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    return state_->keys->services.at(key).clone();
}

Result<EvolvingKey> Keyring::audit_mac_key() const {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    OSTAL_TRY(Transaction tx, state_->database->begin_read());
    OSTAL_TRY(StoredService stored, load_service(tx, kAuditMacName, state_->keys->wrap_key.view()));
    return EvolvingKey{stored.counter, std::move(stored.key)};
}

Status Keyring::replace_audit_mac_key(const EvolvingKey& next) {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    const std::string owner = service_owner(kAuditMacName, next.counter);
    const Bytes wrap =
        seal_wrap(state_->keys->wrap_key.view(), service_label(owner), next.key.view(), state_->seams.random);
    const auto counter = static_cast<std::int64_t>(next.counter);
    {
        OSTAL_TRY(Transaction tx, state_->database->begin_write());
        OSTAL_TRY(const std::int64_t changed,
                  tx.execute("UPDATE service_keys SET counter = ?, wrap = ? WHERE name = ? AND counter = ?",
                             {counter, wrap, kAuditMacName, counter - 1}));
        if (changed != 1) return fail(Code::kConflict, "the audit key was replaced by somebody else");
        OSTAL_TRYV(tx.commit());
    }
    return state_->database->truncate_wal();
}

Result<Dek> Keyring::new_dek(std::string_view owner) {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    const auto& [epoch, kek] = *state_->keys->keks.rbegin();
    Dek dek{new_id(state_->seams.random), Secret<32>::from_random(state_->seams.random)};
    const std::string path = dek_owner(owner);
    const Bytes wrap =
        seal_wrap(kek.view(), {WrapType::kDek, epoch, dek.id, path}, dek.key.view(), state_->seams.random);
    OSTAL_TRY(Transaction tx, state_->database->begin_write());
    OSTAL_TRYV(tx.execute("INSERT INTO deks(id, created_us, wrap) VALUES (?,?,?)",
                          {dek.id, state_->seams.clock.wall_now_us(), wrap}));
    OSTAL_TRYV(tx.commit());
    return dek;
}

Result<Dek> Keyring::dek(const Id& id, std::string_view owner) const {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    OSTAL_TRY(Transaction tx, state_->database->begin_read());
    OSTAL_TRY(const auto row, tx.query_one<Bytes>("SELECT wrap FROM deks WHERE id = ?", {id}));
    if (!row) return fail(Code::kNotFound, "there is no such data key: it was erased");
    const Bytes& wrap = std::get<0>(*row);
    OSTAL_TRY(const std::uint32_t epoch, wrap_kek_epoch(wrap));
    const auto kek = state_->keys->keks.find(epoch);
    if (kek == state_->keys->keks.end()) {
        return fail(Code::kIntegrity, "a wrapped key was altered or is not where it belongs");
    }
    const std::string path = dek_owner(owner);
    OSTAL_TRY(Secret<32> key, open_wrap(kek->second.view(), {WrapType::kDek, epoch, id, path}, wrap));
    return Dek{id, std::move(key)};
}

Status Keyring::erase_dek(const Id& id) {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    bool found = false;
    {
        OSTAL_TRY(Transaction tx, state_->database->begin_write());
        OSTAL_TRY(const std::int64_t removed, tx.execute("DELETE FROM deks WHERE id = ?", {id}));
        found = removed != 0;
        OSTAL_TRYV(tx.commit());
    }
    // Also when the row is gone: an earlier erasure may have been cut short before this.
    OSTAL_TRYV(state_->database->truncate_wal());
    if (!found) return fail(Code::kNotFound, "there is no such data key: it was erased");
    return {};
}

Result<std::vector<Id>> Keyring::list_deks() const {
    const std::shared_lock lock(state_->mutex);
    if (!state_->keys) return sealed_error();
    OSTAL_TRY(Transaction tx, state_->database->begin_read());
    OSTAL_TRY(const auto rows, tx.query<Id>("SELECT id FROM deks ORDER BY id"));
    std::vector<Id> ids;
    for (const auto& row : rows) ids.push_back(std::get<0>(row));
    return ids;
}

}  // namespace ostal::security
