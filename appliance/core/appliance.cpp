#include "appliance/core/appliance.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "appliance/api/caller.h"
#include "appliance/core/audit_keys.h"
#include "appliance/core/load_model.h"
#include "security/crypto/x25519.h"
#include "security/storage/ids.h"
#include "security/storage/schema.h"

namespace ostal {
namespace {

constexpr std::string_view kFolders[] = {"db", "audit", "models", "staging", "tls", "keystore", "inbox", "backups"};
constexpr std::int64_t kFirstUnsealDelay_us = 100'000;
constexpr std::int64_t kLongestUnsealDelay_us = 60'000'000;
constexpr std::int64_t kUnsealRecordInterval_us = 60'000'000;
// Present from the first to the last step of set-up: what it finds at a start was never finished.
constexpr std::string_view kSetupMarker = "db/setup.unfinished";

security::AuditRecord event(std::string action, std::string detail = {}) {
    security::AuditRecord record;
    record.actor = "system";
    record.auth = "none";
    record.action = std::move(action);
    record.detail = std::move(detail);
    return record;
}

}  // namespace

std::string_view phase_name(Phase phase) {
    switch (phase) {
        case Phase::kNew: return "new";
        case Phase::kSealed: return "sealed";
        case Phase::kUnsealed: return "unsealed";
    }
    return "new";
}

// ---- start ----

Result<std::unique_ptr<Appliance>> Appliance::open(const Config& config, const Seams& seams) {
    auto appliance = std::unique_ptr<Appliance>(new Appliance(config, seams));
    OSTAL_TRYV(appliance->prepare_folders());
    OSTAL_TRY(auto lock, security::StateLock::acquire(seams.files, config.paths.state));
    appliance->lock_ = std::make_unique<security::StateLock>(std::move(lock));
    OSTAL_TRYV(appliance->discard_unfinished_setup());

    security::AuditLog::Options options;
    options.folder = appliance->state_path("audit");
    options.reserve_bytes = static_cast<std::uint64_t>(config.audit.reserve_mib) << 20;
    OSTAL_TRY(appliance->audit_, security::AuditLog::open(options, seams.files, seams.clock, seams.log));

    auto keyring = security::Keyring::open({seams.files, seams.clock, seams.random}, config.paths.state);
    if (keyring) {
        appliance->keyring_ = std::move(*keyring);
    } else if (keyring.error().code() != Code::kNotFound) {
        return fail(std::move(keyring).error().with("while opening the keystore"));
    }
    OSTAL_TRY(appliance->identity_, ServerIdentity::open(seams.files, seams.clock, seams.random,
                                                         appliance->state_path("tls"), config.server.hosts));
    OSTAL_TRYV(appliance->audit_->append(event("system:start", std::string(phase_name(appliance->phase())))));
    return appliance;
}

Status Appliance::prepare_folders() {
    OSTAL_TRYV(make_directories(seams_.files, config_.paths.state));
    for (const std::string_view folder : kFolders) OSTAL_TRYV(seams_.files.make_directory(state_path(folder)));
    return {};
}

// A set-up that was cut off made nothing that anybody relies on: its keystore, tables and first audit records go.
Status Appliance::discard_unfinished_setup() {
    if (!seams_.files.info(state_path(kSetupMarker))) return {};
    seams_.log.warning("an unfinished set-up was found; its remains are removed");
    for (const std::string_view folder : {"tls", "audit", "keystore"}) {
        OSTAL_TRYV(remove_tree(seams_.files, state_path(folder)));
        OSTAL_TRYV(seams_.files.make_directory(state_path(folder)));
    }
    OSTAL_TRY(const auto names, seams_.files.list_directory(state_path("db")));
    for (const std::string& name : names) {
        if ("db/" + name != kSetupMarker) OSTAL_TRYV(seams_.files.remove_file(state_path("db/" + name)));
    }
    OSTAL_TRYV(seams_.files.remove_file(state_path(kSetupMarker)));
    return seams_.files.sync_directory(state_path("db"));
}

Appliance::~Appliance() {
    const std::lock_guard transition(transition_);
    close_vault();
    if (audit_ != nullptr) {
        const Status stopped = audit_->append(event("system:stop"), security::AuditLog::Urgency::kEssential);
        if (!stopped) seams_.log.error("the end was not recorded", {{"error", stopped.error().to_string()}});
        const Status closed = audit_->close();
        if (!closed) seams_.log.error("the audit log was not closed", {{"error", closed.error().to_string()}});
    }
    if (keyring_ != nullptr) keyring_->seal();
}

// ---- state ----

Phase Appliance::phase() const {
    const std::lock_guard lock(mutex_);
    if (keyring_ == nullptr) return Phase::kNew;
    return vault_ == nullptr ? Phase::kSealed : Phase::kUnsealed;
}

std::shared_ptr<Vault> Appliance::vault() const {
    const std::lock_guard lock(mutex_);
    return vault_;
}

bool Appliance::is_loading(const std::string& model) const {
    const std::lock_guard lock(mutex_);
    return loading_.contains(model);
}

Readiness Appliance::readiness() const {
    const Phase now = phase();
    if (now == Phase::kNew) return {false, "setup_required"};
    if (now == Phase::kSealed) return {false, "sealed"};
    if (audit_->state().latched) return {false, "audit"};
    {
        const std::lock_guard lock(mutex_);
        if (!loading_.empty()) return {false, "loading"};
    }
    if (models_.list().empty()) return {false, "no_model"};
    return {true, "ready"};
}

security::Keyring* Appliance::keyring() {
    const std::lock_guard lock(mutex_);
    return keyring_.get();
}

// ---- set-up ----

Result<SetupOutcome> Appliance::setup(const SetupOptions& options, const security::SlotSecret& secret, const api::Caller& caller) {
    const std::lock_guard transition(transition_);
    if (phase() != Phase::kNew) return fail(Code::kConflict, "the appliance is set up already");
    OSTAL_TRYV(replace_file(seams_.files, state_path(kSetupMarker), {}));
    auto outcome = setup_steps(options, secret);
    const Status finished = outcome ? finish_setup(options, caller) : Status(fail(outcome.error()));
    if (finished) return outcome;
    // New again. What is on disk is discarded here and, as the marker stays until all of it is gone, at the next
    // start; the audit log lets go of keys that end with the keyring.
    close_vault();
    const Status unkeyed = audit_->seal(event("system:setup", "failed: " + finished.error().to_string()));
    if (!unkeyed) seams_.log.error("a failed set-up was not recorded", {{"error", unkeyed.error().to_string()}});
    {
        const std::lock_guard lock(mutex_);
        keyring_.reset();
    }
    seams_.log.error("set-up failed; restart the daemon before the next attempt", {{"error", finished.error().to_string()}});
    return fail(finished.error());
}

Status Appliance::finish_setup(const SetupOptions& options, const api::Caller& caller) {
    security::AuditRecord record = api::audit_record(caller, "system:setup", "");
    record.decision = "allow";
    record.detail = options.identity.single ? "single" : "four eyes";
    OSTAL_TRYV(audit_->append(std::move(record)));
    OSTAL_TRYV(audit_->checkpoint());
    OSTAL_TRYV(seams_.files.remove_file(state_path(kSetupMarker)));
    return seams_.files.sync_directory(state_path("db"));
}

Result<SetupOutcome> Appliance::setup_steps(const SetupOptions& options, const security::SlotSecret& secret) {
    SetupOutcome outcome;
    security::X25519PublicKey auditor{};
    if (!options.auditor_public_key_hex.empty()) {
        OSTAL_TRY(const Bytes key, from_hex(options.auditor_public_key_hex));
        if (key.size() != auditor.size()) return fail(Code::kInvalidArgument, "the auditor's key has 32 bytes as hex");
        std::copy(key.begin(), key.end(), auditor.begin());
    }
    OSTAL_TRY(auto keyring, security::Keyring::create({seams_.files, seams_.clock, seams_.random}, config_.paths.state,
                                                      secret, options.slot_label));
    OSTAL_TRY(const auto first_mac_key, keyring->audit_mac_key());
    if (options.auditor_public_key_hex.empty()) {
        outcome.audit_key_secret = to_hex(first_mac_key.key.bytes());
    } else {
        OSTAL_TRY(const Bytes box, security::seal_to(auditor, first_mac_key.key.bytes()));
        outcome.audit_key_box = to_base64(box);
    }
    {
        const std::lock_guard lock(mutex_);
        keyring_ = std::move(keyring);
    }
    OSTAL_TRY(const auto ca_key, keyring_->service_key(security::ServiceKey::kCa));
    std::vector<std::string> hosts = config_.server.hosts;
    for (const std::string& host : options.hosts) {
        if (std::find(hosts.begin(), hosts.end(), host) == hosts.end()) hosts.push_back(host);
    }
    OSTAL_TRYV(identity_->issue(ca_key.view(), hosts));
    outcome.certificate_fingerprint = identity_->fingerprint();
    outcome.ca_path = identity_->ca_path();

    OSTAL_TRY(database_, security::Database::open(seams_.files, seams_.clock,
                                                  {state_path("db/ostal.db"), security::ostal_migrations(), state_path("backups"), 5000}));
    OSTAL_TRY(const auto meta_key, keyring_->service_key(security::ServiceKey::kMeta));
    const security::RowMac mac(meta_key.clone());
    OSTAL_TRY(outcome.identity, security::set_up_identity(options.identity, *database_, mac, seams_.clock, seams_.random));
    OSTAL_TRYV(open_vault());
    return outcome;
}

// ---- unseal and seal ----

Status Appliance::unseal(const security::SlotSecret& secret, const api::Caller& caller) {
    const std::unique_lock transition(transition_, std::try_to_lock);
    if (!transition) return fail(Code::kResourceExhausted, "another attempt is under way; try again in a moment");
    if (phase() != Phase::kSealed) return fail(Code::kConflict, "the appliance is not sealed");
    if (seams_.clock.mono_now_us() < next_unseal_us_) {
        return fail(Code::kResourceExhausted, "too soon after a wrong secret; try again in a moment");
    }
    const Status opened = keyring_->unseal(secret);
    if (!opened) {
        if (opened.error().code() != Code::kUnauthenticated) return opened;
        OSTAL_TRYV(wrong_secret(caller));
        return opened;
    }
    unseal_delay_us_ = 0;
    security::AuditRecord record = api::audit_record(caller, "crypto:unseal", "");
    record.decision = "allow";
    if (unseal_failures_ > 0) record.detail = std::to_string(unseal_failures_) + " failed attempts before";
    unseal_failures_ = 0;
    const Status recorded = audit_->append(std::move(record));
    const Status vault_open = recorded ? open_vault() : recorded;
    if (!vault_open) {
        close_vault();
        keyring_->seal();
        return vault_open;
    }
    return {};
}

// One record a minute, with the count: nobody fills the disk by guessing.
Status Appliance::wrong_secret(const api::Caller& caller) {
    ++unseal_failures_;
    unseal_delay_us_ = std::min(std::max(unseal_delay_us_ * 2, kFirstUnsealDelay_us), kLongestUnsealDelay_us);
    const std::int64_t now = seams_.clock.mono_now_us();
    next_unseal_us_ = now + unseal_delay_us_;
    if (now - last_unseal_record_us_ < kUnsealRecordInterval_us) return {};
    last_unseal_record_us_ = now;
    security::AuditRecord record = api::audit_record(caller, "crypto:unseal", "");
    record.decision = "deny";
    record.status = 401;
    record.detail = std::to_string(unseal_failures_) + " failed attempts";
    return audit_->append(std::move(record));
}

Status Appliance::open_vault() {
    if (database_ == nullptr) {
        OSTAL_TRY(database_, security::Database::open(seams_.files, seams_.clock,
                                                      {state_path("db/ostal.db"), security::ostal_migrations(), state_path("backups"), 5000}));
    }
    OSTAL_TRY(auto meta_key, keyring_->service_key(security::ServiceKey::kMeta));
    OSTAL_TRY(auto lookup_key, keyring_->service_key(security::ServiceKey::kLookup));
    auto vault = std::make_shared<Vault>(*database_, std::move(meta_key), std::move(lookup_key), seams_.clock, seams_.random);
    // Rows that were deleted or put back while the appliance was sealed: row MACs alone do not show them.
    OSTAL_TRYV(security::check_identity(*database_, vault->mac));
    OSTAL_TRY(vault->models, ModelStore::open({seams_.files, seams_.clock, seams_.random, seams_.log, *database_, *keyring_,
                                               config_.paths.state, config_.paths.trust}));
    for (const std::string& alarm : vault->models->alarms()) {
        seams_.log.error("model store", {{"alarm", alarm}});
        OSTAL_TRYV(audit_->append(event("model:alarm", alarm)));
    }
    OSTAL_TRYV(erase_orphaned_keys(*vault));
    OSTAL_TRY(auto audit_keys, keyring_audit_keys(*keyring_, config_.instance.name));
    OSTAL_TRY(const std::uint32_t approvals, vault->users.approvals_required());
    OSTAL_TRY(const auto active, serving_versions(*vault->models));
    // Last: from here on the audit thread holds keys that need the keyring.
    OSTAL_TRYV(audit_->unseal(std::move(audit_keys)));
    audit_->set_approvals_required(approvals);
    {
        const std::lock_guard lock(mutex_);
        for (const auto& [name, version] : active) loading_.insert(name);
        vault_ = std::move(vault);
    }
    stop_loading_ = false;
    loader_ = NamedThread("ost-load", [this] { load_active_models(); });
    return {};
}

// A data key is stored before the row that names it and erased before that row is deleted: what a crash left in
// between belongs to nothing.
Status Appliance::erase_orphaned_keys(const Vault& vault) {
    OSTAL_TRY(const auto keys, keyring_->list_deks());
    OSTAL_TRY(const auto named, vault.models->data_keys());
    for (const security::Id& key : keys) {
        if (named.contains(key)) continue;
        seams_.log.info("a data key that nothing names is erased");
        OSTAL_TRYV(keyring_->erase_dek(key));
    }
    return {};
}

Status Appliance::seal(const api::Caller& caller) {
    const std::lock_guard transition(transition_);
    if (phase() != Phase::kUnsealed) return fail(Code::kConflict, "the appliance is not unsealed");
    close_vault();
    security::AuditRecord record = api::audit_record(caller, "crypto:seal", "");
    record.decision = "allow";
    const Status recorded = audit_->seal(std::move(record));
    keyring_->seal();
    return recorded;
}

// Unloads the models, which ends their streams, and waits until no call holds the stores any more.
void Appliance::close_vault() {
    stop_loading_ = true;
    loader_.join();
    std::weak_ptr<Vault> last;
    {
        const std::lock_guard lock(mutex_);
        last = vault_;
        vault_.reset();
        loading_.clear();
    }
    models_.clear();
    while (!last.expired()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    models_.clear();  // an activation that was under way may have put one meanwhile
    database_.reset();
}

// ---- models ----

void Appliance::load_active_models() {
    const auto open_stores = vault();
    if (open_stores == nullptr) return;
    const auto active = serving_versions(*open_stores->models);
    if (!active) {
        seams_.log.error("models were not loaded", {{"error", active.error().to_string()}});
        const std::lock_guard lock(mutex_);
        loading_.clear();
        return;
    }
    for (const auto& [name, version] : *active) {
        if (stop_loading_.load()) return;
        auto model = load_model(name, version);
        if (model) {
            put_model(std::move(*model));
        } else {
            seams_.log.error("a model was not loaded", {{"model", name}, {"error", model.error().to_string()}});
            security::AuditRecord record = event("model:load", model.error().to_string());
            record.object = name + "/" + std::to_string(version);
            record.decision = "deny";
            const Status recorded = audit_->append(std::move(record));
            if (!recorded) seams_.log.error("a failed load was not recorded", {{"error", recorded.error().to_string()}});
        }
        const std::lock_guard lock(mutex_);
        loading_.erase(name);
    }
}

Result<std::shared_ptr<LoadedModel>> Appliance::load_model(const std::string& name, std::uint64_t version) {
    const auto open_stores = vault();
    if (open_stores == nullptr) return fail(Code::kUnavailable, "the appliance is sealed");
    return load_stored_model(*open_stores->models, config_, seams_.clock, seams_.log, name, version);
}

void Appliance::put_model(std::shared_ptr<LoadedModel> model) {
    seams_.log.info("model loaded", {{"model", model->name}, {"version", std::to_string(model->version)}});
    const auto replaced = models_.put(std::move(model));
    if (replaced != nullptr) replaced->engine->drain(config_.server.drain_seconds * 1'000'000);
}

}  // namespace ostal
