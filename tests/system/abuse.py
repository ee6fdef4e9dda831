#!/usr/bin/env python3
"""Attacks a real daemon over the network and proves that it answers as designed, to the last descriptor.

    abuse.py [--quick] [--json FILE] [--group NAME ...]
    abuse.py --port PORT --ca FILE --key KEY --metrics-key KEY --pid PID [--quick] [--json FILE] [--group NAME ...]

Without --port it starts a daemon with ostal-mini on a free port; with it it attacks a running one with the default
limits, on 127.0.0.1 of this machine. Each case says which bytes go out and what must come back; after each group a
witness must have got the right answers during it, and the daemon's descriptors and threads must be what they were.
Its memory stays below RSS_SLACK_BYTES above the warm start (malloc keeps what 1,024 connections of 70 KiB and the
largest bodies on five threads once took); the groups that take most are run again and may then add little. --quick
leaves out the limits of 30 and 60 s, the larger crowds and repetitions. OSTAL_BIN_DIR names the programs. Exit status 1 when anything was not as expected.
"""
import argparse
import collections
import contextlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import abuse_clients as clients  # noqa: E402
import abuse_http  # noqa: E402
import abuse_tls  # noqa: E402
import appliance as harness  # noqa: E402
from abuse_wire import Mismatch, Target, check_error  # noqa: E402

RSS_SLACK_BYTES = 192 << 20
CROWD_AGAIN_BYTES = 16 << 20
BODIES_AGAIN_BYTES = 24 << 20  # a body of 4 MiB more or less in what malloc keeps for each of five threads
QUESTION = "What is a violin?"


class Daemon:
    """What the kernel says of the process."""

    def __init__(self, pid):
        self.pid = pid
        self.notes = []
        # A sanitizer reserves terabytes for its shadow and holds freed memory back: only elsewhere is memory judged.
        self.judges_memory = self.status("VmSize") * 1024 < 1 << 40
        if not self.judges_memory:
            self.note("a sanitizer build: memory was not judged")

    def note(self, text):
        self.notes.append(text)

    def status(self, name):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise Mismatch(f"no {name} of process {self.pid}")

    def rss(self):
        return self.status("VmRSS") * 1024

    def threads(self):
        return self.status("Threads")

    def descriptors(self):
        """How often each thing is open, without the numbers of sockets and pipes. Databases are left out: the pool
        opens connections to them on demand, one a work thread at most."""
        names = collections.Counter()
        for entry in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                name = os.readlink(f"/proc/{self.pid}/fd/{entry}").split(":[")[0]
                if "/db/" not in name:
                    names[name] += 1
        return names

    @contextlib.contextmanager
    def descriptor_limit(self, soft):
        before = resource.prlimit(self.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (soft, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_NOFILE, before)


class Witness:
    """A client that asks one question over and over, and knows the answer."""

    def __init__(self, target, expected):
        self.target, self.expected = target, expected
        self.source = target.new_source()
        self.answers, self.problem = 0, ""
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run, name="witness")

    def run(self):
        # At least one answer that was asked for during the group, however short that was.
        while not self.problem and (self.answers == 0 or not self.stopping.is_set()):
            try:
                got = text_of(self.target.chat(QUESTION, source=self.source, max_tokens=12))
                self.answers += 1
                if got != self.expected:
                    self.problem = f"got {got!r}"
            except (Mismatch, OSError) as error:
                self.problem = str(error)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


def text_of(answer):
    if answer.status != 200:
        raise Mismatch(f"a chat is answered {answer.status}: {answer.body[:200]!r}")
    return answer.json()["choices"][0]["message"]["content"]


class Abuse:
    def __init__(self, target, daemon, groups):
        self.target, self.daemon, self.only = target, daemon, groups
        self.groups = {}     # name -> {cases, failed, witness, seconds, rss_mib, problems}
        for _ in range(5):
            self.expected = text_of(target.chat(QUESTION, max_tokens=12))
        self.slow = None
        self.baseline = {"descriptors": daemon.descriptors(), "threads": daemon.threads(), "rss": daemon.rss()}

    def wanted(self, name):
        return not self.only or any(word in name for word in self.only)

    def group(self, name, cases, witness=True, may_grow=None):
        """Runs (name, function) pairs; a function that returns met its expectation."""
        if not self.wanted(name):
            return
        rss_limit = self.baseline["rss"] + RSS_SLACK_BYTES if may_grow is None else self.daemon.rss() + may_grow
        result = {"cases": 0, "failed": 0, "witness": 0, "problems": []}
        began = time.monotonic()
        with Witness(self.target, self.expected) if witness else contextlib.nullcontext() as watching:
            for case, run in cases:
                result["cases"] += 1
                try:
                    run()
                except (Mismatch, OSError, ValueError, KeyError) as error:
                    result["failed"] += 1
                    result["problems"].append(f"{case}: {error or type(error).__name__}")
        if witness:
            result["witness"] = watching.answers
            if watching.problem:
                result["problems"].append(f"the witness: {watching.problem}")
        result["problems"] += self.what_is_left(rss_limit)
        result["seconds"] = round(time.monotonic() - began, 1)
        result["rss_mib"] = round((self.daemon.rss() - self.baseline["rss"]) / (1 << 20), 1)
        self.groups[name] = result
        self.print_line(name, result)

    def what_is_left(self, rss_limit):
        """Deviations of the process from its baseline, and of the next answer from the right one."""
        problems = []
        try:
            got = text_of(self.target.chat(QUESTION, max_tokens=12))
            if got != self.expected:
                problems.append(f"afterwards a chat gets {got!r}")
            # Judged once: a checkpoint of the audit opens a file for a moment, at any time.
            try:
                clients.wait_until(lambda: self.descriptors_left() <= 0, "")
            except Mismatch:
                problems.append(f"descriptors are left: {dict(self.daemon.descriptors() - self.baseline['descriptors'])}")
            if self.daemon.threads() != self.baseline["threads"]:
                problems.append(f"{self.daemon.threads()} threads, not {self.baseline['threads']}")
            if self.daemon.judges_memory and self.daemon.rss() > rss_limit:
                problems.append(f"{(self.daemon.rss() - rss_limit) / (1 << 20):.1f} MiB of memory beyond the bound")
        except (Mismatch, OSError) as error:
            problems.append(f"afterwards: {error}")
        return problems

    def descriptors_left(self):
        slow = sum(thread.is_alive() for thread in self.slow.threads) if self.slow else 0
        return self.daemon.descriptors().total() - self.baseline["descriptors"].total() - slow

    def http_cases(self):
        by_group = {}
        for case in abuse_http.all_cases(self.target):
            by_group.setdefault(case.group, []).append((case.name, lambda case=case: self.run_http(case)))
        return by_group

    def run_http(self, case):
        answers = self.target.ask(case.raw)
        statuses = [answer.status for answer in answers]
        if statuses != case.statuses:
            raise Mismatch(f"answered {statuses}, not {case.statuses}")
        for answer in answers:
            if answer.status >= 400 and not case.raw.startswith(b"HEAD "):
                check_error(answer)
        if case.code and answers[0].json()["code"] != case.code:
            raise Mismatch(f"the code is {answers[0].json()['code']}, not {case.code}")

    def run(self, full):
        if self.wanted("slow clients"):
            self.slow = clients.SlowClients(self.target, full)
        http_cases = self.http_cases()
        for name, cases in http_cases.items():
            self.group(name, cases)
        if full:
            self.group("bodies 25 times", http_cases["bodies"] * 25)
            self.group("bodies 25 times again", http_cases["bodies"] * 25, may_grow=BODIES_AGAIN_BYTES)
        self.group("closed doors", clients.closed_doors(self.target, routes()))
        self.group("wrong keys", clients.wrong_keys(self.target, self.daemon, 2000 if full else 200))
        before = self.target.metrics()["ostal_http_handshake_failures_total"]
        self.group("TLS hellos that fail", abuse_tls.refused_hellos(self.target))
        if self.wanted("TLS hellos that fail"):
            failed = self.target.metrics()["ostal_http_handshake_failures_total"] - before
            self.daemon.note(f"{failed:.0f} failed handshakes are on /metrics")
        self.group("TLS hellos that hold", abuse_tls.accepted_hellos(self.target))
        self.group("TLS broken sessions", abuse_tls.broken_sessions(self.target))
        if self.slow:
            results = {}
            with Witness(self.target, self.expected) as watching:
                results = self.slow.collect()
            self.group("slow clients", [(name, lambda problem=problem: raise_if(problem)) for name, problem in results.items()])
            self.groups["slow clients"]["witness"] += watching.answers
            if watching.problem:
                self.groups["slow clients"]["problems"].append(f"the witness: {watching.problem}")
        # These look at the engine and the connections as a whole: no other client may be there.
        self.group("vanishing clients", clients.vanishing_clients(self.target, 10 if full else 2), witness=False)
        self.group("crowds", clients.crowd(self.target, self.daemon, full), witness=False)
        self.group("crowds again", clients.crowd(self.target, self.daemon, full), witness=False, may_grow=CROWD_AGAIN_BYTES)
        self.group("descriptors", clients.no_descriptors(self.target, self.daemon), witness=False)

    def print_line(self, name, result):
        state = "ok" if not result["problems"] else "FAILED"
        print(f"{name:21} {result['cases']:5} cases {result['failed']:3} wrong {result['witness']:4} witness answers "
              f"{result['rss_mib']:+6.1f} MiB {result['seconds']:6.1f} s  {state}", flush=True)
        for problem in result["problems"]:
            print(f"    {problem}", flush=True)


def raise_if(problem):
    if problem:
        raise Mismatch(problem)


def routes():
    """(method, pattern, permission or "public") of every route, as the program itself has them."""
    done = subprocess.run([str(harness.BIN / "ostald"), "--routes"], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@contextlib.contextmanager
def attacked(options):
    """The target and the process behind it."""
    if options.port:
        yield Target("127.0.0.1", options.port, options.ca, options.key, options.metrics_key), Daemon(options.pid)
        return
    made = harness.ready_appliance()
    try:
        metrics_key = made.make_key("--scope", "metrics:read")
        yield Target("127.0.0.1", made.port, made.ca, made.api_key, metrics_key), Daemon(made.process.pid)
        code, words = made.audit_verify()
        if code != 0:
            raise SystemExit(f"abuse: the audit log does not verify: {words}")
    finally:
        made.close()


def main():
    parser = argparse.ArgumentParser(prog="abuse.py", description="Attacks a real daemon over the network.")
    parser.add_argument("--quick", action="store_true", help="without the limits of 30 and 60 s and the larger crowds")
    parser.add_argument("--json", metavar="FILE", help="the results, for programs")
    parser.add_argument("--group", action="append", metavar="NAME", help="only groups whose name holds this; may be repeated")
    for name, kind in {"port": int, "ca": str, "key": str, "metrics-key": str, "pid": int}.items():
        parser.add_argument(f"--{name}", type=kind, help="of a daemon that runs already")
    options = parser.parse_args()
    if options.port and not (options.ca and options.key and options.metrics_key and options.pid):
        parser.error("--port needs --ca, --key, --metrics-key and --pid")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    began = time.monotonic()
    with attacked(options) as (target, daemon):
        abuse = Abuse(target, daemon, options.group)
        abuse.run(full=not options.quick)
    for note in daemon.notes:
        print(note)
    cases = sum(group["cases"] for group in abuse.groups.values())
    problems = sum(len(group["problems"]) for group in abuse.groups.values())
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps({"groups": abuse.groups, "notes": daemon.notes, "cases": cases, "problems": problems}, indent=1))
    print(f"{problems} problems in {cases} cases, {time.monotonic() - began:.0f} s")
    return 1 if problems or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
