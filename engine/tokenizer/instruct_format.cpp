#include "engine/tokenizer/instruct_format.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace ostal::engine {
namespace {

constexpr InstructFormat kV1{
    .format = Format::kV1, .name = "v1", .control_tokens = false, .system = SystemPlace::kFirstUserText};
constexpr InstructFormat kV2{.format = Format::kV2,
                             .name = "v2",
                             .system = SystemPlace::kLastUserText,
                             .tools = ToolsPlace::kLastUserTurn,
                             .calls = CallLayout::kList,
                             .results = ResultLayout::kList,
                             .drops_past_calls = true,
                             .strips_answers = true};
constexpr InstructFormat kV3{.format = Format::kV3,
                             .name = "v3",
                             .system = SystemPlace::kLastUserText,
                             .tools = ToolsPlace::kLastUserTurn,
                             .calls = CallLayout::kListWithId,
                             .results = ResultLayout::kObject,
                             .needs_call_ids = true,
                             .strips_answers = true};
constexpr InstructFormat kV7{.format = Format::kV7,
                             .name = "v7",
                             .tools = ToolsPlace::kLastUserTurn,
                             .calls = CallLayout::kListWithId,
                             .results = ResultLayout::kIdAndText,
                             .text_with_calls = true,
                             .needs_call_ids = true,
                             .strips_answers = true};

// The same layout over another kind of vocabulary.
constexpr InstructFormat renamed(InstructFormat base, Format format, std::string_view name) {
    base.format = format;
    base.name = name;
    return base;
}
constexpr InstructFormat v11() {
    InstructFormat out = renamed(kV7, Format::kV11Tekken, "v11-tekken");
    out.calls = CallLayout::kNameIdArguments;
    out.matches_call_ids = true;
    return out;
}
constexpr InstructFormat v13() {
    InstructFormat out = renamed(v11(), Format::kV13Tekken, "v13-tekken");
    out.tools = ToolsPlace::kFirstUserTurn;
    out.calls = CallLayout::kNameArguments;
    out.results = ResultLayout::kText;
    out.thinks_in_answers = true;
    out.thinks_in_system = true;
    return out;
}
constexpr InstructFormat v15() {
    InstructFormat out = renamed(v13(), Format::kV15Tekken, "v15-tekken");
    out.thinks_in_system = false;
    out.has_settings = true;
    out.joins_parts = "";
    return out;
}

constexpr std::array<InstructFormat, 10> kFormats{
    kV1,   kV2,
    kV3,   renamed(kV3, Format::kV3Tekken, "v3-tekken"),
    kV7,   renamed(kV7, Format::kV7Tekken, "v7-tekken"),
    v11(), v13(),
    v15(), InstructFormat{.format = Format::kChatMl, .name = "chatml", .merges_neighbours = false}};

}  // namespace

const InstructFormat& instruct_format(Format format) {
    for (const InstructFormat& found : kFormats) {
        if (found.format == format) return found;
    }
    CHECK_UNREACHABLE("a format that is not in the table");
}

std::vector<std::string_view> control_names(Format format) {
    if (format == Format::kChatMl) return {"<|im_start|>", "<|im_end|>"};
    const InstructFormat& shape = instruct_format(format);
    if (!shape.control_tokens) return {};
    std::vector<std::string_view> names{
        "[INST]",       "[/INST]",        "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]",
        "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"};
    const auto add = [&](std::initializer_list<std::string_view> more) { names.insert(names.end(), more); };
    if (shape.system == SystemPlace::kOwnTurn) add({"[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"});
    if (shape.results == ResultLayout::kIdAndText) add({"[TOOL_CONTENT]"});
    if (shape.calls == CallLayout::kNameIdArguments) add({"[CALL_ID]", "[ARGS]"});
    if (shape.calls == CallLayout::kNameArguments) add({"[ARGS]"});
    if (shape.has_settings) add({"[MODEL_SETTINGS]", "[/MODEL_SETTINGS]"});
    return names;  // [THINK] is no part of every vocabulary of v13: a prompt that needs it asks for it
}

bool is_control_name(std::string_view name) {
    for (const std::string_view other : {"[THINK]", "[/THINK]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]"}) {
        if (name == other) return true;
    }
    return std::any_of(kFormats.begin(), kFormats.end(), [&](const InstructFormat& shape) {
        const auto names = control_names(shape.format);
        return std::find(names.begin(), names.end(), name) != names.end();
    });
}

std::string_view format_name(Format format) { return instruct_format(format).name; }

std::string format_names() {
    std::string names;
    for (const InstructFormat& format : kFormats) {
        names += (names.empty() ? "" : ", ") + std::string(format.name);
    }
    return names;
}

Result<Format> parse_format(std::string_view name) {
    for (const InstructFormat& found : kFormats) {
        if (found.name == name) return found.format;
    }
    return fail(Code::kInvalidArgument, "\"" + std::string(name.substr(0, 64)) +
                                            "\" is no instruct format: name one of " + format_names());
}

bool format_has_tools(Format format) { return instruct_format(format).calls != CallLayout::kNone; }

Status check_format(Format format, const Tokenizer& tokenizer) {
    const InstructFormat& shape = instruct_format(format);
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
