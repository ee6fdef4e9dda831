"""POST /v1/completions and /v1/fim/completions against a real daemon."""
import pytest

import appliance as harness
from spm_model import copy_with_last_pieces

PATH = "/v1/completions"


def text_of(answer):
    return answer["choices"][0]["text"]


def test_text_ids_and_lists_give_the_same_text(appliance):
    status, answer = appliance.post(PATH, prompt="A violin is", temperature=0, max_tokens=12)
    assert status == 200, answer
    assert answer["object"] == "text_completion" and answer["id"].startswith("cmpl-")
    assert answer["choices"][0]["logprobs"] is None and answer["choices"][0]["finish_reason"] in ("stop", "length")
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] <= 12 + usage["prompt_tokens"]
    both = appliance.post(PATH, prompt=["A dog is", "A violin is"], temperature=0, max_tokens=12)[1]
    assert [c["index"] for c in both["choices"]] == [0, 1]
    assert both["choices"][1]["text"] == text_of(answer)
    assert both["usage"]["prompt_tokens"] > usage["prompt_tokens"]
    ids = appliance.post(PATH, prompt=[1, 5, 700], temperature=0, max_tokens=5)[1]
    lists = appliance.post(PATH, prompt=[[1, 5, 700], [1, 5, 700]], temperature=0, max_tokens=5)[1]
    assert ids["usage"]["prompt_tokens"] == 3 and lists["usage"]["prompt_tokens"] == 6
    assert [c["text"] for c in lists["choices"]] == [text_of(ids)] * 2


def test_streams_join_to_the_whole(appliance):
    fields = dict(prompt=["A violin is", "A dog is"], temperature=0, max_tokens=12, echo=True)
    whole = appliance.post(PATH, **fields)[1]
    events = appliance.events(PATH, **fields)
    for choice in whole["choices"]:
        mine = [c for e in events for c in e["choices"] if c["index"] == choice["index"]]
        assert "".join(c["text"] for c in mine) == choice["text"]
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [choice["finish_reason"]]
    assert {e["object"] for e in events} == {"text_completion"}
    assert events[-1]["usage"] == whole["usage"] and all("usage" not in e for e in events[:-1])
    assert whole["choices"][0]["text"].startswith("A violin is")


def test_defaults_and_stops(appliance):
    answer = appliance.post(PATH, prompt="Define life.", temperature=2, seed=1)[1]
    assert answer["usage"]["completion_tokens"] <= 16
    whole = text_of(appliance.post(PATH, prompt="A violin is", temperature=0, max_tokens=12)[1])
    stop = whole[3:8]  # crosses tokens
    cut = appliance.post(PATH, prompt="A violin is", temperature=0, max_tokens=12, stop=stop)[1]
    assert text_of(cut) == whole[:whole.index(stop)] and cut["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("fields,status,code,param", [
    (dict(prompt=[8192]), 422, None, "prompt"),
    (dict(prompt=[1] * 1024), 400, "context_length_exceeded", "prompt"),
    (dict(prompt="a", max_tokens=2000), 400, "context_length_exceeded", "prompt"),
    (dict(prompt="a", suffix="b"), 400, "unsupported", "suffix"),
    (dict(prompt="a", best_of=3), 400, "unsupported", "best_of"),
    (dict(prompt="a", logit_bias={"8192": 1}), 422, None, "logit_bias"),
    (dict(), 422, None, "prompt"),
])
def test_refusals_name_the_field(appliance, fields, status, code, param):
    got, answer = appliance.post(PATH, **fields)
    assert got == status, answer
    assert answer["param"] == param and (code is None or answer["code"] == code)


def test_keys_need_the_scope(appliance):
    chat_only = appliance.make_key("--scope", "inference:chat")
    assert appliance.post(PATH, key=chat_only, prompt="a", max_tokens=1)[0] == 403
    assert appliance.post("/v1/fim/completions", key=chat_only, prompt="a", max_tokens=1)[0] == 403
    assert appliance.post("/v1/embeddings", key=chat_only, input="a")[0] == 403
    complete = appliance.make_key("--scope", "inference:complete")
    assert appliance.post(PATH, key=complete, prompt="a", max_tokens=1)[0] == 200
    assert appliance.chat("a", key=complete)[0] == 403


def test_one_pair_of_records_for_all_choices(appliance):
    _, answer, headers = appliance.request("POST", PATH, {"model": "ostal-mini", "prompt": ["a b", "c"], "n": 3, "max_tokens": 4},
                                           appliance.api_key)
    records = [r for r in appliance.audit_records() if r["id"] == headers["x-request-id"]]
    assert [(r["pair"], r["action"]) for r in records] == [("request", "inference:complete"), ("response", "inference:complete")]
    assert len(answer["choices"]) == 6
    assert records[1]["tokens_in"] == answer["usage"]["prompt_tokens"] and records[1]["tokens_out"] == answer["usage"]["completion_tokens"]


# ---- fill in the middle ----

@pytest.fixture(scope="module")
def fim_appliance(tmp_path_factory):
    """ostal-mini with the control tokens of fill-in-the-middle: untrained, so that only the prompt's layout shows."""
    folder = tmp_path_factory.mktemp("fim") / "model"
    copy_with_last_pieces(harness.MINI, folder, ["[SUFFIX]", "[PREFIX]"])
    ready = harness.ready_appliance(model=folder)
    yield ready
    ready.close()


def test_fim_needs_the_models_tokens(appliance):
    status, answer = appliance.post("/v1/fim/completions", prompt="def f(", suffix="return a")
    assert status == 400 and answer["code"] == "unsupported"
    assert appliance.request("GET", "/v1/models/ostal-mini", key=appliance.api_key)[1]["capabilities"]["completion_fim"] is False


def test_fim_has_mistrals_prompt_and_shape(fim_appliance):
    fields = dict(prompt="A violin is", suffix=" instrument.", temperature=0, max_tokens=8)
    status, answer = fim_appliance.post("/v1/fim/completions", **fields)
    assert status == 200, answer
    assert answer["object"] == "chat.completion" and answer["choices"][0]["message"]["role"] == "assistant"
    content = answer["choices"][0]["message"]["content"]
    events = fim_appliance.events("/v1/fim/completions", **fields)
    assert "".join(c["delta"].get("content") or "" for e in events for c in e["choices"]) == content
    # bos, [SUFFIX], the suffix, [PREFIX], the prompt.
    by_suffix = fim_appliance.post(PATH, **fields)[1]
    assert text_of(by_suffix) == content and by_suffix["usage"] == answer["usage"]
    alone = fim_appliance.post("/v1/fim/completions", prompt="A violin is", max_tokens=2, temperature=0)[1]
    assert answer["usage"]["prompt_tokens"] > alone["usage"]["prompt_tokens"] > 3
    plain = fim_appliance.post(PATH, prompt="A violin is", max_tokens=1)[1]["usage"]["prompt_tokens"]
    assert alone["usage"]["prompt_tokens"] == plain + 2
    assert fim_appliance.request("GET", "/v1/models/ostal-mini", key=fim_appliance.api_key)[1]["capabilities"]["completion_fim"] is True
