#include "appliance/cli/ostal_engine/model.h"

#include <istream>

#include "base/file.h"
#include "base/json.h"
#include "engine/source_tokenizer.h"
#include "engine/tokenizer/load.h"

namespace ostal::engine_tool {
namespace {

using engine::GgufFile;
using engine::KnownTemplate;

constexpr std::uint64_t kMaxTokenizerBytes = 128ULL << 20U;
constexpr std::uint64_t kMaxConfigBytes = 16ULL << 20U;
constexpr std::size_t kMaxInputBytes = std::size_t{64} << 20U;

std::optional<KnownTemplate> known_in_gguf(const GgufFile& file) {
    const auto text = file.text("tokenizer.chat_template");
    if (!text || !*text) return std::nullopt;
    return engine::find_known_template_text(**text);
}

std::optional<KnownTemplate> known_in_folder(const engine::WeightSource& source) {
    const auto bytes = engine::read_source_file(source, "tokenizer_config.json", kMaxConfigBytes);
    if (!bytes) return std::nullopt;
    const auto config = json::parse(as_text(*bytes));
    const json::Value* text = config ? config->find("chat_template") : nullptr;
    if (text == nullptr || !text->is_string()) return std::nullopt;
    return engine::find_known_template_text(text->as_string());
}

Result<Text> open_tokenizer_file(const std::string& path) {
    if (path.ends_with(".gguf")) {
        OSTAL_TRY(const auto source, engine::FolderSource::open(path));
        OSTAL_TRY(const GgufFile file, GgufFile::read(*source, source->files().front().name));
        OSTAL_TRY(auto tokenizer, engine::load_gguf_tokenizer(file));
        return Text{std::move(tokenizer), known_in_gguf(file)};
    }
    PosixFiles files;
    OSTAL_TRY(const Bytes bytes, read_file(files, path, kMaxTokenizerBytes));
    auto tokenizer = engine::load_tokenizer_file(bytes, path);
    if (!tokenizer) return fail(std::move(tokenizer).error().with("while reading " + path));
    return Text{*std::move(tokenizer), std::nullopt};
}

}  // namespace

Result<OpenModel> open_model(const Arguments& arguments) {
    OSTAL_TRY(const std::string path, arguments.required("--model"));
    OSTAL_TRY(auto source, engine::FolderSource::open(path));
    auto files = engine::ModelFiles::open(*source);
    if (!files) return fail(std::move(files).error().with("while opening " + path));
    return OpenModel{std::move(source), *std::move(files)};
}

std::optional<KnownTemplate> known_template(const engine::WeightSource& source, const GgufFile* gguf) {
    return gguf != nullptr ? known_in_gguf(*gguf) : known_in_folder(source);
}

Result<Text> open_text(const Arguments& arguments) {
    if (arguments.has("--model") == arguments.has("--tokenizer")) {
        return fail(Code::kUsage, "name the vocabulary by one of --model and --tokenizer");
    }
    if (arguments.has("--tokenizer")) {
        OSTAL_TRY(const std::string path, arguments.required("--tokenizer"));
        return open_tokenizer_file(path);
    }
    OSTAL_TRY(const OpenModel model, open_model(arguments));
    OSTAL_TRY(auto tokenizer, engine::load_source_tokenizer(*model.source, model.files));
    return Text{std::move(tokenizer), known_template(*model.source, model.files.gguf())};
}

Result<ChatFormat> chat_format(const Arguments& arguments, const std::optional<KnownTemplate>& known) {
    const auto name = arguments.text("--format");
    if (!name && !known) {
        return fail(
            Code::kUsage,
            "--format is missing, and the model carries no chat template that is known: name one of " +
                engine::format_names());
    }
    ChatFormat out{engine::Format::kV1, {}};
    if (name) {
        auto format = engine::parse_format(*name);
        if (!format) return fail(Code::kUsage, "--format: " + format.error().message());
        out.format = *format;
    } else {
        out.format = known->format;
    }
    if (known && known->format == out.format) out.default_system = known->default_system;
    return out;
}

Result<std::vector<engine::TokenId>> encode_text(const engine::Tokenizer& tokenizer, std::string_view text,
                                                 bool special) {
    OSTAL_TRY(std::vector<engine::TokenId> ids, tokenizer.encode(text));
    if (special && tokenizer.adds_bos()) ids.insert(ids.begin(), tokenizer.bos());
    return ids;
}

Result<std::string> read_input(const Terminal& terminal) {
    std::string text;
    char piece[1 << 16];
    while (terminal.in.read(piece, sizeof piece), terminal.in.gcount() > 0) {
        text.append(piece, static_cast<std::size_t>(terminal.in.gcount()));
        if (text.size() > kMaxInputBytes) return fail(Code::kTooLarge, "the input has more than 64 MiB");
    }
    return text;
}

json::Array ids_value(const std::vector<engine::TokenId>& ids) {
    json::Array out;
    out.reserve(ids.size());
    for (const engine::TokenId id : ids) out.emplace_back(id);
    return out;
}

Option model_option() { return {"--model", "PATH", "model folder or .gguf file"}; }
Option tokenizer_option() {
    return {"--tokenizer", "FILE",
            "instead of --model: tokenizer.model, tekken.json, tokenizer.json, or a .gguf file"};
}
Option format_option() {
    static const std::string kHelp = "instruct format: " + engine::format_names() +
                                     " (may be left out where the model's template is known)";
    return {"--format", "NAME", kHelp};
}
Option threads_option() { return {"--threads", "N", "CPU threads; default: the physical cores"}; }
Option isa_option() {
    return {"--isa", "NAME", "kernels: scalar, avx2 or avx512; default: the fastest of this CPU"};
}

Result<std::string> isa_of(const Arguments& arguments) {
    const std::string isa = arguments.text("--isa").value_or("");
    if (!arguments.has("--isa") || isa == "scalar" || isa == "avx2" || isa == "avx512") return isa;
    return fail(Code::kUsage, "--isa is " + json::quote(isa) + ", expected scalar, avx2 or avx512");
}

}  // namespace ostal::engine_tool
