#include "engine/convert.h"

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/backend/cpu/isa.h"
#include "engine/gguf_metadata.h"
#include "engine/io/gguf_writer.h"
#include "engine/io/quantise.h"
#include "engine/io/wanted_tensors.h"
#include "engine/source_tokenizer.h"

namespace ostal::engine {
namespace {

// ---- Which tensors are written, and where a tensor of the source goes

struct OutTensor {
    std::string name;
    std::vector<std::int64_t> shape;
    DType dtype = DType::kF32;
};
struct Place {
    DType dtype = DType::kF32;
    std::uint64_t offset = 0;            // of its first row, from the end of the header
    std::int32_t interleaved_heads = 0;  // above 0: rows go into interleaved order
};
struct Plan {
    std::vector<OutTensor> tensors;
    std::vector<std::pair<std::size_t, std::int32_t>> slices;  // of each source tensor: into tensors, expert
    std::vector<Place> places;                                 // of each source tensor
    std::vector<float> divisors;        // of the frequencies of RoPE, when they make a tensor of their own
    std::uint64_t divisors_offset = 0;  // from the end of the header
};

DType type_to_write(const std::string& name, const TensorInfo& tensor, DType asked) {
    const bool router = name.ends_with(".ffn_gate_inp.weight");
    if (tensor.shape.size() < 2 || router || tensor.columns() % block_elements(asked) != 0)
        return DType::kF32;
    const bool ends = name == "token_embd.weight" || name == "output.weight";
    return ends ? DType::kQ8_0 : asked;
}

Plan plan_tensors(const ModelFiles& files, DType asked) {
    Plan plan;
    const std::vector<WantedTensor> wanted = wanted_tensors(files.config());
    CHECK_EQ(wanted.size(), files.tensors().size());
    std::map<std::string, std::size_t> at;
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        const TensorInfo& tensor = files.tensors()[i];
        const std::string& name = wanted[i].gguf_name;
        const auto [entry, is_new] = at.emplace(name, plan.tensors.size());
        if (is_new) {
            std::vector<std::int64_t> shape = tensor.shape;
            if (wanted[i].expert >= 0) shape.insert(shape.begin(), files.config().experts);
            plan.tensors.push_back({name, std::move(shape), type_to_write(name, tensor, asked)});
        }
        plan.slices.emplace_back(entry->second, std::max(wanted[i].expert, 0));
        plan.places.push_back({plan.tensors[entry->second].dtype, 0, wanted[i].interleaved_heads});
    }
    plan.divisors = gguf_rope_divisors(files.config());
    if (!plan.divisors.empty()) {
        plan.tensors.push_back(
            {"rope_freqs.weight", {static_cast<std::int64_t>(plan.divisors.size())}, DType::kF32});
    }
    return plan;
}

// Enters the tensors into the header, which says where their bytes go.
void add_tensors(Plan& plan, const ModelFiles& files, GgufHeader& header) {
    std::vector<std::uint64_t> begins;
    for (const OutTensor& tensor : plan.tensors) {
        begins.push_back(header.add_tensor(tensor.name, tensor.shape, tensor.dtype));
    }
    for (std::size_t i = 0; i < plan.places.size(); ++i) {
        const TensorInfo& tensor = files.tensors()[i];
        const auto [at, expert] = plan.slices[i];
        const auto slice = tensor.rows() * row_bytes(plan.places[i].dtype, tensor.columns());
        plan.places[i].offset = begins[at] + static_cast<std::uint64_t>(slice * expert);
    }
    if (!plan.divisors.empty()) plan.divisors_offset = begins.back();
}

// ---- Weights

// Row `row` of half-rotation order stands there in interleaved order; `head` rows a head.
std::int64_t interleaved(std::int64_t row, std::int64_t head) {
    const std::int64_t in_head = row % head;
    return row - in_head + 2 * (in_head % (head / 2)) + in_head / (head / 2);
}

Bytes f32_bytes(std::span<const float> values) {
    Bytes out(4 * values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        store_le(out.data() + 4 * i, std::bit_cast<std::uint32_t>(values[i]));
    }
    return out;
}

class WeightWriter {
public:
    WeightWriter(File& file, std::uint64_t data_begin, const ModelFiles& files, const Plan& plan,
                 const cpu::Kernels& kernels)
        : file_(file), data_begin_(data_begin), kernels_(kernels) {
        for (std::size_t i = 0; i < plan.places.size(); ++i) {
            place_of_.emplace(&files.tensors()[i], &plan.places[i]);
        }
    }

    // Called by several threads.
    Status write(const TensorPiece& piece) {
        const TensorInfo& tensor = piece.tensor;
        const Place& place = *place_of_.at(&tensor);
        Bytes made;
        ByteSpan rows = piece.bytes;
        if (tensor.dtype != place.dtype) {
            OSTAL_TRY(made, in_type(place.dtype, piece));
            rows = made;
        }
        const auto row_size = static_cast<std::uint64_t>(row_bytes(place.dtype, tensor.columns()));
        const std::uint64_t begin = data_begin_ + place.offset;
        const std::lock_guard lock(mutex_);
        if (place.interleaved_heads == 0) {
            return file_.pwrite(rows, begin + row_size * static_cast<std::uint64_t>(piece.first_row));
        }
        for (std::int64_t i = 0; i < piece.rows; ++i) {
            const std::int64_t to = interleaved(piece.first_row + i, tensor.rows() / place.interleaved_heads);
            const ByteSpan row = rows.subspan(static_cast<std::size_t>(i) * row_size, row_size);
            OSTAL_TRYV(file_.pwrite(row, begin + row_size * static_cast<std::uint64_t>(to)));
        }
        return {};
    }

private:
    Result<Bytes> in_type(DType to, const TensorPiece& piece) const {
        const std::int64_t columns = piece.tensor.columns();
        const auto count = static_cast<std::size_t>(piece.rows * columns);
        std::vector<float> values(count);
        // Rows follow each other in whole blocks, so that the piece is one long row.
        kernels_.dequantise[cpu::format_of(piece.tensor.dtype)](
            piece.bytes.data(), static_cast<std::int64_t>(count), values.data());
        if (to == DType::kF32) return f32_bytes(values);
        Bytes out(static_cast<std::size_t>(piece.rows * row_bytes(to, columns)));
        const Status done = quantise(to, values, out);
        if (!done) return fail(Error(done.error()).with("while quantising " + piece.tensor.name));
        return out;
    }

    File& file_;
    std::uint64_t data_begin_;
    const cpu::Kernels& kernels_;
    std::map<const TensorInfo*, const Place*> place_of_;
    std::mutex mutex_;
};

// What was written is a model, and the same one.
Result<Converted> check_written(const std::string& path, const ModelFiles& files) {
    OSTAL_TRY(const auto source, FolderSource::open(path));
    OSTAL_TRY(const ModelFiles written, ModelFiles::open(*source));
    if (written.gguf()->find("tokenizer.ggml.tokens") != nullptr) {
        OSTAL_TRYV(load_source_tokenizer(*source, written));
    }
    OSTAL_TRYV(check_gguf_config(files.config(), written.config()));
    return Converted{source->files().front().size_bytes, written.weight_types()};
}

Result<Converted> write_file(const WeightSource& source, const ModelFiles& files, Files& system,
                             const std::string& path, const ConvertOptions& options) {
    GgufHeader header;
    OSTAL_TRYV(add_gguf_metadata(source, files, options.quantise, header));
    Plan plan = plan_tensors(files, options.quantise);
    add_tensors(plan, files, header);
    const Bytes head = header.build();
    const std::uint64_t size = head.size() + header.data_bytes();

    OSTAL_TRY(auto file, system.open(path, Files::Open::kCreate));
    const auto written = [&]() -> Result<Converted> {
        OSTAL_TRYV(file->allocate(size));
        OSTAL_TRYV(file->truncate(size));
        OSTAL_TRYV(file->pwrite(head, 0));
        OSTAL_TRY(const cpu::Kernels* kernels, cpu::select_kernels(""));
        WeightWriter writer(*file, head.size(), files, plan, *kernels);
        std::vector<const TensorInfo*> tensors;
        for (const TensorInfo& tensor : files.tensors()) tensors.push_back(&tensor);
        OSTAL_TRYV(read_pieces(source, tensors, options.threads,
                               [&](const TensorPiece& piece) { return writer.write(piece); }));
        OSTAL_TRYV(file->pwrite(f32_bytes(plan.divisors), head.size() + plan.divisors_offset));
        OSTAL_TRYV(file->fsync());
        return check_written(path, files);
    }();
    if (!written) (void)system.remove_file(path);
    return written;
}

}  // namespace

Result<Converted> convert_model(const WeightSource& source, const ModelFiles& files, Files& system,
                                const std::string& path, const ConvertOptions& options) {
    CHECK(options.quantise == DType::kQ8_0 || options.quantise == DType::kQ4_0);
    if (!path.ends_with(".gguf")) {
        return fail(Code::kInvalidArgument, path + " does not end in .gguf");
    }
    const auto refuse_existing = [&]() -> Status {
        if (options.overwrite || !system.info(path)) return {};
        return fail(Code::kConflict, path + " exists");
    };
    OSTAL_TRYV(refuse_existing());
    const std::size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
    const std::string temporary = join_path(folder, ".converting-" + path.substr(slash + 1));
    OSTAL_TRY(const Converted done, write_file(source, files, system, temporary, options));
    const auto renamed = [&]() -> Status {
        OSTAL_TRYV(refuse_existing());
        OSTAL_TRYV(system.rename(temporary, path));
        return system.sync_directory(folder);
    }();
    if (!renamed) {
        (void)system.remove_file(temporary);
        return fail(renamed.error());
    }
    return done;
}

}  // namespace ostal::engine
