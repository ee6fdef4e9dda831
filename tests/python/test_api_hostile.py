"""Hostile requests to every inference endpoint: a typed refusal, never a 500, and the daemon goes on."""
import concurrent.futures
import json
import socket

import pytest

ENDPOINTS = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}]},
    "/v1/completions": {"prompt": "x"},
    "/v1/fim/completions": {"prompt": "x"},
    "/v1/embeddings": {"input": "x"},
}
NUMBERS = {
    "temperature": [-1, 3], "top_p": [0, 2], "top_k": [-1, 1000001], "min_p": [-1, 2], "presence_penalty": [-3, 3],
    "frequency_penalty": [-3, 3], "max_tokens": [0], "min_tokens": [-1], "n": [0, 17], "seed": [1.5],
}
OTHERS = ["1", True, [], {}, 1e308]
RAW = ["1e999", "-1e999", "9" * 40, "18446744073709551616", "NaN", "-", "01"]


def body_of(path):
    return {"model": "ostal-mini", **ENDPOINTS[path]}


def post(connection, appliance, path, body):
    connection.request("POST", path, body, {"Authorization": f"Bearer {appliance.api_key}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read()), answer.getheader("x-request-id")


def check_refusal(status, answer, request_id, param=None):
    assert status in (400, 422), answer
    assert answer["object"] == "error" and answer["error"]["type"] == "invalid_request_error"
    assert request_id.startswith("req_")
    if param:
        assert answer["param"] == param, answer
    if status == 422:
        assert answer["detail"][0]["loc"][0] == "body"


@pytest.mark.parametrize("path", [p for p in ENDPOINTS if p != "/v1/embeddings"])
def test_each_number_beyond_its_bounds(appliance, path):
    connection = appliance.connection()
    for field, values in NUMBERS.items():
        for value in values + OTHERS:
            check_refusal(*post(connection, appliance, path, json.dumps({**body_of(path), field: value})), param=field)
        for raw in RAW:
            check_refusal(*post(connection, appliance, path, json.dumps(body_of(path))[:-1] + f', "{field}": {raw}}}'))
    connection.close()


@pytest.mark.parametrize("path", ENDPOINTS)
def test_bodies_that_are_no_requests(appliance, path):
    whole = json.dumps(body_of(path))
    connection = appliance.connection()
    for body in [b"", b"{", b"null", b"[]", b"[" * 50000, whole[:-1].encode() + b',"x":' + b'{"a":' * 50000,
                 whole[:-1].encode() + b',"model":"y"}', whole.encode() + b"x", b"\xef\xbb\xbf" + whole.encode(),
                 whole[:-1].encode() + b',"user":"\\udc00"}', whole[:-1].encode() + b',"user":"\xc0\x80"}',
                 whole.replace('"x"', '"\0"').encode(), whole[:-1].encode() + b',"chat_template":"{{x}}"}',
                 whole[:-1].encode() + b',"model":7}', whole.encode("utf-16")]:
        check_refusal(*post(connection, appliance, path, body))
    assert post(connection, appliance, path, whole[:-1].encode() + b',"' + b"k" * (1 << 20) + b'":1}')[0] in (200, 400)
    connection.close()
    assert appliance.request("POST", path, b"x" * ((4 << 20) + 1), appliance.api_key)[0] == 413
    for method in ("GET", "PUT", "DELETE"):
        assert appliance.request(method, path, key=appliance.api_key)[0] == 405
    assert appliance.request("POST", path, b"{")[0] == 401


def test_too_many_messages_do_not_fit(appliance):
    body = {"model": "ostal-mini", "messages": [{"role": "user", "content": "x"}] * 100_000}
    status, answer, _ = appliance.request("POST", "/v1/chat/completions", body, appliance.api_key)
    assert status == 400 and answer["code"] == "context_length_exceeded"


def test_a_tool_result_of_no_call_is_refused(appliance):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]
    for result_id in ["call_2", "CALL_1", "call_1 ", "x" * 100_000, "\u0000"]:
        result = {"role": "tool", "tool_call_id": result_id, "content": "1"}
        status, answer = appliance.post("/v1/chat/completions", messages=history + [result])
        assert status == 400 and answer["code"] == "invalid_request", answer
        assert answer["param"] == "messages.2.tool_call_id"


def test_urls_in_content_are_refused_without_a_connection(appliance):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x.png"
        for part in [{"type": "image_url", "image_url": {"url": url}}, {"type": "image_url", "image_url": url},
                     {"type": "document_url", "document_url": url}, {"type": "input_audio", "input_audio": {"data": url}}]:
            status, answer = appliance.post("/v1/chat/completions", messages=[{"role": "user", "content": [part]}])
            assert status == 400 and answer["code"] == "unsupported", answer
            assert answer["param"] == "messages.0.content.0.type"
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_strict_mode_and_the_default(appliance, own_appliance):
    extra = {"future_field": 1}
    for path, fields in ENDPOINTS.items():
        if path != "/v1/fim/completions":  # ostal-mini has no tokens for it
            length = {} if path == "/v1/embeddings" else {"max_tokens": 1}
            assert appliance.post(path, **fields, **length, **extra)[0] == 200
    strict = own_appliance(config="[api]\nstrict = true")
    for path, fields in ENDPOINTS.items():
        status, answer = strict.post(path, **fields, **extra)
        assert status == 422 and answer["param"] == "future_field"


def test_a_full_queue_is_a_503_that_says_when_to_return(own_appliance):
    small = own_appliance(config="[engine]\nmax_queue = 1\nmax_sequences = 1")
    long = dict(prompt="x", temperature=2, min_tokens=1000, max_tokens=1000)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        held = []
        for state in (" 1 running", " 1 waiting"):
            held.append(pool.submit(small.post, "/v1/completions", **long))
            small.wait(lambda: state in small.ctl("status")["models"][0])
        status, answer, headers = small.request("POST", "/v1/completions", {"model": "ostal-mini", **long}, small.api_key)
        assert [one.result()[0] for one in held] == [200, 200]
    assert status == 503 and headers["retry-after"] == "1", answer
    assert answer["code"] == "queue_full" and answer["type"] == "server_error"
