// Ids: 16 random bytes, a BLOB in the database, outside a prefix and 26
// characters of base32 (RFC 4648 section 6, lower case, no padding):
// usr_ab3d....
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/random.h"
#include "base/result.h"

namespace ostal::security {

using Id = std::array<std::uint8_t, 16>;

enum class IdKind {
    kUser,          // usr_
    kProject,       // prj_
    kTenant,        // ten_
    kKey,           // key_
    kRequest,       // req_
    kJob,           // job_
    kModel,         // mdl_
    kConversation,  // cnv_
    kMessage,       // msg_
    kFile,          // fil_
    kSession,       // ses_
    kSlot,          // slt_
    kApproval,      // apr_
};

// With the underscore.
std::string_view id_prefix(IdKind kind);
Id new_id(RandomSource& random);
std::string id_text(IdKind kind, const Id& id);
// Only the one spelling that id_text() writes; every other text is kNotFound,
// as an unknown id is.
Result<Id> parse_id(IdKind kind, std::string_view text);

}  // namespace ostal::security
