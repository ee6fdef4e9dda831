#include "engine/io/safetensors.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <optional>
#include <unordered_map>

#include "base/json.h"
#include "engine/io/source_cursor.h"

namespace ostal::engine {
namespace {

constexpr std::size_t kMaxRank = 8;
constexpr std::size_t kMaxNameBytes = 256;
constexpr std::int32_t kMaxShards = 1000;

tl::unexpected<Error> malformed(std::string message) {
    return fail(Code::kInvalidArgument, std::move(message));
}

bool is_plain_name(std::string_view name) {
    return !name.empty() && name.size() <= kMaxNameBytes &&
           std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
}

Result<DType> dtype_of(const std::string& name, const json::Value* value) {
    if (value == nullptr || !value->is_string()) return malformed("tensor " + name + " has no dtype");
    const std::string& text = value->as_string();
    if (text == "F32") return DType::kF32;
    if (text == "F16") return DType::kF16;
    if (text == "BF16") return DType::kBF16;
    return fail(Code::kUnsupported, "tensor " + name + " has dtype " + shown(text) +
                                        "; F32, F16 and BF16 are read: convert the model to one of them");
}

Result<std::vector<std::int64_t>> shape_of(const std::string& name, const json::Value* value) {
    if (value == nullptr || !value->is_array()) return malformed("tensor " + name + " has no shape");
    std::vector<std::int64_t> shape;
    if (value->as_array().size() > kMaxRank) {
        return malformed("tensor " + name + " has " + std::to_string(value->as_array().size()) +
                         " dimensions, at most " + std::to_string(kMaxRank) + " are read");
    }
    for (const json::Value& size : value->as_array()) {
        const auto number = size.to_int64();
        if (!number || *number < 0) {
            return malformed("the shape of tensor " + name + " holds something other than sizes");
        }
        shape.push_back(*number);
    }
    return shape;
}

// [begin, end) in the byte buffer behind the header.
struct ByteRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

Result<ByteRange> range_of(const std::string& name, const json::Value* value, std::uint64_t buffer_bytes) {
    if (value == nullptr || !value->is_array() || value->as_array().size() != 2) {
        return malformed("tensor " + name + " has no data_offsets of two numbers");
    }
    const auto begin = value->as_array()[0].to_uint64();
    const auto end = value->as_array()[1].to_uint64();
    if (!begin || !end || *begin > *end) {
        return malformed("the data_offsets of tensor " + name + " are not a range");
    }
    if (*end > buffer_bytes) {
        return malformed("tensor " + name + " ends at byte " + std::to_string(*end) + ", but the file has " +
                         std::to_string(buffer_bytes) + " bytes of tensors: it is damaged or incomplete");
    }
    return ByteRange{*begin, *end};
}

Result<SafetensorsEntry> read_entry(const std::string& name, const json::Value& value,
                                    std::uint64_t buffer_bytes) {
    if (!is_plain_name(name)) return malformed("the tensor name " + shown(name) + " is not plain ASCII");
    if (!value.is_object()) return malformed("the entry of tensor " + name + " is not an object");
    for (const auto& [key, member] : value.as_object()) {
        if (key != "dtype" && key != "shape" && key != "data_offsets") {
            return malformed("the entry of tensor " + name + " has the unknown member " + shown(key));
        }
    }
    SafetensorsEntry entry;
    entry.name = name;
    OSTAL_TRY(entry.dtype, dtype_of(name, value.find("dtype")));
    OSTAL_TRY(entry.shape, shape_of(name, value.find("shape")));
    OSTAL_TRY(const ByteRange range, range_of(name, value.find("data_offsets"), buffer_bytes));
    entry.offset = range.begin;
    entry.bytes = range.end - range.begin;
    const auto element = static_cast<std::uint64_t>(block_bytes(entry.dtype));
    std::uint64_t bytes = element;
    for (const std::int64_t size : entry.shape) {
        if (!checked_mul(bytes, static_cast<std::uint64_t>(size), bytes)) {
            return malformed("tensor " + name + " of shape " + shape_text(entry.shape) +
                             " is larger than any file");
        }
    }
    if (bytes != entry.bytes) {
        return malformed("tensor " + name + " of shape " + shape_text(entry.shape) + " takes " +
                         std::to_string(bytes) + " bytes, its data_offsets span " +
                         std::to_string(entry.bytes));
    }
    if (range.begin % element != 0) {
        return malformed("tensor " + name + " begins at byte " + std::to_string(range.begin) +
                         ", which is not aligned to its elements of " + std::to_string(element) + " bytes");
    }
    return entry;
}

Status check_metadata(const json::Value& value) {
    if (!value.is_object()) return malformed("__metadata__ is not an object");
    for (const auto& [key, text] : value.as_object()) {
        if (!text.is_string()) return malformed("__metadata__ holds " + shown(key) + ", which is not a text");
    }
    return {};
}

// Entries sorted by offset cover the buffer without overlap or hole.
Status check_cover(const std::vector<SafetensorsEntry>& entries, std::uint64_t buffer_bytes) {
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < entries.size(); ++i) {
        const SafetensorsEntry& entry = entries[i];
        if (entry.offset < end) {
            return malformed("tensors " + entries[i - 1].name + " and " + entry.name + " overlap");
        }
        if (entry.offset > end) {
            return malformed("no tensor owns the bytes " + std::to_string(end) + " to " +
                             std::to_string(entry.offset) + " before tensor " + entry.name);
        }
        end = entry.offset + entry.bytes;
    }
    if (end != buffer_bytes) {
        return malformed("the file has " + std::to_string(buffer_bytes) +
                         " bytes of tensors, its header describes " + std::to_string(end));
    }
    return {};
}

Result<std::vector<SafetensorsEntry>> read_header(const WeightSource& source, std::string_view file) {
    OSTAL_TRY(const std::uint64_t size, source_file_size(source, file));
    SourceCursor cursor(source, file, size);
    OSTAL_TRY(const std::uint64_t header_bytes, cursor.le<std::uint64_t>());
    if (header_bytes > cursor.remaining()) {
        return malformed("its first 8 bytes announce a header of " + std::to_string(header_bytes) +
                         " bytes, the file has " + std::to_string(cursor.remaining()) +
                         " more: it is no safetensors file, or incomplete");
    }
    if (header_bytes > kMaxSafetensorsHeaderBytes) {
        return fail(Code::kTooLarge, "its header has " + std::to_string(header_bytes) + " bytes, at most " +
                                         std::to_string(kMaxSafetensorsHeaderBytes) + " are read");
    }
    OSTAL_TRY(const ByteSpan bytes, cursor.take(header_bytes));
    std::string_view text = as_text(bytes);
    if (text.empty() || text.front() != '{') return malformed("its header does not begin with '{'");
    text = text.substr(0, text.find_last_not_of(' ') + 1);
    OSTAL_TRY(const json::Value header, json::parse(text));
    OSTAL_TRY(const json::Object* members, json::object_at(header, "header"));
    std::vector<SafetensorsEntry> entries;
    entries.reserve(members->size());
    for (const auto& [name, value] : *members) {
        if (name == "__metadata__") {
            OSTAL_TRYV(check_metadata(value));
            continue;
        }
        OSTAL_TRY(SafetensorsEntry entry, read_entry(name, value, cursor.remaining()));
        entry.file = file;
        entries.push_back(std::move(entry));
    }
    std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
        return a.offset != b.offset ? a.offset < b.offset : a.bytes < b.bytes;
    });
    OSTAL_TRYV(check_cover(entries, cursor.remaining()));
    for (SafetensorsEntry& entry : entries) entry.offset += cursor.position();
    return entries;
}

// The file that the index names for every tensor.
Result<std::unordered_map<std::string, std::string>> read_index(const WeightSource& source,
                                                                std::string_view index_file) {
    OSTAL_TRY(const Bytes bytes, read_source_file(source, index_file, kMaxIndexBytes));
    OSTAL_TRY(const json::Value index, json::parse(as_text(bytes)));
    const json::Value* map = index.find("weight_map");
    if (map == nullptr || !map->is_object()) return malformed("it has no object \"weight_map\"");
    std::unordered_map<std::string, std::string> file_of;
    for (const auto& [name, file] : map->as_object()) {
        if (!is_plain_name(name)) return malformed("the tensor name " + shown(name) + " is not plain ASCII");
        if (!file.is_string() || !is_plain_name(file.as_string()) ||
            !file.as_string().ends_with(".safetensors") || file.as_string().find('/') != std::string::npos) {
            return malformed("tensor " + name + " is not mapped to the name of a .safetensors file");
        }
        file_of.emplace(name, file.as_string());
    }
    if (file_of.empty()) return malformed("its weight_map is empty");
    return file_of;
}

// The names of all shards that the name of one promises: "-0000x-of-0000y" counts from 1 to y, ".0x" from 0
// to the last that is here.
std::vector<std::string> numbered_names(const std::vector<std::string>& shards) {
    const std::string& last = shards.back();
    const std::string stem = last.substr(0, last.size() - std::string_view(".safetensors").size());
    const auto number = [](std::string_view digits) -> std::optional<std::int32_t> {
        std::int32_t value = 0;
        const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc() || end != digits.data() + digits.size() || value > kMaxShards)
            return std::nullopt;
        return value;
    };
    const auto padded = [](std::int32_t value, std::size_t width) {
        const std::string digits = std::to_string(value);
        return std::string(width - std::min(width, digits.size()), '0') + digits;
    };
    std::vector<std::string> names;
    const std::size_t of = stem.rfind("-of-");
    if (of != std::string::npos) {
        const std::string_view total_digits = std::string_view(stem).substr(of + 4);
        const auto total = number(total_digits);
        const std::size_t dash = stem.rfind('-', of - 1);
        if (!total || of == 0 || dash == std::string::npos) return names;
        for (std::int32_t i = 1; i <= *total; ++i) {
            names.push_back(stem.substr(0, dash + 1) + padded(i, of - dash - 1) + stem.substr(of) +
                            ".safetensors");
        }
        return names;
    }
    const std::size_t dot = stem.rfind('.');
    const auto highest =
        dot == std::string::npos ? std::nullopt : number(std::string_view(stem).substr(dot + 1));
    if (!highest) return names;
    for (std::int32_t i = 0; i <= *highest; ++i)
        names.push_back(stem.substr(0, dot + 1) + padded(i, stem.size() - dot - 1) + ".safetensors");
    return names;
}

}  // namespace

Result<std::vector<SafetensorsEntry>> read_safetensors_header(const WeightSource& source,
                                                              std::string_view file) {
    auto entries = read_header(source, file);
    if (!entries) return fail(std::move(entries).error().with("while reading " + std::string(file)));
    return entries;
}

Result<std::vector<SafetensorsEntry>> read_sharded_safetensors(const WeightSource& source,
                                                               std::string_view index_file) {
    auto file_of = read_index(source, index_file);
    if (!file_of) return fail(std::move(file_of).error().with("while reading " + std::string(index_file)));
    const std::string_view stem = index_file.substr(0, index_file.find('.'));
    std::map<std::string, std::string> shards;  // file, and one tensor of it for messages
    for (const auto& [name, file] : *file_of) {
        auto& example = shards[file];
        if (example.empty() || name < example) example = name;
    }
    for (const SourceFile& file : source.files()) {
        const bool is_weights = file.name.ends_with(".safetensors") && file.name.starts_with(stem);
        if (!is_weights || shards.contains(file.name)) continue;
        // A shard that writers left without a tensor is harmless; tensors that the index does not name are
        // not.
        OSTAL_TRY(const auto entries, read_safetensors_header(source, file.name));
        if (entries.empty()) continue;
        return malformed("the model has the file " + file.name + " with tensor " + entries.front().name +
                         ", which " + std::string(index_file) + " does not name");
    }
    std::vector<SafetensorsEntry> all;
    for (const auto& [shard, example] : shards) {
        if (!source_file_size(source, shard)) {
            return fail(Code::kNotFound, "the file " + shard + ", which " + std::string(index_file) +
                                             " names for " + example + ", is missing");
        }
        OSTAL_TRY(auto entries, read_safetensors_header(source, shard));
        for (SafetensorsEntry& entry : entries) {
            const auto found = file_of->find(entry.name);
            if (found == file_of->end()) {
                return malformed("tensor " + entry.name + " of " + shard + " is not in " +
                                 std::string(index_file) + ", or lies in two files");
            }
            if (found->second != shard) {
                return malformed("tensor " + entry.name + " lies in " + shard + ", " +
                                 std::string(index_file) + " says " + found->second);
            }
            file_of->erase(found);
            all.push_back(std::move(entry));
        }
    }
    if (!file_of->empty()) {
        const auto lost = std::min_element(file_of->begin(), file_of->end());
        return malformed("tensor " + lost->first + " is in " + std::string(index_file) + " but not in " +
                         lost->second);
    }
    return all;
}

Result<std::vector<SafetensorsEntry>> read_numbered_safetensors(const WeightSource& source,
                                                                std::vector<std::string> shards) {
    std::sort(shards.begin(), shards.end());
    const std::vector<std::string> expected = numbered_names(shards);
    for (const std::string& name : shards) {
        if (std::find(expected.begin(), expected.end(), name) != expected.end()) continue;
        return malformed("the file " + name + " is not numbered like the other shards (" + shards.back() +
                         "), and no index names it");
    }
    for (const std::string& name : expected) {
        if (source_file_size(source, name)) continue;
        return fail(Code::kNotFound, "the file " + name + " is missing: " + shards.back() + " belongs to " +
                                         std::to_string(expected.size()) + " shards");
    }
    std::vector<SafetensorsEntry> all;
    std::unordered_map<std::string, std::string> file_of;
    for (const std::string& name : expected) {
        OSTAL_TRY(auto entries, read_safetensors_header(source, name));
        for (SafetensorsEntry& entry : entries) {
            const auto [at, added] = file_of.emplace(entry.name, name);
            if (!added)
                return malformed("tensor " + entry.name + " lies in " + at->second + " and in " + name);
            all.push_back(std::move(entry));
        }
    }
    return all;
}

}  // namespace ostal::engine
