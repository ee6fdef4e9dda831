#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace ostal {
namespace {

class PosixFile final : public File {
public:
    PosixFile(int descriptor, std::string path) : fd_(descriptor), path_(std::move(path)) {}
    ~PosixFile() override { ::close(fd_); }
    PosixFile(const PosixFile&) = delete;
    PosixFile& operator=(const PosixFile&) = delete;

    Result<std::size_t> read(MutableByteSpan out) override {
        return fill(out, [&](std::uint8_t* to, std::size_t count, std::size_t) {
            return ::read(fd_, to, count);
        });
    }
    Result<std::size_t> pread(MutableByteSpan out, std::uint64_t offset) override {
        return fill(out, [&](std::uint8_t* to, std::size_t count, std::size_t done) {
            return ::pread(fd_, to, count, static_cast<off_t>(offset + done));
        });
    }
    Status write(ByteSpan bytes) override {
        return drain(bytes, [&](const std::uint8_t* from, std::size_t count, std::size_t) {
            return ::write(fd_, from, count);
        });
    }
    Status pwrite(ByteSpan bytes, std::uint64_t offset) override {
        return drain(bytes, [&](const std::uint8_t* from, std::size_t count, std::size_t done) {
            return ::pwrite(fd_, from, count, static_cast<off_t>(offset + done));
        });
    }
    Status fsync() override { return check(::fsync(fd_), "cannot sync "); }
    Status fdatasync() override { return check(::fdatasync(fd_), "cannot sync "); }
    Status truncate(std::uint64_t size) override {
        return check(::ftruncate(fd_, static_cast<off_t>(size)), "cannot truncate ");
    }
    Status allocate(std::uint64_t size) override {
        return check(::fallocate(fd_, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(size)),
                     "cannot reserve space for ");
    }
    Result<std::uint64_t> size() override {
        struct stat info{};
        OSTAL_TRYV(check(::fstat(fd_, &info), "cannot stat "));
        return static_cast<std::uint64_t>(info.st_size);
    }
    int descriptor() const override { return fd_; }

private:
    Status check(int result, const char* what) const {
        if (result < 0) return fail(errno_error(errno, what + path_));
        return {};
    }
    template <typename Call>
    Result<std::size_t> fill(MutableByteSpan out, Call call) {
        std::size_t done = 0;
        while (done < out.size()) {
            const ssize_t got = call(out.data() + done, out.size() - done, done);
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return fail(errno_error(errno, "cannot read " + path_));
            if (got == 0) break;
            done += static_cast<std::size_t>(got);
        }
        return done;
    }
    template <typename Call>
    Status drain(ByteSpan bytes, Call call) {
        std::size_t done = 0;
        while (done < bytes.size()) {
            const ssize_t put = call(bytes.data() + done, bytes.size() - done, done);
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return fail(errno_error(errno, "cannot write " + path_));
            done += static_cast<std::size_t>(put);
        }
        return {};
    }
    int fd_;
    std::string path_;
};

Status path_call(int result, const char* what, const std::string& path) {
    if (result < 0) return fail(errno_error(errno, what + path));
    return {};
}

FileInfo::Kind kind_of(mode_t mode) {
    if (S_ISREG(mode)) return FileInfo::Kind::kRegular;
    if (S_ISDIR(mode)) return FileInfo::Kind::kDirectory;
    if (S_ISLNK(mode)) return FileInfo::Kind::kSymlink;
    return FileInfo::Kind::kOther;
}

}  // namespace

Result<std::unique_ptr<File>> PosixFiles::open(const std::string& path, Open how) {
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    if (how == Open::kRead) flags |= O_RDONLY;
    if (how == Open::kCreate) flags |= O_RDWR | O_CREAT | O_EXCL;
    if (how == Open::kReadWrite) flags |= O_RDWR | O_CREAT;
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) {
        if (errno == EEXIST) return fail(Code::kConflict, path + " exists already");
        if (errno == ELOOP) return fail(Code::kInvalidArgument, path + " is a symbolic link");
        return fail(errno_error(errno, "cannot open " + path));
    }
    auto file = adopt(fd, path);
    struct stat info{};
    if (::fstat(fd, &info) < 0) return fail(errno_error(errno, "cannot stat " + path));
    if (!S_ISREG(info.st_mode)) return fail(Code::kInvalidArgument, path + " is not a regular file");
    return file;
}

std::unique_ptr<File> PosixFiles::adopt(int descriptor, std::string name) {
    return std::make_unique<PosixFile>(descriptor, std::move(name));
}

Status PosixFiles::rename(const std::string& from, const std::string& to) {
    return path_call(::rename(from.c_str(), to.c_str()), "cannot rename ", from + " to " + to);
}
Status PosixFiles::remove_file(const std::string& path) {
    return path_call(::unlink(path.c_str()), "cannot remove ", path);
}
Status PosixFiles::remove_directory(const std::string& path) {
    return path_call(::rmdir(path.c_str()), "cannot remove ", path);
}
Status PosixFiles::make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0700) < 0) {
        if (errno == EEXIST) {
            struct stat info{};
            if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return {};
            return fail(Code::kConflict, path + " exists and is not a folder");
        }
        return fail(errno_error(errno, "cannot make the folder " + path));
    }
    return {};
}
Status PosixFiles::sync_directory(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(errno_error(errno, "cannot open " + path));
    const int result = ::fsync(fd);
    const int error_number = errno;
    ::close(fd);
    if (result < 0) return fail(errno_error(error_number, "cannot sync " + path));
    return {};
}
Result<std::vector<std::string>> PosixFiles::list_directory(const std::string& path) {
    DIR* folder = ::opendir(path.c_str());
    if (folder == nullptr) return fail(errno_error(errno, "cannot list " + path));
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = ::readdir(folder)) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    const int error_number = errno;
    ::closedir(folder);
    if (error_number != 0) return fail(errno_error(error_number, "cannot list " + path));
    std::sort(names.begin(), names.end());
    return names;
}
Result<FileInfo> PosixFiles::info(const std::string& path) {
    struct stat info{};
    OSTAL_TRYV(path_call(::lstat(path.c_str(), &info), "cannot stat ", path));
    FileInfo out;
    out.kind = kind_of(info.st_mode);
    out.size_bytes = static_cast<std::uint64_t>(info.st_size);
    out.inode = info.st_ino;
    out.links = info.st_nlink;
    out.modified_ns = info.st_mtim.tv_sec * 1'000'000'000LL + info.st_mtim.tv_nsec;
    out.mode = info.st_mode & 07777U;
    out.uid = info.st_uid;
    return out;
}

std::string join_path(std::string_view folder, std::string_view name) {
    std::string path(folder);
    if (!path.empty() && path.back() != '/') path += '/';
    path += name;
    return path;
}

Result<Bytes> read_file(Files& files, const std::string& path, std::uint64_t limit_bytes) {
    OSTAL_TRY(const auto file, files.open(path, Files::Open::kRead));
    OSTAL_TRY(const std::uint64_t size, file->size());
    if (size > limit_bytes) {
        return fail(Code::kTooLarge, path + " has " + std::to_string(size) + " bytes, at most " +
                                         std::to_string(limit_bytes) + " are read");
    }
    Bytes content(static_cast<std::size_t>(size));
    OSTAL_TRY(const std::size_t got, file->read(content));
    content.resize(got);
    return content;
}

Status replace_file(Files& files, const std::string& path, ByteSpan content) {
    const std::string temporary = path + ".new";
    if (files.info(temporary)) OSTAL_TRYV(files.remove_file(temporary));
    {
        OSTAL_TRY(const auto file, files.open(temporary, Files::Open::kCreate));
        OSTAL_TRYV(file->write(content));
        OSTAL_TRYV(file->fsync());
    }
    OSTAL_TRYV(files.rename(temporary, path));
    const std::size_t slash = path.rfind('/');
    return files.sync_directory(slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash));
}

Status remove_tree(Files& files, const std::string& path) {
    const auto info = files.info(path);
    if (!info) {
        if (info.error().code() == Code::kNotFound) return {};
        return fail(info.error());
    }
    if (info->kind != FileInfo::Kind::kDirectory) return files.remove_file(path);
    OSTAL_TRY(const auto names, files.list_directory(path));
    for (const std::string& name : names) OSTAL_TRYV(remove_tree(files, join_path(path, name)));
    return files.remove_directory(path);
}

Status make_directories(Files& files, const std::string& path) {
    for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1)) {
        const std::string parent = path.substr(0, slash);
        if (!files.info(parent)) OSTAL_TRYV(files.make_directory(parent));
    }
    return files.make_directory(path);
}

}  // namespace ostal
