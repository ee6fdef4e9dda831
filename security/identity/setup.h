// First set-up (tenant, project and the first users, in one transaction), and the check at each unseal.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "security/identity/tenants.h"
#include "security/identity/users.h"

namespace ostal::security {

struct FirstUser {
    std::string name;
    std::string password;
};
struct SetupRequest {
    // One person (`setup --single`, the demo): approvals.required 1, `users[0]` becomes owner. Otherwise
    // approvals.required 2: users[0] is the administrator (sysadmin + model-operator), users[1] and
    // users[2] are security-officers.
    bool single = false;
    std::vector<FirstUser> users;
};
struct SetupResult {
    Tenant tenant;    // "default"
    Project project;  // "default"
    std::vector<User> users;
};

// kConflict when there is a tenant already: nothing is changed. kUnprocessable: names or passwords.
Result<SetupResult> set_up_identity(const SetupRequest& request, Database& database, const RowMac& mac,
                                    const Clock& clock, RandomSource& random,
                                    const Argon2Cost& cost = kPasswordCost);

// Every row of the identity tables against its MAC, and every table against its own: kIntegrity when a row
// was written, changed, removed or brought back while the database lay outside this program. To be called
// at unseal; afterwards each row is checked as it is read.
Status check_identity(Database& database, const RowMac& mac);

}  // namespace ostal::security
