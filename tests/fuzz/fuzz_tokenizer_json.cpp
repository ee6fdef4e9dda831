// A tokenizer.json, and a text through it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "engine/tokenizer/load.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace ostal;
    const auto tokenizer = engine::load_tokenizer_file({data, size}, "tokenizer.json", {.bos = 1, .eos = 2});
    if (!tokenizer) return 0;
    for (const std::string_view text :
         {"", " ", "ab ab<s> 123's\n", "\xE2\x96\x81\xF0\x9F\x98\x80 aaaaaaaa"}) {
        const auto ids = (*tokenizer)->encode(text);
        CHECK(ids.has_value());
        for (const engine::TokenId id : *ids) {
            CHECK(id >= 0 && id < (*tokenizer)->vocab_size());
            CHECK(!(*tokenizer)->is_control(id));
        }
        (void)(*tokenizer)->decode(*ids);
    }
    return 0;
}
