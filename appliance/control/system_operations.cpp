// setup, status, unseal, seal, slot, audit.
#include "appliance/control/invocation.h"
#include "security/audit/verify.h"
#include "security/storage/ids.h"

namespace ostal {
namespace {

constexpr std::int64_t kMaxTail = 4096;

json::Value verdict_to_json(const security::AuditVerdict& verdict) {
    json::Object out{{"ok", verdict.ok}, {"records", static_cast<std::int64_t>(verdict.records)},
                     {"checkpoint_records", static_cast<std::int64_t>(verdict.checkpoint_size)},
                     {"root", verdict.root}, {"authorship", verdict.authorship}, {"macs_checked", verdict.macs_checked}};
    if (!verdict.ok) {
        out.append("problem", verdict.problem);
        if (verdict.first_bad) out.append("first_bad", static_cast<std::int64_t>(*verdict.first_bad));
    }
    json::Array notes;
    for (const std::string& note : verdict.notes) notes.emplace_back(note);
    out.append("notes", std::move(notes));
    return out;
}

}  // namespace

Result<json::Value> Operations::setup(Invocation& call) {
    SetupOptions options;
    const json::Value* single = call.args.find("single");
    options.identity.single = single != nullptr && single->is_bool() && single->as_bool();
    OSTAL_TRY(const json::Array* users, json::array_member(call.args, "users"));
    for (const json::Value& user : *users) {
        OSTAL_TRY(const json::Object* fields, json::object_at(user, "users"));
        OSTAL_TRY(std::string name, json::string_member(*fields, "name"));
        OSTAL_TRY(std::string password, json::string_member(*fields, "password"));
        options.identity.users.push_back({std::move(name), std::move(password)});
    }
    OSTAL_TRY(options.hosts, call.texts("hosts"));
    options.auditor_public_key_hex = call.text("auditor_key").value_or("");
    OSTAL_TRY(const auto secret, call.slot_secret());
    options.slot_label = secret.kind == security::SlotKind::kKeyFile ? "key file" : "passphrase";
    const auto outcome = appliance_.setup(options, secret, call.caller);
    for (auto& user : options.identity.users) security::wipe(user.password);
    if (!outcome) return fail(outcome.error());
    identity_changed_();
    json::Object out{{"phase", "unsealed"}, {"certificate_sha256", outcome->certificate_fingerprint}, {"ca", outcome->ca_path}};
    if (!outcome->audit_key_secret.empty()) {
        out.append("audit_key", outcome->audit_key_secret);
        out.append("audit_key_note", "shown once: with it the auditor checks the log's MACs; store it away from this machine");
    } else {
        out.append("audit_key_box", outcome->audit_key_box);
    }
    return json::Value(std::move(out));
}

Result<json::Value> Operations::status(Invocation&) {
    const Readiness readiness = appliance_.readiness();
    const auto audit = appliance_.audit().state();
    json::Object out{{"phase", phase_name(appliance_.phase())}, {"ready", readiness.ready}, {"reason", readiness.reason}};
    json::Array models;
    for (const auto& model : appliance_.models().list()) {
        const engine::EngineStats stats = model->engine->stats();
        models.emplace_back(model->name + "/" + std::to_string(model->version) + " (" + model->engine->info().isa + ", " +
                            std::to_string(stats.running) + " running, " + std::to_string(stats.waiting) + " waiting)");
    }
    out.append("models", std::move(models));
    out.append("audit_records", static_cast<std::int64_t>(audit.records));
    out.append("audit_writable", !audit.latched);
    if (audit.latched) out.append("audit_problem", audit.latch_reason);
    out.append("certificate_sha256", appliance_.identity().fingerprint());
    return json::Value(std::move(out));
}

Result<json::Value> Operations::unseal(Invocation& call) {
    OSTAL_TRY(const auto secret, call.slot_secret());
    OSTAL_TRYV(appliance_.unseal(secret, call.caller));
    return json::Value(json::Object{{"phase", "unsealed"}});
}

Result<json::Value> Operations::seal(Invocation& call) {
    call.vault.reset();  // sealing waits until nobody holds the stores
    OSTAL_TRYV(appliance_.seal(call.caller));
    return json::Value(json::Object{{"phase", "sealed"}});
}

Result<json::Value> Operations::slot_add(Invocation& call) {
    OSTAL_TRY(const std::string label, call.text("label"));
    OSTAL_TRY(const auto secret, call.slot_secret());
    OSTAL_TRY(const auto id, appliance_.keyring()->add_slot(secret, label));
    return json::Value(json::Object{{"id", security::id_text(security::IdKind::kSlot, id)}, {"label", label}});
}

Result<json::Value> Operations::slot_list(Invocation&) {
    OSTAL_TRY(const auto slots, appliance_.keyring()->list_slots());
    json::Array out;
    for (const security::SlotInfo& slot : slots) {
        out.emplace_back(json::Object{{"id", security::id_text(security::IdKind::kSlot, slot.id)},
                                      {"kind", slot.kind == security::SlotKind::kPassphrase ? "passphrase" : "key-file"},
                                      {"label", slot.label}, {"created", to_rfc3339(slot.created_us)}});
    }
    return json::Value(std::move(out));
}

Result<json::Value> Operations::slot_remove(Invocation& call) {
    OSTAL_TRY(const std::string id_word, call.text("id"));
    OSTAL_TRY(const auto id, security::parse_id(security::IdKind::kSlot, id_word));
    OSTAL_TRYV(appliance_.keyring()->remove_slot(id));
    return json::Value(json::Object{{"removed", id_word}});
}

Result<json::Value> Operations::audit_tail(Invocation& call) {
    OSTAL_TRY(const std::int64_t count, json::int_member(call.args, "count"));
    if (count < 1 || count > kMaxTail) return fail(Code::kInvalidArgument, "count must be from 1 to 4096");
    const std::uint64_t records = appliance_.audit().state().records;
    const std::uint64_t first = records > static_cast<std::uint64_t>(count) ? records - static_cast<std::uint64_t>(count) : 0;
    OSTAL_TRY(const auto texts, appliance_.audit().read(first, static_cast<std::size_t>(count)));
    json::Array out;
    for (const std::string& text : texts) {
        OSTAL_TRY(json::Value record, json::parse(text));
        out.push_back(std::move(record));
    }
    return json::Value(std::move(out));
}

Result<json::Value> Operations::audit_verify(Invocation& call) {
    // Recorded first, so that the verdict covers the question too.
    OSTAL_TRYV(appliance_.audit().append(api::audit_record(call.caller, "audit:verify", ""),
                                         security::AuditLog::Urgency::kEssential));
    const bool writable = !appliance_.audit().state().latched;
    if (appliance_.phase() == Phase::kUnsealed && writable) OSTAL_TRYV(appliance_.audit().checkpoint());
    security::AuditVerifyOptions options;
    options.folder = appliance_.state_path("audit");
    OSTAL_TRY(const auto snapshot, appliance_.audit().snapshot());
    options.snapshot = &snapshot;
    OSTAL_TRY(const auto verdict, security::verify_audit(options, appliance_.files()));
    return verdict_to_json(verdict);
}

Result<json::Value> Operations::audit_recover(Invocation&) {
    OSTAL_TRYV(appliance_.audit().recover());
    const auto audit = appliance_.audit().state();
    return json::Value(json::Object{{"audit_writable", !audit.latched}, {"audit_records", static_cast<std::int64_t>(audit.records)}});
}

}  // namespace ostal
