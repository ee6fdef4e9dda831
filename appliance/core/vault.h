// What exists only while the appliance is unsealed: the stores whose rows are authenticated by keys under ROOT.
#pragma once

#include <memory>

#include "appliance/model_store/store.h"
#include "base/clock.h"
#include "base/random.h"
#include "security/identity/tenants.h"
#include "security/identity/tokens.h"
#include "security/identity/users.h"
#include "security/storage/database.h"
#include "security/storage/keyring.h"
#include "security/storage/row_mac.h"

namespace ostal {

// Held by shared_ptr for the time of one call; sealing waits until the last holder has let go.
struct Vault {
    Vault(security::Database& database, security::Secret<32> meta_key, security::Secret<32> lookup_key,
          const Clock& clock, RandomSource& random)
        : mac(std::move(meta_key)),
          tenants(database, mac, clock, random),
          users(database, mac, clock, random),
          keys(database, std::move(lookup_key), mac, clock, random) {}

    security::RowMac mac;
    security::Tenants tenants;
    security::Users users;
    security::ApiKeys keys;
    std::unique_ptr<ModelStore> models;
};

}  // namespace ostal
