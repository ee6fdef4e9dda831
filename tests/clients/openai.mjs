// OpenAI's client for JavaScript against the daemon.
import assert from "node:assert/strict";
import OpenAI from "openai";
import * as matrix from "./matrix.mjs";
import { ANSWER, CALLER, LONG, MESSAGES, MODEL, given } from "./matrix.mjs";

const connect = (url, key) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 });
const client = connect(given.url, given.key);
const chat = (fields) => client.chat.completions.create({ model: MODEL, messages: MESSAGES, temperature: 0, ...fields });
const longStream = () => chat({ stream: true, n: 16, max_tokens: LONG, min_tokens: LONG });

async function joined(stream) {
  let text = "";
  for await (const chunk of stream) text += chunk.choices[0].delta.content ?? "";
  return text;
}

async function refused(call, type, status, code) {
  const error = await matrix.thrown(call, type);
  assert.equal(error.status, status);
  assert.equal(error.code, code);
  matrix.checkRequestId(error.requestID);
  return error;
}

await matrix.run({
  async models() {
    const ids = [];
    for await (const model of client.models.list()) ids.push(model.id);
    assert.deepEqual(ids.sort(), [CALLER, MODEL]);
  },
  async model() {
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL);
  },
  async chat() {
    const answer = await chat();
    assert.equal(answer.choices[0].message.content, ANSWER);
    assert.equal(answer.choices[0].finish_reason, "stop");
    assert.ok(answer.usage.completion_tokens > 3);
    matrix.checkRequestId(answer._request_id);
  },
  async choices() {
    const answer = await chat({ n: 3, logprobs: true, top_logprobs: 2 });
    assert.deepEqual(answer.choices.map((c) => c.index), [0, 1, 2]);
    for (const choice of answer.choices) {
      assert.equal(choice.message.content, ANSWER);
      assert.equal(choice.logprobs.content.map((t) => t.token).join(""), ANSWER);
      for (const token of choice.logprobs.content) assert.equal(token.top_logprobs.length, 2);
    }
  },
  async stream() {
    let text = "";
    let last = null;
    for await (const chunk of await chat({ stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? "";
      last = chunk;
    }
    assert.equal(text, ANSWER);
    assert.ok(last.usage.completion_tokens > 3);
  },
  async keepalive() {
    const other = connect(given.relay, given.key);
    const body = { model: MODEL, messages: MESSAGES, temperature: 0, stream: true };
    assert.equal(await joined(await other.chat.completions.create(body)), ANSWER);
  },
  async abort() {
    await matrix.checkFreed(async () => {
      const stream = await longStream();
      for await (const chunk of stream) {
        assert.equal(chunk.model, MODEL);
        stream.controller.abort();
      }
    });
  },
  async unauthorized() {
    const call = () => connect(given.url, "wrong").models.list();
    const error = await refused(call, OpenAI.AuthenticationError, 401, "invalid_api_key");
    assert.match(error.message, /API key is missing or not valid/);
  },
  async model_missing() {
    await refused(() => chat({ model: "none" }), OpenAI.NotFoundError, 404, "model_not_found");
  },
  async invalid() {
    const error = await refused(() => chat({ temperature: 9 }), OpenAI.UnprocessableEntityError, 422, "invalid_value");
    assert.equal(error.param, "temperature");
  },
  async too_long() {
    const messages = [{ role: "user", content: matrix.TOO_LONG }];
    const error = await refused(() => chat({ messages }), OpenAI.BadRequestError, 400, "context_length_exceeded");
    assert.match(error.message, /1024/);
  },
  async completions() {
    const fields = { model: MODEL, prompt: "A violin is", temperature: 0, max_tokens: 12 };
    assert.equal((await client.completions.create(fields)).choices[0].text, given.completion);
    let text = "";
    for await (const chunk of await client.completions.create({ ...fields, stream: true })) text += chunk.choices[0].text;
    assert.equal(text, given.completion);
  },
  async embeddings() {
    // The client asks for base64 and decodes it when the caller names no format.
    for (const format of [{}, { encoding_format: "float" }]) {
      const answer = await client.embeddings.create({ model: MODEL, input: ["A dog", "A violin"], ...format });
      matrix.checkEmbedding(answer.data[1].embedding);
    }
    const raw = await client.embeddings.create({ model: MODEL, input: "A violin", encoding_format: "base64" });
    const bytes = Buffer.from(raw.data[0].embedding, "base64");
    matrix.checkEmbedding(Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i)));
  },
  async tools() {
    const tools = [{ type: "function", function: matrix.WEATHER }];
    const answer = await chat({ tools, tool_choice: "auto", max_tokens: 8 });
    const without = await chat({ tools, tool_choice: "none", max_tokens: 8 });
    assert.ok(answer.usage.prompt_tokens > without.usage.prompt_tokens + 10);
    assert.equal(await joined(await chat({ tools, max_tokens: 8, stream: true })), answer.choices[0].message.content);
  },
  async calls() {
    const fields = { model: CALLER, tools: [{ type: "function", function: matrix.WEATHER }], tool_choice: "auto" };
    const plain = (c) => ({ id: c.id, name: c.function.name, arguments: JSON.parse(c.function.arguments) });
    const { message, finish_reason } = (await chat(fields)).choices[0];
    assert.equal(finish_reason, "tool_calls");
    matrix.checkCalls(message.tool_calls.map(plain));
    // The client's own way of joining a stream.
    const joint = await client.chat.completions.stream({ messages: MESSAGES, temperature: 0, ...fields }).finalChatCompletion();
    assert.equal(joint.choices[0].finish_reason, "tool_calls");
    matrix.checkCalls(joint.choices[0].message.tool_calls.map(plain));
    const results = message.tool_calls.map((c) => ({ role: "tool", tool_call_id: c.id, content: "fine" }));
    const last = await chat({ ...fields, messages: [...MESSAGES, message, ...results] });
    assert.equal(last.choices[0].message.content, given.after_results);
    assert.equal(last.choices[0].finish_reason, "stop");
  },
  async sixteen() {
    await matrix.checkSixteen(async (content) =>
      (await chat({ messages: [{ role: "user", content }] })).choices[0].message.content);
  },
  async sealed() {
    const stream = await longStream();
    const error = await matrix.thrown(async () => {
      let first = true;
      for await (const _ of stream) {
        if (first) matrix.streaming();
        first = false;
      }
    }, OpenAI.APIError);
    assert.equal(error.code, "unavailable");
    assert.equal(error.type, "server_error");
  },
});
