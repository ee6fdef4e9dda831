#include "security/storage/faulty_vfs.h"

#include <sqlite3.h>

#include <algorithm>
#include <cstddef>

#include "base/check.h"

namespace ostal::security {
namespace {

// The file below follows this struct in the memory that SQLite gives (szOsFile).
struct FaultyFile {
    sqlite3_file base;
    FaultyVfs* vfs;
    sqlite3_file* under() { return reinterpret_cast<sqlite3_file*>(this + 1); }
};
static_assert(sizeof(FaultyFile) % alignof(std::max_align_t) == 0);

FaultyFile* faulty(sqlite3_file* file) { return reinterpret_cast<FaultyFile*>(file); }
sqlite3_file* under(sqlite3_file* file) { return faulty(file)->under(); }
FaultyVfs* owner(sqlite3_vfs* vfs) { return static_cast<FaultyVfs*>(vfs->pAppData); }

int failure(const FaultyVfs& vfs, int io_error) { return vfs.disk_full() ? SQLITE_FULL : io_error; }

int file_close(sqlite3_file* file) { return under(file)->pMethods->xClose(under(file)); }
int file_read(sqlite3_file* file, void* to, int count, sqlite3_int64 at) {
    return under(file)->pMethods->xRead(under(file), to, count, at);
}
int file_write(sqlite3_file* file, const void* from, int count, sqlite3_int64 at) {
    FaultyVfs& vfs = *faulty(file)->vfs;
    const bool dead_before = vfs.has_failed();
    if (vfs.next_call_fails()) {
        if (!dead_before) (void)under(file)->pMethods->xWrite(under(file), from, count / 2, at);
        return failure(vfs, SQLITE_IOERR_WRITE);
    }
    return under(file)->pMethods->xWrite(under(file), from, count, at);
}
int file_truncate(sqlite3_file* file, sqlite3_int64 size) {
    if (faulty(file)->vfs->next_call_fails()) return failure(*faulty(file)->vfs, SQLITE_IOERR_TRUNCATE);
    return under(file)->pMethods->xTruncate(under(file), size);
}
// Counted, and not carried out: the tests lose no power, and a real sync takes most of their time.
int file_sync(sqlite3_file* file, int) {
    if (faulty(file)->vfs->next_call_fails()) return failure(*faulty(file)->vfs, SQLITE_IOERR_FSYNC);
    return SQLITE_OK;
}
int file_size(sqlite3_file* file, sqlite3_int64* size) {
    return under(file)->pMethods->xFileSize(under(file), size);
}
int file_lock(sqlite3_file* file, int level) { return under(file)->pMethods->xLock(under(file), level); }
int file_unlock(sqlite3_file* file, int level) { return under(file)->pMethods->xUnlock(under(file), level); }
int file_reserved(sqlite3_file* file, int* out) {
    return under(file)->pMethods->xCheckReservedLock(under(file), out);
}
int file_control(sqlite3_file* file, int op, void* argument) {
    return under(file)->pMethods->xFileControl(under(file), op, argument);
}
int file_sector(sqlite3_file* file) { return under(file)->pMethods->xSectorSize(under(file)); }
int file_traits(sqlite3_file* file) { return under(file)->pMethods->xDeviceCharacteristics(under(file)); }
int shm_map(sqlite3_file* file, int page, int size, int extend, void volatile** out) {
    return under(file)->pMethods->xShmMap(under(file), page, size, extend, out);
}
int shm_lock(sqlite3_file* file, int offset, int count, int flags) {
    return under(file)->pMethods->xShmLock(under(file), offset, count, flags);
}
void shm_barrier(sqlite3_file* file) { under(file)->pMethods->xShmBarrier(under(file)); }
int shm_unmap(sqlite3_file* file, int remove) {
    return under(file)->pMethods->xShmUnmap(under(file), remove);
}

// Version 2: without memory maps of the database, which would pass these functions by.
constexpr sqlite3_io_methods kMethods{
    2,         file_close,  file_read,     file_write,   file_truncate, file_sync,   file_size,
    file_lock, file_unlock, file_reserved, file_control, file_sector,   file_traits, shm_map,
    shm_lock,  shm_barrier, shm_unmap,     nullptr,      nullptr};

int vfs_open(sqlite3_vfs* vfs, sqlite3_filename name, sqlite3_file* file, int flags, int* out_flags) {
    FaultyVfs* const self = owner(vfs);
    auto* const opened = faulty(file);
    opened->base.pMethods = nullptr;
    opened->vfs = self;
    sqlite3_vfs* const below = self->under();
    int exists = 0;
    if (name != nullptr) below->xAccess(below, name, SQLITE_ACCESS_EXISTS, &exists);
    if ((flags & SQLITE_OPEN_CREATE) != 0 && exists == 0 && self->next_call_fails()) return SQLITE_CANTOPEN;
    const int code = below->xOpen(below, name, opened->under(), flags, out_flags);
    if (opened->under()->pMethods != nullptr) opened->base.pMethods = &kMethods;
    return code;
}
int vfs_delete(sqlite3_vfs* vfs, const char* name, int sync_folder) {
    FaultyVfs* const self = owner(vfs);
    if (self->next_call_fails()) return failure(*self, SQLITE_IOERR_DELETE);
    return self->under()->xDelete(self->under(), name, sync_folder);
}

}  // namespace

FaultyVfs::FaultyVfs() : under_(sqlite3_vfs_find(nullptr)), vfs_(std::make_unique<sqlite3_vfs>(*under_)) {
    vfs_->szOsFile = static_cast<int>(sizeof(FaultyFile)) + under_->szOsFile;
    vfs_->pNext = nullptr;
    vfs_->zName = "ostal-faulty";
    vfs_->pAppData = this;
    vfs_->xOpen = vfs_open;
    vfs_->xDelete = vfs_delete;
    // Without xSetSystemCall and its like (version 3). The other functions of the unix VFS are kept: they
    // use nothing of the receiver but mxPathname.
    vfs_->iVersion = std::min(under_->iVersion, 2);
    CHECK_EQ(sqlite3_vfs_register(vfs_.get(), 1), SQLITE_OK);
}

FaultyVfs::~FaultyVfs() {
    sqlite3_vfs_unregister(vfs_.get());
    CHECK_EQ(sqlite3_vfs_register(under_, 1), SQLITE_OK);
}

void FaultyVfs::fail_at(std::uint64_t call, bool disk_full, bool crash) {
    calls_ = 0;
    failed_ = false;
    disk_full_ = disk_full;
    crash_ = crash;
    fail_at_ = call;
}

bool FaultyVfs::next_call_fails() {
    const std::uint64_t call = ++calls_;
    const std::uint64_t at = fail_at_.load();
    if (at == 0 || call < at || (call > at && !crash_.load())) return false;
    failed_ = true;
    return true;
}

}  // namespace ostal::security
