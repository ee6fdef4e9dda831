// View: a typed, non-owning look at a tensor's memory; Weight: a View of read-only matrix rows.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "base/check.h"
#include "engine/core/dtype.h"

namespace ostal::engine {

// Row-major; the last axis is contiguous, all leading axes together count rows that lie `row_stride_bytes`
// apart. Trivially copyable; whoever stores one says who owns the memory (an Arena) and outlives it. The
// pointer may be of another device: only the backend that made it looks behind it.
struct View {
    static constexpr int kMaxRank = 4;

    void* data = nullptr;
    DType dtype = DType::kF32;
    std::int32_t rank = 0;
    std::int64_t shape[kMaxRank] = {0, 0, 0, 0};
    std::int64_t row_stride_bytes = 0;

    // Contiguous rows. CHECK: 1 <= rank <= 4.
    static View make(void* data, DType dtype, std::initializer_list<std::int64_t> shape) {
        View view;
        view.data = data;
        view.dtype = dtype;
        CHECK(shape.size() >= 1 && shape.size() <= static_cast<std::size_t>(kMaxRank));
        for (const std::int64_t extent : shape) view.shape[view.rank++] = extent;
        view.row_stride_bytes = row_bytes(dtype, view.columns());
        return view;
    }

    std::int64_t columns() const { return rank == 0 ? 0 : shape[rank - 1]; }
    // The product of all axes but the last; 1 for a vector.
    std::int64_t rows() const {
        std::int64_t count = rank == 0 ? 0 : 1;
        for (std::int32_t axis = 0; axis + 1 < rank; ++axis) count *= shape[axis];
        return count;
    }
    bool empty() const { return data == nullptr; }
    bool contiguous() const { return row_stride_bytes == row_bytes(dtype, columns()); }
    std::int64_t size_bytes() const { return rows() * row_bytes(dtype, columns()); }

    // The first element; CHECK: T is the C++ type of dtype (quantised rows: std::uint8_t).
    template <typename T>
    T* as() const {
        CHECK(holds<std::remove_const_t<T>>());
        return static_cast<T*>(data);
    }
    // Row `index` of rows().
    template <typename T>
    T* row(std::int64_t index) const {
        CHECK(holds<std::remove_const_t<T>>());
        return reinterpret_cast<T*>(static_cast<char*>(data) + index * row_stride_bytes);
    }

    // [count, columns]: rows [first, first + count) of all rows. CHECK: inside.
    View slice_rows(std::int64_t first, std::int64_t count) const {
        CHECK(first >= 0 && count >= 0 && first + count <= rows());
        View view = *this;
        view.data = static_cast<char*>(data) + first * row_stride_bytes;
        view.rank = 2;
        view.shape[0] = count;
        view.shape[1] = columns();
        return view;
    }
    // [rows, count]: columns [first, first + count); the row stride stays. CHECK: whole blocks, inside.
    View slice_columns(std::int64_t first, std::int64_t count) const {
        CHECK(first >= 0 && count >= 0 && first + count <= columns());
        View view = *this;
        view.data = static_cast<char*>(data) + row_bytes(dtype, first);
        view.shape[rank - 1] = count;
        return view;
    }

    template <typename T>
    bool holds() const {
        if constexpr (std::is_same_v<T, float>) return dtype == DType::kF32;
        if constexpr (std::is_same_v<T, std::int32_t>) return dtype == DType::kI32;
        if constexpr (std::is_same_v<T, std::uint16_t>) return dtype == DType::kF16 || dtype == DType::kBF16;
        if constexpr (std::is_same_v<T, std::uint8_t>) return true;
        return false;
    }
};
static_assert(std::is_trivially_copyable_v<View>);

// How the values of a weight lie in memory.
enum class WeightFormat : std::uint8_t {
    kRows,  // row-major as in the file: [N, K], each row's K values (or blocks of 32) in order
};

// A read-only weight: a vector [K], a matrix [N, K] (y = W x) or a stack of experts [E, N, K].
struct Weight {
    View data;
    WeightFormat format = WeightFormat::kRows;

    bool empty() const { return data.empty(); }
    DType dtype() const { return data.dtype; }
    // Matrix `expert` of a stack [E, N, K].
    Weight expert(std::int64_t index) const {
        CHECK_EQ(data.rank, 3);
        return {data.slice_rows(index * data.shape[1], data.shape[1]), format};
    }
};

}  // namespace ostal::engine
