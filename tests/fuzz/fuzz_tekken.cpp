// A tekken.json, and texts through it; behind a first byte of 0xFF the input is a text for the splitter.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/check.h"
#include "engine/tokenizer/load.h"
#include "engine/tokenizer/pretokenizer.h"

namespace {

using namespace ostal;

void split_text(std::string_view text) {
    if (!is_valid_utf8(text)) return;
    std::vector<std::string_view> pieces;
    engine::split(engine::Split::kTekken, text, pieces);
    std::string joined;
    for (const std::string_view piece : pieces) {
        CHECK(!piece.empty());
        joined += piece;
    }
    CHECK(joined == text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size > 0 && data[0] == 0xFF) {
        split_text(as_text({data + 1, size - 1}));
        return 0;
    }
    const auto tokenizer = engine::load_tokenizer_file({data, size}, "tekken.json");
    if (!tokenizer) return 0;
    for (const std::string_view text :
         {"", " ", "[INST]the theEnd 123's</s>\n", "\xE4\xB8\x96\xF0\x9F\x98\x80 aaaaaaaa/\n"}) {
        const auto ids = (*tokenizer)->encode(text);
        CHECK(ids.has_value());
        for (const engine::TokenId id : *ids) {
            CHECK(id >= 0 && id < (*tokenizer)->vocab_size());
            CHECK(!(*tokenizer)->is_control(id));
        }
        CHECK((*tokenizer)->decode(*ids) == text);
    }
    return 0;
}
