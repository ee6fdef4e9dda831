#include "security/storage/schema.h"

#include <array>

namespace ostal::security {
namespace {

constexpr std::array kKeystore{Migration{1, 1, R"sql(
CREATE TABLE instance(one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL CHECK (length(id) = 16)) STRICT;
CREATE TABLE slots(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    kind INTEGER NOT NULL,
    label TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    passes INTEGER NOT NULL,
    memory_bytes INTEGER NOT NULL,
    salt BLOB NOT NULL,
    wrap BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE service_keys(name TEXT PRIMARY KEY, counter INTEGER NOT NULL, wrap BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE keks(epoch INTEGER PRIMARY KEY, created_us INTEGER NOT NULL, wrap BLOB NOT NULL) STRICT;
CREATE TABLE deks(
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    created_us INTEGER NOT NULL,
    wrap BLOB NOT NULL) STRICT, WITHOUT ROWID;
)sql"}};

// A module that keeps rows adds its tables here, as the next number.
constexpr std::array<Migration, 0> kOstal{};

}  // namespace

std::span<const Migration> keystore_migrations() { return kKeystore; }
std::span<const Migration> ostal_migrations() { return kOstal; }

}  // namespace ostal::security
