// POST /v1/fim/completions: La Plateforme's fill-in-the-middle. The answer has the form of a chat completion.
#include "appliance/api/chat_form.h"
#include "appliance/api/completion_request.h"
#include "appliance/api/generation.h"
#include "appliance/core/appliance.h"

namespace ostal::api {
namespace {

constexpr auto kPermission = security::Permission::kInferenceComplete;

Step<void> start(Services& services, Call& call) {
    const Config& config = services.appliance.config();
    auto request = parse_fim(call.request->body, config.api.strict);
    if (!request) return tl::unexpected<FieldError>(request.error());
    log_unknown_fields(services, call, request->unknown_fields);
    auto model = find_model(services, call, request->model, kPermission);
    if (!model) return tl::unexpected<FieldError>(model.error());

    auto prompt = render_fill_in(**model, request->prompt, request->suffix);
    if (!prompt) return refuse(std::move(prompt).error(), "prompt");
    GenerationRules rules;
    rules.prompt_field = "prompt";
    rules.default_max_tokens = config.api.default_max_tokens;
    rules.continues_text = true;
    auto sequences = plan_generation(services, **model, *request, {std::move(*prompt)}, rules);
    if (!sequences) return tl::unexpected<FieldError>(sequences.error());

    ChatFormOptions options;
    options.choices = sequences->size();
    options.continues_text = true;
    AnswerHead head = make_head(services, **model, "fimcmpl-", request->include_usage);
    return answer_with_choices(services, call, kPermission, std::move(*model), std::move(*sequences), std::move(head),
                               chat_form(std::move(options), services.appliance.random()), request->stream);
}

}  // namespace

void fim_completions(Services& services, Call call) { respond_refusal(call, start(services, call)); }

}  // namespace ostal::api
