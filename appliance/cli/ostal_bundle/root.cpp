#include "appliance/cli/ostal_bundle/root.h"

#include <chrono>

namespace ostal::bundle {
namespace {

using Role = security::MetadataRole;

security::RoleAssignment assignment_of(const security::Root& root, Role role) {
    security::RoleAssignment out;
    out.threshold = root.keys_of(role).threshold;
    for (const security::KeyId& id : root.keys_of(role).key_ids) out.keys.push_back(root.keys.at(id));
    return out;
}

// 1 January, 5 to 6 years ahead. Not to the second: the same keys make the same first root again, so that a
// bundle made without --root fits an anchor made the same year.
std::int64_t default_expiry_us(const Clock& clock) {
    using namespace std::chrono;
    const sys_time<microseconds> now{microseconds{clock.wall_now_us()}};
    const year this_year = year_month_day{floor<days>(now)}.year();
    return duration_cast<microseconds>(sys_days{(this_year + years{6}) / January / 1}.time_since_epoch())
        .count();
}

}  // namespace

RootReport judge_root(Bytes file, const security::Root& root, const std::optional<security::Root>& previous) {
    RootReport out;
    out.file = std::move(file);
    out.root = root;
    Status status = security::check_signatures(root, Role::kRoot, root.metadata);
    if (status && previous) status = security::check_root_step(*previous, root);
    out.is_complete = status.has_value();
    if (!status) out.missing = status.error().to_string();
    return out;
}

Result<RootReport> make_root(const Clock& clock, const RootOptions& options) {
    if (options.keys.empty()) return fail(Code::kInvalidArgument, "at least one key is needed");
    std::optional<security::Root> previous;
    if (options.previous) {
        OSTAL_TRY(previous, security::parse_root(*options.previous));
    }
    std::array<security::RoleAssignment, 4> roles;
    for (const Role role : security::kMetadataRoles) {
        const auto index = static_cast<std::size_t>(role);
        if (previous) {
            roles[index] = assignment_of(*previous, role);
        } else {
            for (const auto* key : options.keys) roles[index].keys.push_back(key->public_key());
        }
        if (options.holders[index]) roles[index].keys = *options.holders[index];
        if (options.thresholds[index]) roles[index].threshold = *options.thresholds[index];
        if (roles[index].threshold < 1 || roles[index].threshold > roles[index].keys.size()) {
            return fail(Code::kInvalidArgument, "the role " + std::string(metadata_role_name(role)) +
                                                    " has " + std::to_string(roles[index].keys.size()) +
                                                    " keys, a threshold of " +
                                                    std::to_string(roles[index].threshold) + " does not fit");
        }
    }
    const security::MetadataHead head{previous ? previous->metadata.version + 1 : 1,
                                      options.expires_us.value_or(default_expiry_us(clock))};
    Bytes file = security::sign_metadata(security::root_body(head, roles), options.keys);
    OSTAL_TRY(const security::Root root, security::parse_root(file));
    return judge_root(std::move(file), root, previous);
}

}  // namespace ostal::bundle
