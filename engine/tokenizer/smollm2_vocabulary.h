// For tests: the vocabulary that SmolLM2's GGUF file embeds.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "engine/io/gguf.h"
#include "engine/io/weight_source.h"
#include "engine/tokenizer/testing.h"
#include "engine/tokenizer/vocabulary.h"

namespace ostal::engine::testing {

// Nothing when OSTAL_MODELS is not set.
inline std::optional<EmbeddedVocabulary> smollm2_vocabulary() {
    const std::string name = "SmolLM2-135M-Instruct.Q4_1.gguf";
    const auto path = file_under("OSTAL_MODELS", name);
    if (!path) return std::nullopt;
    EmbeddedVocabulary out;
    const auto source = FolderSource::open(*path);
    if (!source) {
        ADD_FAILURE() << source.error().to_string();
        return out;
    }
    const auto file = GgufFile::read(**source, name);
    const auto found = file ? gguf_tokenizer(*file) : fail(file.error());
    if (!found) {
        ADD_FAILURE() << found.error().to_string();
        return out;
    }
    out.model = found->model;
    out.pre = found->pre;
    out.tokens = found->tokens;
    out.scores = found->scores;
    out.token_types = found->token_types;
    out.merges = found->merges;
    out.bos = found->bos;
    out.eos = found->eos;
    out.unknown = found->unknown;
    out.add_space_prefix = found->add_space_prefix;
    return out;
}

}  // namespace ostal::engine::testing
