#include "security/storage/ids.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"

namespace ostal::security {

std::string_view id_prefix(IdKind kind) {
    switch (kind) {
        case IdKind::kUser: return "usr_";
        case IdKind::kProject: return "prj_";
        case IdKind::kTenant: return "ten_";
        case IdKind::kKey: return "key_";
        case IdKind::kRequest: return "req_";
        case IdKind::kJob: return "job_";
        case IdKind::kModel: return "mdl_";
        case IdKind::kConversation: return "cnv_";
        case IdKind::kMessage: return "msg_";
        case IdKind::kFile: return "fil_";
        case IdKind::kSession: return "ses_";
        case IdKind::kSlot: return "slt_";
        case IdKind::kApproval: return "apr_";
    }
    CHECK_UNREACHABLE("an id kind without a prefix");
}

Id new_id(RandomSource& random) {
    Id id;
    random.fill(id);
    return id;
}

std::string id_text(IdKind kind, const Id& id) { return std::string(id_prefix(kind)) + to_base32_lower(id); }

Result<Id> parse_id(IdKind kind, std::string_view text) {
    const std::string_view prefix = id_prefix(kind);
    constexpr std::size_t kDigits = 26;
    if (text.starts_with(prefix) && text.size() == prefix.size() + kDigits) {
        const auto bytes = from_base32_lower(text.substr(prefix.size()));
        Id id;
        if (bytes && bytes->size() == id.size()) {
            std::copy(bytes->begin(), bytes->end(), id.begin());
            return id;
        }
    }
    return fail(Code::kNotFound, "there is no such id");
}

}  // namespace ostal::security
