// inspect: what a model is, from its headers alone, and why it is refused where it is.
#include <array>
#include <charconv>
#include <map>
#include <ostream>

#include "appliance/cli/ostal_engine/model.h"
#include "base/json.h"
#include "engine/source_tokenizer.h"
#include "engine/tokenizer/load.h"

namespace ostal::engine_tool {
namespace {

using engine::ModelConfig;
using engine::ModelFiles;

constexpr std::uint64_t kMaxTextBytes = 64ULL << 20U;  // of a tekken.json or a tokenizer_config.json

json::Value ids_or_null(engine::TokenId id) { return id < 0 ? json::Value() : json::Value(id); }

// The shortest number that is this float: 1e-05, not the digits of its double.
double shortest(float value) {
    std::array<char, 32> text;
    const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
    double out = 0;
    std::from_chars(text.data(), written.ptr, out);
    return out;
}

json::Value rope_value(const ModelConfig& config) {
    const engine::RopeScaling& rope = config.rope_scaling;
    json::Object out{{"kind", engine::rope_kind_name(rope.kind)}, {"theta", config.rope_theta}};
    switch (rope.kind) {
        case engine::RopeKind::kPlain:
        case engine::RopeKind::kDivisors: return out;
        case engine::RopeKind::kLinear: out.set("factor", rope.factor); return out;
        case engine::RopeKind::kDynamic:
            out.set("factor", rope.factor);
            out.set("original_context", rope.original_context);
            return out;
        case engine::RopeKind::kYarn:
            out.set("factor", rope.factor);
            out.set("original_context", rope.original_context);
            out.set("beta_fast", rope.beta_fast);
            out.set("beta_slow", rope.beta_slow);
            out.set("truncate", rope.truncate);
            out.set("attention_factor", rope.attention_factor);
            return out;
        case engine::RopeKind::kLlama3:
            out.set("factor", rope.factor);
            out.set("original_context", rope.original_context);
            out.set("low_frequency_factor", rope.low_frequency_factor);
            out.set("high_frequency_factor", rope.high_frequency_factor);
            return out;
    }
    return out;
}

json::Object config_value(const ModelConfig& config) {
    json::Array windows;
    for (const std::int32_t window : config.windows) windows.emplace_back(window);
    return {
        {"architecture", config.architecture},
        {"layers", config.layers},
        {"dim", config.dim},
        {"heads", config.heads},
        {"kv_heads", config.kv_heads},
        {"head_dim", config.head_dim},
        {"ffn", config.ffn},
        {"experts", config.experts},
        {"experts_per_token", config.experts_per_token},
        {"vocab", config.vocab},
        {"context", config.context},
        {"windows", std::move(windows)},
        {"rope", rope_value(config)},
        {"norm_eps", shortest(config.norm_eps)},
        {"tied_embeddings", config.tied_embeddings},
        {"bos", ids_or_null(config.bos)},
        {"eos", ids_value(config.eos)},
    };
}

json::Array types_value(const ModelFiles& files) {
    struct Sum {
        std::int64_t tensors = 0;
        std::uint64_t bytes = 0;
    };
    std::map<engine::DType, Sum> sums;
    for (const engine::TensorInfo& tensor : files.tensors()) {
        ++sums[tensor.dtype].tensors;
        sums[tensor.dtype].bytes += tensor.bytes;
    }
    json::Array out;
    for (const auto& [dtype, sum] : sums) {
        out.emplace_back(json::Object{
            {"type", engine::dtype_name(dtype)}, {"tensors", sum.tensors}, {"bytes", sum.bytes}});
    }
    return out;
}

std::optional<std::string> tokenizer_file(const engine::WeightSource& source) {
    std::vector<std::string> names;
    for (const engine::SourceFile& file : source.files()) names.push_back(file.name);
    return engine::choose_tokenizer_file(names);
}

std::string tokenizer_kind(const std::optional<std::string>& file, const engine::GgufFile* gguf) {
    if (file && *file == "tekken.json") return "tekken";
    if (file && file->ends_with(".json")) return "Hugging Face tokenizer.json";
    if (file) return "SentencePiece model";
    if (gguf == nullptr) return "none";
    const auto model = gguf->text("tokenizer.ggml.model");
    if (!model || !*model) return "none";
    return "embedded in GGUF, " + **model + (**model == "llama" ? " (SentencePiece)" : "");
}

json::Object tokenizer_value(const engine::WeightSource& source, const ModelFiles& files) {
    const auto file = tokenizer_file(source);
    json::Object out{{"kind", tokenizer_kind(file, files.gguf())},
                     {"file", file ? json::Value(*file) : json::Value()}};
    const auto tokenizer = engine::load_source_tokenizer(source, files);
    out.set("tokens", tokenizer ? json::Value((*tokenizer)->vocab_size()) : json::Value());
    out.set("refused", tokenizer ? json::Value() : json::Value(tokenizer.error().to_string()));
    return out;
}

// The member at `path` of a JSON file of the source, when it is a text.
std::optional<std::string> text_in(const engine::WeightSource& source, std::string_view file,
                                   std::initializer_list<std::string_view> path) {
    const auto bytes = engine::read_source_file(source, file, kMaxTextBytes);
    if (!bytes) return std::nullopt;
    const auto whole = json::parse(as_text(*bytes));
    const json::Value* value = whole ? &*whole : nullptr;
    for (const std::string_view member : path) {
        if (value != nullptr) value = value->find(member);
    }
    if (value == nullptr || !value->is_string()) return std::nullopt;
    return value->as_string();
}

bool carries_template(const engine::WeightSource& source, const engine::GgufFile* gguf) {
    if (gguf != nullptr) return gguf->find("tokenizer.chat_template") != nullptr;
    return engine::source_file_size(source, "chat_template.jinja").has_value() ||
           text_in(source, "tokenizer_config.json", {"chat_template"}).has_value();
}

// The format that the vocabulary file of a Mistral model stands for: tokenizer.model.v3, or the version that
// tekken.json names.
std::optional<std::string> format_of_vocabulary(const engine::WeightSource& source) {
    const auto file = tokenizer_file(source);
    if (!file) return std::nullopt;
    std::optional<std::string> name;
    constexpr std::string_view kStem = "tokenizer.model.";
    if (file->starts_with(kStem)) name = file->substr(kStem.size());
    if (*file == "tekken.json") {
        const auto version = text_in(source, *file, {"config", "version"});
        if (version) name = *version + "-tekken";
    }
    return name && engine::parse_format(*name) ? name : std::nullopt;
}

json::Object format_value(const engine::WeightSource& source, const engine::GgufFile* gguf) {
    if (const auto known = known_template(source, gguf)) {
        return {{"name", engine::format_name(known->format)},
                {"reason", "the model's chat template is that of " + std::string(known->models)}};
    }
    const std::string carried = carries_template(source, gguf)
                                    ? "the model carries a chat template that is not known"
                                    : "the model carries no chat template";
    if (const auto name = format_of_vocabulary(source)) {
        return {{"name", *name}, {"reason", carried + "; its vocabulary is of that version"}};
    }
    return {{"name", nullptr}, {"reason", carried}};
}

json::Object describe(const engine::WeightSource& source) {
    json::Object out;
    const auto layout = engine::find_layout(source);
    out.set("source", layout ? json::Value(engine::layout_name(*layout)) : json::Value());
    json::Array names;
    for (const engine::SourceFile& file : source.files())
        names.emplace_back(json::Object{{"name", file.name}, {"bytes", file.size_bytes}});
    out.set("files", std::move(names));
    const auto files = ModelFiles::open(source);
    out.set("refused", files ? json::Value() : json::Value(files.error().to_string()));
    if (!files) return out;
    out.set("config", config_value(files->config()));
    out.set("parameters", files->parameters());
    out.set("weight_bytes", files->weight_bytes());
    out.set("tensors", types_value(*files));
    out.set("tokenizer", tokenizer_value(source, *files));
    out.set("format", format_value(source, files->gguf()));
    return out;
}

// For people: "name: value" lines, members of objects behind a dot, a line for each object of a list.
void print(std::ostream& out, const std::string& name, const json::Value& value) {
    if (value.is_object()) {
        for (const auto& [key, member] : value.as_object())
            print(out, name.empty() ? key : name + "." + key, member);
        return;
    }
    if (value.is_array() && !value.as_array().empty() && value.as_array()[0].is_object()) {
        for (const json::Value& entry : value.as_array()) {
            std::string line;
            for (const auto& [key, member] : entry.as_object())
                line +=
                    "  " + key + " " + (member.is_string() ? member.as_string() : json::to_string(member));
            out << name << ":" << line << "\n";
        }
        return;
    }
    out << name << ": " << (value.is_string() ? value.as_string() : json::to_string(value)) << "\n";
}

}  // namespace

Command inspect_command() {
    return {
        "inspect",
        "what a model is, from its headers alone",
        "--model PATH [--json]",
        "Says the layout, every value of the configuration, tensors and bytes by type, the tokenizer, the "
        "instruct\n"
        "format that fits, and why a model is refused. Weights are not read. With --json one object: "
        "source, files,\n"
        "refused (null or the reason), config, parameters, weight_bytes, tensors, tokenizer, format. Exit "
        "codes: 0 ok,\n"
        "1 failed or refused, 2 usage.",
        {model_option(), {"--json", "", "one JSON object"}}};
}

Status run_inspect(const Arguments& arguments, const Terminal& terminal) {
    OSTAL_TRY(const std::string path, arguments.required("--model"));
    OSTAL_TRY(const auto source, engine::FolderSource::open(path));
    const json::Object found = describe(*source);
    if (arguments.has("--json")) {
        terminal.out << json::to_string(found) << "\n";
    } else {
        print(terminal.out, "", found);
    }
    const json::Value& refused = *found.find("refused");
    if (refused.is_null()) return {};
    return fail(Code::kUnsupported, path + " is refused: " + refused.as_string());
}

}  // namespace ostal::engine_tool
