#!/usr/bin/env python3
"""Serves random load for a while and proves that nothing is lost, stuck, mixed up or leaked.

    soak.py [--seconds 600] [--clients 12] [--rate 6] [--seed N] [--json FILE]

Requests of many kinds (whole and streamed, greedy and seeded, several choices, completions, embeddings) arrive at
random times with random lengths; one in six is cancelled in mid-answer. What must hold:
  - every answer that was not cancelled equals the one that the same request got alone, at the start;
  - no request waits longer than STUCK_SECONDS without a byte;
  - when the load ends, no sequence runs or waits, and every KV block is free;
  - memory, descriptors and threads of the daemon are what they were after the warm-up (a tenth of the time), but
    for RSS_SLACK_BYTES; the audit verifies and has two records for every admitted request.
Exit code 1 and a list of what did not hold otherwise. The seed is printed and makes the same requests again.
"""
import argparse
import json
import os
import pathlib
import random
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
import appliance as harness

STUCK_SECONDS = 60
RSS_SLACK_BYTES = 24 << 20
WORDS = ["a violin", "an island", "the sea", "a hospital", "to forget", "quiet", "a bridge", "winter", "a ministry", "honey"]


def request_kinds(rng):
    """(path, body) of every request that the load is drawn from: few enough to know each answer beforehand."""
    def chat(word, **fields):
        return "/v1/chat/completions", {"messages": [{"role": "user", "content": f"What is {word}?"}], "temperature": 0, **fields}

    kinds = []
    for word in WORDS:
        for length in (1, 9, 40, 120):
            kinds.append(chat(word, max_tokens=length))
        kinds.append(chat(word, max_tokens=60, temperature=1.0, top_p=0.9, seed=rng.randrange(1 << 31)))
        kinds.append(chat(word, max_tokens=80, stop=[" of", "the "]))
        kinds.append(chat(word, max_tokens=24, n=3, temperature=0.8, seed=rng.randrange(1 << 31)))
        kinds.append(chat(word, max_tokens=40, frequency_penalty=1.0, presence_penalty=0.5))
        kinds.append(chat(word * 40, max_tokens=16))  # a long prompt: prefill in chunks
        kinds.append(("/v1/completions", {"prompt": f"{word} is", "max_tokens": 30, "temperature": 0}))
        kinds.append(("/v1/embeddings", {"input": [f"What is {word}?", word]}))
    for _, body in kinds:
        body["model"] = "ostal-mini"
    return kinds


def essence(answer):
    """What must be the same each time the same request is asked."""
    if "data" in answer:
        return [item["embedding"] for item in answer["data"]]
    return [(choice["index"], choice["message"]["content"] if "message" in choice else choice["text"], choice["finish_reason"])
            for choice in sorted(answer["choices"], key=lambda choice: choice["index"])]


def stream_essence(events):
    texts, ends = {}, {}
    for event in events:
        for choice in event["choices"]:
            text = choice["delta"].get("content") if "delta" in choice else choice["text"]
            texts[choice["index"]] = texts.get(choice["index"], "") + (text or "")
            if choice["finish_reason"]:
                ends[choice["index"]] = choice["finish_reason"]
    return [(index, texts[index], ends.get(index)) for index in sorted(texts)]


class Soak:
    def __init__(self, appliance, options):
        self.appliance = appliance
        self.options = options
        self.rng = random.Random(options.seed)
        self.kinds = request_kinds(self.rng)
        self.alone = []
        self.problems = []
        self.counts = {"asked": 0, "equal": 0, "cancelled": 0}
        self.lock = threading.Lock()
        self.end = 0.0

    def problem(self, text):
        with self.lock:
            self.problems.append(text)

    def count(self, name):
        with self.lock:
            self.counts[name] += 1

    def open(self, path, body):
        connection = self.appliance.connection(timeout=STUCK_SECONDS)
        connection.request("POST", path, json.dumps(body), {"Authorization": f"Bearer {self.appliance.api_key}",
                                                            "Content-Type": "application/json"})
        return connection

    def ask(self, path, body, cancel_after=None):
        """The essence of the answer, or None when it was cancelled after so many events."""
        connection = self.open(path, body)
        try:
            if cancel_after is not None and not body.get("stream"):
                time.sleep(cancel_after / 50)
                return None
            response = connection.getresponse()
            if response.status != 200:
                raise AssertionError(f"{path} answered {response.status}: {response.read()[:300]}")
            if not body.get("stream"):
                return essence(json.loads(response.read()))
            events, done = [], False
            for line in response:
                if not line.startswith(b"data: "):
                    continue
                if line.strip() == b"data: [DONE]":
                    done = True
                    break
                events.append(json.loads(line[6:]))
                if cancel_after is not None and len(events) >= cancel_after:
                    return None
            if not done:
                raise AssertionError(f"{path} ended without [DONE]: {events[-1:]}")
            return stream_essence(events)
        finally:
            connection.close()

    def client(self, number):
        rng = random.Random(self.options.seed * 1000 + number)
        while time.monotonic() < self.end:
            time.sleep(rng.expovariate(self.options.rate / self.options.clients))
            kind = rng.randrange(len(self.kinds))
            path, body = self.kinds[kind]
            stream = path != "/v1/embeddings" and rng.random() < 0.6
            cancel_after = rng.randrange(1, 12) if rng.random() < 1 / 6 else None
            self.count("asked")
            try:
                got = self.ask(path, {**body, "stream": stream} if stream else body, cancel_after)
            except Exception as error:  # whatever went wrong is what the soak looks for
                self.problem(f"{body}: {type(error).__name__}: {error}")
                continue
            if got is None:
                self.count("cancelled")
            elif got == self.alone[kind]:
                self.count("equal")
            else:
                self.problem(f"{path} {body} (stream {stream}): {got} instead of {self.alone[kind]}")

    def gauges(self):
        process = pathlib.Path(f"/proc/{self.appliance.process.pid}")
        status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        return {"rss_bytes": int(status["VmRSS"].split()[0]) * 1024, "threads": int(status["Threads"]),
                "descriptors": len(os.listdir(process / "fd"))}

    def metric(self, name):
        status, page, _ = self.appliance.request("GET", "/metrics", key=self.metrics_key)
        assert status == 200, page
        samples = [float(line.rsplit(" ", 1)[1]) for line in page.splitlines() if line.startswith((name + "{", name + " "))]
        assert samples, f"/metrics has no {name}"
        return sum(samples)

    def wait_idle(self):
        """No sequence in the engine, every block free."""
        end = time.monotonic() + STUCK_SECONDS
        while True:
            busy = self.metric("ostal_sequences_running") + self.metric("ostal_queue_depth")
            used = self.metric("ostal_kv_blocks") - self.metric("ostal_kv_blocks_free")
            if busy == 0 and used == 0:
                return
            if time.monotonic() > end:
                self.problem(f"after the load {busy} sequences are left and {used} KV blocks are not free")
                return
            time.sleep(0.1)

    def run(self):
        self.metrics_key = self.appliance.make_key("--scope", "metrics:read")
        for path, body in self.kinds:
            self.alone.append(self.ask(path, body))
        print(f"soak: {len(self.kinds)} kinds of requests, seed {self.options.seed}, {self.options.seconds} s", flush=True)
        self.end = time.monotonic() + self.options.seconds
        clients = [threading.Thread(target=self.client, args=(number,)) for number in range(self.options.clients)]
        for client in clients:
            client.start()
        time.sleep(self.options.seconds / 10)
        warm = self.gauges()
        for client in clients:
            client.join()
        self.wait_idle()
        cold = self.gauges()
        if cold["rss_bytes"] > warm["rss_bytes"] + RSS_SLACK_BYTES:
            self.problem(f"memory grew from {warm['rss_bytes']} to {cold['rss_bytes']} bytes")
        if cold["threads"] != warm["threads"]:
            self.problem(f"threads: {warm['threads']}, then {cold['threads']}")
        if cold["descriptors"] > warm["descriptors"] + 2:
            self.problem(f"descriptors: {warm['descriptors']}, then {cold['descriptors']}")
        self.appliance.stop()
        code, words = self.appliance.audit_verify()
        if code != 0:
            self.problem(f"the audit does not verify: {words}")
        halves = [record for record in self.appliance.audit_records() if record["action"].startswith("inference:")]
        begun = {record["id"] for record in halves if record["pair"] == "request"}
        ended = {record["id"] for record in halves if record["pair"] == "response"}
        if begun != ended or len(halves) != 2 * len(begun):
            self.problem(f"{len(begun)} inferences begun and {len(ended)} ended in {len(halves)} audit records")
        return {"counts": self.counts, "warm": warm, "end": cold, "audit_records": len(halves), "problems": self.problems}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--rate", type=float, default=6.0, help="requests a second, all clients together")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(4), "little"))
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    ready = harness.ready_appliance()
    try:
        report = Soak(ready, options).run()
    finally:
        ready.close()
    print(json.dumps({key: value for key, value in report.items() if key != "problems"}))
    for text in report["problems"][:20]:
        print("soak: " + text[:600])
    print(f"soak: {len(report['problems'])} problems")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return 1 if report["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
