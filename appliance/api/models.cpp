#include "appliance/api/errors.h"
#include "appliance/api/generation.h"
#include "appliance/api/routes.h"
#include "appliance/core/appliance.h"
#include "base/safe_text.h"

namespace ostal::api {
namespace {

// A card that satisfies OpenAI's and La Plateforme's clients at once.
json::Value model_card(const LoadedModel& model) {
    // La Plateforme's words; "completion" and "embeddings" are ours.
    json::Object capabilities{{"completion_chat", true},
                              {"completion", true},
                              {"completion_fim", render_fill_in(model, "", "").has_value()},
                              {"embeddings", true},
                              {"function_calling", engine::format_has_tools(model.format)},
                              {"fine_tuning", false},
                              {"vision", false},
                              {"classification", false}};
    json::Object card{{"id", model.name}, {"object", "model"}, {"created", model.loaded_us / 1'000'000}, {"owned_by", "ostal"}};
    card.append("name", model.name);
    card.append("description", nullptr);
    card.append("type", "base");
    card.append("capabilities", std::move(capabilities));
    card.append("max_context_length", model.engine->info().context_length);
    card.append("aliases", json::Array{});
    card.append("deprecation", nullptr);
    card.append("default_model_temperature", 0.7);
    card.append("version", static_cast<std::int64_t>(model.version));
    card.append("license", model.license);
    return card;
}

// Whether the caller's project and key may use the model: what he may not use does not exist for him.
Result<bool> is_visible(const Call& call, const std::string& name) {
    OSTAL_TRY(const bool granted, call.vault->tenants.is_granted(call.caller.tenant, call.caller.project, name));
    const auto& limited_to = call.caller.subject.models;
    return granted && (limited_to.empty() || std::find(limited_to.begin(), limited_to.end(), name) != limited_to.end());
}

}  // namespace

void list_models(Services& services, Call call) {
    json::Array cards;
    for (const auto& model : services.appliance.models().list()) {
        const auto visible = is_visible(call, model->name);
        if (!visible) {
            call.respond(error_response(visible.error()));
            return;
        }
        if (*visible) cards.push_back(model_card(*model));
    }
    call.respond(json_response(200, json::Object{{"object", "list"}, {"data", std::move(cards)}}));
}

void get_model(Services& services, Call call) {
    const std::string name(call.request->param("id").value_or(""));
    const auto model = services.appliance.models().find(name);
    const auto visible = model == nullptr ? Result<bool>(false) : is_visible(call, name);
    if (!visible) {
        call.respond(error_response(visible.error()));
    } else if (!*visible) {
        call.respond(error_response(Error(Code::kNotFound, "The model '" + safe_text(name, 64) +
                                                               "' does not exist or you do not have access to it.")
                                        .because("model_not_found"), "model"));
    } else {
        call.respond(json_response(200, model_card(*model)));
    }
}

}  // namespace ostal::api
