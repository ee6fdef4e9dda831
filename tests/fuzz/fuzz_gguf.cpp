// A GGUF file from anywhere: refused, or every tensor of it lies in the file and reads.
#include "base/check.h"
#include "engine/io/gguf.h"
#include "engine/io/model_files.h"
#include "tests/support/tiny_model.h"

using namespace ostal;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const test::MemorySource source({{"model.gguf", Bytes(data, data + size)}});
    const auto file = engine::GgufFile::read(source, "model.gguf");
    if (!file) return 0;
    for (const engine::GgufTensor& tensor : file->tensors()) {
        CHECK(tensor.offset <= size && tensor.bytes <= size - tensor.offset);
    }
    (void)engine::gguf_tokenizer(*file);
    const auto model = engine::ModelFiles::open(source);
    if (!model) return 0;
    for (const engine::TensorInfo& tensor : model->tensors()) {
        Bytes bytes(static_cast<std::size_t>(tensor.bytes));
        (void)engine::read_tensor(source, tensor, bytes);
    }
    return 0;
}
