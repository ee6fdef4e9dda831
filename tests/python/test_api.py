"""The HTTPS API as clients meet it: real daemon, real TLS."""
import concurrent.futures
import json
import pathlib
import socket
import ssl

import pytest

GOLDEN = json.loads((pathlib.Path(__file__).parents[1] / "golden" / "logits-ostal-mini.json").read_text())
QUESTIONS = ["What is a violin?", "Define freedom.", "What is the opposite of hot?", "Is a dog a kind of animal?",
             "What is 12 + 30?", "Who are you?", "What is a river?", "Define courage."]


def test_answers_whole_and_streamed_alike(appliance):
    status, body, headers = appliance.chat("What is a violin?")
    assert status == 200
    choice = body["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "stringed instrument" in choice["message"]["content"]
    assert body["object"] == "chat.completion" and body["id"].startswith("chatcmpl-")
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] and usage["completion_tokens"] > 3
    assert headers["x-request-id"].startswith("req_")
    assert appliance.stream_text("What is a violin?") == choice["message"]["content"]


def test_stream_has_the_shape_both_dialects_read(appliance):
    events = list(appliance.stream("What is a violin?"))
    assert events[-1] == "[DONE]"
    chunks = events[:-1]
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert {c["id"] for c in chunks} == {chunks[0]["id"]}
    reasons = [c["choices"][0]["finish_reason"] for c in chunks]
    assert reasons[-1] == "stop" and set(reasons[:-1]) == {None}
    assert chunks[-1]["usage"]["completion_tokens"] > 0
    extra = list(appliance.stream("What is a violin?", stream_options={"include_usage": True}))
    assert extra[-2]["choices"] == [] and extra[-2]["usage"]["total_tokens"] > 0
    assert "usage" not in extra[-3]
    none = list(appliance.stream("What is a violin?", stream_options={"include_usage": False}))
    assert all("usage" not in e for e in none[:-1])


def test_eight_clients_at_once_get_the_answers_they_get_alone(appliance):
    alone = {q: appliance.stream_text(q) for q in QUESTIONS}
    for _ in range(3):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            together = dict(zip(QUESTIONS, pool.map(appliance.stream_text, QUESTIONS)))
        assert together == alone


def test_sampling_repeats_with_its_seed(appliance):
    def ask(seed):
        return appliance.chat("Define freedom.", temperature=1.2, seed=seed)[1]["choices"][0]["message"]["content"]
    assert ask(7) == ask(7)
    assert len({ask(seed) for seed in range(6)}) > 1


def test_stop_strings_and_max_tokens(appliance):
    whole = appliance.chat("What is a violin?")[1]["choices"][0]["message"]["content"]
    stop = whole[10:14]
    body = appliance.chat("What is a violin?", stop=stop)[1]
    assert body["choices"][0]["message"]["content"] == whole[:whole.index(stop)]
    assert body["choices"][0]["finish_reason"] == "stop"
    assert appliance.stream_text("What is a violin?", stop=[stop]) == whole[:whole.index(stop)]
    short = appliance.chat("What is a violin?", max_tokens=3)[1]
    assert short["choices"][0]["finish_reason"] == "length" and short["usage"]["completion_tokens"] == 3


def test_a_prefix_is_continued_and_given_back(appliance):
    whole = appliance.chat("What is a violin?")[1]["choices"][0]["message"]["content"]
    prefix = " ".join(whole.split(" ")[:4])
    messages = [{"role": "user", "content": "What is a violin?"}, {"role": "assistant", "content": prefix, "prefix": True}]
    answer = appliance.chat("", messages=messages)[1]["choices"][0]["message"]["content"]
    assert answer == whole
    events = list(appliance.stream("", messages=messages))[:-1]
    assert "".join(c["delta"].get("content") or "" for e in events for c in e["choices"]) == whole


BAD_REQUESTS = [
    (b"{", 400, "invalid_request"),
    (b'{"a":1,"a":2}', 400, "invalid_request"),
    (b"[" * 50000, 400, "invalid_request"),
    (b'{"model":"ostal-mini"}', 422, None),
    (b'{"model":"ostal-mini","messages":[]}', 400, None),
    (b'{"model":"ostal-mini","messages":"x"}', 422, None),
    (b'{"model":"ostal-mini","messages":[{"role":"wizard","content":"x"}]}', 422, None),
    (b'{"model":"ostal-mini","messages":[{"role":"user","content":"\\ud800"}]}', 400, None),
    (b'{"model":"no-such","messages":[{"role":"user","content":"x"}]}', 404, "model_not_found"),
    (b'{"model":"../etc","messages":[{"role":"user","content":"x"}]}', 404, "model_not_found"),
    (b'{"model":"ostal-mini","temperature":3,"messages":[{"role":"user","content":"x"}]}', 422, None),
    (b'{"model":"ostal-mini","temperature":"hot","messages":[{"role":"user","content":"x"}]}', 422, None),
    (b'{"model":"ostal-mini","max_tokens":0,"messages":[{"role":"user","content":"x"}]}', 422, None),
    (b'{"model":"ostal-mini","max_tokens":99999999999999999999,"messages":[{"role":"user","content":"x"}]}', 400, None),
    (b'{"model":"ostal-mini","max_tokens":100000,"messages":[{"role":"user","content":"x"}]}', 400, "context_length_exceeded"),
    (b'{"model":"ostal-mini","n":17,"messages":[{"role":"user","content":"x"}]}', 422, None),
    (b'{"model":"ostal-mini","response_format":{"type":"json_object"},"messages":[{"role":"user","content":"x"}]}', 400, "unsupported"),
    (b'{"model":"ostal-mini","chat_template":"x","messages":[{"role":"user","content":"x"}]}', 400, "unsupported"),
    (b'{"model":"ostal-mini","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x"}}]}]}', 400, None),
]


@pytest.mark.parametrize("body,status,code", BAD_REQUESTS, ids=range(len(BAD_REQUESTS)))
def test_bad_requests_are_typed(appliance, body, status, code):
    got, answer, headers = appliance.request("POST", "/v1/chat/completions", body, appliance.api_key,
                                             {"Content-Type": "application/json"})
    assert got == status, answer
    assert answer["object"] == "error" and answer["error"]["message"] == answer["message"]
    assert answer["error"]["type"] == "invalid_request_error"
    if code:
        assert answer["code"] == code
    if status == 422:
        assert answer["detail"][0]["msg"]
    assert "/home" not in json.dumps(answer) and ".cpp" not in json.dumps(answer)
    assert headers["x-request-id"].startswith("req_")


def test_context_overflow_names_both_numbers(appliance):
    status, answer, _ = appliance.chat("word " * 3000)
    assert status == 400 and answer["code"] == "context_length_exceeded"
    assert "1024" in answer["message"] and "3" in answer["message"]


def test_wrong_keys_get_one_body(appliance):
    right = appliance.api_key
    revoked = appliance.ctl("key", "create", "gone")
    appliance.ctl("key", "revoke", revoked["id"])
    wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
    other_secret = right[:19] + ("a" if right[19] != "a" else "b") + right[20:]
    bodies = set()
    for key in [None, "", "x", wrong, other_secret, revoked["key"], right + "x", "ost_live_" + "a" * 59]:
        status, answer, _ = appliance.chat("hi", key=key) if key else appliance.request("POST", "/v1/chat/completions", {"model": "ostal-mini"})
        assert status == 401
        bodies.add(json.dumps(answer))
    assert len(bodies) == 1
    assert appliance.request("GET", "/v1/models", key=right)[0] == 200


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/ostal-mini", "/v1/chat/completions", "/v1/nothing", "/v1", "/metrics",
                                  "/api/v1/users", "/api/v1/anything"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PATCH"])
def test_closed_paths_need_a_key_before_anything_else(appliance, path, method):
    assert appliance.request(method, path, body=b"{" if method != "GET" else None)[0] == 401


def test_paths_methods_and_versions(appliance):
    key = appliance.api_key
    assert appliance.request("GET", "/v1/nothing", key=key)[0] == 404
    status, _, headers = appliance.request("DELETE", "/v1/models", key=key)
    assert status == 405 and "GET" in headers["allow"]
    assert appliance.request("BREW", "/v1/models", key=key)[0] == 501
    assert appliance.request("GET", "/livez")[0] == 200
    assert appliance.request("GET", "/readyz")[0] == 200
    assert appliance.request("GET", "/health")[0] == 200
    assert appliance.request("GET", "/nothing")[0] == 404


def test_models_and_cards(appliance):
    status, body, _ = appliance.request("GET", "/v1/models", key=appliance.api_key)
    assert status == 200 and [m["id"] for m in body["data"]] == ["ostal-mini"]
    status, card, _ = appliance.request("GET", "/v1/models/ostal-mini", key=appliance.api_key)
    assert status == 200 and card["max_context_length"] == 1024 and card["type"] == "base" and card["capabilities"]["completion_chat"]
    assert appliance.request("GET", "/v1/models/none", key=appliance.api_key)[0] == 404


def test_a_key_limited_to_another_model_sees_none(appliance):
    key = appliance.make_key("--model", "other")
    assert appliance.request("GET", "/v1/models", key=key)[1]["data"] == []
    assert appliance.chat("hi", key=key)[0] == 404
    scoped = appliance.make_key("--scope", "model:list")
    status, answer, _ = appliance.chat("hi", key=scoped)
    assert status == 403, answer
    assert appliance.request("GET", "/metrics", key=appliance.api_key)[0] == 403


def test_a_gone_client_frees_its_sequence(appliance):
    connection = appliance.connection()
    body = {"model": "ostal-mini", "stream": True, "temperature": 2, "messages": [{"role": "user", "content": "Define life."}]}
    for _ in range(20):
        connection = appliance.connection()
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {appliance.api_key}"})
        connection.getresponse().fp.readline()
        connection.sock.close() if connection.sock else None
        connection.close()
    appliance.wait(lambda: " 0 waiting" in appliance.ctl("status")["models"][0] and " 0 running" in appliance.ctl("status")["models"][0])
    assert appliance.chat("What is a violin?")[0] == 200


def test_tls_is_one_point_three_and_the_chain_verifies(appliance):
    with socket.create_connection(("127.0.0.1", appliance.port)) as raw:
        with appliance.tls().wrap_socket(raw, server_hostname="127.0.0.1") as tls:
            assert tls.version() == "TLSv1.3"
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(("127.0.0.1", appliance.port)) as raw, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(raw)


def test_every_request_is_in_the_audit_without_its_words(appliance):
    marker = "xylophonequartz"
    status, _, headers = appliance.chat(f"What is a {marker}?")
    assert status == 200
    request_id = headers["x-request-id"]
    records = [r for r in appliance.audit_records() if r["id"] == request_id]
    assert [r["pair"] for r in records] == ["request", "response"]
    assert records[0]["action"] == "inference:chat" and records[0]["model"] == "ostal-mini/1"
    assert records[1]["status"] == 200 and records[1]["tokens_out"] > 0
    assert appliance.ctl("audit", "verify")["ok"]
    for path in (appliance.state / "audit").rglob("*"):
        if path.is_file():
            assert marker.encode() not in path.read_bytes()
    assert marker not in appliance.log_text()


def test_metrics_need_a_key_that_names_them(appliance):
    appliance.chat("What is a violin?")
    key = appliance.make_key("--scope", "metrics:read")
    status, text, headers = appliance.request("GET", "/metrics", key=key)
    assert status == 200 and "openmetrics" in headers["content-type"]
    assert text.endswith("# EOF\n")
    values = {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#")}
    assert values['ostal_completion_tokens_total{model="ostal-mini"}'] > 10
    assert values['ostal_inference_total{end="finished"}'] >= 1
    assert values["ostal_audit_latched"] == 0
    assert appliance.chat("hi", key=key)[0] == 403
