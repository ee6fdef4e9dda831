#include <array>

#include "appliance/api/chat_answer.h"
#include "appliance/api/chat_request.h"
#include "appliance/api/errors.h"
#include "appliance/api/routes.h"
#include "appliance/core/appliance.h"
#include "appliance/net/http/cancellation.h"
#include "appliance/net/http/sse.h"
#include "base/safe_text.h"
#include "security/storage/ids.h"

namespace ostal::api {
namespace {

constexpr double kDefaultTemperature = 0.7;
constexpr std::size_t kStreamCapacity = 256;

// A failed step, with the field it is about.
struct Refusal {
    Error error;
    std::string param;
};
template <typename T>
using Step = tl::expected<T, Refusal>;

tl::unexpected<Refusal> refuse(Error error, std::string param = {}) {
    return tl::unexpected<Refusal>(Refusal{std::move(error), std::move(param)});
}

// The model that is asked for, if the caller may use it: an unknown one and a withheld one look the same.
Step<std::shared_ptr<LoadedModel>> find_model(Services& services, const Call& call, const std::string& named) {
    const std::string name = named.empty() ? services.appliance.config().models.default_model : named;
    if (name.empty()) {
        return refuse(Error(Code::kUnprocessable, "model: the field is required, there is no default model"), "model");
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
    auto decision = authorise(call.caller, security::Permission::kInferenceChat, object, safe_text(name, 64),
                              services.appliance.audit(), true);
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

// The assistant's text that the answer is to continue: the last message, when it says so.
std::optional<std::string> continued_text(const engine::ChatRequest& chat) {
    const engine::ChatMessage& last = chat.messages.back();
    if (last.role != engine::Role::kAssistant || !(last.prefix || chat.continue_final_message)) return std::nullopt;
    std::string text;
    for (const engine::ContentPart& part : last.content) text += part.text;
    return text;
}

// The prompt's tokens and the room they leave.
Step<engine::GenerationRequest> to_generation(const ChatCompletionRequest& request, const LoadedModel& model,
                                              const Config& config, RandomSource& random) {
    auto prompt = engine::render_chat(model.format, model.engine->tokenizer(), request.chat, model.default_system);
    if (!prompt) return refuse(std::move(prompt).error(), "messages");
    engine::GenerationRequest out;
    out.prompt = std::move(*prompt);
    const std::int32_t context = model.engine->info().context_length;
    const auto used = static_cast<std::int32_t>(std::min<std::size_t>(out.prompt.size(), 1U << 30));
    const std::int32_t asked = request.max_tokens.value_or(
        config.api.default_max_tokens > 0 ? static_cast<std::int32_t>(config.api.default_max_tokens) : 0);
    if (used >= context || (request.max_tokens && asked > context - used)) {
        const std::string wanted = request.max_tokens ? " and max_tokens asks for " + std::to_string(asked) : "";
        return refuse(Error(Code::kContextLengthExceeded, "This model's maximum context length is " +
                                                              std::to_string(context) + " tokens, but the prompt has " +
                                                              std::to_string(used) + wanted + ". Shorten one of them."),
                      "messages");
    }
    out.max_tokens = asked > 0 ? std::min(asked, context - used) : context - used;
    out.sampling.temperature = request.temperature.value_or(kDefaultTemperature);
    out.sampling.top_p = request.top_p;
    out.sampling.top_k = request.top_k;
    if (request.seed) {
        out.sampling.seed = *request.seed;
    } else {
        std::array<std::uint8_t, 8> bytes{};
        random.fill(bytes);
        out.sampling.seed = load_le<std::uint64_t>(bytes.data());
    }
    out.continues_text = continued_text(request.chat).has_value();
    out.stop = request.stop;
    out.stop_tokens = model.stop_tokens;
    return out;
}

AnswerHead make_head(const ChatCompletionRequest& request, const LoadedModel& model, Appliance& appliance) {
    std::array<std::uint8_t, 16> bytes{};
    appliance.random().fill(bytes);
    AnswerHead head;
    head.id = "chatcmpl-" + to_hex(bytes);
    head.created_s = appliance.clock().wall_now_us() / 1'000'000;
    head.model = model.name;
    head.fingerprint = "fp_" + model.digest.substr(0, 12);
    head.prefix = continued_text(request.chat).value_or("");
    if (request.include_usage) {
        head.usage_chunk = *request.include_usage ? AnswerHead::UsageChunk::kExtra : AnswerHead::UsageChunk::kNone;
    }
    return head;
}

security::AuditRecord admission_record(const Call& call, const LoadedModel& model, std::size_t prompt_tokens) {
    security::AuditRecord record = audit_record(call.caller, "inference:chat", model.name);
    record.decision = "allow";
    record.role = "api-client";
    record.policy_version = security::kPolicyVersion;
    record.model = model.name + "/" + std::to_string(model.version);
    record.model_digest = model.digest;
    record.tokens_in = prompt_tokens;
    return record;
}

// Everything up to the engine's queue; on success the answer is on its way.
Step<void> start(Services& services, Call& call) {
    Appliance& appliance = services.appliance;
    auto parsed = parse_chat_completion(call.request->body, appliance.config().api.strict);
    if (!parsed) return refuse(std::move(parsed.error().error), std::move(parsed.error().param));
    for (const std::string& field : parsed->unknown_fields) {
        appliance.log().debug("unknown request field", {{"field", field.substr(0, 64)}, {"request_id", call.caller.request_id}});
    }
    auto model = find_model(services, call, parsed->model);
    if (!model) return tl::unexpected<Refusal>(std::move(model).error());
    auto generation = to_generation(*parsed, **model, appliance.config(), appliance.random());
    if (!generation) return tl::unexpected<Refusal>(std::move(generation).error());
    generation->id = appliance.next_engine_request();

    auto admitted = Inference::admit({appliance.audit(), appliance.clock(), services.inference}, *model, generation->id,
                                     admission_record(call, **model, generation->prompt.size()));
    if (!admitted) {
        appliance.log().error("request refused: the audit log cannot be written", {{"error", admitted.error().to_string()}});
        return refuse(Error(Code::kUnavailable, "the audit log cannot be written; the operator must look at the appliance"));
    }
    const std::shared_ptr<Inference> inference = *admitted;
    const AnswerHead head = make_head(*parsed, **model, appliance);
    call.request->cancellation->on_cancel([weak = std::weak_ptr<Inference>(inference)] {
        if (const auto running = weak.lock()) running->cancel();
    });
    const std::size_t prompt_tokens = generation->prompt.size();
    const auto refused = [&](Error error) -> Step<void> {
        const ApiError shown = to_api_error(error);
        inference->finish(shown.status, {static_cast<std::int32_t>(prompt_tokens), 0}, shown.code, [](const Status&) {});
        return refuse(std::move(error));
    };
    if (!parsed->stream) {
        auto sink = whole_answer(head, inference, call.respond);
        if (auto queued = (*model)->engine->submit(std::move(*generation), std::move(sink)); !queued) {
            return refused(std::move(queued).error());
        }
        // The client may have left before the engine knew the request.
        if (call.request->cancellation->cancelled()) inference->cancel();
        return {};
    }
    auto tokens = std::make_shared<TokenStream>(kStreamCapacity);
    if (auto queued = (*model)->engine->submit(std::move(*generation), tokens); !queued) {
        return refused(std::move(queued).error());
    }
    http::Response response;
    response.headers = http::sse_headers();
    response.idle_bytes = std::string(http::kSseComment);
    response.stream = answer_stream(head, inference, tokens);
    call.respond(std::move(response));
    return {};
}

}  // namespace

void chat_completions(Services& services, Call call) {
    const auto started = start(services, call);
    if (!started) call.respond(error_response(started.error().error, started.error().param));
}

}  // namespace ostal::api
