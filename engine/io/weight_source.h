// Where a model's bytes come from. The engine does not know about files, encryption or signatures: the
// appliance hands it a source whose bytes are verified and decrypted; tools and tests hand it a FolderSource.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace ostal::engine {

struct SourceFile {
    std::string name;  // no folders in it: "config.json", "model-00001-of-00002.safetensors", "model.gguf"
    std::uint64_t size_bytes = 0;
};

class WeightSource {
public:
    virtual ~WeightSource() = default;
    // Sorted by name; fixed for the life of the source.
    virtual const std::vector<SourceFile>& files() const = 0;
    // Fills `out` whole from `offset` of the named file. Bytes are authentic when this returns.
    // kNotFound for another name, kInvalidArgument past the end, kIntegrity when verification fails, kIo.
    // Thread-safe: loaders call it from several threads.
    virtual Status read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const = 0;
};

// A plain folder, or one .gguf file (then files() has that one). For tools and tests.
class FolderSource final : public WeightSource {
public:
    // kNotFound, kIo; kInvalidArgument for what is neither a folder nor a regular .gguf file.
    static Result<std::unique_ptr<FolderSource>> open(const std::string& path);
    ~FolderSource() override;
    const std::vector<SourceFile>& files() const override;
    Status read(std::string_view name, std::uint64_t offset, MutableByteSpan out) const override;

private:
    struct State;
    explicit FolderSource(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// The size of a named file, or kNotFound.
Result<std::uint64_t> source_file_size(const WeightSource& source, std::string_view name);
// A whole small file (config.json, tokenizer.model); kTooLarge above the limit.
Result<Bytes> read_source_file(const WeightSource& source, std::string_view name, std::uint64_t limit_bytes);

}  // namespace ostal::engine
