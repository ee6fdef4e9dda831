#include "appliance/api/embedding_request.h"

#include "appliance/api/generation_fields.h"

namespace ostal::api {
namespace {

using json::Value;

constexpr std::size_t kMaxInputs = 2048;
constexpr std::int32_t kMaxDimensions = 1 << 20;  // beyond every model; the exact limit is the model's

Status read_dimensions(const Value& value, EmbeddingRequest& request) {
    std::int32_t number = 0;
    OSTAL_TRYV(read_integer(value, 1, kMaxDimensions, number));
    if (request.dimensions && *request.dimensions != number) {
        return fail(Code::kUnprocessable, "output_dimension and dimensions are both given and differ");
    }
    request.dimensions = number;
    return {};
}

Status read_encoding(const Value& value, EmbeddingRequest& request) {
    if (value != Value("float") && value != Value("base64")) return fail(Code::kUnprocessable, "expected float or base64");
    request.base64 = value == Value("base64");
    return {};
}

Status read_type(const Value& value, EmbeddingRequest& request) {
    const auto type = value.is_string() ? embedding_type(value.as_string()) : std::nullopt;
    if (!type) return fail(Code::kUnprocessable, "expected float, int8, uint8, binary or ubinary");
    request.type = *type;
    return {};
}

const Schema<EmbeddingRequest>& schema() {
    using Request = EmbeddingRequest;
    static const Schema<Request> kSchema = {
        {
            {"model", [](const Value& v, Request& r) { return read_text(v, r.model); }},
            {"input", [](const Value& v, Request& r) { return read_prompt_inputs(v, kMaxInputs, r.inputs); }},
            {"output_dimension", read_dimensions},
            {"dimensions", read_dimensions},
            {"encoding_format", read_encoding},
            {"output_dtype", read_type},
        },
        {},
        harmless_fields(),
    };
    return kSchema;
}

}  // namespace

Step<EmbeddingRequest> parse_embedding(std::string_view body, bool strict) {
    auto value = parse_body(body);
    if (!value) return tl::unexpected<FieldError>(value.error());
    EmbeddingRequest request;
    if (auto read = read_fields(value->as_object(), schema(), strict, request); !read) {
        return tl::unexpected<FieldError>(read.error());
    }
    if (request.inputs.empty()) return refuse_field(Code::kUnprocessable, "input", "the field is required");
    return request;
}

}  // namespace ostal::api
