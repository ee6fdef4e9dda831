// The AI SDK with its provider for OpenAI-compatible servers against the daemon.
import assert from "node:assert/strict";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, embedMany, generateText, jsonSchema, stepCountIs, streamText, tool } from "ai";
import * as matrix from "./matrix.mjs";
import { ANSWER, CALLER, LONG, MESSAGES, MODEL, given } from "./matrix.mjs";

const connect = (url, key) => createOpenAICompatible({ name: "ostal", baseURL: `${url}/v1`, apiKey: key });
const provider = connect(given.url, given.key);
const ASK = { model: provider(MODEL), messages: MESSAGES, temperature: 0, maxRetries: 0 };
const chat = (fields) => generateText({ ...ASK, ...fields });
// Errors of a stream come as a part of it, not as an exception.
const stream = (fields) => streamText({ ...ASK, onError() {}, ...fields });
const longStream = (fields) =>
  stream({ maxOutputTokens: LONG, providerOptions: { ostal: { min_tokens: LONG } }, ...fields });

async function joined(answer) {
  let text = "";
  for await (const part of answer.textStream) text += part;
  return text;
}

async function refused(call, status, code, words) {
  const error = await matrix.thrown(call, APICallError);
  assert.equal(error.statusCode, status);
  assert.equal(error.data.error.code, code);
  assert.match(error.message, words);
  matrix.checkRequestId(error.responseHeaders["x-request-id"]);
}

await matrix.run({
  async chat() {
    const answer = await chat();
    assert.equal(answer.text, ANSWER);
    assert.equal(answer.finishReason, "stop");
    assert.ok(answer.usage.outputTokens > 3);
  },
  async stream() {
    const answer = stream();
    assert.equal(await joined(answer), ANSWER);
    assert.equal(await answer.finishReason, "stop");
    assert.ok((await answer.usage).outputTokens > 3);
  },
  async keepalive() {
    assert.equal(await joined(stream({ model: connect(given.relay, given.key)(MODEL) })), ANSWER);
  },
  async abort() {
    await matrix.checkFreed(async () => {
      const leaving = new AbortController();
      for await (const part of longStream({ abortSignal: leaving.signal }).fullStream) {
        if (part.type === "text-delta") leaving.abort();
      }
    });
  },
  async unauthorized() {
    const model = connect(given.url, "wrong")(MODEL);
    await refused(() => chat({ model }), 401, "invalid_api_key", /API key is missing or not valid/);
  },
  async model_missing() {
    await refused(() => chat({ model: provider("none") }), 404, "model_not_found", /'none' does not exist/);
  },
  async invalid() {
    await refused(() => chat({ temperature: 9 }), 422, "invalid_value", /temperature/);
  },
  async too_long() {
    const messages = [{ role: "user", content: matrix.TOO_LONG }];
    await refused(() => chat({ messages }), 400, "context_length_exceeded", /1024/);
  },
  async completions() {
    const fields = { model: provider.completionModel(MODEL), prompt: "A violin is", temperature: 0, maxOutputTokens: 12 };
    // The SDK frames a prompt as a conversation of its own ("user:" and "assistant:"): only that it is answered shows here.
    const whole = await generateText(fields);
    assert.ok(whole.text.length > 0);
    assert.equal(await joined(streamText(fields)), whole.text);
  },
  async embeddings() {
    const model = provider.embeddingModel(MODEL);
    matrix.checkEmbedding((await embed({ model, value: "A violin" })).embedding);
    matrix.checkEmbedding((await embedMany({ model, values: ["A dog", "A violin"] })).embeddings[1]);
  },
  async tools() {
    const weather = tool({ description: matrix.WEATHER.description, inputSchema: jsonSchema(matrix.WEATHER.parameters) });
    const fields = { tools: { weather }, maxOutputTokens: 8 };
    const answer = await chat({ ...fields, toolChoice: "auto" });
    const without = await chat({ ...fields, toolChoice: "none" });
    assert.ok(answer.usage.inputTokens > without.usage.inputTokens + 10);
    assert.equal(await joined(stream(fields)), answer.text);
  },
  async calls() {
    // The SDK runs the tool and asks again by itself.
    const asked = [];
    const weather = tool({
      inputSchema: jsonSchema(matrix.WEATHER.parameters),
      execute: ({ city }) => (asked.push(city), "fine"),
    });
    const fields = { model: provider(CALLER), tools: { weather }, stopWhen: stepCountIs(3) };
    const whole = await chat(fields);
    const streamed = stream(fields);
    assert.equal(await joined(streamed), given.after_results);
    assert.equal(whole.text, given.after_results);
    for (const steps of [whole.steps, await streamed.steps]) {
      assert.deepEqual(steps.map((step) => step.finishReason), ["tool-calls", "stop"]);
      matrix.checkCalls(steps[0].toolCalls.map((c) => ({ id: c.toolCallId, name: c.toolName, arguments: c.input })));
    }
    assert.deepEqual(asked.sort(), ["Bern", "Bern", "Rome", "Rome"]);
  },
  async sixteen() {
    await matrix.checkSixteen(async (content) => (await chat({ messages: [{ role: "user", content }] })).text);
  },
  async sealed() {
    const errors = [];
    let first = true;
    for await (const part of longStream().fullStream) {
      if (part.type === "text-delta" && first) {
        matrix.streaming();
        first = false;
      }
      if (part.type === "error") errors.push(part.error);
    }
    assert.equal(errors.length, 1);
    assert.match(String(errors[0].message ?? errors[0]), /shutting down/);
  },
});
