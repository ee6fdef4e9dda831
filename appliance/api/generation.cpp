#include "appliance/api/generation.h"

#include <array>

#include "appliance/api/errors.h"
#include "appliance/core/appliance.h"
#include "appliance/net/http/cancellation.h"
#include "appliance/net/http/sse.h"
#include "appliance/serving/sequence_group.h"
#include "base/safe_text.h"

namespace ostal::api {
namespace {

constexpr double kDefaultTemperature = 0.7;
constexpr std::size_t kStreamCapacity = 256;

// An admitted request whose sequences are not submitted yet.
struct Admitted {
    std::shared_ptr<LoadedModel> model;
    std::shared_ptr<Inference> inference;
    std::vector<engine::GenerationRequest> sequences;
};

security::AuditRecord admission_record(const Call& call, security::Permission permission, const LoadedModel& model,
                                       const std::vector<engine::GenerationRequest>& sequences) {
    security::AuditRecord record = audit_record(call.caller, security::permission_name(permission), model.name);
    record.decision = "allow";
    record.role = "api-client";
    record.policy_version = security::kPolicyVersion;
    record.model = model.name + "/" + std::to_string(model.version);
    record.model_digest = model.digest;
    for (const engine::GenerationRequest& sequence : sequences) {
        // Choices of one prompt share its tokens: they count once.
        if (sequence.sampling.choice == 0) record.tokens_in += sequence.prompt.size();
    }
    return record;
}

Step<Admitted> admit(Services& services, Call& call, security::Permission permission,
                     std::shared_ptr<LoadedModel> model, std::vector<engine::GenerationRequest> sequences) {
    Appliance& appliance = services.appliance;
    std::vector<engine::RequestId> ids;
    for (engine::GenerationRequest& sequence : sequences) {
        sequence.id = appliance.next_engine_request();
        ids.push_back(sequence.id);
    }
    auto inference = Inference::admit({appliance.audit(), appliance.clock(), services.inference}, model, std::move(ids),
                                      admission_record(call, permission, *model, sequences));
    if (!inference) {
        appliance.log().error("request refused: the audit log cannot be written", {{"error", inference.error().to_string()}});
        return refuse(Error(Code::kUnavailable, "the audit log cannot be written; the operator must look at the appliance"));
    }
    call.request->cancellation->on_cancel([weak = std::weak_ptr<Inference>(*inference)] {
        if (const auto running = weak.lock()) running->cancel();
    });
    return Admitted{std::move(model), std::move(*inference), std::move(sequences)};
}

// Hands the sequences to the engine, each with its sink; the whole request fails with the first that is refused.
template <typename Sink>
Step<void> submit(Admitted admitted, const std::vector<std::shared_ptr<Sink>>& sinks) {
    std::vector<engine::Submission> group;
    for (std::size_t i = 0; i < sinks.size(); ++i) group.push_back({std::move(admitted.sequences[i]), sinks[i]});
    const Status started = SequenceGroup::start(admitted.inference, *admitted.model->engine, std::move(group));
    if (started) return {};
    const ApiError shown = to_api_error(started.error());
    admitted.inference->finish(shown.status, shown.code, [](const Status&) {});
    return refuse(started.error());
}

Step<void> submit_whole(Admitted admitted, const http::Respond& respond, std::unique_ptr<WholeForm> form) {
    const auto sinks = whole_answer(std::move(form), admitted.inference, respond, admitted.sequences.size());
    return submit(std::move(admitted), sinks);
}

Step<void> submit_stream(Admitted admitted, const http::Respond& respond, AnswerHead head,
                         std::shared_ptr<ChoiceForm> form) {
    std::vector<std::shared_ptr<TokenStream>> streams;
    for (std::size_t i = 0; i < admitted.sequences.size(); ++i) {
        streams.push_back(std::make_shared<TokenStream>(kStreamCapacity));
    }
    const std::shared_ptr<Inference> inference = admitted.inference;
    if (auto submitted = submit(std::move(admitted), streams); !submitted) return submitted;
    http::Response response;
    response.headers = http::sse_headers();
    response.idle_bytes = std::string(http::kSseComment);
    response.stream = answer_stream(std::move(head), std::move(form), inference, std::move(streams));
    respond(std::move(response));
    return {};
}

Step<void> check_sampling(const LoadedModel& model, const GenerationFields& fields) {
    const std::int32_t vocabulary = model.engine->info().vocab_size;
    for (const engine::LogitBias& bias : fields.sampling.logit_bias) {
        if (bias.id >= vocabulary) {
            return refuse_field(Code::kUnprocessable, "logit_bias", "the model has no token " + std::to_string(bias.id));
        }
    }
    return {};
}

}  // namespace

void log_unknown_fields(Services& services, const Call& call, const std::vector<std::string>& names) {
    for (const std::string& name : names) {
        services.appliance.log().debug("unknown request field", {{"field", name}, {"request_id", call.caller.request_id}});
    }
}

Step<std::shared_ptr<LoadedModel>> find_model(Services& services, const Call& call, const std::string& named,
                                              security::Permission permission) {
    const std::string name = named.empty() ? services.appliance.config().models.default_model : named;
    if (name.empty()) {
        return refuse_field(Code::kUnprocessable, "model", "the field is required, there is no default model");
    }
    const Error unknown = Error(Code::kNotFound, "The model '" + safe_text(name, 64) +
                                                     "' does not exist or you do not have access to it.")
                              .because("model_not_found");
    auto granted = call.vault->tenants.is_granted(call.caller.tenant, call.caller.project, name);
    if (!granted && granted.error().code() != Code::kUnprocessable) return refuse(granted.error());
    security::Object object;
    object.kind = security::Object::Kind::kModelGrant;
    object.tenant = call.caller.tenant;
    object.project = call.caller.project;
    object.model = name;
    object.granted = granted.value_or(false);
    auto decision = authorise(call.caller, permission, object, safe_text(name, 64), services.appliance.audit(), true);
    if (!decision) return refuse(decision.error().code() == Code::kNotFound ? unknown : decision.error(), "model");
    auto model = services.appliance.models().find(name);
    if (model == nullptr) {
        if (services.appliance.is_loading(name)) {
            return refuse(Error(Code::kUnavailable, "the model '" + name + "' is being loaded; try again in a moment"), "model");
        }
        return refuse(unknown, "model");
    }
    return model;
}

Result<std::vector<engine::TokenId>> render_fill_in(const LoadedModel& model, std::string_view prompt,
                                                    std::string_view suffix) {
    // render_fim() writes the unknown token for a control token that a vocabulary lacks, as mistral-common does; no
    // model was taught that.
    const engine::Tokenizer& tokenizer = model.engine->tokenizer();
    if (!tokenizer.control("[PREFIX]") || !tokenizer.control("[SUFFIX]")) {
        return fail(Code::kUnsupported, "the model '" + model.name + "' has no tokens for filling in the middle");
    }
    return engine::render_fim(model.format, tokenizer, prompt, suffix);
}

Error context_overflow(std::int32_t context, std::size_t prompt_tokens, std::optional<std::int32_t> max_tokens) {
    const std::string wanted = max_tokens ? " and max_tokens asks for " + std::to_string(*max_tokens) : "";
    return Error(Code::kContextLengthExceeded, "This model's maximum context length is " + std::to_string(context) +
                                                   " tokens, but the prompt has " + std::to_string(prompt_tokens) +
                                                   wanted + ". Shorten one of them.");
}

Step<std::vector<engine::GenerationRequest>> plan_generation(Services& services, const LoadedModel& model,
                                                             const GenerationFields& fields,
                                                             const std::vector<std::vector<engine::TokenId>>& prompts,
                                                             const GenerationRules& rules) {
    if (auto checked = check_sampling(model, fields); !checked) return tl::unexpected<FieldError>(checked.error());
    engine::GenerationRequest common;
    common.sampling = fields.sampling;
    common.sampling.temperature = fields.temperature.value_or(kDefaultTemperature);
    if (fields.seed) {
        common.sampling.seed = *fields.seed;
    } else {
        std::array<std::uint8_t, 8> bytes{};
        services.appliance.random().fill(bytes);
        common.sampling.seed = load_le<std::uint64_t>(bytes.data());
    }
    common.continues_text = rules.continues_text;
    common.stop = fields.stop;
    common.stop_tokens = model.stop_tokens;
    common.min_tokens = fields.min_tokens;
    common.top_log_probs = fields.top_log_probs;

    const std::int32_t context = model.engine->info().context_length;
    std::vector<engine::GenerationRequest> out;
    for (const std::vector<engine::TokenId>& prompt : prompts) {
        const auto used = static_cast<std::int32_t>(std::min<std::size_t>(prompt.size(), 1U << 30));
        if (used >= context || fields.max_tokens.value_or(0) > context - used || fields.min_tokens > context - used) {
            return refuse(context_overflow(context, prompt.size(), fields.max_tokens), std::string(rules.prompt_field));
        }
        const std::int64_t wanted = fields.max_tokens.value_or(rules.default_max_tokens);
        const std::int64_t room = context - used;
        common.max_tokens = static_cast<std::int32_t>(wanted > 0 ? std::min(std::max<std::int64_t>(wanted, fields.min_tokens), room) : room);
        common.prompt = prompt;
        for (std::int32_t choice = 0; choice < fields.n; ++choice) {
            common.sampling.choice = static_cast<std::uint32_t>(choice);
            out.push_back(common);
        }
    }
    return out;
}

AnswerHead make_head(Services& services, const LoadedModel& model, const char* id_prefix,
                     std::optional<bool> include_usage) {
    std::array<std::uint8_t, 16> bytes{};
    services.appliance.random().fill(bytes);
    AnswerHead head;
    head.id = id_prefix + to_hex(bytes);
    head.created_s = services.appliance.clock().wall_now_us() / 1'000'000;
    head.model = model.name;
    head.fingerprint = "fp_" + model.digest.substr(0, 12);
    if (include_usage) {
        head.usage_chunk = *include_usage ? AnswerHead::UsageChunk::kExtra : AnswerHead::UsageChunk::kNone;
    }
    return head;
}

Step<void> answer_with_choices(Services& services, Call& call, security::Permission permission,
                               std::shared_ptr<LoadedModel> model, std::vector<engine::GenerationRequest> sequences,
                               AnswerHead head, std::shared_ptr<ChoiceForm> form, bool stream) {
    auto admitted = admit(services, call, permission, std::move(model), std::move(sequences));
    if (!admitted) return tl::unexpected<FieldError>(admitted.error());
    if (stream) return submit_stream(std::move(*admitted), call.respond, std::move(head), std::move(form));
    const std::size_t count = admitted->sequences.size();
    return submit_whole(std::move(*admitted), call.respond, whole_choices(std::move(head), std::move(form), count));
}

Step<void> answer_whole(Services& services, Call& call, security::Permission permission,
                        std::shared_ptr<LoadedModel> model, std::vector<engine::GenerationRequest> sequences,
                        std::unique_ptr<WholeForm> form) {
    auto admitted = admit(services, call, permission, std::move(model), std::move(sequences));
    if (!admitted) return tl::unexpected<FieldError>(admitted.error());
    return submit_whole(std::move(*admitted), call.respond, std::move(form));
}

void respond_refusal(const Call& call, const Step<void>& step) {
    if (!step) call.respond(error_response(step.error().error, step.error().param));
}

}  // namespace ostal::api
