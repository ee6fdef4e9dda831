#include "engine/tokenizer/sentencepiece_model.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <unordered_set>

#include "engine/tokenizer/token_table.h"

namespace ostal::engine {
namespace {

tl::unexpected<Error> malformed(std::string what) {
    return fail(Code::kInvalidArgument, "SentencePiece model: " + std::move(what));
}

// One field of a protocol buffers message.
struct Field {
    std::uint64_t number = 0;
    enum class Wire { kVarint, kFixed64, kBytes, kFixed32 } wire = Wire::kVarint;
    std::uint64_t value = 0;  // kVarint, kFixed64, kFixed32
    ByteSpan bytes;           // kBytes
};

Result<std::uint64_t> read_varint(ByteReader& in) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        OSTAL_TRY(const std::uint8_t byte, in.le<std::uint8_t>());
        if (shift == 63 && byte > 1) break;
        value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
        if (byte < 0x80) return value;
    }
    return malformed("a number of more than 64 bits");
}

Result<Field> read_field(ByteReader& in) {
    OSTAL_TRY(const std::uint64_t key, read_varint(in));
    Field field;
    field.number = key >> 3;
    if (field.number == 0) return malformed("a field with number 0");
    switch (key & 7) {
        case 0: {
            OSTAL_TRY(field.value, read_varint(in));
            return field;
        }
        case 1: {
            field.wire = Field::Wire::kFixed64;
            OSTAL_TRY(field.value, in.le<std::uint64_t>());
            return field;
        }
        case 2: {
            field.wire = Field::Wire::kBytes;
            OSTAL_TRY(const std::uint64_t size, read_varint(in));
            OSTAL_TRY(field.bytes, in.take(size));
            return field;
        }
        case 5: {
            field.wire = Field::Wire::kFixed32;
            OSTAL_TRY(const std::uint32_t value, in.le<std::uint32_t>());
            field.value = value;
            return field;
        }
        default: return malformed("a field of wire type " + std::to_string(key & 7));
    }
}

// Calls take(field) -> Status for each field of a message.
template <typename Take>
Status read_message(ByteSpan bytes, Take&& take) {
    ByteReader in(bytes);
    while (in.remaining() > 0) {
        OSTAL_TRY(const Field field, read_field(in));
        OSTAL_TRYV(take(field));
    }
    return {};
}

Status wire_is(const Field& field, Field::Wire wire, std::string_view name) {
    if (field.wire != wire) return malformed(std::string(name) + " has a wrong wire type");
    return {};
}
Status read_text(const Field& field, std::string_view name, std::string& out) {
    OSTAL_TRYV(wire_is(field, Field::Wire::kBytes, name));
    out = as_text(field.bytes);
    return {};
}
Status read_bool(const Field& field, std::string_view name, bool& out) {
    OSTAL_TRYV(wire_is(field, Field::Wire::kVarint, name));
    out = field.value != 0;
    return {};
}
// Negative int32 values are written as ten-byte varints.
Status read_id(const Field& field, std::string_view name, std::int64_t& out) {
    OSTAL_TRYV(wire_is(field, Field::Wire::kVarint, name));
    out = static_cast<std::int64_t>(field.value);
    return {};
}

Status read_piece(ByteSpan bytes, SentencePieceModel::Piece& piece) {
    return read_message(bytes, [&](const Field& field) -> Status {
        if (field.number == 1) return read_text(field, "piece", piece.text);
        if (field.number == 2) {
            OSTAL_TRYV(wire_is(field, Field::Wire::kFixed32, "score"));
            piece.score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
        } else if (field.number == 3) {
            OSTAL_TRYV(wire_is(field, Field::Wire::kVarint, "type"));
            if (field.value < 1 || field.value > 6) {
                return malformed("a piece of type " + std::to_string(field.value));
            }
            piece.type = static_cast<TokenType>(field.value);
        }
        return {};
    });
}

struct TrainerSpec {
    bool present = false;
    std::uint64_t model_type = 1;
    bool whitespace_as_suffix = false;
    std::int64_t bos_id = 1;
    std::int64_t eos_id = 2;
    std::string bos_piece = "<s>";
    std::string eos_piece = "</s>";
};

Status read_trainer_spec(ByteSpan bytes, TrainerSpec& spec, SentencePieceModel& model) {
    spec.present = true;
    return read_message(bytes, [&](const Field& field) -> Status {
        switch (field.number) {
            case 3: {
                OSTAL_TRYV(wire_is(field, Field::Wire::kVarint, "model_type"));
                spec.model_type = field.value;
                return {};
            }
            case 24: return read_bool(field, "treat_whitespace_as_suffix", spec.whitespace_as_suffix);
            case 35: return read_bool(field, "byte_fallback", model.byte_fallback);
            case 41: return read_id(field, "bos_id", spec.bos_id);
            case 42: return read_id(field, "eos_id", spec.eos_id);
            case 44: return read_text(field, "unk_surface", model.unknown_surface);
            case 46: return read_text(field, "bos_piece", spec.bos_piece);
            case 47: return read_text(field, "eos_piece", spec.eos_piece);
            default: return {};
        }
    });
}

struct NormalizerSpec {
    bool present = false;
    std::string name;
    std::string charsmap;
    std::string rules;
};

Status read_normalizer_spec(ByteSpan bytes, NormalizerSpec& spec, SentencePieceModel& model) {
    spec.present = true;
    return read_message(bytes, [&](const Field& field) -> Status {
        switch (field.number) {
            case 1: return read_text(field, "normalizer name", spec.name);
            case 2: return read_text(field, "precompiled_charsmap", spec.charsmap);
            case 3: return read_bool(field, "add_dummy_prefix", model.add_dummy_prefix);
            case 4: return read_bool(field, "remove_extra_whitespaces", model.remove_extra_whitespaces);
            case 5: return read_bool(field, "escape_whitespaces", model.escape_whitespaces);
            case 6: return read_text(field, "normalization_rule_tsv", spec.rules);
            default: return {};
        }
    });
}

Status read_model(ByteSpan bytes, SentencePieceModel& model, TrainerSpec& trainer,
                  NormalizerSpec& normalizer) {
    return read_message(bytes, [&](const Field& field) -> Status {
        if (field.number < 1 || field.number > 3) return {};
        OSTAL_TRYV(wire_is(field, Field::Wire::kBytes, "a part of the model"));
        if (field.number == 2) return read_trainer_spec(field.bytes, trainer, model);
        if (field.number == 3) return read_normalizer_spec(field.bytes, normalizer, model);
        if (model.pieces.size() >= kMaxVocabulary) return malformed("too many pieces");
        return read_piece(field.bytes, model.pieces.emplace_back());
    });
}

std::string_view model_type_name(std::uint64_t type) {
    switch (type) {
        case 1: return "unigram";
        case 2: return "BPE";
        case 3: return "word";
        case 4: return "character";
        default: return "unknown";
    }
}

// As SentencePiece does: by the piece's name, then the configured id, where it is a control piece.
TokenId control_id(const SentencePieceModel& model, const std::string& name, std::int64_t configured) {
    if (configured < 0) return -1;
    for (std::size_t i = 0; i < model.pieces.size(); ++i) {
        if (model.pieces[i].type == TokenType::kControl && model.pieces[i].text == name) {
            return static_cast<TokenId>(i);
        }
    }
    return -1;
}

}  // namespace

Status check_pieces(const SentencePieceModel& model) {
    if (model.pieces.size() > kMaxVocabulary) return malformed("too many pieces");
    std::unordered_set<std::string_view> seen;
    std::array<bool, 256> bytes{};
    std::size_t unknown = 0;
    for (std::size_t i = 0; i < model.pieces.size(); ++i) {
        const SentencePieceModel::Piece& piece = model.pieces[i];
        const auto refuse = [&](std::string_view why) {
            return malformed("piece " + std::to_string(i) + " " + std::string(why));
        };
        if (piece.text.empty()) return refuse("is empty");
        if (piece.text.size() > kMaxTokenBytes) return refuse("is too long");
        if (!is_valid_utf8(piece.text)) return refuse("is not valid UTF-8");
        if (!std::isfinite(piece.score)) return refuse("has a score that is no number");
        if (!seen.insert(piece.text).second) return refuse("occurs twice");
        if (piece.type == TokenType::kUnknown) ++unknown;
        if (piece.type == TokenType::kByte) {
            const auto byte = byte_of_name(piece.text);
            if (!byte) return refuse("is marked as a byte but not named like one");
            bytes[*byte] = true;
        }
    }
    if (unknown != 1)
        return malformed("it has " + std::to_string(unknown) + " unknown pieces instead of one");
    if (model.byte_fallback) {
        for (const bool present : bytes) {
            if (!present) return malformed("byte fallback without all 256 byte pieces");
        }
    }
    return {};
}

Result<SentencePieceModel> parse_sentencepiece_model(ByteSpan bytes) {
    SentencePieceModel model;
    TrainerSpec trainer;
    NormalizerSpec normalizer;
    OSTAL_TRYV(read_model(bytes, model, trainer, normalizer));
    if (!trainer.present || !normalizer.present) return malformed("it has no trainer or normaliser settings");
    if (trainer.model_type != 2) {
        return fail(Code::kUnsupported, "a SentencePiece model of type " +
                                            std::string(model_type_name(trainer.model_type)) +
                                            ", only BPE is read");
    }
    if (trainer.whitespace_as_suffix) {
        return fail(Code::kUnsupported, "a SentencePiece model with treat_whitespace_as_suffix");
    }
    if (normalizer.name != "identity" && !(normalizer.charsmap.empty() && normalizer.rules.empty())) {
        const std::string name = is_valid_utf8(normalizer.name) ? normalizer.name.substr(0, 64) : "?";
        return fail(Code::kUnsupported,
                    "a SentencePiece model with the normaliser \"" + name + "\", only identity is read");
    }
    OSTAL_TRYV(check_pieces(model));
    model.bos = control_id(model, trainer.bos_piece, trainer.bos_id);
    model.eos = control_id(model, trainer.eos_piece, trainer.eos_id);
    return model;
}

}  // namespace ostal::engine
