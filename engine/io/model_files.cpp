#include "engine/io/model_files.h"

#include <algorithm>
#include <map>
#include <set>

#include "engine/io/safetensors.h"
#include "engine/io/source_cursor.h"

namespace ostal::engine {
namespace {

constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kGenerationConfig = "generation_config.json";
constexpr std::string_view kSingle = "model.safetensors";
constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::uint64_t kMaxConfigBytes = 1ULL << 20U;
// Of what the config asks for; Mixtral 8x22B has 1,739.
constexpr std::int64_t kMaxTensors = 1 << 17;

tl::unexpected<Error> malformed(std::string message) {
    return fail(Code::kInvalidArgument, std::move(message));
}
tl::unexpected<Error> unsupported(std::string message) {
    return fail(Code::kUnsupported, std::move(message));
}

// ---- What a config asks for ----

struct Wanted {
    std::string name;  // Hugging Face
    std::vector<std::int64_t> shape;
    std::string gguf_name;
    std::int32_t expert = -1;            // slice of the merged 3-D tensor gguf_name, or -1
    std::int32_t interleaved_heads = 0;  // in GGUF
};

std::vector<Wanted> wanted_tensors(const ModelConfig& c) {
    std::vector<Wanted> all;
    const auto add = [&](std::string name, std::vector<std::int64_t> shape, std::string gguf,
                         std::int32_t heads = 0) {
        all.push_back({std::move(name), std::move(shape), std::move(gguf), -1, heads});
    };
    const std::int64_t dim = c.dim;
    const std::int64_t queries = std::int64_t{c.heads} * c.head_dim;
    const std::int64_t keys = std::int64_t{c.kv_heads} * c.head_dim;
    const std::int64_t ffn = c.ffn;
    add("model.embed_tokens.weight", {c.vocab, dim}, "token_embd.weight");
    for (std::int32_t i = 0; i < c.layers; ++i) {
        const std::string layer = "model.layers." + std::to_string(i) + ".";
        const std::string block = "blk." + std::to_string(i) + ".";
        add(layer + "input_layernorm.weight", {dim}, block + "attn_norm.weight");
        add(layer + "self_attn.q_proj.weight", {queries, dim}, block + "attn_q.weight", c.heads);
        add(layer + "self_attn.k_proj.weight", {keys, dim}, block + "attn_k.weight", c.kv_heads);
        add(layer + "self_attn.v_proj.weight", {keys, dim}, block + "attn_v.weight");
        add(layer + "self_attn.o_proj.weight", {dim, queries}, block + "attn_output.weight");
        add(layer + "post_attention_layernorm.weight", {dim}, block + "ffn_norm.weight");
        if (c.experts == 0) {
            add(layer + "mlp.gate_proj.weight", {ffn, dim}, block + "ffn_gate.weight");
            add(layer + "mlp.up_proj.weight", {ffn, dim}, block + "ffn_up.weight");
            add(layer + "mlp.down_proj.weight", {dim, ffn}, block + "ffn_down.weight");
            continue;
        }
        add(layer + "block_sparse_moe.gate.weight", {c.experts, dim}, block + "ffn_gate_inp.weight");
        for (std::int32_t e = 0; e < c.experts; ++e) {
            const std::string expert = layer + "block_sparse_moe.experts." + std::to_string(e) + ".";
            all.push_back({expert + "w1.weight", {ffn, dim}, block + "ffn_gate_exps.weight", e, 0});
            all.push_back({expert + "w3.weight", {ffn, dim}, block + "ffn_up_exps.weight", e, 0});
            all.push_back({expert + "w2.weight", {dim, ffn}, block + "ffn_down_exps.weight", e, 0});
        }
    }
    add("model.norm.weight", {dim}, "output_norm.weight");
    if (!c.tied_embeddings) add("lm_head.weight", {c.vocab, dim}, "output.weight");
    return all;
}

Status check_shape(const std::string& name, const std::vector<std::int64_t>& found,
                   const std::vector<std::int64_t>& expected) {
    if (found == expected) return {};
    return malformed("tensor " + name + " has shape " + shape_text(found) + ", the configuration asks for " +
                     shape_text(expected));
}

Status check_norm_type(const Wanted& wanted, DType dtype) {
    if (wanted.shape.size() != 1 || !is_quantised(dtype)) return {};
    return unsupported("tensor " + wanted.name + " has type " + std::string(dtype_name(dtype)) +
                       "; a norm is read as f32, f16 or bf16");
}

// ---- Hugging Face ----

// Tensors that old checkpoints carry and no computation needs.
bool is_derived(std::string_view name) { return name.ends_with(".self_attn.rotary_emb.inv_freq"); }

Result<std::vector<TensorInfo>> match_safetensors(const ModelConfig& config,
                                                  std::vector<SafetensorsEntry> entries) {
    std::unordered_map<std::string_view, const SafetensorsEntry*> by_name;
    for (const SafetensorsEntry& entry : entries) by_name.emplace(entry.name, &entry);
    std::vector<TensorInfo> tensors;
    for (Wanted& wanted : wanted_tensors(config)) {
        const auto found = by_name.find(wanted.name);
        if (found == by_name.end()) return malformed("tensor " + wanted.name + " is missing");
        const SafetensorsEntry& entry = *found->second;
        OSTAL_TRYV(check_shape(wanted.name, entry.shape, wanted.shape));
        tensors.push_back({wanted.name, entry.dtype, wanted.shape, entry.file, entry.offset, entry.bytes, 0});
        by_name.erase(found);
    }
    for (const SafetensorsEntry& entry : entries) {
        if (!by_name.contains(entry.name) || is_derived(entry.name)) continue;
        // Where embeddings are tied, transformers too puts the embedding in the place of a stored lm_head.
        if (config.tied_embeddings && entry.name == "lm_head.weight") continue;
        return unsupported("tensor " + entry.name + " of " + entry.file + " is not part of a " +
                           config.architecture + " model as this build computes it");
    }
    return tensors;
}

// ---- GGUF ----

Result<std::vector<TensorInfo>> match_gguf(const ModelConfig& config, const GgufFile& file) {
    std::set<std::string_view> used;
    std::vector<TensorInfo> tensors;
    for (Wanted& wanted : wanted_tensors(config)) {
        const GgufTensor* found = file.find_tensor(wanted.gguf_name);
        if (found == nullptr) return malformed("tensor " + wanted.gguf_name + " is missing");
        std::vector<std::int64_t> shape = wanted.shape;
        std::uint64_t offset = found->offset;
        std::uint64_t bytes = found->bytes;
        if (wanted.expert >= 0) {
            shape.insert(shape.begin(), config.experts);
            bytes /= static_cast<std::uint64_t>(config.experts);
            offset += bytes * static_cast<std::uint64_t>(wanted.expert);
        }
        OSTAL_TRYV(check_shape(wanted.gguf_name, found->shape, shape));
        OSTAL_TRYV(check_norm_type(wanted, found->dtype));
        used.insert(found->name);
        tensors.push_back({std::move(wanted.name), found->dtype, std::move(wanted.shape), file.file(), offset,
                           bytes, wanted.interleaved_heads});
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

enum class Layout { kOneFile, kShards, kGguf };
struct Found {
    Layout layout;
    std::string file;
};

Result<Found> find_layout(const WeightSource& source) {
    std::vector<Found> found;
    bool mistral = false;
    for (const SourceFile& file : source.files()) {
        if (file.name == kSingle) found.push_back({Layout::kOneFile, file.name});
        if (file.name == kIndex) found.push_back({Layout::kShards, file.name});
        if (file.name.ends_with(".gguf") || file.name.ends_with(".GGUF"))
            found.push_back({Layout::kGguf, file.name});
        mistral = mistral || file.name == "params.json";
    }
    if (found.size() == 1) return found[0];
    if (found.size() > 1) {
        return malformed("both " + found[0].file + " and " + found[1].file +
                         " are here, and it is not clear which model is meant: keep one");
    }
    if (mistral) {
        return unsupported(
            "this is a folder in Mistral's own layout (params.json), which is not supported; take the "
            "Hugging Face layout (config.json, model*.safetensors) or GGUF");
    }
    return malformed("no model is here: expected config.json with model.safetensors or " +
                     std::string(kIndex) + ", or one .gguf file");
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
    OSTAL_TRY(const Found found, find_layout(source));
    ModelFiles model;
    if (found.layout == Layout::kGguf) {
        OSTAL_TRY(GgufFile file, GgufFile::read(source, found.file));
        OSTAL_TRY(model.config_, model_config_from_gguf(file));
        OSTAL_TRYV(check_tensor_count(model.config_));
        auto tensors = match_gguf(model.config_, file);
        if (!tensors) return fail(std::move(tensors).error().with("while reading " + found.file));
        model.tensors_ = *std::move(tensors);
        model.gguf_ = std::make_shared<const GgufFile>(std::move(file));
    } else {
        OSTAL_TRY(model.config_, read_hf_config(source));
        OSTAL_TRYV(check_tensor_count(model.config_));
        OSTAL_TRY(auto entries, found.layout == Layout::kOneFile
                                    ? read_safetensors_header(source, found.file)
                                    : read_sharded_safetensors(source, found.file));
        OSTAL_TRY(model.tensors_, match_safetensors(model.config_, std::move(entries)));
    }
    for (std::size_t i = 0; i < model.tensors_.size(); ++i) model.at_.emplace(model.tensors_[i].name, i);
    return model;
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
