// convert: a model as one quantised GGUF file.
#include <ostream>
#include <string_view>

#include "appliance/cli/ostal_engine/model.h"
#include "base/file.h"
#include "base/json.h"
#include "base/thread.h"
#include "engine/convert.h"

namespace ostal::engine_tool {

Command convert_command() {
    return {
        "convert",
        "write a model as a quantised GGUF file",
        "--model PATH --quantize q8|q4 --out FILE.gguf",
        "q8 is Q8_0, q4 is Q4_0 with the embedding and the output matrix in Q8_0; norms and routers stay "
        "f32. Metadata,\n"
        "tokenizer and chat template go with it. The file appears whole or not at all. Output: one line of "
        "JSON with its\n"
        "size and types. Exit codes: 0 ok, 1 failed, 2 usage.",
        {model_option(),
         {"--quantize", "TYPE", "q8 or q4"},
         {"--out", "FILE", "the file to write; it ends in .gguf"},
         {"--force", "", "replace the file when it exists"},
         threads_option()}};
}

Status run_convert(const Arguments& arguments, const Terminal& terminal) {
    engine::ConvertOptions options;
    OSTAL_TRY(const std::string type, arguments.required("--quantize"));
    const bool q8 = std::string_view(type) == "q8";
    if (!q8 && std::string_view(type) != "q4") {
        return fail(Code::kUsage, "--quantize is " + json::quote(type) + ", expected q8 or q4");
    }
    options.quantise = q8 ? engine::DType::kQ8_0 : engine::DType::kQ4_0;
    OSTAL_TRY(const std::string out, arguments.required("--out"));
    if (!out.ends_with(".gguf")) {
        return fail(Code::kUsage, "--out is " + json::quote(out) + ", expected a name that ends in .gguf");
    }
    OSTAL_TRY(const std::int64_t threads,
              arguments.integer("--threads", 1, 1024, static_cast<std::int64_t>(physical_cpus().size())));
    options.threads = static_cast<std::int32_t>(threads);
    options.overwrite = arguments.has("--force");
    OSTAL_TRY(const OpenModel model, open_model(arguments));
    PosixFiles files;
    OSTAL_TRY(const engine::Converted done,
              engine::convert_model(*model.source, model.files, files, out, options));
    terminal.out << json::to_string(
                        json::Object{{"file", out}, {"bytes", done.bytes}, {"weights", done.weight_types}})
                 << "\n";
    return {};
}

}  // namespace ostal::engine_tool
