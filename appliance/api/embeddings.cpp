// POST /v1/embeddings
#include "appliance/api/embedding_request.h"
#include "appliance/api/generation.h"
#include "appliance/core/appliance.h"

namespace ostal::api {
namespace {

constexpr auto kPermission = security::Permission::kInferenceEmbed;
// The mean of all positions: what a model that was not trained for one position's vector has to give.
constexpr auto kPooling = engine::Pooling::kMean;

Step<std::vector<engine::GenerationRequest>> plan(const EmbeddingRequest& request, const LoadedModel& model) {
    const engine::ModelInfo& info = model.engine->info();
    if (request.dimensions.value_or(0) > info.dim) {
        return refuse_field(Code::kUnprocessable, "output_dimension",
                            "the model's vectors have " + std::to_string(info.dim) + " dimensions");
    }
    std::vector<engine::GenerationRequest> out;
    for (const PromptInput& input : request.inputs) {
        auto ids = tokens_of(input, model.engine->tokenizer());
        if (!ids) return refuse(std::move(ids).error(), "input");
        if (ids->size() > static_cast<std::size_t>(info.context_length)) {
            return refuse(context_overflow(info.context_length, ids->size(), std::nullopt), "input");
        }
        engine::GenerationRequest sequence;
        sequence.prompt = std::move(*ids);
        sequence.embedding = kPooling;
        out.push_back(std::move(sequence));
    }
    return out;
}

json::Value body_of(const AnswerHead& head, const EmbeddingRequest& request, const std::vector<Generated>& embedded,
                    const engine::Usage& usage) {
    json::Array data;
    for (std::size_t i = 0; i < embedded.size(); ++i) {
        std::vector<float> vector = embedded[i].last.embedding;
        const std::size_t dimensions = request.dimensions ? static_cast<std::size_t>(*request.dimensions) : vector.size();
        vector = shorten(std::move(vector), dimensions);
        data.emplace_back(json::Object{{"object", "embedding"},
                                       {"index", static_cast<std::int64_t>(i)},
                                       {"embedding", encode_embedding(vector, request.type, request.base64)}});
    }
    return json::Object{{"id", head.id},
                        {"object", "list"},
                        {"model", head.model},
                        {"data", std::move(data)},
                        {"usage", usage_object(usage)}};
}

Step<void> start(Services& services, Call& call) {
    auto request = parse_embedding(call.request->body, services.appliance.config().api.strict);
    if (!request) return tl::unexpected<FieldError>(request.error());
    log_unknown_fields(services, call, request->unknown_fields);
    auto model = find_model(services, call, request->model, kPermission);
    if (!model) return tl::unexpected<FieldError>(model.error());
    auto sequences = plan(*request, **model);
    if (!sequences) return tl::unexpected<FieldError>(sequences.error());

    AnswerHead head = make_head(services, **model, "embd-");
    return answer_whole(services, call, kPermission, std::move(*model), std::move(*sequences),
                        [head = std::move(head), request = std::move(*request)](const std::vector<Generated>& embedded,
                                                                                const engine::Usage& usage) {
                            return body_of(head, request, embedded, usage);
                        });
}

}  // namespace

void embeddings(Services& services, Call call) { respond_refusal(call, start(services, call)); }

}  // namespace ostal::api
