#include "engine/tokenizer/instruct_format.h"

#include <array>

#include "base/check.h"

namespace ostal::engine {
namespace {

constexpr std::array<InstructFormat, 10> kFormats{{
    {.format = Format::kV1,
     .name = "v1",
     .built = true,
     .control_tokens = false,
     .system = SystemPlace::kFirstUserText},
    {.format = Format::kV2,
     .name = "v2",
     .built = true,
     .system = SystemPlace::kLastUserText,
     .calls = CallLayout::kList,
     .results = ResultLayout::kList,
     .drops_past_calls = true,
     .strips_answers = true},
    {.format = Format::kV3,
     .name = "v3",
     .built = true,
     .system = SystemPlace::kLastUserText,
     .calls = CallLayout::kListWithId,
     .results = ResultLayout::kObject,
     .needs_call_ids = true,
     .strips_answers = true},
    {.format = Format::kV3Tekken, .name = "v3-tekken"},
    {.format = Format::kV7,
     .name = "v7",
     .built = true,
     .system = SystemPlace::kOwnTurn,
     .calls = CallLayout::kListWithId,
     .results = ResultLayout::kIdAndText,
     .text_with_calls = true,
     .needs_call_ids = true,
     .strips_answers = true},
    {.format = Format::kV7Tekken, .name = "v7-tekken"},
    {.format = Format::kV11Tekken, .name = "v11-tekken"},
    {.format = Format::kV13Tekken, .name = "v13-tekken"},
    {.format = Format::kV15Tekken, .name = "v15-tekken"},
    {.format = Format::kChatMl, .name = "chatml", .built = true, .merges_neighbours = false},
}};

// In the order in which formats came to need them.
constexpr std::array<std::string_view, 10> kControls{
    "[INST]",         "[/INST]",         "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]",
    "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[SYSTEM_PROMPT]",   "[/SYSTEM_PROMPT]",   "[TOOL_CONTENT]"};
constexpr std::size_t kControlsToV3 = 7;
constexpr std::array<std::string_view, 2> kChatMlControls{"<|im_start|>", "<|im_end|>"};

}  // namespace

const InstructFormat& instruct_format(Format format) {
    for (const InstructFormat& found : kFormats) {
        if (found.format == format) return found;
    }
    CHECK_UNREACHABLE("a format that is not in the table");
}

std::span<const std::string_view> control_names(Format format) {
    if (format == Format::kChatMl) return kChatMlControls;
    const InstructFormat& shape = instruct_format(format);
    if (!shape.control_tokens) return {};
    const std::span<const std::string_view> all(kControls);
    return shape.system == SystemPlace::kOwnTurn ? all : all.first(kControlsToV3);
}

std::string_view format_name(Format format) { return instruct_format(format).name; }

Result<Format> parse_format(std::string_view name) {
    for (const InstructFormat& found : kFormats) {
        if (found.name == name) return found.format;
    }
    return fail(Code::kInvalidArgument, "\"" + std::string(name.substr(0, 64)) + "\" is no instruct format");
}

bool format_has_tools(Format format) { return instruct_format(format).calls != CallLayout::kNone; }

Status check_format(Format format, const Tokenizer& tokenizer) {
    const InstructFormat& shape = instruct_format(format);
    if (!shape.built) {
        return fail(Code::kUnsupported,
                    "the instruct format " + std::string(shape.name) + " is not supported");
    }
    for (const std::string_view name : control_names(format)) {
        if (!tokenizer.control(name)) {
            return fail(Code::kInvalidArgument, "the instruct format " + std::string(shape.name) +
                                                    " needs the control token " + std::string(name) +
                                                    ", which the vocabulary does not have");
        }
    }
    if (format != Format::kChatMl && (tokenizer.bos() < 0 || tokenizer.eos() < 0)) {
        return fail(Code::kInvalidArgument, "the instruct format " + std::string(shape.name) +
                                                " needs a vocabulary with bos and eos");
    }
    return {};
}

Result<std::vector<TokenId>> stop_tokens(Format format, const Tokenizer& tokenizer) {
    OSTAL_TRYV(check_format(format, tokenizer));
    std::vector<TokenId> ids;
    if (format == Format::kChatMl) ids.push_back(*tokenizer.control("<|im_end|>"));
    const TokenId eos = tokenizer.eos();
    if (eos >= 0 && (ids.empty() || ids.front() != eos)) ids.push_back(eos);
    return ids;
}

}  // namespace ostal::engine
