// From stored versions to engines that answer.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "appliance/config.h"
#include "appliance/core/vault.h"
#include "appliance/serving/models.h"

namespace ostal {

using ActiveVersion = std::pair<std::string, std::uint64_t>;

// The version of each model that serves.
Result<std::vector<ActiveVersion>> serving_versions(const ModelStore& store);

// Signatures, floor and headers are checked, then the weights are decrypted into the engine. kIntegrity for
// anything that does not hold; no partly loaded model exists.
Result<std::shared_ptr<LoadedModel>> load_stored_model(const ModelStore& store, const Config& config, const Clock& clock,
                                                       LogSink& log, const std::string& name, std::uint64_t version);

// The health gate: a short greedy answer to a known prompt ends in time, with text. kInternal otherwise.
Status answers_a_prompt(LoadedModel& model, const Clock& clock);

}  // namespace ostal
