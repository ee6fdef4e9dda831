// Reading of weights: pieces of whole rows, by several threads.
#include <algorithm>
#include <atomic>
#include <mutex>

#include "base/check.h"
#include "base/thread.h"
#include "engine/io/model_files.h"

namespace ostal::engine {
namespace {

struct Piece {
    const TensorInfo* tensor = nullptr;
    std::int64_t first_row = 0;
    std::int64_t rows = 0;
};

std::int64_t bytes_per_row(const TensorInfo& tensor) { return row_bytes(tensor.dtype, tensor.columns()); }

std::vector<Piece> cut(std::span<const TensorInfo* const> tensors) {
    std::vector<Piece> pieces;
    for (const TensorInfo* tensor : tensors) {
        std::int64_t step =
            std::max<std::int64_t>(static_cast<std::int64_t>(kPieceBytes) / bytes_per_row(*tensor), 1);
        if (tensor->interleaved_heads > 0) {
            const std::int64_t head = tensor->rows() / tensor->interleaved_heads;
            step = std::max<std::int64_t>(step / head, 1) * head;
        }
        for (std::int64_t row = 0; row < tensor->rows(); row += step) {
            pieces.push_back({tensor, row, std::min(step, tensor->rows() - row)});
        }
    }
    return pieces;
}

// Rows of whole heads from interleaved to half-rotation order: within a head of Dh rows, row s Dh/2 + j comes
// from row 2 j + s. `to` does not overlap `from`.
void deinterleave(const std::uint8_t* from, std::uint8_t* to, std::int64_t rows, std::int64_t head,
                  std::int64_t row_size) {
    const std::int64_t half = head / 2;
    for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t in_head = row % head;
        const std::int64_t source = row - in_head + 2 * (in_head % half) + in_head / half;
        std::copy_n(from + source * row_size, row_size, to + row * row_size);
    }
}

// Reads one piece into `out`, in half-rotation order; `scratch` is kept between calls.
Status read_piece(const WeightSource& source, const Piece& piece, Bytes& scratch, MutableByteSpan out) {
    const TensorInfo& tensor = *piece.tensor;
    const std::int64_t row_size = bytes_per_row(tensor);
    const std::uint64_t offset = tensor.offset + static_cast<std::uint64_t>(piece.first_row * row_size);
    const bool interleaved = tensor.interleaved_heads > 0;
    if (interleaved) scratch.resize(out.size());
    const MutableByteSpan stored = interleaved ? MutableByteSpan(scratch) : out;
    OSTAL_TRYV(source.read(tensor.file, offset, stored));
    OSTAL_TRYV(check_finite(tensor.dtype, stored));
    if (interleaved) {
        const std::int64_t head = tensor.rows() / tensor.interleaved_heads;
        deinterleave(stored.data(), out.data(), piece.rows, head, row_size);
    }
    return {};
}

tl::unexpected<Error> in_tensor(Error error, const Piece& piece) {
    return fail(std::move(error).with("in rows " + std::to_string(piece.first_row) + " to " +
                                      std::to_string(piece.first_row + piece.rows - 1) + " of tensor " +
                                      piece.tensor->name + " of " + piece.tensor->file));
}

}  // namespace

Status read_pieces(const WeightSource& source, std::span<const TensorInfo* const> tensors,
                   std::int32_t threads, const PieceSink& sink) {
    const std::vector<Piece> pieces = cut(tensors);
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::size_t failed_at =
        pieces.size();  // the earliest piece that failed, so that the message is the same each time
    std::optional<Error> error;
    const auto work = [&] {
        Bytes buffer;
        Bytes scratch;
        for (std::size_t i = next.fetch_add(1); i < pieces.size(); i = next.fetch_add(1)) {
            const Piece& piece = pieces[i];
            buffer.resize(static_cast<std::size_t>(piece.rows * bytes_per_row(*piece.tensor)));
            Status done = read_piece(source, piece, scratch, buffer);
            if (done) done = sink({*piece.tensor, piece.first_row, piece.rows, buffer});
            if (done) continue;
            next.store(pieces.size());
            const std::scoped_lock lock(mutex);
            if (i < failed_at) {
                failed_at = i;
                error = in_tensor(std::move(done).error(), piece).value();
            }
        }
    };
    {
        std::vector<NamedThread> helpers;
        const auto wanted =
            std::min<std::size_t>(static_cast<std::size_t>(std::max(threads, 1)), pieces.size());
        for (std::size_t i = 1; i < wanted; ++i) helpers.emplace_back("load-" + std::to_string(i), work);
        work();
    }
    if (error) return fail(*std::move(error));
    return {};
}

Status read_tensor(const WeightSource& source, const TensorInfo& tensor, MutableByteSpan out) {
    CHECK_EQ(out.size(), static_cast<std::size_t>(tensor.bytes));
    Bytes scratch;
    const TensorInfo* const one[] = {&tensor};
    for (const Piece& piece : cut(one)) {
        const std::int64_t row_size = bytes_per_row(tensor);
        const MutableByteSpan part = out.subspan(static_cast<std::size_t>(piece.first_row * row_size),
                                                 static_cast<std::size_t>(piece.rows * row_size));
        auto done = read_piece(source, piece, scratch, part);
        if (!done) return in_tensor(std::move(done).error(), piece);
    }
    return {};
}

}  // namespace ostal::engine
