#include "security/signature/manifest.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <initializer_list>
#include <set>

#include "base/clock.h"
#include "security/crypto/hash.h"

namespace ostal::security {
namespace {

constexpr std::array<std::string_view, 4> kRoleNames = {"root", "timestamp", "snapshot", "targets"};

tl::unexpected<Error> malformed(std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because("malformed"));
}
tl::unexpected<Error> unsupported(std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because("unsupported"));
}
tl::unexpected<Error> too_large(std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because("too_large"));
}
// Type errors of the JSON helpers are defects of a signed file, not of a request.
template <typename T>
Result<T> checked(Result<T> result) {
    if (result) return result;
    return malformed(result.error().to_string());
}

// One object whose members are all known, extensions ("x-...") aside.
Status only_members(const json::Object& object, std::string_view where,
                    std::initializer_list<std::string_view> known) {
    for (const auto& [name, value] : object) {
        if (name.starts_with("x-")) continue;
        if (std::find(known.begin(), known.end(), name) == known.end()) {
            return unsupported("the member " + json::quote(name.substr(0, 80)) + " of " + std::string(where) +
                               " is not known to this version");
        }
    }
    return {};
}

bool is_hex(std::string_view text, std::size_t digits) {
    return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

Result<std::string> hex_member(const json::Object& object, std::string_view key, std::size_t digits) {
    OSTAL_TRY(std::string text, checked(json::string_member(object, key)));
    if (!is_hex(text, digits)) {
        return malformed(std::string(key) + ": expected " + std::to_string(digits) +
                         " lower-case hex digits");
    }
    return text;
}

Result<std::uint64_t> number_member(const json::Object& object, std::string_view key, std::int64_t least) {
    OSTAL_TRY(const std::int64_t number, checked(json::int_member(object, key)));
    if (number < least || static_cast<std::uint64_t>(number) > kMaxVersion) {
        return malformed(std::string(key) + ": " + std::to_string(number) + " is out of range");
    }
    return static_cast<std::uint64_t>(number);
}

Result<std::string> hashes_member(const json::Object& object) {
    OSTAL_TRY(const json::Object* hashes, checked(json::object_member(object, "hashes")));
    if (hashes->size() != 1) return unsupported("hashes: expected sha256 and nothing else");
    return hex_member(*hashes, "sha256", 64);
}

// ---- envelope and head ----

struct Envelope {
    json::Value document;
    const json::Object* body = nullptr;  // `signed`, inside document
    Metadata metadata;
};

Result<std::vector<RoleSignature>> parse_signatures(const json::Object& envelope) {
    OSTAL_TRY(const json::Array* list, checked(json::array_member(envelope, "signatures")));
    std::vector<RoleSignature> out;
    std::set<KeyId> seen;
    for (const json::Value& element : *list) {
        OSTAL_TRY(const json::Object* entry, checked(json::object_at(element, "signatures")));
        if (entry->size() != 2) return unsupported("a signature has members beside keyid and sig");
        RoleSignature signature;
        OSTAL_TRY(signature.key_id, hex_member(*entry, "keyid", 64));
        OSTAL_TRY(const std::string sig, hex_member(*entry, "sig", 128));
        OSTAL_TRY(const Bytes bytes, checked(from_hex(sig)));
        std::copy(bytes.begin(), bytes.end(), signature.bytes.begin());
        if (!seen.insert(signature.key_id).second) {
            return malformed("two signatures name the key " + signature.key_id);
        }
        out.push_back(std::move(signature));
    }
    return out;
}

bool is_supported_spec(std::string_view version) {
    if (version == "1.0") return true;
    if (!version.starts_with("1.0.") || version.size() > 8 || version.size() < 5) return false;
    return std::all_of(version.begin() + 4, version.end(), [](char c) { return c >= '0' && c <= '9'; });
}

Result<Metadata> parse_head(const json::Value& body_value, const json::Object& body) {
    Metadata out;
    OSTAL_TRY(const std::string type, checked(json::string_member(body, "_type")));
    OSTAL_TRY(out.role, metadata_role_from_name(type));
    OSTAL_TRY(const std::string spec, checked(json::string_member(body, "spec_version")));
    if (!is_supported_spec(spec)) {
        return unsupported("metadata of the specification " + json::quote(spec.substr(0, 40)) +
                           ", this build reads 1.0");
    }
    OSTAL_TRY(out.version, number_member(body, "version", 1));
    OSTAL_TRY(const std::string expires, checked(json::string_member(body, "expires")));
    OSTAL_TRY(out.expires_us, checked(parse_utc(expires)));
    out.canonical = json::to_olpc(body_value);
    return out;
}

Result<Envelope> parse_envelope(ByteSpan bytes) {
    json::Limits limits;
    limits.max_depth = kMaxMetadataDepth;
    limits.max_bytes = kMaxMetadataBytes;
    limits.integers_only = true;
    auto parsed = json::parse(as_text(bytes), limits);
    if (!parsed) {
        if (parsed.error().code() == Code::kTooLarge) return too_large(parsed.error().to_string());
        return malformed(parsed.error().to_string());
    }
    Envelope out;
    out.document = std::move(*parsed);
    OSTAL_TRY(const json::Object* envelope, checked(json::object_at(out.document, "the file")));
    if (envelope->size() != 2) return unsupported("the file has members beside signatures and signed");
    const json::Value* body_value = envelope->find("signed");
    if (body_value == nullptr || !body_value->is_object())
        return malformed("the object \"signed\" is missing");
    out.body = &body_value->as_object();
    OSTAL_TRY(out.metadata, parse_head(*body_value, *out.body));
    OSTAL_TRY(out.metadata.signatures, parse_signatures(*envelope));
    return out;
}

Result<Envelope> parse_role(ByteSpan bytes, MetadataRole role) {
    OSTAL_TRY(Envelope envelope, parse_envelope(bytes));
    if (envelope.metadata.role != role) {
        return malformed("the file says that it is " +
                         std::string(metadata_role_name(envelope.metadata.role)) + " metadata, not " +
                         std::string(metadata_role_name(role)));
    }
    return envelope;
}

// ---- root ----

Result<PublicKeyBytes> parse_key(const KeyId& id, const json::Value& value) {
    OSTAL_TRY(const json::Object* object, checked(json::object_at(value, "keys")));
    OSTAL_TRYV(only_members(*object, "a key", {"keytype", "scheme", "keyval"}));
    OSTAL_TRY(const std::string type, checked(json::string_member(*object, "keytype")));
    OSTAL_TRY(const std::string scheme, checked(json::string_member(*object, "scheme")));
    if (type != "ed25519" || scheme != "ed25519") return unsupported("a key of another kind than ed25519");
    OSTAL_TRY(const json::Object* keyval, checked(json::object_member(*object, "keyval")));
    if (keyval->size() != 1) return unsupported("keyval has members beside public");
    OSTAL_TRY(const std::string hex, hex_member(*keyval, "public", 64));
    OSTAL_TRY(const Bytes bytes, checked(from_hex(hex)));
    PublicKeyBytes key{};
    std::copy(bytes.begin(), bytes.end(), key.begin());
    if (key_id_of(key) != id)
        return malformed("the key id " + id.substr(0, 80) + " is not the digest of its key");
    return key;
}

Result<RoleKeys> parse_role_keys(const json::Object& roles, MetadataRole role,
                                 const std::map<KeyId, PublicKeyBytes>& keys) {
    OSTAL_TRY(const json::Object* object, checked(json::object_member(roles, metadata_role_name(role))));
    OSTAL_TRYV(only_members(*object, "a role", {"keyids", "threshold"}));
    RoleKeys out;
    OSTAL_TRY(const std::uint64_t threshold, number_member(*object, "threshold", 1));
    OSTAL_TRY(const json::Array* ids, checked(json::array_member(*object, "keyids")));
    for (const json::Value& id : *ids) {
        if (!id.is_string() || !is_hex(id.as_string(), 64))
            return malformed("keyids: expected 64 lower-case hex digits");
        if (!keys.contains(id.as_string()))
            return malformed("a role names the key " + id.as_string() + " that is not listed");
        if (std::find(out.key_ids.begin(), out.key_ids.end(), id.as_string()) != out.key_ids.end()) {
            return malformed("a role names the key " + id.as_string() + " twice");
        }
        out.key_ids.push_back(id.as_string());
    }
    if (threshold > out.key_ids.size()) {
        return malformed("the role " + std::string(metadata_role_name(role)) + " asks for " +
                         std::to_string(threshold) + " signatures and has " +
                         std::to_string(out.key_ids.size()) + " keys");
    }
    out.threshold = static_cast<std::uint32_t>(threshold);
    return out;
}

// ---- timestamp and snapshot ----

Result<FilePin> parse_pin(const json::Object& body, std::string_view file) {
    OSTAL_TRY(const json::Object* meta, checked(json::object_member(body, "meta")));
    OSTAL_TRYV(only_members(*meta, "meta", {file}));
    OSTAL_TRY(const json::Object* object, checked(json::object_member(*meta, file)));
    OSTAL_TRYV(only_members(*object, file, {"version", "length", "hashes"}));
    FilePin out;
    OSTAL_TRY(out.version, number_member(*object, "version", 1));
    OSTAL_TRY(out.length, number_member(*object, "length", 1));
    if (out.length > kMaxMetadataBytes) {
        return too_large(std::string(file) + " is said to have " + std::to_string(out.length) +
                         " bytes, at most " + std::to_string(kMaxMetadataBytes) + " are read");
    }
    OSTAL_TRY(out.sha256, hashes_member(*object));
    return out;
}

// ---- targets ----

Result<TargetCustom> parse_custom(const json::Object& object) {
    OSTAL_TRYV(only_members(
        object, "custom",
        {"kind", "model", "version", "layout", "format", "default_system", "license", "chunk_root"}));
    TargetCustom out;
    OSTAL_TRY(out.kind, checked(json::string_member(object, "kind")));
    if (out.kind != "model")
        return unsupported("a target of the kind " + json::quote(out.kind.substr(0, 40)));
    OSTAL_TRY(out.model, checked(json::string_member(object, "model")));
    OSTAL_TRY(out.version, number_member(object, "version", 1));
    OSTAL_TRY(out.layout, checked(json::string_member(object, "layout")));
    OSTAL_TRY(out.format, checked(json::string_member(object, "format")));
    OSTAL_TRY(out.default_system, checked(json::string_member(object, "default_system")));
    OSTAL_TRY(out.license, checked(json::string_member(object, "license")));
    OSTAL_TRY(out.chunk_root, hex_member(object, "chunk_root", 64));
    if (!is_instruct_format(out.format))
        return unsupported("the instruct format " + json::quote(out.format.substr(0, 40)));
    return out;
}

Result<Target> parse_target(const std::string& path, const json::Value& value) {
    Target out;
    OSTAL_TRY(out.path, parse_target_path(path));
    OSTAL_TRY(const json::Object* object, checked(json::object_at(value, "targets")));
    OSTAL_TRYV(only_members(*object, "a target", {"length", "hashes", "custom"}));
    OSTAL_TRY(out.length, number_member(*object, "length", 0));
    OSTAL_TRY(out.sha256, hashes_member(*object));
    OSTAL_TRY(const json::Object* custom, checked(json::object_member(*object, "custom")));
    OSTAL_TRY(out.custom, parse_custom(*custom));
    if (out.custom.model != out.path.model || out.custom.version != out.path.version) {
        return malformed("custom names another model or version than the path");
    }
    const std::string_view layout = layout_of(out.path.file);
    if (layout.empty()) return unsupported("models have no files of this kind: " + out.path.file);
    if (layout != out.custom.layout) return malformed("the layout is not the one of the file name");
    out.object = value;
    return out;
}

// What all files of a version must share: custom without layout and chunk_root, "x-" members included.
std::string shared_custom(const Target& target) {
    json::Object custom = target.object.find("custom")->as_object();
    custom.erase("layout");
    custom.erase("chunk_root");
    return json::to_olpc(custom);
}

Status check_versions_agree(const std::vector<Target>& targets) {
    std::map<std::pair<std::string, std::uint64_t>, std::string> shared;
    std::set<std::string> folded;
    for (const Target& target : targets) {
        const std::string path = target.path.to_string();
        if (!folded.insert(fold_case(path)).second)
            return malformed("two target paths differ in case alone: " + path);
        const auto [entry, is_first] =
            shared.try_emplace({target.path.model, target.path.version}, shared_custom(target));
        if (!is_first && entry->second != shared_custom(target)) {
            return malformed("the files of " + target.path.model + " version " +
                             std::to_string(target.path.version) + " disagree in custom");
        }
    }
    return {};
}

// "….part000": how a piece of a large target is called on a medium.
bool is_part_name(std::string_view file_name) {
    constexpr std::string_view kForm = ".partddd";
    if (file_name.size() < kForm.size()) return false;
    const std::string_view end = file_name.substr(file_name.size() - kForm.size());
    return std::equal(end.begin(), end.end(), kForm.begin(),
                      [](char c, char form) { return form == 'd' ? c >= '0' && c <= '9' : c == form; });
}

bool is_plain_name(std::string_view file_name, std::string_view stem) {
    if (!file_name.starts_with(stem)) return false;
    const std::string_view suffix = file_name.substr(stem.size());
    return suffix.empty() || suffix == ".md" || suffix == ".txt";
}

}  // namespace

std::string_view metadata_role_name(MetadataRole role) { return kRoleNames[static_cast<std::size_t>(role)]; }

Result<MetadataRole> metadata_role_from_name(std::string_view name) {
    for (const MetadataRole role : kMetadataRoles) {
        if (metadata_role_name(role) == name) return role;
    }
    return unsupported("metadata of the role " + json::quote(name.substr(0, 40)));
}

KeyId key_id_of(const PublicKeyBytes& key) {
    const json::Object object = {
        {"keytype", "ed25519"}, {"scheme", "ed25519"}, {"keyval", json::Object{{"public", to_hex(key)}}}};
    return to_hex(sha256(as_bytes(json::to_olpc(object))));
}

bool is_instruct_format(std::string_view name) {
    return std::find(kInstructFormats.begin(), kInstructFormats.end(), name) != kInstructFormats.end();
}

std::string_view layout_of(std::string_view file_name) {
    if (!is_file_name(file_name) || is_part_name(file_name)) return "";
    if (file_name == "tekken.json") return "tekken";
    if (file_name.ends_with(".safetensors")) return "safetensors";
    if (file_name.ends_with(".gguf")) return "gguf";
    if (file_name.ends_with(".json")) return "json";
    if (file_name.starts_with("tokenizer.model")) return "sentencepiece";
    if (file_name.ends_with(".txt")) return "text";
    for (const std::string_view stem : {"README", "NOTICE", "LICENSE"}) {
        if (is_plain_name(file_name, stem)) return "text";
    }
    return "";
}

std::string target_digest_hex(const Target& target) {
    const json::Object object = {{target.path.to_string(), target.object}};
    return to_hex(sha256(as_bytes(json::to_olpc(object))));
}

std::uint64_t ModelManifest::total_bytes() const {
    std::uint64_t sum = 0;
    for (const Target& file : files) sum += file.length;
    return sum;
}

std::string ModelManifest::digest_hex() const {
    json::Object object;
    for (const Target& file : files) object.append(file.path.to_string(), file.object);
    return to_hex(sha256(as_bytes(json::to_olpc(object))));
}

std::vector<ModelManifest> manifests_of(const Targets& targets) {
    std::map<std::pair<std::string, std::uint64_t>, ModelManifest> grouped;
    for (const Target& target : targets.targets) {
        ModelManifest& manifest = grouped[{target.path.model, target.path.version}];
        manifest.model = target.path.model;
        manifest.version = target.path.version;
        manifest.format = target.custom.format;
        manifest.default_system = target.custom.default_system;
        manifest.license = target.custom.license;
        manifest.files.push_back(target);
    }
    std::vector<ModelManifest> out;
    for (auto& [key, manifest] : grouped) {
        std::sort(manifest.files.begin(), manifest.files.end(),
                  [](const Target& a, const Target& b) { return a.path.file < b.path.file; });
        out.push_back(std::move(manifest));
    }
    return out;
}

Result<Root> parse_root(ByteSpan bytes) {
    OSTAL_TRY(Envelope envelope, parse_role(bytes, MetadataRole::kRoot));
    const json::Object& body = *envelope.body;
    OSTAL_TRYV(only_members(
        body, "root",
        {"_type", "spec_version", "version", "expires", "consistent_snapshot", "keys", "roles"}));
    const json::Value* consistent = body.find("consistent_snapshot");
    if (consistent == nullptr || !consistent->is_bool() || !consistent->as_bool()) {
        return unsupported("a repository without consistent snapshots");
    }
    Root out;
    out.metadata = std::move(envelope.metadata);
    OSTAL_TRY(const json::Object* keys, checked(json::object_member(body, "keys")));
    for (const auto& [id, value] : *keys) {
        OSTAL_TRY(const PublicKeyBytes key, parse_key(id, value));
        out.keys.emplace(id, key);
    }
    OSTAL_TRY(const json::Object* roles, checked(json::object_member(body, "roles")));
    OSTAL_TRYV(only_members(*roles, "roles", {"root", "timestamp", "snapshot", "targets"}));
    for (const MetadataRole role : kMetadataRoles) {
        OSTAL_TRY(out.roles[static_cast<std::size_t>(role)], parse_role_keys(*roles, role, out.keys));
    }
    return out;
}

Result<Timestamp> parse_timestamp(ByteSpan bytes) {
    OSTAL_TRY(Envelope envelope, parse_role(bytes, MetadataRole::kTimestamp));
    OSTAL_TRYV(
        only_members(*envelope.body, "timestamp", {"_type", "spec_version", "version", "expires", "meta"}));
    Timestamp out;
    out.metadata = std::move(envelope.metadata);
    OSTAL_TRY(out.snapshot, parse_pin(*envelope.body, "snapshot.json"));
    return out;
}

Result<Snapshot> parse_snapshot(ByteSpan bytes) {
    OSTAL_TRY(Envelope envelope, parse_role(bytes, MetadataRole::kSnapshot));
    OSTAL_TRYV(
        only_members(*envelope.body, "snapshot", {"_type", "spec_version", "version", "expires", "meta"}));
    Snapshot out;
    out.metadata = std::move(envelope.metadata);
    OSTAL_TRY(out.targets, parse_pin(*envelope.body, "targets.json"));
    return out;
}

Result<Targets> parse_targets(ByteSpan bytes) {
    OSTAL_TRY(Envelope envelope, parse_role(bytes, MetadataRole::kTargets));
    OSTAL_TRYV(
        only_members(*envelope.body, "targets", {"_type", "spec_version", "version", "expires", "targets"}));
    Targets out;
    out.metadata = std::move(envelope.metadata);
    OSTAL_TRY(const json::Object* targets, checked(json::object_member(*envelope.body, "targets")));
    for (const auto& [path, value] : *targets) {
        auto target = parse_target(path, value);
        if (!target) return fail(std::move(target).error().with("in the target " + path.substr(0, 200)));
        out.targets.push_back(std::move(*target));
    }
    std::sort(out.targets.begin(), out.targets.end(),
              [](const Target& a, const Target& b) { return a.path.to_string() < b.path.to_string(); });
    OSTAL_TRYV(check_versions_agree(out.targets));
    return out;
}

Result<Metadata> parse_metadata_head(ByteSpan bytes) {
    OSTAL_TRY(Envelope envelope, parse_envelope(bytes));
    return std::move(envelope.metadata);
}

Result<std::int64_t> parse_utc(std::string_view text) {
    const auto refuse = [&] {
        return fail(Code::kInvalidArgument,
                    "expected a time such as 2027-12-31T00:00:00Z, found " + json::quote(text.substr(0, 40)));
    };
    constexpr std::string_view kForm = "dddd-dd-ddTdd:dd:ddZ";
    if (text.size() != kForm.size()) return refuse();
    std::array<int, 6> fields{};
    std::size_t field = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (kForm[i] != 'd') {
            if (text[i] != kForm[i]) return refuse();
            ++field;
        } else {
            if (text[i] < '0' || text[i] > '9') return refuse();
            fields[field] = fields[field] * 10 + (text[i] - '0');
        }
    }
    using namespace std::chrono;
    const year_month_day date{year{fields[0]}, month{static_cast<unsigned>(fields[1])},
                              day{static_cast<unsigned>(fields[2])}};
    if (!date.ok() || fields[0] < 1970 || fields[3] > 23 || fields[4] > 59 || fields[5] > 59) return refuse();
    const auto time = sys_days{date} + hours{fields[3]} + minutes{fields[4]} + seconds{fields[5]};
    return duration_cast<microseconds>(time.time_since_epoch()).count();
}

std::string format_utc(std::int64_t wall_us) { return to_rfc3339(wall_us).substr(0, 19) + "Z"; }

}  // namespace ostal::security
