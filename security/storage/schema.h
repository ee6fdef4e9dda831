// The migrations of the two databases. A released migration never changes; new
// tables come as a new number at the end of the list in schema.cpp. Tables are
// STRICT; ids are BLOBs of 16 bytes; times are INTEGER microseconds UTC.
#pragma once

#include <span>

#include "security/storage/database.h"

namespace ostal::security {

// db/keystore.db: wrapped keys only.
std::span<const Migration> keystore_migrations();
// db/ostal.db: everything else.
std::span<const Migration> ostal_migrations();

}  // namespace ostal::security
