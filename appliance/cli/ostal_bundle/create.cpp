#include "appliance/cli/ostal_bundle/create.h"

#include <algorithm>
#include <set>

#include "appliance/cli/ostal_bundle/instruct_format.h"
#include "appliance/cli/ostal_bundle/root.h"
#include "appliance/model_store/content.h"
#include "appliance/model_store/verify.h"
#include "engine/io/weight_source.h"

namespace ostal::bundle {
namespace {

constexpr std::size_t kBufferBytes = 1U << 20;
constexpr std::size_t kMaxParts = 1000;

struct ModelFile {
    std::string name;
    std::string path;
};
struct FoundFiles {
    std::vector<ModelFile> files;
    std::vector<std::string> left_out;
};

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash);
}

// All regular files of the folder, or the one file. Hidden files are left out; anything else that models do
// not have is refused with all its names.
Result<FoundFiles> find_files(Files& files, const std::string& path) {
    OSTAL_TRY(const FileInfo info, files.info(path));
    FoundFiles out;
    if (info.kind == FileInfo::Kind::kRegular) {
        const std::string name = path.substr(path.rfind('/') + 1);
        if (!name.ends_with(".gguf"))
            return fail(Code::kInvalidArgument, path + " is neither a folder nor a .gguf file");
        out.files.push_back({name, path});
    } else {
        OSTAL_TRY(const auto names, files.list_directory(path));
        for (const std::string& name : names) {
            if (name.starts_with('.')) {
                out.left_out.push_back(name);
            } else {
                out.files.push_back({name, join_path(path, name)});
            }
        }
    }
    std::string refused;
    std::set<std::string> folded;
    for (const ModelFile& file : out.files) {
        const bool is_known = !security::layout_of(file.name).empty();
        if (!is_known || !folded.insert(security::fold_case(file.name)).second) {
            refused += (refused.empty() ? "" : ", ") + file.name;
        }
    }
    if (!refused.empty()) {
        return fail(
            Error(Code::kUnsupported, "models have no files of this kind: " + refused +
                                          " (allowed: *.safetensors *.gguf *.json tokenizer.model* *.txt "
                                          "README NOTICE LICENSE)")
                .because("file_kind"));
    }
    if (out.files.empty()) return fail(Code::kInvalidArgument, path + " holds no files");
    if (out.files.size() > kMaxFilesOfVersion) {
        return fail(Code::kTooLarge, path + " holds " + std::to_string(out.files.size()) +
                                         " files, a version has at most " +
                                         std::to_string(kMaxFilesOfVersion));
    }
    return out;
}

// What the appliance will check, before anything is signed: kinds of files, and that the engine reads the
// model.
Status check_model(Files& files, const std::vector<ModelFile>& model) {
    std::vector<std::unique_ptr<File>> opened;
    std::vector<StagedFile> staged;
    for (const ModelFile& file : model) {
        OSTAL_TRY(auto one, files.open(file.path, Files::Open::kRead));
        staged.push_back({file.name, one->descriptor()});
        opened.push_back(std::move(one));
    }
    return ask_model(run_in_process, staged);
}

// Writes pieces of at most `part_bytes`; one piece needs no suffix, so the first is renamed when it stays
// alone.
class PartWriter {
public:
    PartWriter(Files& files, std::string path, std::uint64_t part_bytes)
        : files_(files), path_(std::move(path)), part_bytes_(part_bytes) {}

    Status write(ByteSpan bytes) {
        while (!bytes.empty()) {
            if (file_ == nullptr || written_ == part_bytes_) OSTAL_TRYV(next());
            const auto count =
                static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), part_bytes_ - written_));
            OSTAL_TRYV(file_->write(bytes.first(count)));
            written_ += count;
            bytes = bytes.subspan(count);
        }
        return {};
    }
    Status finish() {
        if (file_ == nullptr) OSTAL_TRYV(next());  // an empty file
        OSTAL_TRYV(file_->fsync());
        file_.reset();
        return {};
    }
    // Moves the pieces to their final name.
    Status rename_to(const std::string& path) {
        for (std::size_t i = 0; i < parts_; ++i) {
            OSTAL_TRYV(files_.rename(part_name(path_, i), parts_ == 1 ? path : part_name(path, i)));
        }
        return files_.sync_directory(folder_of(path));
    }

private:
    static std::string part_name(const std::string& path, std::size_t part) {
        std::string digits = std::to_string(part);
        return path + ".part" + std::string(3 - std::min<std::size_t>(3, digits.size()), '0') + digits;
    }
    Status next() {
        if (file_ != nullptr) OSTAL_TRYV(file_->fsync());
        if (parts_ == kMaxParts)
            return fail(Code::kTooLarge, "a file has at most 1000 pieces: use larger ones");
        const std::string name = part_name(path_, parts_);
        OSTAL_TRYV(remove_tree(files_, name));
        OSTAL_TRY(file_, files_.open(name, Files::Open::kCreate));
        written_ = 0;
        ++parts_;
        return {};
    }

    Files& files_;
    std::string path_;
    std::uint64_t part_bytes_;
    std::unique_ptr<File> file_;
    std::uint64_t written_ = 0;
    std::size_t parts_ = 0;
};

// Copies one file to its place on the medium, hashing it on the way.
Result<security::Target> add_target(Files& files, const ModelFile& file, const CreateOptions& options,
                                    const InstructFormat& format) {
    const security::TargetPath path{options.name, options.version, file.name};
    const std::string folder = join_path(options.out, "targets/" + folder_of(path.to_string()));
    OSTAL_TRYV(make_directories(files, folder));
    OSTAL_TRY(const auto from, files.open(file.path, Files::Open::kRead));
    PartWriter to(files, join_path(folder, ".new." + file.name), options.part_bytes);
    security::ContentHasher hasher;
    Bytes buffer(kBufferBytes);
    for (;;) {
        OSTAL_TRY(const std::size_t got, from->read(buffer));
        if (got == 0) break;
        hasher.update(ByteSpan(buffer).first(got));
        OSTAL_TRYV(to.write(ByteSpan(buffer).first(got)));
    }
    OSTAL_TRYV(to.finish());
    const security::ContentDigest digest = hasher.finish();
    const std::string sha256 = to_hex(digest.sha256);
    security::TargetCustom custom;
    custom.kind = "model";
    custom.model = options.name;
    custom.version = options.version;
    custom.layout = security::layout_of(file.name);
    custom.format = format.name;
    custom.default_system = format.default_system;
    custom.license = options.license;
    custom.chunk_root = to_hex(digest.merkle_root);
    OSTAL_TRYV(to.rename_to(join_path(options.out, path.on_medium(sha256))));
    if (options.on_file) options.on_file(file.name, digest.bytes);
    return security::make_target(path, digest.bytes, sha256, custom);
}

Result<std::vector<security::Target>> add_version(Files& files, const std::vector<ModelFile>& model,
                                                  const CreateOptions& options,
                                                  const InstructFormat& format) {
    std::vector<security::Target> out;
    for (const ModelFile& file : model) {
        auto target = add_target(files, file, options, format);
        if (!target) return fail(std::move(target).error().with("while adding " + file.name));
        out.push_back(std::move(*target));
    }
    return out;
}

Result<InstructFormat> choose_format(const CreateOptions& options) {
    InstructFormat format;
    if (options.format) {
        if (!security::is_instruct_format(*options.format)) {
            return fail(Code::kInvalidArgument, "there is no instruct format " + *options.format);
        }
        format.name = *options.format;
    } else {
        OSTAL_TRY(const auto model, engine::FolderSource::open(options.model_path));
        OSTAL_TRY(format, format_of(*model));
    }
    if (options.default_system) format.default_system = *options.default_system;
    return format;
}

// The roots of the repository: its own, followed by those given, or a first one by the keys (then true).
Result<bool> settle_roots(Repository& repository, const Clock& clock, const CreateOptions& options) {
    OSTAL_TRYV(add_roots(repository, options.roots));
    if (!repository.roots.empty()) return false;
    RootOptions first;
    first.keys = options.keys;
    OSTAL_TRY(RootReport made, make_root(clock, first));
    repository.roots.push_back(std::move(made.file));
    return true;
}

template <typename Parse>
Result<std::uint64_t> version_of(const std::optional<Bytes>& file, Parse parse) {
    if (!file) return std::uint64_t{0};
    OSTAL_TRY(const auto parsed, parse(*file));
    return parsed.metadata.version;
}

Result<Release> next_release(const Repository& repository, const Clock& clock, const CreateOptions& options) {
    const std::uint64_t now_ms =
        static_cast<std::uint64_t>(std::max<std::int64_t>(1, clock.wall_now_us() / 1'000));
    const std::int64_t expires = options.expires_us.value_or(clock.wall_now_us() + kReleaseLifeUs);
    const auto next = [&](std::uint64_t held) {
        return security::MetadataHead{options.metadata_version.value_or(std::max(held + 1, now_ms)), expires};
    };
    OSTAL_TRY(const std::uint64_t targets, version_of(repository.targets, security::parse_targets));
    OSTAL_TRY(const std::uint64_t snapshot, version_of(repository.snapshot, security::parse_snapshot));
    OSTAL_TRY(const std::uint64_t timestamp, version_of(repository.timestamp, security::parse_timestamp));
    return Release{next(targets), next(snapshot), next(timestamp)};
}

Status check_options(const CreateOptions& options) {
    if (!security::is_model_name(options.name)) {
        return fail(
            Code::kInvalidArgument,
            "a model's name is a-z 0-9 . _ - in at most 64 characters, found \"" + options.name + "\"");
    }
    if (options.version < 1 || options.version > security::kMaxVersion) {
        return fail(Code::kInvalidArgument, "a version is a number from 1");
    }
    if (options.keys.empty()) return fail(Code::kInvalidArgument, "at least one key is needed");
    if (options.part_bytes == 0) return fail(Code::kInvalidArgument, "pieces have at least one byte");
    return {};
}

}  // namespace

Result<CreateReport> create_bundle(Files& files, const Clock& clock, const CreateOptions& options) {
    OSTAL_TRYV(check_options(options));
    OSTAL_TRY(const FoundFiles model, find_files(files, options.model_path));
    OSTAL_TRY(const InstructFormat format, choose_format(options));
    OSTAL_TRYV(check_model(files, model.files));
    OSTAL_TRY(Repository repository, read_repository(files, options.out));
    CreateReport report;
    OSTAL_TRY(report.made_root, settle_roots(repository, clock, options));
    report.left_out = model.left_out;

    std::vector<security::Target> targets;
    if (repository.targets) {
        OSTAL_TRY(const security::Targets held, security::parse_targets(*repository.targets));
        targets = held.targets;
    }
    for (const security::Target& target : targets) {
        if (target.path.model == options.name && target.path.version == options.version) {
            return fail(Code::kConflict, options.out + " holds " + options.name + " version " +
                                             std::to_string(options.version) + " already: raise --version");
        }
    }
    OSTAL_TRY(const Release release, next_release(repository, clock, options));
    auto added = add_version(files, model.files, options, format);
    if (!added) {
        const security::TargetPath version{options.name, options.version, ""};
        (void)remove_tree(files, join_path(options.out, "targets/" + folder_of(version.to_string())));
        return fail(std::move(added).error());
    }
    targets.insert(targets.end(), added->begin(), added->end());
    OSTAL_TRYV(make_release(repository, targets, release, options.keys));
    OSTAL_TRYV(write_repository(files, repository));
    OSTAL_TRY(report.roles, role_states(repository));
    OSTAL_TRY(const security::Targets written, security::parse_targets(*repository.targets));
    for (security::ModelManifest& manifest : security::manifests_of(written)) {
        if (manifest.model == options.name && manifest.version == options.version)
            report.manifest = std::move(manifest);
    }
    return report;
}

}  // namespace ostal::bundle
