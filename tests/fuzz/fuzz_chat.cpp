// Bodies of the inference endpoints: read by the tables of every endpoint, and as a conversation rendered in every
// format whose control tokens a vocabulary of bytes can have.
#include <cstddef>
#include <cstdint>
#include <string>

#include "appliance/api/chat_request.h"
#include "appliance/api/completion_request.h"
#include "appliance/api/embedding_request.h"
#include "base/bytes.h"
#include "base/check.h"
#include "engine/tokenizer/chat_template.h"
#include "engine/tokenizer/load.h"

namespace {

using namespace ostal;

std::unique_ptr<engine::Tokenizer> byte_tokenizer() {
    engine::EmbeddedVocabulary vocabulary;
    vocabulary.model = "llama";
    const auto add = [&](const std::string& name, engine::TokenType type) {
        vocabulary.tokens.push_back(name);
        vocabulary.scores.push_back(0);
        vocabulary.token_types.push_back(static_cast<std::int32_t>(type));
    };
    add("<unk>", engine::TokenType::kUnknown);
    for (const char* name : {"<s>",
                             "</s>",
                             "[INST]",
                             "[/INST]",
                             "[TOOL_CALLS]",
                             "[AVAILABLE_TOOLS]",
                             "[/AVAILABLE_TOOLS]",
                             "[TOOL_RESULTS]",
                             "[/TOOL_RESULTS]",
                             "[SYSTEM_PROMPT]",
                             "[/SYSTEM_PROMPT]",
                             "[TOOL_CONTENT]",
                             "[ARGS]",
                             "[CALL_ID]",
                             "[THINK]",
                             "[/THINK]",
                             "[MODEL_SETTINGS]",
                             "[/MODEL_SETTINGS]",
                             "[PREFIX]",
                             "[SUFFIX]",
                             "<|im_start|>",
                             "<|im_end|>"}) {
        add(name, engine::TokenType::kControl);
    }
    for (unsigned byte = 0; byte < 256; ++byte) {
        const std::uint8_t value = static_cast<std::uint8_t>(byte);
        std::string hex = to_hex({&value, 1});
        add("<0x" + hex + ">", engine::TokenType::kByte);
    }
    vocabulary.bos = 1;
    vocabulary.eos = 2;
    vocabulary.unknown = 0;
    auto tokenizer = engine::load_embedded_tokenizer(vocabulary);
    CHECK(tokenizer.has_value());
    return std::move(*tokenizer);
}

// A request is refused as what it is, never as our fault.
template <typename Request>
void check_step(const api::Step<Request>& step) {
    if (step) return;
    const Code code = step.error().error.code();
    CHECK(code == Code::kInvalidArgument || code == Code::kUnprocessable || code == Code::kUnsupported);
    CHECK(is_valid_utf8(step.error().error.message()));
}

void check_endpoints(std::string_view body) {
    for (const bool strict : {false, true}) {
        check_step(api::parse_chat_completion(body, strict));
        check_step(api::parse_completion(body, strict));
        check_step(api::parse_fim(body, strict));
        check_step(api::parse_embedding(body, strict));
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::unique_ptr<engine::Tokenizer> kTokenizer = byte_tokenizer();
    check_endpoints(as_text({data, size}));
    const auto value = json::parse(as_text({data, size}));
    if (!value) return 0;
    const auto request = engine::parse_chat_request(*value);
    if (!request) return 0;
    for (const auto format : {engine::Format::kV1, engine::Format::kV2, engine::Format::kV3,
                              engine::Format::kV7, engine::Format::kV11Tekken, engine::Format::kV13Tekken,
                              engine::Format::kV15Tekken, engine::Format::kChatMl}) {
        const auto ids = engine::render_chat(format, *kTokenizer, *request, "system");
        if (!ids) {
            // A conversation is refused as what it is, never as our fault.
            CHECK(ids.error().code() == Code::kInvalidArgument || ids.error().code() == Code::kUnsupported);
            continue;
        }
        CHECK(!ids->empty());
    }
    return 0;
}
