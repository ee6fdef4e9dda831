// The loaded models: name -> engine.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "appliance/serving/token_texts.h"
#include "engine/engine.h"
#include "engine/tokenizer/chat_template.h"

namespace ostal {

// One model that answers. Immutable; the engine inside is thread-safe.
struct LoadedModel {
    std::string name;
    std::uint64_t version = 0;
    std::string digest;          // hex SHA-256 of the signed targets of this version
    engine::Format format = engine::Format::kV3;
    std::string default_system;
    std::vector<engine::TokenId> stop_tokens;
    std::string license;
    std::int64_t loaded_us = 0;
    std::unique_ptr<engine::Engine> engine;
    std::shared_ptr<const TokenTexts> token_texts;  // of the engine's tokenizer
};

// Thread-safe. Answers hold a model weakly: the last owner, who joins the engine's threads, is never one of them.
class LoadedModels {
public:
    // nullptr when no such model is loaded.
    std::shared_ptr<LoadedModel> find(const std::string& name) const;
    std::vector<std::shared_ptr<LoadedModel>> list() const;  // by name
    // Replaces the model of the same name; the old one is returned for the caller to let go of.
    std::shared_ptr<LoadedModel> put(std::shared_ptr<LoadedModel> model);
    std::shared_ptr<LoadedModel> remove(const std::string& name);
    // Takes out every model.
    std::vector<std::shared_ptr<LoadedModel>> clear();

private:
    mutable std::mutex mutex_;
    std::map<std::string, std::shared_ptr<LoadedModel>> models_;
};

}  // namespace ostal
