#include "engine/source_tokenizer.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "engine/io/gguf.h"
#include "engine/tokenizer/embed.h"
#include "engine/tokenizer/load.h"

namespace ostal::engine {
namespace {

// The largest known, a tokenizer.json of 256,000 tokens with merges, has 33 MB.
constexpr std::uint64_t kMaxTokenizerBytes = 128ULL << 20U;

// The member add_bos_token of a Hugging Face folder's tokenizer_config.json; nothing when it is not there.
Result<std::optional<bool>> add_bos_token(const WeightSource& source) {
    constexpr std::string_view kFile = "tokenizer_config.json";
    if (!source_file_size(source, kFile)) return std::optional<bool>();
    OSTAL_TRY(const Bytes bytes, read_source_file(source, kFile, kMaxTokenizerBytes));
    auto config = json::parse(as_text(bytes));
    if (!config) return fail(std::move(config).error().with("while reading tokenizer_config.json"));
    const json::Value* member = config->find("add_bos_token");
    if (member == nullptr || member->is_null()) return std::optional<bool>();
    if (!member->is_bool()) {
        return fail(Code::kInvalidArgument, "add_bos_token of tokenizer_config.json is no true or false");
    }
    return std::optional<bool>(member->as_bool());
}

struct TokenizerFile {
    std::string name;
    Bytes bytes;
    SpecialIds special;
};

// Nothing when the source has none.
Result<std::optional<TokenizerFile>> read_tokenizer_file(const WeightSource& source,
                                                         const ModelFiles& files) {
    std::vector<std::string> names;
    for (const SourceFile& file : source.files()) names.push_back(file.name);
    const auto name = choose_tokenizer_file(names);
    if (!name) return std::optional<TokenizerFile>();
    OSTAL_TRY(Bytes bytes, read_source_file(source, *name, kMaxTokenizerBytes));
    const ModelConfig& config = files.config();
    SpecialIds special{config.bos, config.eos.empty() ? TokenId{-1} : config.eos.front(), std::nullopt};
    OSTAL_TRY(special.add_bos, add_bos_token(source));
    return std::optional(TokenizerFile{*name, std::move(bytes), special});
}

Result<std::unique_ptr<Tokenizer>> load_any(const WeightSource& source, const ModelFiles& files) {
    OSTAL_TRY(const auto file, read_tokenizer_file(source, files));
    if (file) {
        auto tokenizer = load_tokenizer_file(file->bytes, file->name, file->special);
        if (!tokenizer) return fail(std::move(tokenizer).error().with("while reading " + file->name));
        return tokenizer;
    }
    if (files.gguf() != nullptr) return load_gguf_tokenizer(*files.gguf());
    return fail(Code::kInvalidArgument,
                "the model has no tokenizer: expected tekken.json, tokenizer.model or tokenizer.json");
}

}  // namespace

Result<std::unique_ptr<Tokenizer>> load_gguf_tokenizer(const GgufFile& file) {
    OSTAL_TRY(GgufTokenizer found, gguf_tokenizer(file));
    EmbeddedVocabulary vocabulary;
    vocabulary.model = std::move(found.model);
    vocabulary.pre = std::move(found.pre);
    vocabulary.tokens = std::move(found.tokens);
    vocabulary.scores = std::move(found.scores);
    vocabulary.token_types = std::move(found.token_types);
    vocabulary.merges = std::move(found.merges);
    vocabulary.bos = found.bos;
    vocabulary.eos = found.eos;
    vocabulary.unknown = found.unknown;
    vocabulary.add_bos = found.add_bos;
    vocabulary.add_space_prefix = found.add_space_prefix;
    OSTAL_TRY(vocabulary.remove_extra_whitespaces, file.boolean("tokenizer.ggml.remove_extra_whitespaces"));
    return load_embedded_tokenizer(vocabulary);
}

Result<std::unique_ptr<Tokenizer>> load_source_tokenizer(const WeightSource& source,
                                                         const ModelFiles& files) {
    OSTAL_TRY(auto tokenizer, load_any(source, files));
    // Fewer is common (the embedding is padded); more could never be embedded.
    if (tokenizer->vocab_size() > files.config().vocab) {
        return fail(Code::kInvalidArgument, "the tokenizer has " + std::to_string(tokenizer->vocab_size()) +
                                                " ids, the model's vocabulary has " +
                                                std::to_string(files.config().vocab));
    }
    return tokenizer;
}

Result<std::optional<EmbeddedVocabulary>> source_vocabulary(const WeightSource& source,
                                                            const ModelFiles& files) {
    OSTAL_TRY(const auto file, read_tokenizer_file(source, files));
    if (!file) return std::optional<EmbeddedVocabulary>();
    auto vocabulary = embedded_vocabulary(file->bytes, file->name, file->special, files.config().vocab);
    if (!vocabulary) return fail(std::move(vocabulary).error().with("while reading " + file->name));
    return std::optional(*std::move(vocabulary));
}

}  // namespace ostal::engine
