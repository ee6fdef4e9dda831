// The exclusive lock of a state folder: flock on <state>/lock, held while the
// daemon runs.
#pragma once

#include <memory>
#include <string>

#include "base/file.h"
#include "base/result.h"

namespace ostal::security {

// Movable; the lock ends with the object (or the process).
class StateLock {
public:
    // kConflict "state folder in use by process 123".
    static Result<StateLock> acquire(Files& files, const std::string& state_folder);

private:
    explicit StateLock(std::unique_ptr<File> file) : file_(std::move(file)) {}
    std::unique_ptr<File> file_;
};

}  // namespace ostal::security
