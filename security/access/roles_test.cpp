#include "security/access/roles.h"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace ostal::security {
namespace {

using Matrix = std::map<std::string, std::map<std::string, bool>>;  // permission -> role -> has it

std::vector<std::string> split(const std::string& line) {
    std::vector<std::string> cells;
    std::string cell;
    std::istringstream in(line + ",");
    while (std::getline(in, cell, ',')) cells.push_back(cell);
    return cells;
}

Matrix read_matrix() {
    std::ifstream file(OSTAL_SOURCE_DIR "/security/access/testdata/permissions.csv");
    EXPECT_TRUE(file.good());
    std::string line;
    std::vector<std::string> head;
    Matrix matrix;
    while (std::getline(file, line)) {
        if (line.empty() || line.front() == '#') continue;
        const auto cells = split(line);
        if (head.empty()) {
            head = cells;
            continue;
        }
        EXPECT_EQ(cells.size(), head.size()) << line;
        for (std::size_t i = 1; i < cells.size(); ++i) {
            EXPECT_TRUE(cells[i].empty() || cells[i] == "x") << line;
            matrix[cells[0]][head[i]] = cells[i] == "x";
        }
    }
    return matrix;
}

TEST(Roles, EveryRoleTimesEveryPermissionIsTheReviewedMatrix) {
    const Matrix matrix = read_matrix();
    ASSERT_EQ(matrix.size(), kPermissionCount);
    for (std::size_t p = 0; p < kPermissionCount; ++p) {
        const auto permission = static_cast<Permission>(p);
        const auto row = matrix.find(std::string(permission_name(permission)));
        ASSERT_NE(row, matrix.end()) << permission_name(permission);
        ASSERT_EQ(row->second.size(), kRoleCount + 1) << permission_name(permission);
        for (std::size_t r = 0; r < kRoleCount; ++r) {
            const auto role = static_cast<Role>(r);
            EXPECT_EQ(role_has(role, permission), row->second.at(std::string(role_name(role))))
                << role_name(role) << " " << permission_name(permission);
        }
        bool root = false;
        for (const Permission held : local_root_permissions()) root = root || held == permission;
        EXPECT_EQ(root, row->second.at("local-root")) << permission_name(permission);
    }
}

TEST(Roles, NamesAreUniqueAndReadBack) {
    std::set<std::string_view> names;
    for (std::size_t p = 0; p < kPermissionCount; ++p) {
        const auto permission = static_cast<Permission>(p);
        EXPECT_TRUE(names.insert(permission_name(permission)).second);
        EXPECT_EQ(permission_from_name(permission_name(permission)), permission);
    }
    for (std::size_t r = 0; r < kRoleCount; ++r) {
        const auto role = static_cast<Role>(r);
        EXPECT_TRUE(names.insert(role_name(role)).second);
        EXPECT_EQ(role_from_name(role_name(role)), role);
    }
    EXPECT_FALSE(permission_from_name("inference:*"));
    EXPECT_FALSE(permission_from_name("Inference:chat"));
    EXPECT_FALSE(permission_from_name(""));
    EXPECT_FALSE(role_from_name("root"));
}

TEST(Roles, OwnerIsTheSumOfHisPartsWithoutAuditConfigAndBreakGlass) {
    std::set<Permission> expected = {Permission::kAuditRead, Permission::kAuditVerify};
    for (const Role part : {Role::kSysadmin, Role::kSecurityOfficer, Role::kModelOperator, Role::kTenantAdmin,
                            Role::kProjectMember}) {
        expected.insert(role_permissions(part).begin(), role_permissions(part).end());
    }
    for (const Permission never : {Permission::kAuditConfig, Permission::kBreakglassRequest,
                                   Permission::kBreakglassGrant, Permission::kBreakglassUse}) {
        expected.erase(never);
    }
    const auto owner = role_permissions(Role::kOwner);
    EXPECT_EQ(std::set<Permission>(owner.begin(), owner.end()), expected);
}

TEST(Roles, NoRoleHoldsBothHalvesOfAPairExceptOwnerAndTenantAdmin) {
    for (std::size_t r = 0; r < kRoleCount; ++r) {
        const auto role = static_cast<Role>(r);
        if (role == Role::kOwner || role == Role::kTenantAdmin) continue;
        for (const SeparationPair& pair : separation_pairs()) {
            if (pair.first == pair.second) continue;
            EXPECT_FALSE(role_has(role, pair.first) && role_has(role, pair.second))
                << role_name(role) << " " << permission_name(pair.first) << "/"
                << permission_name(pair.second);
        }
    }
}

TEST(Roles, ConflictsAreThese) {
    const std::set<std::pair<Role, Role>> expected_beside_loners = {
        {Role::kSysadmin, Role::kSecurityOfficer},
        {Role::kSecurityOfficer, Role::kModelOperator},
    };
    const auto alone = [](Role role) {
        return role == Role::kAuditor || role == Role::kKeyCustodian || role == Role::kOwner ||
               role == Role::kApiClient;
    };
    for (std::size_t a = 0; a < kRoleCount; ++a) {
        for (std::size_t b = 0; b < kRoleCount; ++b) {
            const auto first = static_cast<Role>(a);
            const auto second = static_cast<Role>(b);
            const bool expected =
                a != b &&
                (alone(first) || alone(second) ||
                 expected_beside_loners.contains({std::min(first, second), std::max(first, second)}));
            EXPECT_EQ(roles_conflict(first, second), expected)
                << role_name(first) << " " << role_name(second);
        }
    }
}

// A change of the table without a new kPolicyVersion would make old audit records lie about what was allowed.
TEST(Roles, TheTableBelongsToItsVersion) {
    std::uint64_t digest = 1469598103934665603ULL;  // FNV-1a
    const auto mix = [&](std::string_view text) {
        for (const char c : text) {
            digest ^= static_cast<std::uint8_t>(c);
            digest *= 1099511628211ULL;
        }
    };
    for (std::size_t r = 0; r < kRoleCount; ++r) {
        mix(role_name(static_cast<Role>(r)));
        std::set<std::string_view> names;
        for (const Permission held : role_permissions(static_cast<Role>(r)))
            names.insert(permission_name(held));
        for (const std::string_view name : names) mix(name);
    }
    for (const SeparationPair& pair : separation_pairs()) {
        mix(permission_name(pair.first));
        mix(permission_name(pair.second));
    }
    EXPECT_EQ(kPolicyVersion, 1U);
    EXPECT_EQ(digest, 15203883589899727296ULL)
        << "the table changed: raise kPolicyVersion and put the new digest here";
}

}  // namespace
}  // namespace ostal::security
