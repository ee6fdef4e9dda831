#include "appliance/model_store/verify.h"

#include <unistd.h>

#include <sys/stat.h>
#include <algorithm>
#include <cerrno>

#include "engine/io/model_files.h"
#include "security/crypto/ed25519.h"
#include "security/crypto/hash.h"

namespace ostal {
namespace {

constexpr std::size_t kHeadBytes = 512;

tl::unexpected<Error> bad_request(std::string why) {
    return fail(Code::kInternal, "verify job: " + std::move(why));
}

Status read_at(int descriptor, const std::string& name, std::uint64_t offset, MutableByteSpan out) {
    std::size_t done = 0;
    while (done < out.size()) {
        const ssize_t got =
            ::pread(descriptor, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(errno_error(errno, "cannot read " + name));
        if (got == 0) {
            return fail(Error(Code::kIntegrity, "the file " + name + " ends too early").because("mismatch"));
        }
        done += static_cast<std::size_t>(got);
    }
    return {};
}

Result<std::uint64_t> size_of(int descriptor, const std::string& name) {
    struct stat info {};
    if (::fstat(descriptor, &info) < 0) return fail(errno_error(errno, "cannot stat " + name));
    if (!S_ISREG(info.st_mode)) return fail(Code::kIntegrity, name + " is not a regular file");
    return static_cast<std::uint64_t>(info.st_size);
}

// The engine's view of descriptors.
class DescriptorSource final : public engine::WeightSource {
public:
    static Result<DescriptorSource> over(const std::vector<StagedFile>& files) {
        DescriptorSource source;
        source.opened_ = files;
        std::sort(source.opened_.begin(), source.opened_.end(),
                  [](const StagedFile& a, const StagedFile& b) { return a.name < b.name; });
        for (const StagedFile& file : source.opened_) {
            OSTAL_TRY(const std::uint64_t size, size_of(file.descriptor, file.name));
            source.listed_.push_back({file.name, size});
        }
        return source;
    }
    const std::vector<engine::SourceFile>& files() const override { return listed_; }
    Status read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const override {
        for (std::size_t i = 0; i < listed_.size(); ++i) {
            if (listed_[i].name != name) continue;
            if (offset > listed_[i].size_bytes || out.size() > listed_[i].size_bytes - offset) {
                return fail(Code::kInvalidArgument, "a read past the end of " + listed_[i].name);
            }
            return read_at(opened_[i].descriptor, listed_[i].name, offset, out);
        }
        return fail(Code::kNotFound, "there is no file " + std::string(name));
    }

private:
    std::vector<StagedFile> opened_;
    std::vector<engine::SourceFile> listed_;
};

// ---- requests and answers ----

json::Value to_json(const security::SeenVersions& seen) {
    json::Object out;
    for (const auto& [name, role] :
         {std::pair{"timestamp", &seen.timestamp}, std::pair{"snapshot", &seen.snapshot},
          std::pair{"targets", &seen.targets}}) {
        out.append(name, json::Object{{"version", json::Value(role->version)}, {"digest", role->digest}});
    }
    return out;
}

Result<security::SeenVersions> seen_from_json(const json::Object& object) {
    security::SeenVersions out;
    for (const auto& [name, role] :
         {std::pair{"timestamp", &out.timestamp}, std::pair{"snapshot", &out.snapshot},
          std::pair{"targets", &out.targets}}) {
        OSTAL_TRY(const json::Object* entry, json::object_member(object, name));
        OSTAL_TRY(const std::int64_t version, json::int_member(*entry, "version"));
        role->version = static_cast<std::uint64_t>(version);
        OSTAL_TRY(role->digest, json::string_member(*entry, "digest"));
    }
    return out;
}

json::Value to_json(const TrustView& trust) {
    json::Array anchors;
    for (const security::AnchorRoots& anchor : trust.anchors) {
        json::Array roots;
        for (const Bytes& root : anchor.roots) roots.emplace_back(as_text(root));
        json::Object entry = {{"name", anchor.name}, {"roots", std::move(roots)}};
        const auto seen = trust.seen.find(anchor.name);
        if (seen != trust.seen.end()) entry.append("seen", to_json(seen->second));
        anchors.emplace_back(std::move(entry));
    }
    return json::Object{{"anchors", std::move(anchors)}, {"now_us", trust.now_us}};
}

Result<TrustView> trust_from_json(const json::Object& object) {
    TrustView out;
    OSTAL_TRY(out.now_us, json::int_member(object, "now_us"));
    OSTAL_TRY(const json::Array* anchors, json::array_member(object, "anchors"));
    for (const json::Value& element : *anchors) {
        OSTAL_TRY(const json::Object* entry, json::object_at(element, "anchors"));
        security::AnchorRoots anchor;
        OSTAL_TRY(anchor.name, json::string_member(*entry, "name"));
        OSTAL_TRY(const json::Array* roots, json::array_member(*entry, "roots"));
        for (const json::Value& root : *roots) {
            if (!root.is_string()) return bad_request("a root is no text");
            const ByteSpan bytes = as_bytes(root.as_string());
            anchor.roots.emplace_back(bytes.begin(), bytes.end());
        }
        if (entry->contains("seen")) {
            OSTAL_TRY(const json::Object* seen, json::object_member(*entry, "seen"));
            OSTAL_TRY(out.seen[anchor.name], seen_from_json(*seen));
        }
        out.anchors.push_back(std::move(anchor));
    }
    return out;
}

std::string answer_of(const Result<json::Value>& result) {
    if (result) return json::to_string(json::Object{{"ok", *result}});
    const Error& error = result.error();
    return json::to_string(json::Object{{"error", json::Object{{"code", code_name(error.code())},
                                                               {"reason", error.reason()},
                                                               {"message", error.to_string()}}}});
}

// What the job answered, as value or error.
Result<json::Value> read_answer(const std::string& text) {
    OSTAL_TRY(const json::Value answer, json::parse(text));
    if (const json::Value* ok = answer.find("ok")) return *ok;
    OSTAL_TRY(const json::Object* outer, json::object_at(answer, "answer"));
    OSTAL_TRY(const json::Object* error, json::object_member(*outer, "error"));
    OSTAL_TRY(const std::string code, json::string_member(*error, "code"));
    OSTAL_TRY(std::string reason, json::string_member(*error, "reason"));
    OSTAL_TRY(std::string message, json::string_member(*error, "message"));
    return fail(Error(code_from_name(code), std::move(message)).because(std::move(reason)));
}

Result<std::vector<StagedFile>> files_of(const json::Object& request, std::span<const int> descriptors) {
    OSTAL_TRY(const json::Array* names, json::array_member(request, "files"));
    if (names->size() != descriptors.size()) return bad_request("as many names as descriptors are needed");
    std::vector<StagedFile> out;
    for (std::size_t i = 0; i < names->size(); ++i) {
        if (!(*names)[i].is_string()) return bad_request("a name is no text");
        out.push_back({(*names)[i].as_string(), descriptors[i]});
    }
    return out;
}

// ---- the jobs ----

Result<json::Value> metadata_job(const json::Object& request, const std::vector<StagedFile>& files) {
    OSTAL_TRY(const TrustView trust, trust_from_json(request));
    security::MetadataFiles metadata;
    for (const StagedFile& file : files) {
        OSTAL_TRY(const std::uint64_t size, size_of(file.descriptor, file.name));
        if (size > security::kMaxMetadataBytes) {
            return fail(
                Error(Code::kIntegrity, "metadata/" + file.name + " is too large").because("too_large"));
        }
        Bytes content(static_cast<std::size_t>(size));
        OSTAL_TRYV(read_at(file.descriptor, file.name, 0, content));
        metadata.emplace(file.name, std::move(content));
    }
    OSTAL_TRY(const AnchoredRepository verified, verify_metadata(trust, metadata));
    return to_json(describe(verified));
}

Result<json::Value> model_job(const std::vector<StagedFile>& files) {
    OSTAL_TRY(const DescriptorSource source, DescriptorSource::over(files));
    for (const engine::SourceFile& file : source.files()) {
        Bytes head(static_cast<std::size_t>(std::min<std::uint64_t>(file.size_bytes, kHeadBytes)));
        OSTAL_TRYV(source.read(file.name, 0, head));
        OSTAL_TRYV(check_file_kind(file.name, head));
    }
    auto model = engine::ModelFiles::open(source);
    if (!model) return fail(std::move(model).error().because("unreadable_model"));
    return json::Value(json::Object{});
}

Result<json::Value> run_job(const std::string& request_text, std::span<const int> descriptors) {
    OSTAL_TRY(const json::Value request, json::parse(request_text));
    OSTAL_TRY(const json::Object* object, json::object_at(request, "request"));
    OSTAL_TRY(const std::string job, json::string_member(*object, "job"));
    OSTAL_TRY(const std::vector<StagedFile> files, files_of(*object, descriptors));
    if (job == "metadata") return metadata_job(*object, files);
    if (job == "model") return model_job(files);
    return bad_request("no such job");
}

Result<json::Value> ask(const VerifyRunner& runner, json::Value request_value,
                        const std::vector<StagedFile>& files) {
    json::Object request = request_value.as_object();
    json::Array names;
    std::vector<int> descriptors;
    for (const StagedFile& file : files) {
        names.emplace_back(file.name);
        descriptors.push_back(file.descriptor);
    }
    request.append("files", std::move(names));
    OSTAL_TRY(const std::string answer, runner(json::to_string(request), descriptors));
    return read_answer(answer);
}

}  // namespace

json::Value to_json(const VerifiedBundle& bundle) {
    json::Array versions;
    for (const ListedVersion& version : bundle.versions) {
        versions.emplace_back(json::Object{{"model", version.model},
                                           {"version", json::Value(version.version)},
                                           {"manifest_sha256", version.manifest_sha256},
                                           {"files", json::Value(version.files)},
                                           {"total_bytes", json::Value(version.total_bytes)}});
    }
    return json::Object{{"anchor", bundle.anchor},
                        {"root_version", json::Value(bundle.root_version)},
                        {"versions", std::move(versions)}};
}

Result<VerifiedBundle> bundle_from_json(const json::Value& value) {
    const auto number = [](const json::Object& object, std::string_view key) -> Result<std::uint64_t> {
        const json::Value* member = object.find(key);
        if (member == nullptr) return fail(Code::kInvalidArgument, std::string(key) + " is missing");
        return member->to_uint64();
    };
    VerifiedBundle out;
    OSTAL_TRY(const json::Object* object, json::object_at(value, "bundle"));
    OSTAL_TRY(out.anchor, json::string_member(*object, "anchor"));
    OSTAL_TRY(out.root_version, number(*object, "root_version"));
    OSTAL_TRY(const json::Array* versions, json::array_member(*object, "versions"));
    for (const json::Value& element : *versions) {
        OSTAL_TRY(const json::Object* entry, json::object_at(element, "versions"));
        ListedVersion version;
        OSTAL_TRY(version.model, json::string_member(*entry, "model"));
        OSTAL_TRY(version.version, number(*entry, "version"));
        OSTAL_TRY(version.manifest_sha256, json::string_member(*entry, "manifest_sha256"));
        OSTAL_TRY(version.files, number(*entry, "files"));
        OSTAL_TRY(version.total_bytes, number(*entry, "total_bytes"));
        out.versions.push_back(std::move(version));
    }
    return out;
}

Result<AnchoredRepository> verify_metadata(const TrustView& trust, const security::MetadataFiles& files) {
    std::vector<security::AnchorChain> anchors;
    for (const security::AnchorRoots& anchor : trust.anchors) {
        OSTAL_TRY(security::AnchorChain chain, security::parse_anchor(anchor));
        anchors.push_back(std::move(chain));
    }
    OSTAL_TRY(const security::AnchorChain* anchor, security::find_anchor(anchors, files));
    const auto seen = trust.seen.find(anchor->name);
    AnchoredRepository out;
    out.anchor = anchor->name;
    out.trusted = anchor->roots.back();
    OSTAL_TRY(out.repository,
              security::verify_repository(out.trusted,
                                          seen == trust.seen.end() ? security::SeenVersions{} : seen->second,
                                          files, trust.now_us));
    return out;
}

VerifiedBundle describe(const AnchoredRepository& verified) {
    VerifiedBundle out;
    out.anchor = verified.anchor;
    out.root_version = verified.repository.root.metadata.version;
    for (const security::ModelManifest& manifest : security::manifests_of(verified.repository.targets)) {
        out.versions.push_back({manifest.model, manifest.version, manifest.digest_hex(),
                                manifest.files.size(), manifest.total_bytes()});
    }
    return out;
}

std::string run_verify_job(const std::string& request, std::span<const int> descriptors) {
    return answer_of(run_job(request, descriptors));
}

Result<std::string> run_in_process(const std::string& request, std::span<const int> descriptors) {
    return run_verify_job(request, descriptors);
}

void prepare_verify_jobs() {
    const Bytes message = {1, 2, 3};
    (void)security::sha256(message);
    (void)security::ed25519_verify(Bytes(32), message, Bytes(64));
}

Result<VerifiedBundle> ask_metadata(const VerifyRunner& runner, const TrustView& trust,
                                    const std::vector<StagedFile>& metadata) {
    json::Value request = to_json(trust);
    request.as_object().append("job", "metadata");
    OSTAL_TRY(const json::Value answer, ask(runner, std::move(request), metadata));
    return bundle_from_json(answer);
}

Status ask_model(const VerifyRunner& runner, const std::vector<StagedFile>& files) {
    OSTAL_TRYV(ask(runner, json::Object{{"job", "model"}}, files));
    return {};
}

}  // namespace ostal
