// POST /v1/embeddings
#include <utility>

#include "appliance/api/embedding_request.h"
#include "appliance/api/generation.h"
#include "appliance/core/appliance.h"
#include "base/json.h"

namespace ostal::api {
namespace {

constexpr auto kPermission = security::Permission::kInferenceEmbed;
// The mean of all positions: what a model that was not trained for one position's vector has to give.
constexpr auto kPooling = engine::Pooling::kMean;
// Of one answer: 2,048 vectors of 1,024, or 512 of 4,096; as text about 40 MB.
constexpr std::size_t kMaxNumbers = 1 << 21;

Step<std::vector<engine::GenerationRequest>> plan(const EmbeddingRequest& request, const LoadedModel& model) {
    const engine::ModelInfo& info = model.engine->info();
    if (request.dimensions.value_or(0) > info.dim) {
        return refuse_field(Code::kUnprocessable, "output_dimension",
                            "the model's vectors have " + std::to_string(info.dim) + " dimensions");
    }
    const auto dimensions = static_cast<std::size_t>(request.dimensions.value_or(info.dim));
    if (request.inputs.size() * dimensions > kMaxNumbers) {
        return refuse_field(Code::kUnprocessable, "input", "inputs times dimensions is above " + std::to_string(kMaxNumbers));
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

// Each vector becomes text when it comes: thousands of them at once would hold up the scheduler thread.
class EmbeddingList final : public WholeForm {
public:
    EmbeddingList(AnswerHead head, EmbeddingRequest request)
        : head_(std::move(head)), request_(std::move(request)), entries_(request_.inputs.size()) {}

    void take(std::size_t index, Generated generated) override {
        std::vector<float> vector = std::move(generated.last.embedding);
        if (request_.dimensions) vector = shorten(std::move(vector), static_cast<std::size_t>(*request_.dimensions));
        entries_[index] = json::to_string(json::Object{
            {"object", "embedding"},
            {"index", static_cast<std::int64_t>(index)},
            {"embedding", encode_embedding(vector, request_.type, request_.base64)}});
    }

    std::string body(const engine::Usage& usage) override {
        std::string out = R"({"id":)" + json::quote(head_.id) + R"(,"object":"list","model":)" + json::quote(head_.model) +
                          R"(,"data":[)";
        for (std::size_t i = 0; i < entries_.size(); ++i) {
            if (i > 0) out += ',';
            out += std::exchange(entries_[i], {});
        }
        return out + R"(],"usage":)" + json::to_string(usage_object(usage)) + "}";
    }

private:
    const AnswerHead head_;
    const EmbeddingRequest request_;
    std::vector<std::string> entries_;  // JSON texts
};

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
                        std::make_unique<EmbeddingList>(std::move(head), std::move(*request)));
}

}  // namespace

void embeddings(Services& services, Call call) { respond_refusal(call, start(services, call)); }

}  // namespace ostal::api
