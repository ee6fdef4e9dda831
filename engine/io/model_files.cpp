#include "engine/io/model_files.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/check.h"
#include "engine/io/safetensors.h"
#include "engine/io/source_cursor.h"
#include "engine/io/wanted_tensors.h"

namespace ostal::engine {
namespace {

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kGenerationConfig = "generation_config.json";
constexpr std::string_view kParams = "params.json";
constexpr std::uint64_t kMaxConfigBytes = 1ULL << 20U;
// Of what the config asks for; Mixtral 8x22B has 1,739.
constexpr std::int64_t kMaxTensors = 1 << 17;

tl::unexpected<Error> malformed(std::string message) {
    return fail(Code::kInvalidArgument, std::move(message));
}
tl::unexpected<Error> unsupported(std::string message) {
    return fail(Code::kUnsupported, std::move(message));
}

Status check_shape(const std::string& name, const std::vector<std::int64_t>& found,
                   const std::vector<std::int64_t>& expected) {
    if (found == expected) return {};
    return malformed("tensor " + name + " has shape " + shape_text(found) + ", the configuration asks for " +
                     shape_text(expected));
}

Status check_norm_type(const WantedTensor& wanted, DType dtype) {
    if (wanted.shape.size() != 1 || !is_quantised(dtype)) return {};
    return unsupported("tensor " + wanted.name + " has type " + std::string(dtype_name(dtype)) +
                       "; a norm is read as f32, f16 or bf16");
}

// ---- safetensors ----

// Tensors that old checkpoints carry and no computation needs.
bool is_derived(std::string_view name) { return name.ends_with(".self_attn.rotary_emb.inv_freq"); }

Result<std::vector<TensorInfo>> match_safetensors(const ModelConfig& config, Layout layout,
                                                  std::vector<SafetensorsEntry> entries) {
    std::unordered_map<std::string_view, const SafetensorsEntry*> by_name;
    for (const SafetensorsEntry& entry : entries) by_name.emplace(entry.name, &entry);
    const bool mistral = layout == Layout::kMistral;
    std::vector<TensorInfo> tensors;
    for (WantedTensor& wanted : wanted_tensors(config)) {
        const std::string& name = mistral ? wanted.mistral_name : wanted.name;
        const auto found = by_name.find(name);
        if (found == by_name.end()) return malformed("tensor " + name + " is missing");
        const SafetensorsEntry& entry = *found->second;
        OSTAL_TRYV(check_shape(name, entry.shape, wanted.shape));
        tensors.push_back({wanted.name, entry.dtype, wanted.shape, entry.file, entry.offset, entry.bytes,
                           mistral ? wanted.interleaved_heads : 0});
        by_name.erase(found);
    }
    const std::string_view output = mistral ? "output.weight" : "lm_head.weight";
    for (const SafetensorsEntry& entry : entries) {
        if (!by_name.contains(entry.name) || is_derived(entry.name)) continue;
        // Where embeddings are tied, transformers too puts the embedding in the place of a stored lm_head.
        if (config.tied_embeddings && entry.name == output) continue;
        return unsupported("tensor " + entry.name + " of " + entry.file + " is not part of a " +
                           config.architecture + " model as this build computes it");
    }
    return tensors;
}

// ---- GGUF ----

struct Place {
    const GgufTensor* tensor;
    std::uint64_t offset;
    std::uint64_t bytes;
};

// Where a wanted tensor lies: whole, or as a slice of the experts' merged one.
Result<Place> find_in_gguf(const GgufFile& file, const WantedTensor& wanted, std::int32_t experts) {
    const GgufTensor* own = wanted.gguf_own_name.empty() ? nullptr : file.find_tensor(wanted.gguf_own_name);
    const GgufTensor* found = file.find_tensor(wanted.gguf_name);
    if (own != nullptr && found != nullptr)
        return malformed("the file holds both " + wanted.gguf_name + " and " + wanted.gguf_own_name);
    if (own != nullptr) {
        OSTAL_TRYV(check_shape(wanted.gguf_own_name, own->shape, wanted.shape));
        return Place{own, own->offset, own->bytes};
    }
    if (found == nullptr) return malformed("tensor " + wanted.gguf_name + " is missing");
    std::vector<std::int64_t> shape = wanted.shape;
    if (wanted.expert < 0) {
        OSTAL_TRYV(check_shape(wanted.gguf_name, found->shape, shape));
        return Place{found, found->offset, found->bytes};
    }
    shape.insert(shape.begin(), experts);
    OSTAL_TRYV(check_shape(wanted.gguf_name, found->shape, shape));
    const std::uint64_t bytes = found->bytes / static_cast<std::uint64_t>(experts);
    return Place{found, found->offset + bytes * static_cast<std::uint64_t>(wanted.expert), bytes};
}

Result<std::vector<TensorInfo>> match_gguf(const ModelConfig& config, const GgufFile& file) {
    std::set<std::string_view> used;
    std::vector<TensorInfo> tensors;
    for (WantedTensor& wanted : wanted_tensors(config)) {
        OSTAL_TRY(const Place place, find_in_gguf(file, wanted, config.experts));
        OSTAL_TRYV(check_norm_type(wanted, place.tensor->dtype));
        if (wanted.only_gguf && place.tensor->dtype != DType::kF32) {
            return unsupported("tensor " + wanted.gguf_name + " has type " +
                               std::string(dtype_name(place.tensor->dtype)) + "; it is read as f32");
        }
        used.insert(place.tensor->name);
        tensors.push_back({std::move(wanted.name), place.tensor->dtype, std::move(wanted.shape), file.file(),
                           place.offset, place.bytes, wanted.interleaved_heads});
    }
    for (const GgufTensor& tensor : file.tensors()) {
        if (used.contains(tensor.name)) continue;
        return unsupported("tensor " + tensor.name +
                           " is not part of a llama model as this build computes it");
    }
    return tensors;
}

// ---- Files ----

Status refuse_programs(const WeightSource& source) {
    for (const SourceFile& file : source.files()) {
        Bytes head(static_cast<std::size_t>(std::min<std::uint64_t>(file.size_bytes, 16)));
        OSTAL_TRYV(source.read(file.name, 0, head));
        if (const auto format = refused_format(head)) {
            return unsupported(
                "the file " + file.name + " is " + std::string(*format) +
                "; a model is safetensors or GGUF, and such files may carry programs: remove it");
        }
    }
    return {};
}

struct Found {
    Layout layout;
    std::string file;                 // the weights, their index, or the first of the shards
    std::vector<std::string> shards;  // of a Mistral folder without an index
};

// The files of weights that lie here, one entry for each way to read them.
std::vector<Found> candidates(const WeightSource& source) {
    std::vector<Found> found;
    std::vector<std::string> shards;
    bool indexed = false;
    for (const SourceFile& file : source.files()) {
        const std::string& name = file.name;
        if (name == "model.safetensors" || name == "model.safetensors.index.json")
            found.push_back({Layout::kHuggingFace, name, {}});
        if (name.ends_with(".gguf") || name.ends_with(".GGUF")) found.push_back({Layout::kGguf, name, {}});
        if (!name.starts_with("consolidated")) continue;
        if (name == "consolidated.safetensors" || name == "consolidated.safetensors.index.json") {
            found.push_back({Layout::kMistral, name, {}});
            indexed = indexed || name.ends_with(".json");
        } else if (name.ends_with(".safetensors")) {
            shards.push_back(name);
        }
    }
    if (!shards.empty() && !indexed) found.push_back({Layout::kMistral, shards.front(), shards});
    return found;
}

Result<Found> find_weights(const WeightSource& source) {
    std::vector<Found> found = candidates(source);
    if (found.size() == 1) return std::move(found[0]);
    if (found.size() > 1) {
        return malformed("both " + found[0].file + " and " + found[1].file +
                         " are here, and it is not clear which model is meant: keep one");
    }
    return malformed(
        "no model is here: expected config.json with model.safetensors or model.safetensors.index.json, "
        "params.json with consolidated*.safetensors, or one .gguf file");
}

Result<std::string> read_text(const WeightSource& source, std::string_view name) {
    OSTAL_TRY(const Bytes bytes, read_source_file(source, name, kMaxConfigBytes));
    return std::string(as_text(bytes));
}

Result<ModelConfig> read_hf_config(const WeightSource& source) {
    OSTAL_TRY(const std::string text, read_text(source, kConfig));
    OSTAL_TRY(ModelConfig config, parse_model_config(text));
    if (source_file_size(source, kGenerationConfig)) {
        OSTAL_TRY(const std::string generation, read_text(source, kGenerationConfig));
        OSTAL_TRYV(add_generation_config(generation, config));
    }
    return config;
}

Result<ModelConfig> read_mistral_config(const WeightSource& source) {
    OSTAL_TRY(const std::string text, read_text(source, kParams));
    return parse_mistral_params(text);
}

Result<std::vector<SafetensorsEntry>> read_entries(const WeightSource& source, const Found& found) {
    if (!found.shards.empty()) return read_numbered_safetensors(source, found.shards);
    if (found.file.ends_with(".json")) return read_sharded_safetensors(source, found.file);
    return read_safetensors_header(source, found.file);
}

Status check_tensor_count(const ModelConfig& config) {
    const std::int64_t count = std::int64_t{config.layers} * (9 + 3 * std::int64_t{config.experts});
    if (count <= kMaxTensors) return {};
    return fail(Code::kTooLarge, "a model of " + std::to_string(config.layers) + " layers with " +
                                     std::to_string(config.experts) + " experts has more than " +
                                     std::to_string(kMaxTensors) + " tensors");
}

}  // namespace

Result<ModelFiles> ModelFiles::open(const WeightSource& source) {
    OSTAL_TRYV(refuse_programs(source));
    OSTAL_TRY(const Found found, find_weights(source));
    ModelFiles model;
    model.layout_ = found.layout;
    if (found.layout == Layout::kGguf) {
        OSTAL_TRY(GgufFile file, GgufFile::read(source, found.file));
        OSTAL_TRY(model.config_, model_config_from_gguf(file));
        OSTAL_TRYV(check_tensor_count(model.config_));
        auto tensors = match_gguf(model.config_, file);
        if (!tensors) return fail(std::move(tensors).error().with("while reading " + found.file));
        model.tensors_ = *std::move(tensors);
        model.gguf_ = std::make_shared<const GgufFile>(std::move(file));
    } else {
        OSTAL_TRY(model.config_,
                  found.layout == Layout::kMistral ? read_mistral_config(source) : read_hf_config(source));
        OSTAL_TRYV(check_tensor_count(model.config_));
        OSTAL_TRY(auto entries, read_entries(source, found));
        OSTAL_TRY(model.tensors_, match_safetensors(model.config_, found.layout, std::move(entries)));
    }
    for (std::size_t i = 0; i < model.tensors_.size(); ++i) model.at_.emplace(model.tensors_[i].name, i);
    return model;
}

Result<Layout> find_layout(const WeightSource& source) {
    OSTAL_TRY(const Found found, find_weights(source));
    return found.layout;
}

std::string_view layout_name(Layout layout) {
    switch (layout) {
        case Layout::kHuggingFace: return "Hugging Face folder";
        case Layout::kMistral: return "Mistral folder";
        case Layout::kGguf: return "GGUF file";
    }
    CHECK_UNREACHABLE("layout");
}

const TensorInfo* ModelFiles::find(std::string_view name) const {
    const auto found = at_.find(std::string(name));
    return found == at_.end() ? nullptr : &tensors_[found->second];
}

std::int64_t ModelFiles::parameters() const {
    std::int64_t count = 0;
    for (const TensorInfo& tensor : tensors_) count += tensor.rows() * tensor.columns();
    return count;
}

std::uint64_t ModelFiles::weight_bytes() const {
    std::uint64_t bytes = 0;
    for (const TensorInfo& tensor : tensors_) bytes += tensor.bytes;
    return bytes;
}

std::string ModelFiles::weight_types() const {
    std::map<DType, std::uint64_t> bytes_of;
    for (const TensorInfo& tensor : tensors_) bytes_of[tensor.dtype] += tensor.bytes;
    std::vector<std::pair<std::uint64_t, DType>> order;
    for (const auto& [dtype, bytes] : bytes_of) order.emplace_back(bytes, dtype);
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    std::string text;
    for (const auto& [bytes, dtype] : order)
        text += (text.empty() ? "" : "+") + std::string(dtype_name(dtype));
    return text;
}

}  // namespace ostal::engine
