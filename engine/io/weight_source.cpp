#include "engine/io/weight_source.h"

#include <algorithm>

#include "base/file.h"

namespace ostal::engine {
namespace {

// Every file is held open, so that what was listed is what is read.
constexpr std::size_t kMaxFiles = 512;

bool is_gguf_name(std::string_view path) {
    if (path.size() < 5) return false;
    std::string ending(path.substr(path.size() - 5));
    for (char& c : ending) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return ending == ".gguf";
}

const SourceFile* find_file(const WeightSource& source, std::string_view name) {
    const auto& files = source.files();
    const auto found = std::lower_bound(files.begin(), files.end(), name,
                                        [](const SourceFile& a, std::string_view b) { return a.name < b; });
    return found != files.end() && found->name == name ? &*found : nullptr;
}

std::string unknown_file(std::string_view name) { return "the model has no file " + std::string(name); }

}  // namespace

struct FolderSource::State {
    std::vector<SourceFile> files;            // sorted by name
    std::vector<std::unique_ptr<File>> open;  // open[i] is files[i]

    Status add(Files& system, const std::string& path, const std::string& name) {
        OSTAL_TRY(auto file, system.open(path, Files::Open::kRead));
        OSTAL_TRY(const std::uint64_t size, file->size());
        files.push_back({name, size});
        open.push_back(std::move(file));
        return {};
    }
};

FolderSource::FolderSource(std::unique_ptr<State> state) : state_(std::move(state)) {}
FolderSource::~FolderSource() = default;

Result<std::unique_ptr<FolderSource>> FolderSource::open(const std::string& path) {
    PosixFiles system;
    auto state = std::make_unique<State>();
    OSTAL_TRY(FileInfo info, system.info(path));
    if (info.kind == FileInfo::Kind::kSymlink) {
        // A link to a folder may be named; a link to a file is refused by open() below.
        if (const auto target = system.info(join_path(path, "."))) info = *target;
    }
    if (info.kind == FileInfo::Kind::kDirectory) {
        OSTAL_TRY(const auto names, system.list_directory(path));
        for (const std::string& name : names) {
            const std::string file = join_path(path, name);
            OSTAL_TRY(const FileInfo entry, system.info(file));
            if (entry.kind == FileInfo::Kind::kSymlink) {
                return fail(Code::kInvalidArgument,
                            file + " is a symbolic link; copy the file itself into the folder");
            }
            if (entry.kind != FileInfo::Kind::kRegular) continue;
            if (state->files.size() == kMaxFiles) {
                return fail(Code::kInvalidArgument, path + " holds more than " + std::to_string(kMaxFiles) +
                                                        " files; name a folder that holds one model");
            }
            OSTAL_TRYV(state->add(system, file, name));
        }
    } else if (is_gguf_name(path) && info.kind != FileInfo::Kind::kOther) {
        const std::size_t slash = path.rfind('/');
        OSTAL_TRYV(state->add(system, path, slash == std::string::npos ? path : path.substr(slash + 1)));
    } else {
        return fail(Code::kInvalidArgument, path + " is neither a model folder nor a .gguf file");
    }
    return std::unique_ptr<FolderSource>(new FolderSource(std::move(state)));
}

const std::vector<SourceFile>& FolderSource::files() const { return state_->files; }

Status FolderSource::read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const {
    const SourceFile* file = find_file(*this, name);
    if (file == nullptr) return fail(Code::kNotFound, unknown_file(name));
    if (offset > file->size_bytes || out.size() > file->size_bytes - offset) {
        return fail(Code::kInvalidArgument, "a read of " + std::to_string(out.size()) + " bytes at " +
                                                std::to_string(offset) + " goes past the end of " +
                                                file->name + " (" + std::to_string(file->size_bytes) +
                                                " bytes)");
    }
    const auto index = static_cast<std::size_t>(file - state_->files.data());
    OSTAL_TRY(const std::size_t got, state_->open[index]->pread(out, offset));
    if (got != out.size()) return fail(Code::kIo, file->name + " became shorter while it was read");
    return {};
}

Result<std::uint64_t> source_file_size(const WeightSource& source, std::string_view name) {
    const SourceFile* file = find_file(source, name);
    if (file == nullptr) return fail(Code::kNotFound, unknown_file(name));
    return file->size_bytes;
}

Result<Bytes> read_source_file(const WeightSource& source, std::string_view name, std::uint64_t limit_bytes) {
    OSTAL_TRY(const std::uint64_t size, source_file_size(source, name));
    if (size > limit_bytes) {
        return fail(Code::kTooLarge, std::string(name) + " has " + std::to_string(size) + " bytes, at most " +
                                         std::to_string(limit_bytes) + " are read");
    }
    Bytes content(static_cast<std::size_t>(size));
    OSTAL_TRYV(source.read(name, 0, content));
    return content;
}

}  // namespace ostal::engine
