// The daemon's configuration from any text: it never ends the program, every refusal names the file it is about, and
// what is accepted shows every key with the place it came from.
#include <cstdint>

#include "appliance/config.h"
#include "base/bytes.h"
#include "base/check.h"

using namespace ostal;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::size_t key_count = parse_config({})->keys.size();
    const std::string text(as_text({data, size}));
    const auto loaded = parse_config({{"a.toml", text}, {"b.toml", text}});
    if (!loaded) {
        CHECK(loaded.error().message().find(".toml") != std::string::npos);
        return 0;
    }
    CHECK_EQ(loaded->keys.size(), key_count);
    for (const ConfigKey& key : loaded->keys) {
        CHECK(key.origin == "default" || key.origin.starts_with("a.toml") || key.origin.starts_with("b.toml"));
    }
    CHECK(!loaded->config.listeners.empty());
    return 0;
}
