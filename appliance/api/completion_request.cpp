#include "appliance/api/completion_request.h"

namespace ostal::api {
namespace {

using json::Value;

constexpr std::size_t kMaxPrompts = 64;
constexpr std::size_t kMaxSequences = 128;  // prompts times n
constexpr std::int32_t kMaxLegacyLogProbs = 5;

const Schema<CompletionRequest>& completion_schema() {
    using Request = CompletionRequest;
    static const Schema<Request> kSchema = generation_schema<Request>({
        {"prompt", [](const Value& v, Request& r) { return read_prompt_inputs(v, kMaxPrompts, r.prompts); }},
        {"echo", [](const Value& v, Request& r) { return read_bool(v, r.echo); }},
        {"suffix", [](const Value& v, Request& r) { return read_text(v, r.suffix.emplace()); }},
        {"best_of", [](const Value& v, Request& r) { return read_integer(v, 1, 20, r.best_of.emplace(0)); }},
        {"logprobs",
         [](const Value& v, Request& r) { return read_integer(v, 0, kMaxLegacyLogProbs, r.top_log_probs.emplace(0)); }},
    });
    return kSchema;
}

const Schema<FimRequest>& fim_schema() {
    using Request = FimRequest;
    static const Schema<Request> kSchema = generation_schema<Request>({
        {"prompt", [](const Value& v, Request& r) { return read_text(v, r.prompt); }},
        {"suffix", [](const Value& v, Request& r) { return read_text(v, r.suffix); }},
    });
    return kSchema;
}

// The body's fields, and the rules between those of every text endpoint.
template <typename Request>
Step<Request> parse(std::string_view body, const Schema<Request>& schema, bool strict) {
    auto value = parse_body(body);
    if (!value) return tl::unexpected<FieldError>(value.error());
    Request request;
    if (auto read = read_fields(value->as_object(), schema, strict, request); !read) {
        return tl::unexpected<FieldError>(read.error());
    }
    if (auto checked = check_generation_fields(request); !checked) return tl::unexpected<FieldError>(checked.error());
    const Value* prompt = value->find("prompt");
    if (prompt == nullptr || prompt->is_null()) return refuse_field(Code::kUnprocessable, "prompt", "the field is required");
    return request;
}

}  // namespace

Step<CompletionRequest> parse_completion(std::string_view body, bool strict) {
    auto request = parse(body, completion_schema(), strict);
    if (!request) return request;
    if (request->best_of && *request->best_of != request->n) {
        return refuse_field(Code::kUnsupported, "best_of", "only the value of n is supported");
    }
    if (request->prompts.size() * static_cast<std::size_t>(request->n) > kMaxSequences) {
        return refuse_field(Code::kUnprocessable, "n", "prompts times n is above 128");
    }
    if (request->echo && request->top_log_probs) {
        return refuse_field(Code::kUnsupported, "echo", "log-probabilities of the prompt are not supported");
    }
    if (request->suffix && request->suffix->empty()) request->suffix.reset();
    if (request->suffix && request->echo) {
        return refuse_field(Code::kUnprocessable, "echo", "it does not go with suffix");
    }
    return request;
}

Step<FimRequest> parse_fim(std::string_view body, bool strict) { return parse(body, fim_schema(), strict); }

}  // namespace ostal::api
