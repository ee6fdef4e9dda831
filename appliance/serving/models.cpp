#include "appliance/serving/models.h"

namespace ostal {

std::shared_ptr<LoadedModel> LoadedModels::find(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto it = models_.find(name);
    return it == models_.end() ? nullptr : it->second;
}

std::vector<std::shared_ptr<LoadedModel>> LoadedModels::list() const {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<LoadedModel>> out;
    for (const auto& [name, model] : models_) out.push_back(model);
    return out;
}

std::shared_ptr<LoadedModel> LoadedModels::put(std::shared_ptr<LoadedModel> model) {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<LoadedModel>& place = models_[model->name];
    place.swap(model);
    return model;
}

std::shared_ptr<LoadedModel> LoadedModels::remove(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto it = models_.find(name);
    if (it == models_.end()) return nullptr;
    auto out = std::move(it->second);
    models_.erase(it);
    return out;
}

std::vector<std::shared_ptr<LoadedModel>> LoadedModels::clear() {
    const std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<LoadedModel>> out;
    for (auto& [name, model] : models_) out.push_back(std::move(model));
    models_.clear();
    return out;
}

}  // namespace ostal
