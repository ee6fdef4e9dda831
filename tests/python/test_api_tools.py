"""Tools in requests and histories. ostal-mini has the tokens for tools and was not taught them: what its calls would
look like is tested where tokens can be made up (chat_form_test.cpp); here, that prompts have them and answers hold."""
import pytest

WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather of a place",
                                            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}
QUESTION = {"role": "user", "content": "What is a violin?"}
CALL = {"id": "call_0123456789abcdef", "type": "function", "function": {"name": "weather", "arguments": "{\"city\": \"Bern\"}"}}
HISTORY = [QUESTION, {"role": "assistant", "content": None, "tool_calls": [CALL]},
           {"role": "tool", "tool_call_id": CALL["id"], "name": "weather", "content": "{\"sky\": \"blue\"}"}]


def ask(appliance, **fields):
    return appliance.post("/v1/chat/completions", **{"messages": [QUESTION], "temperature": 0, "max_tokens": 8, **fields})


def test_tools_are_in_the_prompt_unless_they_are_not_to_be_called(appliance):
    plain = ask(appliance)[1]["usage"]["prompt_tokens"]
    status, answer = ask(appliance, tools=[WEATHER])
    assert status == 200, answer
    assert answer["usage"]["prompt_tokens"] > plain + 10
    assert ask(appliance, tools=[WEATHER], tool_choice="auto")[1]["usage"]["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert ask(appliance, tools=[WEATHER], tool_choice="none")[1]["usage"]["prompt_tokens"] == plain
    assert ask(appliance, tools=[])[1]["usage"]["prompt_tokens"] == plain
    assert ask(appliance, tools=None)[0] == 200
    bare = {"type": "function", "function": {"name": "f", "description": None, "parameters": None}}
    assert ask(appliance, tools=[bare])[0] == 200
    card = appliance.request("GET", "/v1/models/ostal-mini", key=appliance.api_key)[1]
    assert card["capabilities"]["function_calling"] is True


def test_calls_and_results_in_the_history(appliance):
    status, answer = ask(appliance, messages=HISTORY, tools=[WEATHER])
    assert status == 200, answer
    assert answer["choices"][0]["finish_reason"] in ("stop", "length", "tool_calls")
    events = appliance.events("/v1/chat/completions", messages=HISTORY, tools=[WEATHER], temperature=0, max_tokens=8)
    assert "".join(c["delta"].get("content") or "" for e in events for c in e["choices"]) == answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("fields,status", [
    (dict(tools=[WEATHER], tool_choice="required"), 400),
    (dict(tools=[WEATHER], tool_choice="any"), 400),
    (dict(tools=[WEATHER], tool_choice={"type": "function", "function": {"name": "weather"}}), 400),
    (dict(tools=[WEATHER], tool_choice="perhaps"), 422),
    (dict(tools="weather"), 422),
    (dict(tools=[{"type": "web_search"}]), 400),
    (dict(tools=[{"type": "function", "function": {"name": "no such name!"}}]), 422),
    (dict(tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "no such type"}}}]), 400),
    (dict(messages=[QUESTION, HISTORY[2]]), 400),
    (dict(messages=HISTORY[:2] + [{**HISTORY[2], "tool_call_id": "call_of_no_one"}]), 400),
    (dict(messages=HISTORY[:2] + [{**HISTORY[2], "tool_call_id": None}]), 400),
    (dict(messages=HISTORY + HISTORY[2:]), 400),  # two results of one call
    (dict(messages=HISTORY[:2] + [QUESTION]), 400),  # a call without its result
])
def test_what_cannot_be_honoured_is_refused(appliance, fields, status):
    got, answer = ask(appliance, **fields)
    assert got == status, answer
    assert answer["error"]["type"] == "invalid_request_error" and answer["param"]
