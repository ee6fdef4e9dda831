#include <algorithm>
#include <array>

#include "engine/io/model_files.h"

namespace ostal::engine {

std::optional<std::string_view> refused_format(ByteSpan first_bytes) {
    struct Magic {
        std::string_view bytes;
        std::string_view name;
    };
    using namespace std::string_view_literals;
    static constexpr std::array kMagics{
        Magic{"PK\x03\x04"sv, "a zip archive (PyTorch, npz)"sv},
        Magic{"PK\x05\x06"sv, "a zip archive (PyTorch, npz)"sv},
        Magic{"\x7F"
              "ELF"sv,
              "an ELF program"sv},
        Magic{"MZqFpD"sv, "a llamafile program"sv},
        Magic{"jartsr='"sv, "a llamafile program"sv},
        Magic{"MZ"sv, "a Windows program"sv},
        Magic{"\xCF\xFA\xED\xFE"sv, "a Mach-O program"sv},
        Magic{"\xFE\xED\xFA\xCF"sv, "a Mach-O program"sv},
        Magic{"\xCA\xFE\xBA\xBE"sv, "a Mach-O program"sv},
        Magic{"#!"sv, "a script"sv},
        Magic{"\x89HDF\r\n\x1A\n"sv, "an HDF5 file (Keras)"sv},
        Magic{"lmgg"sv, "a GGML file of before GGUF"sv},
        Magic{"tjgg"sv, "a GGML file of before GGUF"sv},
        Magic{"fmgg"sv, "a GGML file of before GGUF"sv},
    };
    const std::string_view text = as_text(first_bytes);
    // PROTO opcode with protocol 2 to 5, as pickle and torch.save write it (CPython Lib/pickle.py); but the
    // length of a safetensors header may begin with the same two bytes.
    const bool proto = text.size() >= 2 && text[0] == '\x80' && text[1] >= 2 && text[1] <= 5;
    const bool safetensors = text.size() >= 9 && text.substr(4, 5) == "\0\0\0\0{"sv;
    if (proto && !safetensors) return "a Python pickle";
    for (const Magic& magic : kMagics) {
        if (text.starts_with(magic.bytes)) return magic.name;
    }
    return std::nullopt;
}

}  // namespace ostal::engine
