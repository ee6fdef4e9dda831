// The one path from a parsed request to sequences in the engine: model and permission, room in the context, audit,
// submission. Every inference endpoint takes it, in this order.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "appliance/api/answer.h"
#include "appliance/api/fields.h"
#include "appliance/api/generation_fields.h"
#include "appliance/api/routes.h"

namespace ostal::api {

// Notes unknown fields in the log, by name alone.
void log_unknown_fields(Services& services, const Call& call, const std::vector<std::string>& names);

// The model that is asked for ("": the default one), if the caller may use it so: an unknown one and a withheld one
// look the same.
Step<std::shared_ptr<LoadedModel>> find_model(Services& services, const Call& call, const std::string& named,
                                              security::Permission permission);

// The prompt of a completion between `prompt` and `suffix`. kUnsupported for a model that has no tokens for it.
Result<std::vector<engine::TokenId>> render_fill_in(const LoadedModel& model, std::string_view prompt,
                                                    std::string_view suffix);

// What the sequences of one request share beside the fields.
struct GenerationRules {
    std::string_view prompt_field;     // to name in errors: "messages"
    std::int64_t default_max_tokens = 0;  // 0: what the context leaves
    bool continues_text = false;       // engine/request.h
};
// One sequence for each prompt and choice, prompt by prompt.
Step<std::vector<engine::GenerationRequest>> plan_generation(Services& services, const LoadedModel& model,
                                                             const GenerationFields& fields,
                                                             const std::vector<std::vector<engine::TokenId>>& prompts,
                                                             const GenerationRules& rules);

// The error of a prompt that leaves no room, with both numbers.
Error context_overflow(std::int32_t context, std::size_t prompt_tokens, std::optional<std::int32_t> max_tokens);

// `id_prefix` and 32 hex digits; the time; the model; where a stream has its usage (GenerationFields).
AnswerHead make_head(Services& services, const LoadedModel& model, const char* id_prefix,
                     std::optional<bool> include_usage = std::nullopt);

// Records the admission, submits the sequences and answers, whole or as a stream. `form` writes the answer.
Step<void> answer_with_choices(Services& services, Call& call, security::Permission permission,
                               std::shared_ptr<LoadedModel> model, std::vector<engine::GenerationRequest> sequences,
                               AnswerHead head, std::shared_ptr<ChoiceForm> form, bool stream);
// The same for answers that are never streamed.
Step<void> answer_whole(Services& services, Call& call, security::Permission permission,
                        std::shared_ptr<LoadedModel> model, std::vector<engine::GenerationRequest> sequences,
                        std::unique_ptr<WholeForm> form);

// Gives a refusal as the answer.
void respond_refusal(const Call& call, const Step<void>& step);

}  // namespace ostal::api
