#include <cerrno>

#include "base/file.h"

namespace ostal {

class FaultyFile final : public File {
public:
    FaultyFile(FaultyFiles& files, std::unique_ptr<File> under) : files_(files), under_(std::move(under)) {}

    Result<std::size_t> read(MutableByteSpan out) override {
        OSTAL_TRYV(files_.next_call("read"));
        return under_->read(out);
    }
    Result<std::size_t> pread(MutableByteSpan out, std::uint64_t offset) override {
        OSTAL_TRYV(files_.next_call("pread"));
        return under_->pread(out, offset);
    }
    Status write(ByteSpan bytes) override {
        const bool was_dead = files_.failed_.load() && files_.crash_.load();
        auto status = files_.next_call("write");
        if (!status) {
            if (!was_dead) (void)under_->write(bytes.first(bytes.size() / 2));
            return status;
        }
        return under_->write(bytes);
    }
    Status pwrite(ByteSpan bytes, std::uint64_t offset) override {
        const bool was_dead = files_.failed_.load() && files_.crash_.load();
        auto status = files_.next_call("pwrite");
        if (!status) {
            if (!was_dead) (void)under_->pwrite(bytes.first(bytes.size() / 2), offset);
            return status;
        }
        return under_->pwrite(bytes, offset);
    }
    Status fsync() override {
        OSTAL_TRYV(files_.next_call("fsync"));
        return under_->fsync();
    }
    Status fdatasync() override {
        OSTAL_TRYV(files_.next_call("fdatasync"));
        return under_->fdatasync();
    }
    Status truncate(std::uint64_t size) override {
        OSTAL_TRYV(files_.next_call("truncate"));
        return under_->truncate(size);
    }
    Status allocate(std::uint64_t size) override {
        OSTAL_TRYV(files_.next_call("allocate"));
        return under_->allocate(size);
    }
    Result<std::uint64_t> size() override {
        OSTAL_TRYV(files_.next_call("size"));
        return under_->size();
    }
    int descriptor() const override { return under_->descriptor(); }

private:
    FaultyFiles& files_;
    std::unique_ptr<File> under_;
};

void FaultyFiles::fail_at(std::uint64_t call, int error_number, bool crash) {
    calls_ = 0;
    failed_ = false;
    error_number_ = error_number;
    crash_ = crash;
    fail_at_ = call;
}

Status FaultyFiles::next_call(std::string_view what) {
    const std::uint64_t call = ++calls_;
    const std::uint64_t fail_call = fail_at_.load();
    const bool dead = crash_.load() && fail_call != 0 && call > fail_call;
    if (call == fail_call || dead) {
        failed_ = true;
        return fail(errno_error(error_number_.load(), "injected fault in " + std::string(what)));
    }
    return {};
}

Result<std::unique_ptr<File>> FaultyFiles::open(const std::string& path, Open how) {
    OSTAL_TRYV(next_call("open"));
    OSTAL_TRY(auto file, under_.open(path, how));
    return std::unique_ptr<File>(std::make_unique<FaultyFile>(*this, std::move(file)));
}
Status FaultyFiles::rename(const std::string& from, const std::string& to) {
    OSTAL_TRYV(next_call("rename"));
    return under_.rename(from, to);
}
Status FaultyFiles::remove_file(const std::string& path) {
    OSTAL_TRYV(next_call("remove_file"));
    return under_.remove_file(path);
}
Status FaultyFiles::remove_directory(const std::string& path) {
    OSTAL_TRYV(next_call("remove_directory"));
    return under_.remove_directory(path);
}
Status FaultyFiles::make_directory(const std::string& path) {
    OSTAL_TRYV(next_call("make_directory"));
    return under_.make_directory(path);
}
Status FaultyFiles::sync_directory(const std::string& path) {
    OSTAL_TRYV(next_call("sync_directory"));
    return under_.sync_directory(path);
}
Result<std::vector<std::string>> FaultyFiles::list_directory(const std::string& path) {
    OSTAL_TRYV(next_call("list_directory"));
    return under_.list_directory(path);
}
Result<FileInfo> FaultyFiles::info(const std::string& path) {
    OSTAL_TRYV(next_call("info"));
    return under_.info(path);
}

}  // namespace ostal
