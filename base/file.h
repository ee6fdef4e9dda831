// The file-system seam: all product code that writes state goes through Files, so that tests can fail any
// single call (FaultyFiles).
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace ostal {

// One open file; closed by the destructor. Calls on one File come from one thread at a time, except
// pread, which any number of threads may call at once.
class File {
public:
    virtual ~File() = default;
    // Fills `out` from the current position; fewer bytes only at the end of the file.
    virtual Result<std::size_t> read(MutableByteSpan out) = 0;
    // Fills `out` from `offset`; fewer bytes only at the end of the file.
    virtual Result<std::size_t> pread(MutableByteSpan out, std::uint64_t offset) = 0;
    // Writes all bytes or fails (some may be written then).
    virtual Status write(ByteSpan bytes) = 0;
    virtual Status pwrite(ByteSpan bytes, std::uint64_t offset) = 0;
    virtual Status fsync() = 0;
    virtual Status fdatasync() = 0;
    virtual Status truncate(std::uint64_t size) = 0;
    // Reserves disk space without changing the file's size.
    virtual Status allocate(std::uint64_t size) = 0;
    virtual Result<std::uint64_t> size() = 0;
    // The descriptor stays owned by this object.
    virtual int descriptor() const = 0;
};

struct FileInfo {
    enum class Kind { kRegular, kDirectory, kSymlink, kOther };
    Kind kind = Kind::kOther;
    std::uint64_t size_bytes = 0;
    std::uint64_t inode = 0;
    std::uint64_t links = 0;
    std::int64_t modified_ns = 0;
    unsigned mode = 0;  // permission bits
    unsigned uid = 0;
};

// Thread-safe. Paths are absolute or relative to the working directory; symlinks are followed except where
// stated.
class Files {
public:
    enum class Open {
        kRead,         // existing regular file; a final symlink is refused
        kCreate,       // new file, 0600; kConflict when it exists
        kReadWrite,    // existing, or created 0600; a final symlink is refused
    };
    virtual ~Files() = default;
    virtual Result<std::unique_ptr<File>> open(const std::string& path, Open how) = 0;
    // Atomic within one file system; replaces `to`.
    virtual Status rename(const std::string& from, const std::string& to) = 0;
    virtual Status remove_file(const std::string& path) = 0;
    virtual Status remove_directory(const std::string& path) = 0;
    // 0700; an existing directory is no error.
    virtual Status make_directory(const std::string& path) = 0;
    // fsync of the directory: makes creations, renames and removals in it durable.
    virtual Status sync_directory(const std::string& path) = 0;
    // Names without "." and "..", sorted.
    virtual Result<std::vector<std::string>> list_directory(const std::string& path) = 0;
    // Does not follow a final symlink. kNotFound when there is nothing.
    virtual Result<FileInfo> info(const std::string& path) = 0;
};

class PosixFiles final : public Files {
public:
    Result<std::unique_ptr<File>> open(const std::string& path, Open how) override;
    Status rename(const std::string& from, const std::string& to) override;
    Status remove_file(const std::string& path) override;
    Status remove_directory(const std::string& path) override;
    Status make_directory(const std::string& path) override;
    Status sync_directory(const std::string& path) override;
    Result<std::vector<std::string>> list_directory(const std::string& path) override;
    Result<FileInfo> info(const std::string& path) override;
    // Takes over an open descriptor (one passed over a socket).
    static std::unique_ptr<File> adopt(int descriptor, std::string name);
};

// A Files over another one in which the `fail_at`-th call (counted from 1 over all calls of it and of its
// Files' files) fails with `error_number`, and with `crash` every later call too (as after a power cut: what
// was written stays, nothing more happens). A failing write first writes half of its bytes.
class FaultyFiles final : public Files {
public:
    explicit FaultyFiles(Files& under) : under_(under) {}
    void fail_at(std::uint64_t call, int error_number, bool crash);
    std::uint64_t calls() const { return calls_.load(); }
    bool has_failed() const { return failed_.load(); }

    Result<std::unique_ptr<File>> open(const std::string& path, Open how) override;
    Status rename(const std::string& from, const std::string& to) override;
    Status remove_file(const std::string& path) override;
    Status remove_directory(const std::string& path) override;
    Status make_directory(const std::string& path) override;
    Status sync_directory(const std::string& path) override;
    Result<std::vector<std::string>> list_directory(const std::string& path) override;
    Result<FileInfo> info(const std::string& path) override;

private:
    friend class FaultyFile;
    Status next_call(std::string_view what);
    Files& under_;
    std::atomic<std::uint64_t> calls_{0};
    std::atomic<std::uint64_t> fail_at_{0};
    std::atomic<int> error_number_{0};
    std::atomic<bool> crash_{false};
    std::atomic<bool> failed_{false};
};

std::string join_path(std::string_view folder, std::string_view name);

// Whole file; kTooLarge above `limit_bytes`.
Result<Bytes> read_file(Files& files, const std::string& path, std::uint64_t limit_bytes);
// Durable replace: temporary file beside `path`, write, fsync, rename, fsync of the directory. After a
// failure or a crash `path` holds the old or the new content.
Status replace_file(Files& files, const std::string& path, ByteSpan content);
// Files and folders below and including `path`; symlinks are removed, not followed. Nothing there is no error.
Status remove_tree(Files& files, const std::string& path);
// Makes `path` and its parents.
Status make_directories(Files& files, const std::string& path);

}  // namespace ostal
