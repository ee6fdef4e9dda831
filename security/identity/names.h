// Names that people give: of users, tenants, projects and keys.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace ostal::security {

// 1 to 64 characters of valid UTF-8 in composed form: no control, formatting or combining characters,
// spaces only single and between others, and none of `"'<>\&`. kUnprocessable otherwise, with the reason.
Status check_name(std::string_view name);
// What is compared: ASCII letters in lower case.
std::string name_key(std::string_view name);

}  // namespace ostal::security
