#include "appliance/cli/ostal_bundle/inspect.h"

namespace ostal::bundle {
namespace {

using security::Metadata;
using Role = security::MetadataRole;

Result<json::Array> inspect_roles(const Repository& repository) {
    OSTAL_TRY(const auto states, role_states(repository));
    json::Array out;
    for (const RoleState& state : states) {
        const Bytes& file = state.role == Role::kRoot       ? repository.roots.back()
                            : state.role == Role::kTargets  ? *repository.targets
                            : state.role == Role::kSnapshot ? *repository.snapshot
                                                            : *repository.timestamp;
        OSTAL_TRY(const Metadata head, security::parse_metadata_head(file));
        json::Array signers;
        for (const security::RoleSignature& signature : head.signatures)
            signers.emplace_back(signature.key_id);
        out.emplace_back(json::Object{{"role", metadata_role_name(state.role)},
                                      {"version", json::Value(state.version)},
                                      {"expires", security::format_utc(head.expires_us)},
                                      {"signatures", static_cast<std::int64_t>(state.signatures)},
                                      {"threshold", static_cast<std::int64_t>(state.threshold)},
                                      {"signers", std::move(signers)},
                                      {"complete", state.is_complete()}});
    }
    return out;
}

json::Value inspect_version(const security::ModelManifest& manifest) {
    json::Array files;
    for (const security::Target& target : manifest.files) {
        files.emplace_back(json::Object{{"name", target.path.file},
                                        {"layout", target.custom.layout},
                                        {"length", json::Value(target.length)},
                                        {"sha256", target.sha256},
                                        {"chunk_root", target.custom.chunk_root}});
    }
    return json::Object{{"model", manifest.model},
                        {"version", json::Value(manifest.version)},
                        {"format", manifest.format},
                        {"default_system", manifest.default_system},
                        {"license", manifest.license},
                        {"manifest_sha256", manifest.digest_hex()},
                        {"total_bytes", json::Value(manifest.total_bytes())},
                        {"files", std::move(files)}};
}

std::string text_of(const json::Value* value) {
    if (value == nullptr) return "";
    return value->is_string() ? value->as_string() : json::to_string(*value);
}

}  // namespace

Result<json::Object> inspect_repository(const Repository& repository) {
    json::Object out = {{"verified", false}};
    OSTAL_TRY(json::Array roles, inspect_roles(repository));
    out.append("roles", std::move(roles));
    json::Array versions;
    if (repository.targets) {
        OSTAL_TRY(const security::Targets targets, security::parse_targets(*repository.targets));
        for (const auto& manifest : security::manifests_of(targets))
            versions.push_back(inspect_version(manifest));
    }
    out.append("versions", std::move(versions));
    return out;
}

std::string inspect_text(const json::Object& inspected) {
    std::string out = "Not verified: this is what the bundle says of itself.\n";
    for (const json::Value& role : inspected.find("roles")->as_array()) {
        out += text_of(role.find("role")) + " version " + text_of(role.find("version")) + ", expires " +
               text_of(role.find("expires")) + ", " + text_of(role.find("signatures")) + " of " +
               text_of(role.find("threshold")) + " signatures";
        for (const json::Value& signer : role.find("signers")->as_array())
            out += "\n  by " + signer.as_string();
        out += "\n";
    }
    for (const json::Value& version : inspected.find("versions")->as_array()) {
        out += "model " + text_of(version.find("model")) + " version " + text_of(version.find("version")) +
               ", format " + text_of(version.find("format")) + ", licence " +
               text_of(version.find("license")) + "\n  manifest " + text_of(version.find("manifest_sha256")) +
               "\n";
        for (const json::Value& file : version.find("files")->as_array()) {
            out += "  " + text_of(file.find("sha256")) + "  " + text_of(file.find("length")) + "  " +
                   text_of(file.find("name")) + "\n";
        }
    }
    return out;
}

}  // namespace ostal::bundle
