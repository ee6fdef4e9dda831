// The appliance: its state folder, its phase (new, sealed, unsealed) and what belongs to each.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "appliance/config.h"
#include "appliance/core/identity.h"
#include "appliance/core/vault.h"
#include "appliance/serving/models.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/thread.h"
#include "security/audit/log.h"
#include "security/identity/setup.h"
#include "security/sandbox/zygote.h"
#include "security/storage/keyring.h"
#include "security/storage/state_lock.h"

namespace ostal {

namespace api {
struct Caller;
}

enum class Phase {
    kNew,       // no keystore: set-up is awaited
    kSealed,
    kUnsealed,
};
std::string_view phase_name(Phase phase);

struct Readiness {
    bool ready = false;
    std::string reason;  // "ready", "setup_required", "sealed", "loading", "no_model", "audit"
};

struct SetupOptions {
    security::SetupRequest identity;
    std::string slot_label;
    std::vector<std::string> hosts;         // further names of the server certificate
    std::string auditor_public_key_hex;     // X25519; "": the secret half of the audit key is given back, once
};
struct SetupOutcome {
    security::SetupResult identity;
    std::string certificate_fingerprint;
    std::string ca_path;
    std::string audit_key_box;     // base64: K_audit0 sealed to the auditor's key
    std::string audit_key_secret;  // hex: K_audit0, only without an auditor's key
};

// Thread-safe.
class Appliance {
public:
    struct Seams {
        Files& files;
        const Clock& clock;
        RandomSource& random;
        LogSink& log;
        security::Zygote* zygote;  // nullptr: no imports (tools)
    };
    // Takes the state lock, opens the audit log (a record of the start) and, where there is
    // one, the keystore. Starts no listener. kConflict: state folder in use; kIntegrity: audit.
    static Result<std::unique_ptr<Appliance>> open(const Config& config, const Seams& seams);
    // Seals: streams end with an error event, models are unloaded, keys wiped, the last checkpoint written.
    ~Appliance();

    const Config& config() const { return config_; }
    const Clock& clock() const { return seams_.clock; }
    RandomSource& random() { return seams_.random; }
    LogSink& log() { return seams_.log; }
    Files& files() { return seams_.files; }
    security::AuditLog& audit() { return *audit_; }
    LoadedModels& models() { return models_; }

    Phase phase() const;
    // nullptr unless unsealed.
    std::shared_ptr<Vault> vault() const;
    Readiness readiness() const;
    bool is_loading(const std::string& model) const;
    // The process is about to end: long operations stop at their next step.
    void begin_end() { ending_ = true; }
    bool ending() const { return ending_.load(); }
    engine::RequestId next_engine_request() { return ++engine_requests_; }

    // The certificate that the server shows now.
    const ServerIdentity& identity() const { return *identity_; }

    // kConflict unless new. After a failure nothing of it counts: a restart discards what it left.
    Result<SetupOutcome> setup(const SetupOptions& options, const security::SlotSecret& secret, const api::Caller& caller);
    // kConflict unless sealed; kUnauthenticated for a wrong secret; kResourceExhausted while another transition
    // runs, and for a time after a wrong secret that doubles to 60 s. Nothing waits here. Models are loaded on a
    // thread of their own afterwards.
    Status unseal(const security::SlotSecret& secret, const api::Caller& caller);
    Status seal(const api::Caller& caller);
    security::Keyring* keyring();

    // A version from the store as an engine that does not answer anybody yet.
    Result<std::shared_ptr<LoadedModel>> load_model(const std::string& name, std::uint64_t version);
    // Lets it answer in place of the version before, whose answers may end.
    void put_model(std::shared_ptr<LoadedModel> model);
    security::Zygote* zygote() { return seams_.zygote; }

    std::string state_path(std::string_view name) const { return join_path(config_.paths.state, name); }

private:
    Appliance(const Config& config, const Seams& seams) : config_(config), seams_(seams) {}
    Status prepare_folders();
    Status open_vault();
    Status erase_orphaned_keys(const Vault& vault);
    void close_vault();
    void load_active_models();
    Status wrong_secret(const api::Caller& caller);
    Result<SetupOutcome> setup_steps(const SetupOptions& options, const security::SlotSecret& secret);
    Status finish_setup(const SetupOptions& options, const api::Caller& caller);
    Status discard_unfinished_setup();

    const Config config_;
    const Seams seams_;
    std::unique_ptr<security::StateLock> lock_;
    std::unique_ptr<security::AuditLog> audit_;
    std::unique_ptr<security::Keyring> keyring_;
    std::unique_ptr<security::Database> database_;
    std::unique_ptr<ServerIdentity> identity_;
    LoadedModels models_;
    mutable std::mutex mutex_;          // vault_, loading_
    std::mutex transition_;             // one setup, unseal or seal at a time
    std::shared_ptr<Vault> vault_;
    std::set<std::string> loading_;
    std::atomic<bool> stop_loading_{false};
    NamedThread loader_;
    std::atomic<engine::RequestId> engine_requests_{0};
    std::atomic<bool> ending_{false};
    std::int64_t unseal_delay_us_ = 0;  // under transition_, as the next three
    std::int64_t next_unseal_us_ = INT64_MIN / 2;
    std::int64_t unseal_failures_ = 0;
    std::int64_t last_unseal_record_us_ = INT64_MIN / 2;
};

}  // namespace ostal
