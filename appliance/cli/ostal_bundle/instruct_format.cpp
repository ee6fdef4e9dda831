#include "appliance/cli/ostal_bundle/instruct_format.h"

#include "base/json.h"
#include "engine/io/gguf.h"
#include "engine/tokenizer/known_templates.h"
#include "security/crypto/hash.h"
#include "security/signature/manifest.h"

namespace ostal::bundle {
namespace {

constexpr std::uint64_t kMaxConfigBytes = 16U << 20;

std::string formats_text() {
    std::string out;
    for (const std::string_view name : security::kInstructFormats)
        out += (out.empty() ? "" : ", ") + std::string(name);
    return out;
}

tl::unexpected<Error> ask_for_format(const std::string& why) {
    return fail(Code::kUnprocessable,
                why + ": say its instruct format with --format, one of " + formats_text());
}

// `chat_template` is a text, or a list of {name, template}.
std::optional<std::string> template_in(const json::Value& config) {
    const json::Value* member = config.find("chat_template");
    if (member == nullptr) return std::nullopt;
    if (member->is_string()) return member->as_string();
    if (!member->is_array()) return std::nullopt;
    for (const json::Value& entry : member->as_array()) {
        const json::Value* name = entry.find("name");
        const json::Value* text = entry.find("template");
        if (name != nullptr && name->is_string() && name->as_string() == "default" && text != nullptr &&
            text->is_string()) {
            return text->as_string();
        }
    }
    return std::nullopt;
}

}  // namespace

Result<std::optional<std::string>> template_of(const engine::WeightSource& model) {
    for (const engine::SourceFile& file : model.files()) {
        if (file.name == "tokenizer_config.json") {
            OSTAL_TRY(const Bytes content, engine::read_source_file(model, file.name, kMaxConfigBytes));
            auto config = json::parse(as_text(content));
            if (!config) return fail(std::move(config).error().with("in tokenizer_config.json"));
            return template_in(*config);
        }
        if (file.name.ends_with(".gguf")) {
            OSTAL_TRY(const engine::GgufFile gguf, engine::GgufFile::read(model, file.name));
            OSTAL_TRY(std::optional<std::string> text, gguf.text("tokenizer.chat_template"));
            if (text && !text->empty()) return text;
        }
    }
    return std::optional<std::string>();
}

Result<InstructFormat> format_of(const engine::WeightSource& model) {
    OSTAL_TRY(const std::optional<std::string> text, template_of(model));
    if (!text) return ask_for_format("the model carries no chat template");
    const std::string digest = to_hex(security::sha256(as_bytes(*text)));
    const auto known = engine::find_known_template(digest);
    if (!known) return ask_for_format("the model's chat template (SHA-256 " + digest + ") is not known");
    return InstructFormat{std::string(engine::format_name(known->format)),
                          std::string(known->default_system)};
}

}  // namespace ostal::bundle
