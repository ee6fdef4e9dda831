// What ostalctl prints: JSON as it came, or tables for people.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace ostal::ctl {

// A list of objects as aligned columns with a head; missing members are "-". Control characters are escaped.
std::string table(const json::Array& rows, const std::vector<std::string>& columns);
// An object as "key: value" lines.
std::string lines(const json::Object& object);

}  // namespace ostal::ctl
