// What an auditor finds in a log's folder: the files by their place, without judging their content.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/result.h"

namespace ostal::security {

struct AuditScan {
    std::map<std::uint64_t, std::string> closed;  // tile/entries/<n>
    std::map<std::uint64_t, std::string> open;    // wal/<n>
    std::map<std::uint64_t, std::string> tiles;   // tile/0/<n>
    std::vector<std::string> strangers;           // what belongs to no log
    std::vector<std::string> leftovers;           // temporary files of an interrupted replacement
};

// Paths are relative to `folder`.
Result<AuditScan> scan_audit_folder(Files& files, const std::string& folder);

}  // namespace ostal::security
