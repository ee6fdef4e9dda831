#include "appliance/model_store/medium.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/check.h"
#include "security/signature/names.h"

namespace ostal {
namespace {

constexpr std::string_view kMetadata = "metadata/";
constexpr std::string_view kTargets = "targets/";
constexpr int kDeepest = 5;  // targets/models/<model>/<version>/<file>
constexpr std::size_t kBufferBytes = 1U << 20;

tl::unexpected<Error> refuse(std::string reason, std::string why) {
    return fail(Error(Code::kIntegrity, std::move(why)).because(std::move(reason)));
}

bool is_hex64(std::string_view text) {
    return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
               return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
           });
}

// Splits "<name>.part012" into the name and 12; no number for a whole file.
std::pair<std::string, int> split_part(const std::string& name) {
    constexpr std::size_t kSuffix = 8;
    if (name.size() > kSuffix && name.compare(name.size() - kSuffix, 5, ".part") == 0) {
        const std::string digits = name.substr(name.size() - 3);
        if (std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) {
            return {name.substr(0, name.size() - kSuffix), std::stoi(digits)};
        }
    }
    return {name, -1};
}

bool is_metadata_name(std::string_view name) {
    return name.starts_with(kMetadata) && security::is_file_name(name.substr(kMetadata.size()));
}

// targets/models/<model>/<version>/<sha256>.<file>, parts included.
bool is_target_name(const std::string& name) {
    if (!name.starts_with(kTargets)) return false;
    const std::string whole = split_part(name).first;
    const std::size_t slash = whole.rfind('/');
    const std::string_view file = std::string_view(whole).substr(slash + 1);
    if (file.size() < 66 || file[64] != '.' || !is_hex64(file.substr(0, 64))) return false;
    const std::string path =
        whole.substr(kTargets.size(), slash + 1 - kTargets.size()) + std::string(file.substr(65));
    return security::parse_target_path(path).has_value();
}

// Regular, one link. Hard links could change a file under another name while it is read.
Status check_open_file(int descriptor, const std::string& name) {
    struct stat info {};
    if (::fstat(descriptor, &info) < 0) return fail(errno_error(errno, "cannot stat " + name));
    if (!S_ISREG(info.st_mode)) return refuse("link", name + " is not a regular file");
    if (info.st_nlink > 1)
        return refuse("link", name + " is a hard link: another name leads to the same file");
    return {};
}

class Folder {
public:
    explicit Folder(int descriptor) : stream_(::fdopendir(descriptor)) {
        if (stream_ == nullptr) ::close(descriptor);
    }
    ~Folder() {
        if (stream_ != nullptr) ::closedir(stream_);
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    bool is_open() const { return stream_ != nullptr; }
    int descriptor() const { return ::dirfd(stream_); }
    // The names in it, sorted.
    Result<std::vector<std::string>> names() const {
        std::vector<std::string> out;
        errno = 0;
        while (const dirent* entry = ::readdir(stream_)) {
            const std::string name = entry->d_name;
            if (name != "." && name != "..") out.push_back(name);
            if (out.size() > Medium::kMaxFiles) return refuse("extra", "the medium has too many files");
        }
        if (errno != 0) return fail(errno_error(errno, "cannot list the medium"));
        std::sort(out.begin(), out.end());
        return out;
    }

private:
    DIR* stream_;
};

using Opened = std::vector<std::pair<std::string, int>>;

// Opens what lies below; on failure the caller closes what is in `out`.
Status open_below(const Folder& folder, const std::string& prefix, int depth, Opened& out) {
    OSTAL_TRY(const auto names, folder.names());
    for (const std::string& name : names) {
        const std::string path = prefix + name;
        const int fd =
            ::openat(folder.descriptor(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0) {
            if (errno == ELOOP) return refuse("link", path + " is a symbolic link");
            if (errno == ENXIO) return refuse("link", path + " is not a regular file");
            return fail(errno_error(errno, "cannot open " + path));
        }
        struct stat info {};
        if (::fstat(fd, &info) < 0) {
            const int error_number = errno;
            ::close(fd);
            return fail(errno_error(error_number, "cannot stat " + path));
        }
        if (!S_ISDIR(info.st_mode)) {
            out.emplace_back(path, fd);
            if (out.size() > Medium::kMaxFiles) return refuse("extra", "the medium has too many files");
            continue;
        }
        const Folder below(fd);
        if (!below.is_open()) return fail(errno_error(errno, "cannot list " + path));
        if (depth + 1 >= kDeepest)
            return refuse("extra", "the folder " + path + " does not belong to a bundle");
        OSTAL_TRYV(open_below(below, path + "/", depth + 1, out));
    }
    return {};
}

void close_all(const Opened& opened) {
    for (const auto& [name, descriptor] : opened) ::close(descriptor);
}

}  // namespace

Result<Medium> Medium::open_folder(const std::string& folder) {
    const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(errno_error(errno, "cannot open the folder " + folder));
    const Folder root(fd);
    if (!root.is_open()) return fail(errno_error(errno, "cannot list " + folder));
    Opened opened;
    auto status = open_below(root, "", 0, opened);
    if (!status) {
        close_all(opened);
        return fail(std::move(status).error().with("in " + folder));
    }
    return adopt(opened);
}

Result<Medium> Medium::adopt(const std::vector<std::pair<std::string, int>>& descriptors) {
    std::vector<std::unique_ptr<File>> owned;
    for (const auto& [name, descriptor] : descriptors) owned.push_back(PosixFiles::adopt(descriptor, name));
    Medium medium;
    for (std::size_t i = 0; i < owned.size(); ++i) {
        OSTAL_TRYV(check_open_file(descriptors[i].second, descriptors[i].first));
        OSTAL_TRYV(medium.add(descriptors[i].first, std::move(owned[i])));
    }
    OSTAL_TRYV(medium.index_targets());
    return medium;
}

Status Medium::add(const std::string& name, std::unique_ptr<File> file) {
    if (files_.size() >= kMaxFiles) return refuse("extra", "the medium has too many files");
    if (!is_metadata_name(name) && !is_target_name(name)) {
        return refuse("extra", "the file " + name.substr(0, 300) + " does not belong to a bundle");
    }
    if (!folded_.emplace(security::fold_case(name), name).second) {
        return refuse("malformed", "two files of the medium differ in case alone: " + name);
    }
    files_.emplace(name, std::move(file));
    return {};
}

Status Medium::index_targets() {
    for (const auto& [name, file] : files_) {  // sorted: a whole file before its parts, parts in order
        if (!name.starts_with(kTargets)) continue;
        const auto [whole, part] = split_part(name);
        std::vector<File*>& pieces = targets_[whole];
        const bool follows = part < 0 ? pieces.empty() : static_cast<std::size_t>(part) == pieces.size();
        const bool mixes = part >= 0 && files_.contains(whole);
        if (!follows || mixes)
            return refuse("extra", "the piece " + name + " does not follow the ones before it");
        pieces.push_back(file.get());
    }
    return {};
}

std::vector<std::string> Medium::metadata_files() const {
    std::vector<std::string> out;
    for (const auto& [name, file] : files_) {
        if (name.starts_with(kMetadata)) out.push_back(name.substr(kMetadata.size()));
    }
    return out;
}

File& Medium::metadata_file(const std::string& name) const {
    const auto found = files_.find(std::string(kMetadata) + name);
    CHECK(found != files_.end());
    return *found->second;
}

Status read_pieces(const std::vector<File*>& pieces, std::uint64_t length,
                   const std::function<Status(ByteSpan)>& each) {
    Bytes buffer(kBufferBytes);
    std::uint64_t total = 0;
    for (File* piece : pieces) {
        for (std::uint64_t offset = 0;;) {
            OSTAL_TRY(const std::size_t got, piece->pread(buffer, offset));
            if (got == 0) break;
            offset += got;
            total += got;
            if (total > length)
                return refuse("mismatch", "the file has more than its " + std::to_string(length) + " bytes");
            OSTAL_TRYV(each(ByteSpan(buffer).first(got)));
        }
    }
    if (total != length) {
        return refuse("mismatch", "the file has " + std::to_string(total) + " of its " +
                                      std::to_string(length) + " bytes");
    }
    return {};
}

}  // namespace ostal
