#include <algorithm>

#include "appliance/model_store/verify.h"
#include "engine/io/model_files.h"
#include "security/signature/manifest.h"

namespace ostal {
namespace {

tl::unexpected<Error> refuse(std::string_view name, std::string why) {
    return fail(Error(Code::kUnsupported, "the file " + std::string(name) + " " + std::move(why))
                    .because("file_kind"));
}

bool starts_json(std::string_view text) {
    const std::size_t at = text.find_first_not_of(" \t\r\n");
    return at != std::string_view::npos && (text[at] == '{' || text[at] == '[');
}

}  // namespace

Status check_file_kind(std::string_view name, ByteSpan head) {
    const std::string_view layout = security::layout_of(name);
    if (layout.empty()) return refuse(name, "is of a kind that models do not have");
    if (const auto format = engine::refused_format(head)) return refuse(name, "is " + std::string(*format));
    const std::string_view text = as_text(head);
    if (layout == "safetensors" && (text.size() < 9 || text[8] != '{'))
        return refuse(name, "is no safetensors file");
    if (layout == "gguf" && !text.starts_with("GGUF")) return refuse(name, "is no GGUF file");
    if ((layout == "json" || layout == "tekken") && !starts_json(text)) return refuse(name, "is no JSON");
    // A SentencePiece model is a protocol buffer whose first field is the list of pieces (field 1, bytes).
    if (layout == "sentencepiece" && !text.starts_with('\x0A'))
        return refuse(name, "is no SentencePiece model");
    if (layout == "text" && text.find('\0') != std::string_view::npos) return refuse(name, "is no text");
    return {};
}

}  // namespace ostal
