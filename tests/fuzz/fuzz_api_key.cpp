// Credentials and names as clients send them.
#include "base/bytes.h"
#include "base/check.h"
#include "base/safe_text.h"
#include "security/identity/names.h"
#include "security/signature/names.h"
#include "security/identity/passwords.h"
#include "security/identity/tokens.h"

using namespace ostal;
using namespace ostal::security;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = as_text({data, size});
    if (const auto key = parse_api_key(text)) {
        CHECK_EQ(size, kApiKeyLength);
        CHECK(key->lookup.data() == text.data() + 9 && key->lookup.size() == kApiKeyLookupLength);
        CHECK(key->secret.data() == text.data() + 19 && key->secret.size() == kApiKeySecretLength);
    }
    if (check_name(text)) {
        CHECK(is_safe_text(text) && size <= 4 * 64 && !name_key(text).empty());
    }
    CHECK(!is_model_name(text) || size <= 64);
    CHECK(!check_password_rules(text) || is_valid_utf8(text));
    CHECK(!password_hash_cost(text) || text.starts_with("$argon2id$v=19$"));
    (void)permission_from_name(text);
    (void)role_from_name(text);
    return 0;
}
