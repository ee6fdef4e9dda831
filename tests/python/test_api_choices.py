"""Several choices, log-probabilities and the sampling fields, through every text endpoint."""
import itertools
import json
import math

import pytest

CHAT = "/v1/chat/completions"
PLAIN = "/v1/completions"
QUESTION = [{"role": "user", "content": "What is a violin?"}]
ASK = {CHAT: {"messages": QUESTION}, PLAIN: {"prompt": "A violin is"}}


def text(choice):
    return choice["text"] if "text" in choice else choice["message"]["content"]


def ask(appliance, path, **fields):
    status, answer = appliance.post(path, **{**ASK[path], "temperature": 0, "max_tokens": 12, **fields})
    assert status == 200, answer
    return answer


def joined(events, n):
    """The choices of a stream: text, finish reason and scored tokens of each."""
    out = [{"text": "", "reasons": [], "tokens": []} for _ in range(n)]
    for choice in itertools.chain.from_iterable(e["choices"] for e in events):
        mine = out[choice["index"]]
        mine["text"] += choice["text"] if "text" in choice else choice["delta"].get("content") or ""
        scores = choice["logprobs"] or {}
        mine["tokens"] += scores.get("content") or scores.get("token_logprobs") or []
        if choice["finish_reason"] is not None:
            mine["reasons"].append(choice["finish_reason"])
    return out


@pytest.mark.parametrize("path", [CHAT, PLAIN])
def test_choices_repeat_differ_and_count(appliance, path):
    alone = ask(appliance, path)
    greedy = ask(appliance, path, n=4)
    assert [text(c) for c in greedy["choices"]] == [text(alone["choices"][0])] * 4
    assert [c["index"] for c in greedy["choices"]] == [0, 1, 2, 3]
    assert greedy["usage"]["prompt_tokens"] == alone["usage"]["prompt_tokens"]
    assert greedy["usage"]["completion_tokens"] == 4 * alone["usage"]["completion_tokens"]
    warm = dict(n=4, temperature=1.5, seed=11)
    drawn = ask(appliance, path, **warm)
    assert len({text(c) for c in drawn["choices"]}) > 1
    assert [text(c) for c in ask(appliance, path, **warm)["choices"]] == [text(c) for c in drawn["choices"]]
    one = ask(appliance, path, **{**warm, "n": 1})
    assert text(one["choices"][0]) == text(drawn["choices"][0]), "the first of several is what one alone is"
    streamed = appliance.events(path, **{**ASK[path], "max_tokens": 12, **warm})
    for whole, mine in zip(drawn["choices"], joined(streamed, 4)):
        assert mine["text"] == text(whole) and mine["reasons"] == [whole["finish_reason"]]
    assert streamed[-1]["usage"] == drawn["usage"] and sum("usage" in e for e in streamed) == 1


def test_chat_log_probs_sum_as_probabilities_do(appliance):
    fields = dict(logprobs=True, top_logprobs=20, n=2)
    answer = ask(appliance, CHAT, **fields)
    for choice in answer["choices"]:
        content = choice["logprobs"]["content"]
        assert "".join(e["token"] for e in content) == text(choice)
        assert b"".join(bytes(e["bytes"]) for e in content).decode() == text(choice)
        for entry in content:
            rivals = [r["logprob"] for r in entry["top_logprobs"]]
            assert len(rivals) == 20 and rivals == sorted(rivals, reverse=True)
            assert 0.5 < sum(math.exp(r) for r in rivals) <= 1 + 1e-6
            assert entry["logprob"] == rivals[0], "greedy takes the likeliest"
    streamed = joined(appliance.events(CHAT, **{**ASK[CHAT], "temperature": 0, "max_tokens": 12, **fields}), 2)
    assert [mine["tokens"] for mine in streamed] == [c["logprobs"]["content"] for c in answer["choices"]]
    bare = ask(appliance, CHAT, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert all(e["top_logprobs"] == [] for e in bare)
    assert [e["logprob"] for e in bare] == [e["logprob"] for e in answer["choices"][0]["logprobs"]["content"]]
    assert ask(appliance, CHAT)["choices"][0]["logprobs"] is None


def test_legacy_log_probs(appliance):
    answer = ask(appliance, PLAIN, logprobs=5)["choices"][0]
    scores = answer["logprobs"]
    assert "".join(scores["tokens"]) == answer["text"]
    for token, offset, value, rivals in zip(scores["tokens"], scores["text_offset"], scores["token_logprobs"], scores["top_logprobs"]):
        assert answer["text"][offset:offset + len(token)] == token
        assert len(rivals) <= 5 and value == max(rivals.values())
    streamed = joined(appliance.events(PLAIN, **{**ASK[PLAIN], "temperature": 0, "max_tokens": 12, "logprobs": 5}), 1)
    assert streamed[0]["tokens"] == scores["token_logprobs"]


@pytest.mark.parametrize("path", [CHAT, PLAIN])
def test_bias_and_penalties_change_what_is_drawn(appliance, path):
    fine = text(ask(appliance, path)["choices"][0])
    # A bias of 100 leaves one token, or two.
    only = ask(appliance, path, logit_bias={"500": 100}, max_tokens=4, logprobs=True if path == CHAT else 0)["choices"][0]
    tokens = [e["token"] for e in only["logprobs"]["content"]] if path == CHAT else only["logprobs"]["tokens"]
    assert len(tokens) == 4 and len({t.strip() for t in tokens}) == 1
    spread = ask(appliance, path, logit_bias={"500": 100, "501": 100}, frequency_penalty=2, max_tokens=12,
                 logprobs=True if path == CHAT else 0)["choices"][0]
    tokens = [e["token"] for e in spread["logprobs"]["content"]] if path == CHAT else spread["logprobs"]["tokens"]
    assert len({t.strip() for t in tokens}) == 2, "what was drawn often gives way"
    assert text(ask(appliance, path, logit_bias={})["choices"][0]) == fine
    assert text(ask(appliance, path, presence_penalty=0, frequency_penalty=0, min_p=1, temperature=2)["choices"][0]) == fine, \
        "min_p 1 leaves the likeliest"


@pytest.mark.parametrize("path", [CHAT, PLAIN])
def test_least_lengths_and_stops_across_tokens(appliance, path):
    whole = ask(appliance, path, max_tokens=60)
    assert whole["choices"][0]["finish_reason"] == "stop"
    used = whole["usage"]["completion_tokens"]
    longer = ask(appliance, path, max_tokens=70, min_tokens=used + 5)
    assert longer["usage"]["completion_tokens"] >= used + 5
    content = text(whole["choices"][0])
    for begin, end in [(1, 4), (5, 12), (len(content) - 3, len(content))]:
        stop = content[begin:end]
        cut = content[:content.index(stop)]
        fields = {**ASK[path], "temperature": 0, "max_tokens": 60, "stop": ["never there", stop]}
        assert text(appliance.post(path, **fields)[1]["choices"][0]) == cut
        assert joined(appliance.events(path, **fields), 1)[0]["text"] == cut


def test_fields_of_both_dialects(appliance):
    assert ask(appliance, CHAT, max_tokens=3, max_completion_tokens=3)["usage"]["completion_tokens"] == 3
    warm = dict(temperature=1.5, n=1)
    assert text(ask(appliance, CHAT, seed=5, **warm)["choices"][0]) == text(ask(appliance, CHAT, random_seed=5, **warm)["choices"][0])
    plain = ask(appliance, CHAT)["usage"]["prompt_tokens"]
    safe = ask(appliance, CHAT, safe_prompt=True)["usage"]["prompt_tokens"]
    assert safe > plain + 20
    assert ask(appliance, CHAT, prediction={"type": "content", "content": "A violin"})["choices"] == ask(appliance, CHAT)["choices"]
    assert ask(appliance, CHAT)["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


@pytest.mark.parametrize("fields,param", [
    (dict(max_tokens=3, max_completion_tokens=4), "max_completion_tokens"),
    (dict(seed=1, random_seed=2), "random_seed"),
    (dict(top_logprobs=1), "top_logprobs"),
    (dict(min_tokens=5, max_tokens=4), "min_tokens"),
    (dict(n=17), "n"),
    (dict(prediction="x"), "prediction"),
])
def test_contradictions_name_the_field(appliance, fields, param):
    status, answer = appliance.post(CHAT, messages=QUESTION, **fields)
    assert status == 422 and answer["param"] == param, answer
    assert answer["detail"][0]["loc"] == ["body", param]


def test_a_gone_client_frees_all_choices(appliance):
    for stream in (True, False):
        connection = appliance.connection()
        body = {"model": "ostal-mini", "stream": stream, "n": 16, "temperature": 2, "min_tokens": 900, "max_tokens": 900, **ASK[PLAIN]}
        connection.request("POST", PLAIN, json.dumps(body), {"Authorization": f"Bearer {appliance.api_key}"})
        appliance.wait(lambda: " 16 running" in appliance.ctl("status")["models"][0])
        connection.close()
        appliance.wait(lambda: " 0 waiting" in appliance.ctl("status")["models"][0] and " 0 running" in appliance.ctl("status")["models"][0])
