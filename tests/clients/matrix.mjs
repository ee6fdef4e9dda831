// What the scripts of the JavaScript clients share.
//
// A script is started by tests/python/test_clients.py. It reads one JSON document from standard input (`given` below),
// runs the named operations one after the other, and writes a JSON line for each: {"operation", "error"}, where error is
// null or the text of what was thrown. {"streaming": true} before that line means: a stream has begun, seal the appliance.
import assert from "node:assert/strict";

// {url, relay, key, metrics_key, operations, questions: {question: answer}, completion, fim, embedding, calls,
// after_results}; `relay` is
// another address of the same daemon, which puts comments between the events of a stream.
export const given = JSON.parse(await new Response(process.stdin).text());

export const MODEL = "ostal-mini";
export const CALLER = "caller"; // answers with the calls, and after their results with the text for it
export const QUESTION = "What is a violin?";
export const ANSWER = given.questions[QUESTION];
export const MESSAGES = [{ role: "user", content: QUESTION }];
export const TOO_LONG = "word ".repeat(3000);
// More tokens than there is time to write before the client leaves or the appliance is sealed.
export const LONG = 900;
export const WEATHER = {
  name: "weather",
  description: "The weather of a place",
  parameters: { type: "object", properties: { city: { type: "string" } } },
};

const write = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// Runs the operations that were asked for; `operations` maps each name to an async function.
export async function run(operations) {
  for (const operation of given.operations) {
    let error = null;
    try {
      await operations[operation]();
    } catch (thrown) {
      error = thrown.stack ?? String(thrown);
    }
    write({ operation, error });
  }
}

// The error that `call` throws: of the given class, else the check fails.
export async function thrown(call, type) {
  try {
    await call();
  } catch (error) {
    assert.ok(error instanceof type, `expected ${type.name}, got ${error.stack}`);
    return error;
  }
  assert.fail(`expected ${type.name}, got an answer`);
}

export function checkRequestId(id) {
  assert.match(id ?? "", /^req_[a-z2-7]{26}$/);
}

export function checkEmbedding(found) {
  assert.equal(found.length, given.embedding.length);
  found.forEach((value, i) => assert.ok(Math.abs(value - given.embedding[i]) < 1e-6, `element ${i}: ${value}`));
}

// Calls as {id, name, arguments}, the arguments parsed.
export function checkCalls(found) {
  assert.deepEqual(found.map(({ name, arguments: words }) => ({ name, arguments: words })), given.calls);
  for (const { id } of found) assert.match(id, /^[A-Za-z0-9]{9}$/);
  assert.notEqual(found[0].id, found[1].id);
}

// Asks every question twice, all at once; each answer must be the one given alone.
export async function checkSixteen(ask) {
  const questions = [...Object.keys(given.questions), ...Object.keys(given.questions)];
  assert.equal(questions.length, 16);
  const answers = await Promise.all(questions.map(ask));
  questions.forEach((question, i) => assert.equal(answers[i], given.questions[question]));
}

async function metrics() {
  const answer = await fetch(`${given.url}/metrics`, { headers: { authorization: `Bearer ${given.metrics_key}` } });
  assert.equal(answer.status, 200);
  const text = await answer.text();
  const value = (name) => Number(text.split("\n").find((line) => line.startsWith(name + " "))?.split(" ").at(-1));
  return {
    cancelled: value('ostal_inference_total{end="cancelled"}'),
    running: value(`ostal_sequences_running{model="${MODEL}"}`),
    waiting: value(`ostal_queue_depth{model="${MODEL}"}`),
  };
}

// `leave` begins a long stream and leaves it; the daemon must count it as cancelled and have nothing left to compute.
export async function checkFreed(leave) {
  const before = await metrics();
  await leave();
  const deadline = Date.now() + 60_000;
  for (;;) {
    const now = await metrics();
    if (now.cancelled === before.cancelled + 1 && now.running === 0 && now.waiting === 0) return;
    assert.ok(Date.now() < deadline, `not freed: ${JSON.stringify({ before, now })}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// Tells the test that a stream has begun: it seals the appliance now.
export function streaming() {
  write({ streaming: true });
}
