// Mistral's client for JavaScript against the daemon.
import assert from "node:assert/strict";
import { Mistral } from "@mistralai/mistralai";
import { HTTPValidationError, MistralError } from "@mistralai/mistralai/models/errors";
import * as matrix from "./matrix.mjs";
import { ANSWER, CALLER, LONG, MESSAGES, MODEL, given } from "./matrix.mjs";

const connect = (url, key) => new Mistral({ serverURL: url, apiKey: key });
const client = connect(given.url, given.key);
const ASK = { model: MODEL, messages: MESSAGES, temperature: 0 };
const FIM = { model: MODEL, prompt: "A violin is", suffix: " instrument.", temperature: 0, maxTokens: 8 };
const chat = (fields) => client.chat.complete({ ...ASK, ...fields });
// Of this client's requests only the fill-in-the-middle one can ask for a least length.
const longStream = (options) => client.fim.stream({ ...FIM, maxTokens: LONG, minTokens: LONG }, options);

async function joined(stream) {
  let text = "";
  for await (const event of stream) text += event.data.choices[0].delta.content ?? "";
  return text;
}

async function refused(call, type, status, code) {
  const error = await matrix.thrown(call, type);
  assert.equal(error.statusCode, status);
  assert.equal(JSON.parse(error.body).code, code);
  matrix.checkRequestId(error.headers.get("x-request-id"));
  return error;
}

await matrix.run({
  async models() {
    assert.deepEqual((await client.models.list()).data.map((m) => m.id).sort(), [CALLER, MODEL]);
  },
  async model() {
    const card = await client.models.retrieve({ modelId: MODEL });
    assert.equal(card.id, MODEL);
    assert.equal(card.maxContextLength, 1024);
    assert.equal(card.capabilities.completionFim, true);
  },
  async chat() {
    const answer = await chat();
    assert.equal(answer.choices[0].message.content, ANSWER);
    assert.equal(answer.choices[0].finishReason, "stop");
    assert.ok(answer.usage.completionTokens > 3);
  },
  async choices() {
    const answer = await chat({ n: 3 });
    assert.deepEqual(answer.choices.map((c) => c.index), [0, 1, 2]);
    for (const choice of answer.choices) assert.equal(choice.message.content, ANSWER);
  },
  async stream() {
    let text = "";
    let last = null;
    for await (const event of await client.chat.stream(ASK)) {
      text += event.data.choices[0].delta.content ?? "";
      last = event.data;
    }
    assert.equal(text, ANSWER);
    assert.equal(last.choices[0].finishReason, "stop");
    assert.ok(last.usage.completionTokens > 3);
  },
  async keepalive() {
    assert.equal(await joined(await connect(given.relay, given.key).chat.stream(ASK)), ANSWER);
  },
  async abort() {
    await matrix.checkFreed(async () => {
      const leaving = new AbortController();
      const stream = await longStream({ fetchOptions: { signal: leaving.signal } });
      await matrix.thrown(async () => {
        for await (const _ of stream) leaving.abort();
      }, Error);
    });
  },
  async unauthorized() {
    const error = await refused(() => connect(given.url, "wrong").models.list(), MistralError, 401, "invalid_api_key");
    assert.match(error.message, /API key is missing or not valid/);
  },
  async model_missing() {
    await refused(() => chat({ model: "none" }), MistralError, 404, "model_not_found");
  },
  async invalid() {
    const error = await refused(() => chat({ temperature: 9 }), HTTPValidationError, 422, "invalid_value");
    assert.deepEqual(error.detail[0].loc, ["body", "temperature"]);
  },
  async too_long() {
    const messages = [{ role: "user", content: matrix.TOO_LONG }];
    const error = await refused(() => chat({ messages }), MistralError, 400, "context_length_exceeded");
    assert.match(error.message, /1024/);
  },
  async fim() {
    assert.equal((await client.fim.complete(FIM)).choices[0].message.content, given.fim);
    assert.equal(await joined(await client.fim.stream(FIM)), given.fim);
  },
  async embeddings() {
    const answer = await client.embeddings.create({ model: MODEL, inputs: ["A dog", "A violin"] });
    matrix.checkEmbedding(answer.data[1].embedding);
  },
  async tools() {
    const tools = [{ type: "function", function: matrix.WEATHER }];
    const answer = await chat({ tools, toolChoice: "auto", maxTokens: 8 });
    const without = await chat({ tools, toolChoice: "none", maxTokens: 8 });
    assert.ok(answer.usage.promptTokens > without.usage.promptTokens + 10);
    assert.equal(await joined(await client.chat.stream({ ...ASK, tools, maxTokens: 8 })), answer.choices[0].message.content);
  },
  async calls() {
    const fields = { ...ASK, model: CALLER, tools: [{ type: "function", function: matrix.WEATHER }], toolChoice: "auto" };
    const plain = (c) => ({ id: c.id, name: c.function.name, arguments: JSON.parse(c.function.arguments) });
    const { message, finishReason } = (await chat(fields)).choices[0];
    assert.equal(finishReason, "tool_calls");
    matrix.checkCalls(message.toolCalls.map(plain));
    const streamed = [];
    let last = null;
    for await (const event of await client.chat.stream(fields)) {
      last = event.data.choices[0];
      streamed.push(...(last.delta.toolCalls ?? []));
    }
    assert.equal(last.finishReason, "tool_calls");
    matrix.checkCalls(streamed.map(plain));
    const results = message.toolCalls.map((c) => ({ role: "tool", toolCallId: c.id, name: "weather", content: "fine" }));
    const answer = await chat({ ...fields, messages: [...MESSAGES, message, ...results] });
    assert.equal(answer.choices[0].message.content, given.after_results);
    assert.equal(answer.choices[0].finishReason, "stop");
  },
  async sixteen() {
    await matrix.checkSixteen(async (content) =>
      (await chat({ messages: [{ role: "user", content }] })).choices[0].message.content);
  },
  async sealed() {
    // The client knows no error events: it says what it could not read, never that the answer was whole.
    const stream = await longStream();
    const error = await matrix.thrown(async () => {
      let first = true;
      for await (const _ of stream) {
        if (first) matrix.streaming();
        first = false;
      }
    }, Error);
    assert.equal(error.name, "ZodError");
  },
});
