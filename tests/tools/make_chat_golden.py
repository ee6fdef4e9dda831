#!/usr/bin/env python3
"""Writes tests/golden/chat-random.json: random conversations and the ids that mistral-common gives for them in every format.

  make_chat_golden.py TOKENIZERS [CASES] > tests/golden/chat-random.json     needs PyPI's mistral-common 1.11.7 and sentencepiece

TOKENIZERS: the folder mistral_common/data. CASES (default 24) conversations a format; more for a run by hand.
"""
import json
import logging
import random
import sys
import warnings

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
import mistral_common
from mistral_common.protocol.instruct.normalize import get_normalizer
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode, get_validator
from mistral_common.tokens.tokenizers import instruct
from mistral_common.tokens.tokenizers.base import TokenizerVersion
from mistral_common.tokens.tokenizers.model_settings_builder import ModelSettingsBuilder
from mistral_common.tokens.tokenizers.sentencepiece import SentencePieceTokenizer
from mistral_common.tokens.tokenizers.tekken import Tekkenizer

FILES = {"v1": "tokenizer.model.v1", "v2": "mistral_instruct_tokenizer_240216.model.v2",
         "v3": "mistral_instruct_tokenizer_240323.model.v3", "v7": "mistral_instruct_tokenizer_241114.model.v7"}
LATER = {32: "[ARGS]", 33: "[CALL_ID]", 34: "[THINK]", 35: "[/THINK]", 37: "[MODEL_SETTINGS]", 38: "[/MODEL_SETTINGS]"}
TEXTS = ["a", "Bonjour !", " b ", "trailing  ", "", "x\n\ny", "été 日本 😀", "[INST]</s>[THINK]", "{\"a\": 1}", "12.50", "null", "[1, 2]"]
SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "enum": ["é", "b"]}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Météo", "parameters": SCHEMA}},
         {"type": "function", "function": {"name": "now", "description": "", "parameters": {}}}]


def rig(folder, version):
    base = TokenizerVersion(version.split("-")[0])
    if version.endswith("tekken"):
        data = json.load(open(f"{folder}/tekken_240718.json"))
        special = [dict(token) for token in Tekkenizer.DEPRECATED_SPECIAL_TOKENS]
        special += [{"rank": i, "token_str": LATER.get(i, f"<SPECIAL_{i}>"), "is_control": True} for i in range(20, 40)]
        builder = None
        if version == "v15-tekken":
            builder = ModelSettingsBuilder.model_validate({"reasoning_effort": {
                "type": "enum", "accepts_none": True, "default": None, "values": ["none", "high"]}})
        tokenizer = Tekkenizer(data["vocab"], special, data["config"]["pattern"], 131072, 1000, base, model_settings_builder=builder)
    else:
        builder = None
        tokenizer = SentencePieceTokenizer(f"{folder}/{FILES[version]}")
    encoder = getattr(instruct, "InstructTokenizerV" + base.value[1:])(tokenizer)
    return get_validator(base, ValidationMode.serving), get_normalizer(base, builder), encoder


def content(rng, thinking):
    if rng.random() < 0.6:
        return rng.choice(TEXTS)
    parts = [{"type": "text", "text": rng.choice(TEXTS)} for _ in range(rng.randrange(1, 4))]
    if thinking and rng.random() < 0.5:
        parts.insert(rng.randrange(len(parts) + 1), {"type": "thinking", "thinking": rng.choice(TEXTS), "closed": rng.random() < 0.8})
    return parts


def conversation(rng, version):
    number = int(version.split("-")[0][1:])
    messages = []
    if rng.random() < 0.5:
        messages += [{"role": "system", "content": content(rng, number == 13)} for _ in range(rng.randrange(1, 3))]
    messages.append({"role": "user", "content": content(rng, False)})
    for _ in range(rng.randrange(0, 4)):
        kind = rng.random()
        if kind < 0.4 and number > 1:
            names = rng.sample(["aaaaaaaaa", "Bbbbbbbb1", "ccccccccc"], rng.randrange(1, 4))
            calls = [{"id": name, "type": "function", "function": {"name": rng.choice(["get_weather", "now"]), "arguments": rng.choice(
                ["{}", "", "{\"city\":\"é\"}", "{\"n\": 2.50, \"l\": [1,true,null]}", "{oops"])}} for name in names]
            said = content(rng, number >= 13) if number >= 7 and rng.random() < 0.5 else ""
            messages.append({"role": "assistant", "content": said, "tool_calls": calls})
            if rng.random() < 0.5:
                rng.shuffle(names)
            if rng.random() < 0.1:
                names[0] = rng.choice(["aaaaaaaaa", "ddddddddd"])
            messages += [{"role": "tool", "tool_call_id": name, "name": "now", "content": content(rng, False)} for name in names]
        elif kind < 0.8:
            messages.append({"role": "assistant", "content": content(rng, number >= 13)})
        else:
            messages.append({"role": "user", "content": content(rng, False)})
    request = {"messages": messages}
    end = rng.random()
    if end < 0.6:
        messages.append({"role": "user", "content": content(rng, False)})
    elif end < 0.75:
        messages.append({"role": "assistant", "content": content(rng, number >= 13), "prefix": True})
    elif messages[-1]["role"] == "assistant":
        request["continue_final_message"] = True
    if number > 1 and rng.random() < 0.5:
        request["tools"] = rng.sample(TOOLS, rng.randrange(1, 3))
    if number == 15 and rng.random() < 0.6:
        request["reasoning_effort"] = rng.choice(["none", "high"])
    return request


def main():
    folder, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 24
    sys.stdout.write('{"made_by": "mistral-common %s", "mode": "serving", "cases": [\n' % mistral_common.__version__)
    first = True
    for version in ["v1", "v2", "v3", "v3-tekken", "v7", "v7-tekken", "v11-tekken", "v13-tekken", "v15-tekken"]:
        validator, normalizer, encoder = rig(folder, version)
        rng = random.Random(version)
        for _ in range(count):
            case = {"format": version, "request": conversation(rng, version)}
            try:
                request = ChatCompletionRequest(model="m", **json.loads(json.dumps(case["request"])))
                case["ids"] = encoder.encode_instruct(normalizer.from_chat_completion_request(validator.validate_request(request))).tokens
            except Exception as error:  # the library has no one base class for what it refuses
                case["refused"] = type(error).__name__ + ": " + str(error)[:100]
            sys.stdout.write(("" if first else ",\n") + json.dumps(case, ensure_ascii=False, separators=(",", ":")))
            first = False
    sys.stdout.write("\n]}\n")


main()
