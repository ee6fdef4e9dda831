// model: import, list, verify, approve, activate, rollback, grant.
#include "appliance/control/invocation.h"
#include "appliance/core/load_model.h"
#include "appliance/model_store/import.h"

namespace ostal {
namespace {

constexpr std::int64_t kVerifyLimit_us = 600'000'000;

json::Value version_to_json(const ModelVersion& version) {
    return json::Object{{"name", version.model}, {"version", static_cast<std::int64_t>(version.version)},
                        {"state", version_state_name(version.state)}};
}

struct NamedVersion {
    std::string name;
    std::uint64_t version = 0;
};
Result<NamedVersion> named_version(const json::Object& args) {
    OSTAL_TRY(std::string name, json::string_member(args, "name"));
    OSTAL_TRY(const std::int64_t version, json::int_member(args, "version"));
    if (version < 1) return fail(Code::kInvalidArgument, "versions count from 1");
    return NamedVersion{std::move(name), static_cast<std::uint64_t>(version)};
}

std::string_view stage_text(ImportProgress::Stage stage) {
    switch (stage) {
        case ImportProgress::Stage::kCopying: return "copying";
        case ImportProgress::Stage::kChecking: return "checking";
        case ImportProgress::Stage::kSealing: return "encrypting";
    }
    return "importing";
}

}  // namespace

// Loads the version and lets it answer a known prompt. Clients meet it once the store has confirmed it.
HealthGate Operations::health_gate(std::shared_ptr<LoadedModel>& passed) {
    return [this, &passed](const std::string& name, std::uint64_t version) -> Status {
        if (appliance_.is_loading(name)) {
            return fail(Code::kUnavailable, name + " is still being loaded; try again in a moment");
        }
        OSTAL_TRY(auto model, appliance_.load_model(name, version));
        OSTAL_TRYV(answers_a_prompt(*model, appliance_.clock()));
        passed = std::move(model);
        return {};
    };
}

// Sealing and the end of the process stop what takes long.
bool Operations::may_go_on(const Invocation& call) const {
    return !appliance_.ending() && appliance_.vault() == call.vault;
}

Result<json::Value> Operations::model_import(Invocation& call) {
    OSTAL_TRY(const auto names, call.texts("files"));
    if (names.size() != call.descriptors.size()) return fail(Code::kInvalidArgument, "files and descriptors do not match");
    security::Zygote* zygote = appliance_.zygote();
    if (zygote == nullptr) return fail(Code::kUnavailable, "this daemon has no process to check imports with");
    std::vector<std::pair<std::string, int>> passed;
    for (std::size_t i = 0; i < names.size(); ++i) passed.emplace_back(names[i], call.descriptors[i].release());
    OSTAL_TRY(const Medium medium, Medium::adopt(passed));

    ImportOptions options;
    options.imported_by = call.caller.subject.id;
    options.runner = [zygote](const std::string& request, std::span<const int> descriptors) {
        return zygote->run(request, descriptors, kVerifyLimit_us);
    };
    std::string told;
    options.progress = [&](const ImportProgress& progress) {
        const std::string now = std::string(stage_text(progress.stage)) + " " + progress.file;
        if (now != told) call.progress(now);
        told = now;
        return may_go_on(call);
    };
    OSTAL_TRY(const ImportReport report, import_medium(*call.vault->models, medium, options));
    json::Array out;
    for (const ImportedVersion& imported : report.versions) {
        OSTAL_TRY(const ModelVersion version, call.vault->models->get(imported.model, imported.version));
        out.push_back(version_to_json(version));
    }
    return json::Value(std::move(out));
}

Result<json::Value> Operations::model_list(Invocation& call) {
    OSTAL_TRY(const auto versions, call.vault->models->list());
    json::Array out;
    for (const ModelVersion& version : versions) {
        const auto loaded = appliance_.models().find(version.model);
        json::Value row = version_to_json(version);
        json::Object& fields = row.as_object();
        fields.append("loaded", loaded != nullptr && loaded->version == version.version);
        fields.append("previous", version.is_previous);
        fields.append("format", version.format);
        fields.append("license", version.license);
        fields.append("anchor", version.anchor);
        fields.append("bytes", static_cast<std::int64_t>(version.total_bytes));
        fields.append("digest", version.manifest_sha256);
        out.push_back(std::move(row));
    }
    return json::Value(std::move(out));
}

Result<json::Value> Operations::model_verify(Invocation& call) {
    OSTAL_TRY(const auto wanted, named_version(call.args));
    OSTAL_TRYV(call.vault->models->verify_version(wanted.name, wanted.version, [&](std::uint64_t, std::uint64_t) { return may_go_on(call); }));
    OSTAL_TRY(const auto version, call.vault->models->get(wanted.name, wanted.version));
    return version_to_json(version);
}

Result<json::Value> Operations::model_approve(Invocation& call) {
    OSTAL_TRY(const auto wanted, named_version(call.args));
    OSTAL_TRY(const auto version, call.vault->models->get(wanted.name, wanted.version));
    OSTAL_TRY(const std::uint32_t required, call.vault->users.approvals_required());
    OSTAL_TRY(const auto approved, call.vault->models->approve(wanted.name, wanted.version, version.manifest_sha256,
                                                               call.caller.subject.id, static_cast<int>(required)));
    json::Value out = version_to_json(approved);
    out.as_object().append("approvals", static_cast<std::int64_t>(approved.approvals.size()));
    out.as_object().append("approvals_required", static_cast<std::int64_t>(required));
    return out;
}

Result<json::Value> Operations::model_activate(Invocation& call) {
    OSTAL_TRY(const auto wanted, named_version(call.args));
    OSTAL_TRY(const std::uint32_t required, call.vault->users.approvals_required());
    std::shared_ptr<LoadedModel> passed;
    OSTAL_TRY(const auto active, call.vault->models->activate(wanted.name, wanted.version, call.caller.subject.id,
                                                              static_cast<int>(required), health_gate(passed)));
    appliance_.put_model(std::move(passed));
    return version_to_json(active);
}

Result<json::Value> Operations::model_rollback(Invocation& call) {
    OSTAL_TRY(const std::string name, call.text("name"));
    std::shared_ptr<LoadedModel> passed;
    OSTAL_TRY(const auto active, call.vault->models->rollback(name, call.caller.subject.id, health_gate(passed)));
    appliance_.put_model(std::move(passed));
    return version_to_json(active);
}

Result<json::Value> Operations::model_grant(Invocation& call) {
    OSTAL_TRY(const std::string name, call.text("name"));
    OSTAL_TRY(const auto project, call.project());
    OSTAL_TRYV(call.vault->tenants.grant_model(project.tenant, project.id, name));
    return json::Value(json::Object{{"model", name}, {"project", project.name}});
}

}  // namespace ostal
