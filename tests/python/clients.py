"""The Python clients, operation by operation; test_clients.py runs them. A method's name is its operation's name.

`given` is what the JavaScript clients get too (see tests/clients/matrix.mjs), here as a dictionary; `seal` seals the
appliance, and a stream left inside `with freed():` must have ended in the daemon too.
"""
import base64
import concurrent.futures
import json
import re
import struct

import httpx2 as httpx
import openai
import pytest
from mistralai.client import Mistral, errors

from scripted_model import AFTER_RESULTS, CALLS

MODEL = "ostal-mini"
CALLER = "caller"  # scripted_model.py
QUESTION = "What is a violin?"
MESSAGES = [{"role": "user", "content": QUESTION}]
TOO_LONG = [{"role": "user", "content": "word " * 3000}]
LONG = 900  # more tokens than there is time to write before the client leaves or the appliance is sealed
WEATHER = {"type": "function", "function": {"name": "weather", "description": "The weather of a place",
                                            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}


class Client:
    def __init__(self, appliance, given, seal, freed):
        self.appliance = appliance
        self.given = given
        self.answer = given["questions"][QUESTION]
        self.seal = seal
        self.freed = freed
        self.client = self.connect(given["url"], given["key"])

    def http(self):
        return httpx.Client(verify=self.appliance.tls())

    def check_embedding(self, found):
        assert found == pytest.approx(self.given["embedding"], abs=1e-6)

    def check_sixteen(self, ask):
        questions = list(self.given["questions"]) * 2
        assert len(questions) == 16
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            assert list(pool.map(ask, questions)) == [self.given["questions"][q] for q in questions]

    def sixteen(self):
        self.check_sixteen(lambda q: self.chat_answer(messages=[{"role": "user", "content": q}]).choices[0].message.content)

    def tools(self):
        answer = self.chat_answer(tools=[WEATHER], tool_choice="auto", max_tokens=8)
        without = self.chat_answer(tools=[WEATHER], tool_choice="none", max_tokens=8)
        assert answer.usage.prompt_tokens > without.usage.prompt_tokens + 10
        assert self.joined(self.chat_stream(tools=[WEATHER], max_tokens=8)) == answer.choices[0].message.content

    def calls(self):
        fields = dict(model=CALLER, tools=[WEATHER], tool_choice="auto")
        choice = self.chat_answer(messages=MESSAGES, **fields).choices[0]
        assert choice.finish_reason == "tool_calls"
        self.check_calls(choice.message.tool_calls)
        streamed, reason = self.streamed_calls(self.chat_stream(messages=MESSAGES, **fields))
        assert reason == "tool_calls"
        self.check_calls(streamed)
        results = [{"role": "tool", "tool_call_id": c.id, "name": "weather", "content": "fine"} for c in choice.message.tool_calls]
        last = self.chat_answer(messages=[*MESSAGES, choice.message, *results], **fields).choices[0]
        assert last.message.content == AFTER_RESULTS and not last.message.tool_calls and last.finish_reason == "stop"

    @staticmethod
    def check_calls(found):
        assert [{"name": c.function.name, "arguments": json.loads(c.function.arguments)} for c in found] == CALLS
        assert all(re.fullmatch("[A-Za-z0-9]{9}", c.id) for c in found) and found[0].id != found[1].id

    def chat(self):
        answer = self.chat_answer()
        assert answer.choices[0].message.content == self.answer and answer.choices[0].finish_reason == "stop"
        assert answer.usage.completion_tokens > 3


class OpenAIClient(Client):
    def connect(self, url, key):
        return openai.OpenAI(base_url=url + "/v1", api_key=key, http_client=self.http(), max_retries=0)

    def chat_answer(self, **fields):
        return self.client.chat.completions.create(**{"model": MODEL, "messages": MESSAGES, "temperature": 0, **fields})

    def chat_stream(self, **fields):
        return self.chat_answer(stream=True, **fields)

    @staticmethod
    def streamed_calls(stream):
        choices = [c.choices[0] for c in stream]
        calls = [call for c in choices for call in c.delta.tool_calls or []]
        assert [c.index for c in calls] == [0, 1]
        return calls, choices[-1].finish_reason

    def long_stream(self):
        return self.chat_stream(n=16, max_tokens=LONG, extra_body={"min_tokens": LONG})

    @staticmethod
    def joined(stream):
        return "".join(c.choices[0].delta.content or "" for c in stream)

    def refused(self, kind, status, code, call):
        with pytest.raises(kind) as error:
            call()
        assert error.value.status_code == status and error.value.code == code
        assert error.value.request_id.startswith("req_")
        return error.value

    def models(self):
        assert sorted(m.id for m in self.client.models.list()) == [CALLER, MODEL]

    def model(self):
        assert self.client.models.retrieve(MODEL).id == MODEL

    def choices(self):
        answer = self.chat_answer(n=3, logprobs=True, top_logprobs=2)
        assert [c.index for c in answer.choices] == [0, 1, 2]
        for choice in answer.choices:
            assert choice.message.content == self.answer == "".join(t.token for t in choice.logprobs.content)
            assert all(len(t.top_logprobs) == 2 for t in choice.logprobs.content)

    def stream(self):
        chunks = list(self.chat_stream(stream_options={"include_usage": True}))
        assert self.joined(chunks[:-1]) == self.answer
        assert chunks[-1].usage.completion_tokens > 3 and chunks[-2].choices[0].finish_reason == "stop"

    def keepalive(self):
        self.client = self.connect(self.given["relay"], self.given["key"])
        assert self.joined(self.chat_stream()) == self.answer

    def abort(self):
        with self.freed(), self.long_stream() as stream:
            assert next(iter(stream)).model == MODEL

    def unauthorized(self):
        error = self.refused(openai.AuthenticationError, 401, "invalid_api_key",
                             lambda: self.connect(self.given["url"], "wrong").models.list())
        assert "API key is missing or not valid" in error.message

    def model_missing(self):
        self.refused(openai.NotFoundError, 404, "model_not_found", lambda: self.chat_answer(model="none"))

    def invalid(self):
        error = self.refused(openai.UnprocessableEntityError, 422, "invalid_value", lambda: self.chat_answer(temperature=9))
        assert error.param == "temperature"

    def too_long(self):
        error = self.refused(openai.BadRequestError, 400, "context_length_exceeded", lambda: self.chat_answer(messages=TOO_LONG))
        assert "1024" in error.message

    def completions(self):
        fields = dict(model=MODEL, prompt="A violin is", temperature=0, max_tokens=12)
        assert self.client.completions.create(**fields).choices[0].text == self.given["completion"]
        pieces = self.client.completions.create(stream=True, **fields)
        assert "".join(p.choices[0].text for p in pieces) == self.given["completion"]

    def embeddings(self):
        def ask(**fields):
            return self.client.embeddings.create(model=MODEL, input=["A dog", "A violin"], **fields).data[1].embedding
        self.check_embedding(ask())  # the client asks for base64 and decodes it
        self.check_embedding(ask(encoding_format="float"))
        self.check_embedding(struct.unpack("<256f", base64.b64decode(ask(encoding_format="base64"))))

    def sealed(self):
        stream = iter(self.long_stream())
        next(stream)
        self.seal()
        with pytest.raises(openai.APIError) as error:
            list(stream)
        assert error.value.code == "unavailable" and error.value.type == "server_error"


class MistralClient(Client):
    FIM = dict(model=MODEL, prompt="A violin is", suffix=" instrument.", temperature=0)

    def connect(self, url, key):
        return Mistral(server_url=url, api_key=key, client=self.http())

    def chat_answer(self, **fields):
        return self.client.chat.complete(**{"model": MODEL, "messages": MESSAGES, "temperature": 0, **fields})

    def chat_stream(self, **fields):
        return self.client.chat.stream(**{"model": MODEL, "messages": MESSAGES, "temperature": 0, **fields})

    @staticmethod
    def streamed_calls(stream):
        choices = [e.data.choices[0] for e in stream]
        return [call for c in choices for call in c.delta.tool_calls or []], choices[-1].finish_reason

    def long_stream(self):
        # Of this client's requests only the fill-in-the-middle one can ask for a least length.
        return self.client.fim.stream(**self.FIM, max_tokens=LONG, min_tokens=LONG)

    @staticmethod
    def joined(stream):
        return "".join(e.data.choices[0].delta.content or "" for e in stream)

    def refused(self, kind, status, code, call):
        with pytest.raises(kind) as error:
            call()
        assert error.value.status_code == status and json.loads(error.value.body)["code"] == code
        assert error.value.headers["x-request-id"].startswith("req_")
        return error.value

    def models(self):
        assert sorted(m.id for m in self.client.models.list().data) == [CALLER, MODEL]

    def model(self):
        card = self.client.models.retrieve(model_id=MODEL)
        assert card.id == MODEL and card.max_context_length == 1024 and card.capabilities.completion_fim

    def choices(self):
        answer = self.chat_answer(n=3)
        assert [(c.index, c.message.content) for c in answer.choices] == [(i, self.answer) for i in range(3)]

    def stream(self):
        events = list(self.chat_stream())
        assert self.joined(events) == self.answer
        assert events[-1].data.choices[0].finish_reason == "stop" and events[-1].data.usage.completion_tokens > 3

    def keepalive(self):
        self.client = self.connect(self.given["relay"], self.given["key"])
        assert self.joined(self.chat_stream()) == self.answer

    def abort(self):
        with self.freed(), self.long_stream() as stream:
            assert next(iter(stream)).data.model == MODEL

    def unauthorized(self):
        error = self.refused(errors.SDKError, 401, "invalid_api_key",
                             lambda: self.connect(self.given["url"], "wrong").models.list())
        assert "API key is missing or not valid" in error.message

    def model_missing(self):
        self.refused(errors.SDKError, 404, "model_not_found", lambda: self.chat_answer(model="none"))

    def invalid(self):
        error = self.refused(errors.HTTPValidationError, 422, "invalid_value", lambda: self.chat_answer(temperature=9))
        assert error.data.detail[0].loc == ["body", "temperature"]

    def too_long(self):
        error = self.refused(errors.SDKError, 400, "context_length_exceeded", lambda: self.chat_answer(messages=TOO_LONG))
        assert "1024" in error.message

    def fim(self):
        assert self.client.fim.complete(**self.FIM, max_tokens=8).choices[0].message.content == self.given["fim"]
        assert self.joined(self.client.fim.stream(**self.FIM, max_tokens=8)) == self.given["fim"]

    def embeddings(self):
        found = self.client.embeddings.create(model=MODEL, inputs=["A dog", "A violin"]).data[1].embedding
        self.check_embedding(found)

    def sealed(self):
        # The client knows no error events: it says what it could not read, never that the answer was whole.
        stream = iter(self.long_stream())
        next(stream)
        self.seal()
        with pytest.raises(errors.ResponseValidationError) as error:
            list(stream)
        assert json.loads(error.value.body)["data"]["error"]["code"] == "unavailable"
