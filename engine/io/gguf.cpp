#include "engine/io/gguf.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <type_traits>

#include "engine/io/source_cursor.h"

namespace ostal::engine {
namespace {

// What a file may ask of memory. The largest vocabularies in use need 1.4 million array elements and 20 MB.
constexpr std::uint64_t kMaxValues = 1ULL << 16U;
constexpr std::uint64_t kMaxTensors = 1ULL << 17U;
constexpr std::uint64_t kMaxElements = 1ULL << 22U;  // of all arrays together
constexpr std::uint64_t kMaxNameBytes = 256;
constexpr std::uint64_t kMaxTextBytes = 16ULL << 20U;
constexpr std::uint64_t kMaxHeaderBytes = 256ULL << 20U;
constexpr std::uint64_t kMaxAlignment = 1ULL << 16U;
constexpr std::uint64_t kDefaultAlignment = 32;
constexpr std::uint32_t kMaxRank = 4;

enum class ValueType : std::uint32_t {
    kU8,
    kI8,
    kU16,
    kI16,
    kU32,
    kI32,
    kF32,
    kBool,
    kText,
    kArray,
    kU64,
    kI64,
    kF64
};

// Fewest bytes that a value of this type can take; 0 for an unknown type.
std::uint64_t least_bytes(std::uint32_t type) {
    static constexpr std::uint8_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8};
    return type < std::size(kBytes) ? kBytes[type] : 0;
}

struct TypeName {
    std::uint32_t number;
    std::string_view name;
};
// Tensor types of the format that have other layouts than ours, for the message that refuses them.
constexpr TypeName kOtherTypes[] = {
    {9, "Q8_1"},     {10, "Q2_K"},  {11, "Q3_K"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"},
    {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"}, {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"},
    {24, "I8"},      {25, "I16"},   {26, "I32"},    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},
    {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"},
};

std::optional<DType> dtype_of(std::uint32_t type) {
    switch (type) {
        case 0: return DType::kF32;
        case 1: return DType::kF16;
        case 2: return DType::kQ4_0;
        case 3: return DType::kQ4_1;
        case 6: return DType::kQ5_0;
        case 7: return DType::kQ5_1;
        case 8: return DType::kQ8_0;
        case 12: return DType::kQ4_K;
        case 13: return DType::kQ5_K;
        case 14: return DType::kQ6_K;
        case 30: return DType::kBF16;
        default: return std::nullopt;
    }
}

std::string type_name_of(std::uint32_t type) {
    for (const TypeName& known : kOtherTypes) {
        if (known.number == type) return std::string(known.name);
    }
    return "number " + std::to_string(type);
}

bool is_plain_name(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
}

tl::unexpected<Error> malformed(std::string message) {
    return fail(Code::kInvalidArgument, std::move(message));
}

}  // namespace

class GgufParser {
public:
    GgufParser(const WeightSource& source, std::string_view file, std::uint64_t size)
        : cursor_(source, file, size), size_(size) {
        out_.file_ = file;
    }

    Result<GgufFile> parse() {
        OSTAL_TRY(const ByteSpan magic, cursor_.take(4));
        if (as_text(magic) != "GGUF") return malformed("it does not begin with \"GGUF\"");
        OSTAL_TRY(out_.version_, cursor_.le<std::uint32_t>());
        if (out_.version_ != 2 && out_.version_ != 3) {
            const bool big_endian = (out_.version_ & 0xFFFFU) == 0 && out_.version_ != 0;
            return fail(Code::kUnsupported, big_endian
                                                ? "it is a big-endian GGUF file; convert it to little-endian"
                                                : "its GGUF version is " + std::to_string(out_.version_) +
                                                      "; versions 2 and 3 are read: convert it anew");
        }
        OSTAL_TRY(const std::uint64_t tensors, cursor_.le<std::uint64_t>());
        OSTAL_TRY(const std::uint64_t values, cursor_.le<std::uint64_t>());
        // A directory entry has at least 32 bytes, a value 14 (a key of one byte, a type, one byte).
        OSTAL_TRYV(check_count("tensors", tensors, kMaxTensors, 32));
        OSTAL_TRYV(check_count("metadata values", values, kMaxValues, 14));
        for (std::uint64_t i = 0; i < values; ++i) OSTAL_TRYV(read_value());
        OSTAL_TRYV(check_general());
        out_.tensors_.reserve(static_cast<std::size_t>(tensors));
        for (std::uint64_t i = 0; i < tensors; ++i) OSTAL_TRYV(read_tensor());
        OSTAL_TRYV(place_tensors());
        return std::move(out_);
    }

private:
    Status check_count(std::string_view what, std::uint64_t count, std::uint64_t limit,
                       std::uint64_t least) const {
        if (count > limit) {
            return fail(Code::kTooLarge, "it announces " + std::to_string(count) + " " + std::string(what) +
                                             ", at most " + std::to_string(limit) + " are read");
        }
        if (count > cursor_.remaining() / least) {
            return malformed("it announces " + std::to_string(count) + " " + std::string(what) +
                             ", more than the rest of the file (" + std::to_string(cursor_.remaining()) +
                             " bytes) can hold");
        }
        return {};
    }

    Result<std::string> read_text(std::string_view what, std::uint64_t limit) {
        OSTAL_TRY(const std::uint64_t length, cursor_.le<std::uint64_t>());
        if (length > cursor_.remaining()) {
            return malformed(std::string(what) + " at byte " + std::to_string(cursor_.position()) +
                             " announces " + std::to_string(length) + " bytes, the file has " +
                             std::to_string(cursor_.remaining()) + " more");
        }
        if (length > limit || cursor_.position() + length > kMaxHeaderBytes) {
            return fail(Code::kTooLarge, std::string(what) + " has " + std::to_string(length) +
                                             " bytes, which is over the limit");
        }
        OSTAL_TRY(const ByteSpan bytes, cursor_.take(length));
        return std::string(as_text(bytes));
    }

    Result<std::string> read_name(std::string_view what) {
        OSTAL_TRY(std::string name, read_text(what, kMaxNameBytes));
        if (!is_plain_name(name))
            return malformed(std::string(what) + " " + shown(name) + " is not plain ASCII");
        return name;
    }

    template <typename T>
    Result<std::int64_t> read_integer() {
        OSTAL_TRY(const auto bits, cursor_.le<std::make_unsigned_t<T>>());
        return static_cast<std::int64_t>(static_cast<T>(bits));
    }

    // Any integer type but u64.
    Result<std::int64_t> read_integer_of(ValueType type) {
        switch (type) {
            case ValueType::kU8: return read_integer<std::uint8_t>();
            case ValueType::kI8: return read_integer<std::int8_t>();
            case ValueType::kU16: return read_integer<std::uint16_t>();
            case ValueType::kI16: return read_integer<std::int16_t>();
            case ValueType::kU32: return read_integer<std::uint32_t>();
            case ValueType::kI32: return read_integer<std::int32_t>();
            default: return read_integer<std::int64_t>();
        }
    }
    Result<double> read_float(ValueType type) {
        if (type == ValueType::kF32) {
            OSTAL_TRY(const auto bits, cursor_.le<std::uint32_t>());
            return static_cast<double>(std::bit_cast<float>(bits));
        }
        OSTAL_TRY(const auto bits, cursor_.le<std::uint64_t>());
        return std::bit_cast<double>(bits);
    }
    Result<bool> read_bool() {
        OSTAL_TRY(const auto byte, cursor_.le<std::uint8_t>());
        if (byte > 1) return malformed("a truth value is " + std::to_string(byte) + ", expected 0 or 1");
        return byte == 1;
    }

    Status read_value() {
        OSTAL_TRY(std::string key, read_name("a metadata key"));
        const std::uint64_t begin = cursor_.position();
        OSTAL_TRY(const std::uint32_t type, cursor_.le<std::uint32_t>());
        if (least_bytes(type) == 0) {
            return fail(Code::kUnsupported, "the value of " + key + " has type " + std::to_string(type) +
                                                ", which the format does not define");
        }
        auto value = static_cast<ValueType>(type) == ValueType::kArray
                         ? read_array()
                         : read_scalar(static_cast<ValueType>(type));
        if (!value) return fail(std::move(value).error().with("while reading " + key));
        if (!out_.metadata_.emplace(key, std::move(*value)).second) {
            return malformed("the metadata key " + key + " appears twice");
        }
        out_.entries_.push_back({std::move(key), begin, cursor_.position() - begin});
        if (cursor_.position() > kMaxHeaderBytes) {
            return fail(Code::kTooLarge,
                        "its metadata is over " + std::to_string(kMaxHeaderBytes) + " bytes");
        }
        return {};
    }

    Result<GgufValue> read_scalar(ValueType type) {
        switch (type) {
            case ValueType::kText: {
                OSTAL_TRY(std::string text, read_text("a text", kMaxTextBytes));
                return text;
            }
            case ValueType::kBool: {
                OSTAL_TRY(const bool value, read_bool());
                return value;
            }
            case ValueType::kF32:
            case ValueType::kF64: {
                OSTAL_TRY(const double value, read_float(type));
                return value;
            }
            case ValueType::kU64: {
                OSTAL_TRY(const auto value, cursor_.le<std::uint64_t>());
                if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
                    return static_cast<std::int64_t>(value);
                }
                return value;
            }
            default: {
                OSTAL_TRY(const std::int64_t value, read_integer_of(type));
                return value;
            }
        }
    }

    template <typename T, typename Read>
    Result<GgufValue> read_elements(std::uint64_t count, Read read) {
        std::vector<T> values;
        values.reserve(static_cast<std::size_t>(count));
        for (std::uint64_t i = 0; i < count; ++i) {
            OSTAL_TRY(T value, read());
            values.push_back(std::move(value));
        }
        return values;
    }

    Result<GgufValue> read_array() {
        OSTAL_TRY(const std::uint32_t number, cursor_.le<std::uint32_t>());
        OSTAL_TRY(const std::uint64_t count, cursor_.le<std::uint64_t>());
        const auto type = static_cast<ValueType>(number);
        const std::uint64_t least = least_bytes(number);
        if (least == 0 || type == ValueType::kArray) {
            return fail(Code::kUnsupported,
                        "arrays of values of type " + std::to_string(number) + " are not read");
        }
        OSTAL_TRYV(check_count("array elements", count, kMaxElements - elements_, least));
        elements_ += count;
        switch (type) {
            case ValueType::kText:
                return read_elements<std::string>(count, [&] { return read_text("a text", kMaxTextBytes); });
            case ValueType::kBool: return read_elements<bool>(count, [&] { return read_bool(); });
            case ValueType::kF32:
            case ValueType::kF64: return read_elements<double>(count, [&] { return read_float(type); });
            case ValueType::kU64:
                return read_elements<std::int64_t>(count, [&]() -> Result<std::int64_t> {
                    OSTAL_TRY(const auto value, cursor_.le<std::uint64_t>());
                    if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
                        return malformed("an array element is " + std::to_string(value) + ", above 2^63 - 1");
                    }
                    return static_cast<std::int64_t>(value);
                });
            default: return read_elements<std::int64_t>(count, [&] { return read_integer_of(type); });
        }
    }

    Status check_general() {
        OSTAL_TRY(const auto alignment, out_.integer("general.alignment"));
        if (alignment) {
            const auto bytes = static_cast<std::uint64_t>(std::max<std::int64_t>(*alignment, 0));
            if (bytes < 8 || bytes > kMaxAlignment || !std::has_single_bit(bytes)) {
                return malformed("general.alignment is " + std::to_string(*alignment) +
                                 ", expected a power of two from 8 to " + std::to_string(kMaxAlignment));
            }
            alignment_ = bytes;
        }
        OSTAL_TRY(const auto parts, out_.integer("split.count"));
        if (parts && *parts > 1) {
            return fail(Code::kUnsupported,
                        "it is one of " + std::to_string(*parts) +
                            " parts of a split model; merge them into one GGUF file first");
        }
        return {};
    }

    Status read_tensor() {
        GgufTensor tensor;
        OSTAL_TRY(tensor.name, read_name("a tensor's name"));
        OSTAL_TRY(const std::uint32_t rank, cursor_.le<std::uint32_t>());
        if (rank < 1 || rank > kMaxRank) {
            return malformed("tensor " + tensor.name + " has " + std::to_string(rank) +
                             " dimensions, expected 1 to " + std::to_string(kMaxRank));
        }
        std::uint64_t elements = 1;
        for (std::uint32_t i = 0; i < rank; ++i) {
            OSTAL_TRY(const std::uint64_t size, cursor_.le<std::uint64_t>());
            if (size == 0 || size > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) ||
                !checked_mul(elements, size, elements)) {
                return malformed("dimension " + std::to_string(i) + " of tensor " + tensor.name + " is " +
                                 std::to_string(size) + ", which is zero or more than any file can hold");
            }
            tensor.shape.insert(tensor.shape.begin(), static_cast<std::int64_t>(size));
        }
        OSTAL_TRY(const std::uint32_t type, cursor_.le<std::uint32_t>());
        OSTAL_TRY(tensor.offset, cursor_.le<std::uint64_t>());
        const std::optional<DType> dtype = dtype_of(type);
        if (!dtype) {
            return fail(
                Code::kUnsupported,
                "tensor " + tensor.name + " has type " + type_name_of(type) +
                    "; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are read: convert "
                    "the model to one of them");
        }
        tensor.dtype = *dtype;
        const auto block = static_cast<std::uint64_t>(block_elements(*dtype));
        if (static_cast<std::uint64_t>(tensor.shape.back()) % block != 0) {
            return malformed("tensor " + tensor.name + " has rows of " + std::to_string(tensor.shape.back()) +
                             " values, which are not whole blocks of " + std::string(dtype_name(*dtype)));
        }
        if (!checked_mul(elements / block, static_cast<std::uint64_t>(block_bytes(*dtype)), tensor.bytes)) {
            return malformed("tensor " + tensor.name + " of shape " + shape_text(tensor.shape) +
                             " is larger than any file");
        }
        if (!out_.tensor_at_.emplace(tensor.name, out_.tensors_.size()).second) {
            return malformed("tensor " + tensor.name + " appears twice");
        }
        if (cursor_.position() > kMaxHeaderBytes) {
            return fail(Code::kTooLarge,
                        "its directory is over " + std::to_string(kMaxHeaderBytes) + " bytes");
        }
        out_.tensors_.push_back(std::move(tensor));
        return {};
    }

    // Turns offsets into positions in the file, and checks that every tensor lies in it and none over
    // another.
    Status place_tensors() {
        if (out_.tensors_.empty()) return {};
        const std::uint64_t data_start = (cursor_.position() + alignment_ - 1) / alignment_ * alignment_;
        const std::uint64_t data_bytes = data_start <= size_ ? size_ - data_start : 0;
        for (GgufTensor& tensor : out_.tensors_) {
            if (tensor.offset % alignment_ != 0) {
                return malformed("tensor " + tensor.name + " has the offset " +
                                 std::to_string(tensor.offset) + ", not a multiple of " +
                                 std::to_string(alignment_));
            }
            if (tensor.offset > data_bytes || tensor.bytes > data_bytes - tensor.offset) {
                return malformed("tensor " + tensor.name + " (" + std::to_string(tensor.bytes) +
                                 " bytes at offset " + std::to_string(tensor.offset) +
                                 ") goes past the end of the file, which has " + std::to_string(data_bytes) +
                                 " bytes of tensors: it is damaged or incomplete");
            }
            tensor.offset += data_start;
        }
        std::vector<const GgufTensor*> order;
        for (const GgufTensor& tensor : out_.tensors_) order.push_back(&tensor);
        std::sort(order.begin(), order.end(),
                  [](const auto* a, const auto* b) { return a->offset < b->offset; });
        for (std::size_t i = 1; i < order.size(); ++i) {
            if (order[i]->offset < order[i - 1]->offset + order[i - 1]->bytes) {
                return malformed("tensors " + order[i - 1]->name + " and " + order[i]->name + " overlap");
            }
        }
        return {};
    }

    SourceCursor cursor_;
    std::uint64_t size_;
    std::uint64_t alignment_ = kDefaultAlignment;
    std::uint64_t elements_ = 0;  // of the arrays read so far
    GgufFile out_;
};

Result<GgufFile> GgufFile::read(const WeightSource& source, std::string_view file) {
    OSTAL_TRY(const std::uint64_t size, source_file_size(source, file));
    auto parsed = GgufParser(source, file, size).parse();
    if (!parsed) return fail(std::move(parsed).error().with("while reading " + std::string(file)));
    return parsed;
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const {
    const auto found = tensor_at_.find(std::string(name));
    return found == tensor_at_.end() ? nullptr : &tensors_[found->second];
}
const GgufValue* GgufFile::find(std::string_view key) const {
    const auto found = metadata_.find(std::string(key));
    return found == metadata_.end() ? nullptr : &found->second;
}

namespace {

tl::unexpected<Error> wrong_type(std::string_view key, std::string_view expected) {
    return malformed("the metadata value " + std::string(key) + " has the wrong type, expected " +
                     std::string(expected));
}

// A scalar of kind T.
template <typename T>
Result<std::optional<T>> scalar(const GgufFile& file, std::string_view key, std::string_view expected) {
    const GgufValue* value = file.find(key);
    if (value == nullptr) return std::optional<T>();
    if (const T* held = std::get_if<T>(value)) return std::optional<T>(*held);
    return wrong_type(key, expected);
}

template <typename T>
Result<const std::vector<T>*> array(const GgufFile& file, std::string_view key, std::string_view expected) {
    const GgufValue* value = file.find(key);
    if (value == nullptr) return nullptr;
    if (const auto* held = std::get_if<std::vector<T>>(value)) return held;
    return wrong_type(key, expected);
}

}  // namespace

Result<std::optional<std::int64_t>> GgufFile::integer(std::string_view key) const {
    return scalar<std::int64_t>(*this, key, "an integer below 2^63");
}
Result<std::optional<double>> GgufFile::number(std::string_view key) const {
    const GgufValue* value = find(key);
    if (value != nullptr) {
        if (const auto* whole = std::get_if<std::int64_t>(value))
            return std::optional(static_cast<double>(*whole));
        if (const auto* real = std::get_if<double>(value); real != nullptr && !std::isfinite(*real)) {
            return malformed("the metadata value " + std::string(key) + " is not finite");
        }
    }
    return scalar<double>(*this, key, "a number");
}
Result<std::optional<bool>> GgufFile::boolean(std::string_view key) const {
    return scalar<bool>(*this, key, "a truth value");
}
Result<std::optional<std::string>> GgufFile::text(std::string_view key) const {
    return scalar<std::string>(*this, key, "a text");
}
Result<const std::vector<std::string>*> GgufFile::texts(std::string_view key) const {
    return array<std::string>(*this, key, "an array of texts");
}
Result<const std::vector<double>*> GgufFile::numbers(std::string_view key) const {
    return array<double>(*this, key, "an array of floating-point numbers");
}
Result<const std::vector<std::int64_t>*> GgufFile::integers(std::string_view key) const {
    return array<std::int64_t>(*this, key, "an array of integers");
}

}  // namespace ostal::engine
