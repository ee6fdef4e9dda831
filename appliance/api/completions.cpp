// POST /v1/completions
#include "appliance/api/completion_request.h"
#include "appliance/api/generation.h"
#include "appliance/api/text_form.h"
#include "appliance/core/appliance.h"

namespace ostal::api {
namespace {

constexpr auto kPermission = security::Permission::kInferenceComplete;
// What OpenAI's clients expect when they name none.
constexpr std::int64_t kDefaultMaxTokens = 16;

using TokenLists = std::vector<std::vector<engine::TokenId>>;

Step<TokenLists> render_prompts(const CompletionRequest& request, const LoadedModel& model) {
    TokenLists out;
    for (const PromptInput& input : request.prompts) {
        if (!request.suffix) {
            auto ids = tokens_of(input, model.engine->tokenizer());
            if (!ids) return refuse(std::move(ids).error(), "prompt");
            out.push_back(std::move(*ids));
            continue;
        }
        const auto* text = std::get_if<std::string>(&input);
        if (text == nullptr) return refuse_field(Code::kUnsupported, "suffix", "it needs a prompt that is a text");
        auto ids = render_fill_in(model, *text, *request.suffix);
        if (!ids) return refuse(std::move(ids).error(), "suffix");
        out.push_back(std::move(*ids));
    }
    return out;
}

// The prompt's text for each choice.
std::vector<std::string> echoes(const CompletionRequest& request, const LoadedModel& model) {
    std::vector<std::string> out;
    for (const PromptInput& input : request.prompts) {
        const auto* text = std::get_if<std::string>(&input);
        const std::string shown =
            text != nullptr ? *text : model.engine->tokenizer().decode(std::get<std::vector<engine::TokenId>>(input));
        out.insert(out.end(), static_cast<std::size_t>(request.n), shown);
    }
    return out;
}

Step<void> start(Services& services, Call& call) {
    auto request = parse_completion(call.request->body, services.appliance.config().api.strict);
    if (!request) return tl::unexpected<FieldError>(request.error());
    log_unknown_fields(services, call, request->unknown_fields);
    auto model = find_model(services, call, request->model, kPermission);
    if (!model) return tl::unexpected<FieldError>(model.error());

    auto prompts = render_prompts(*request, **model);
    if (!prompts) return tl::unexpected<FieldError>(prompts.error());
    GenerationRules rules;
    rules.prompt_field = "prompt";
    rules.default_max_tokens = kDefaultMaxTokens;
    rules.continues_text = true;
    auto sequences = plan_generation(services, **model, *request, *prompts, rules);
    if (!sequences) return tl::unexpected<FieldError>(sequences.error());

    TextFormOptions options;
    if (request->echo) options.echo = echoes(*request, **model);
    options.choices = sequences->size();
    if (request->top_log_probs) options.token_texts = (*model)->token_texts;
    AnswerHead head = make_head(services, **model, "cmpl-", request->include_usage);
    return answer_with_choices(services, call, kPermission, std::move(*model), std::move(*sequences), std::move(head),
                               text_form(std::move(options)), request->stream);
}

}  // namespace

void completions(Services& services, Call call) { respond_refusal(call, start(services, call)); }

}  // namespace ostal::api
