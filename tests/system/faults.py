#!/usr/bin/env python3
"""SIGKILL, torn and short writes, a full disk and EIO at the k-th system call of the real daemon.

    faults.py [--quick] [--operation NAME ...] [--kind KIND ...] [--at K] [--stride N] [--json FILE] [--trace]

Each operation is run once to count its calls that change the state folder; then once for every call and every fault
that this call can meet, on a fresh copy of a prepared state folder. Whatever happened, the appliance must then have
the state from before or the one from after, whole: models, slots with the secrets that open them, users, keys, floors;
no effect without its record; an audit log that two verifiers accept; and it must serve, and do the operation when
asked again. A daemon whose call failed goes on or says so: typed errors, and no success for what did not happen.

--quick takes a fixed sample. OSTAL_BIN_DIR names the programs. Exit status 1 when anything was violated.
"""
import argparse
import collections
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "python"))

from appliance import CtlError  # noqa: E402
from audit_verify import Log  # noqa: E402
from fault_control import FaultControl, KINDS, kinds_for  # noqa: E402
from fault_operations import OPERATIONS, Templates, metadata_seen, observe, secrets_that_open, serves  # noqa: E402

TYPED_EXITS = {1, 3, 4, 5, 6, 7}
CONFLICT = {5, 409}
QUICK_RUNS = 2  # of each operation
START_EXITS = {1, 5, 6, 7}


class Violation(Exception):
    pass


def check(condition, text):
    if not condition:
        raise Violation(text)


class Faults:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.control = FaultControl(self.folder / "control")
        self.templates = Templates(self.folder)
        self.calls = {}   # operation -> [(call, path)] of the counting run
        self.states = {}  # operation -> (before, after)
        self.seen = {}    # operation -> (before, after)
        self.counts = collections.defaultdict(collections.Counter)

    # ---- one run ----

    def start(self, operation, box):
        box.start(unseal=operation.unsealed, env=self.control.environment(box.state))
        box.settle()

    def perform(self, operation, box, kind, at):
        """The operation with the fault armed."""
        if operation.at_start:
            return self.perform_start(box, kind, at)
        self.start(operation, box)
        self.control.arm(kind, at)
        outcome = operation.perform(box)
        self.control.disarm()
        return outcome

    def perform_start(self, box, kind, at):
        from fault_operations import Outcome
        self.control.arm(kind, at)
        try:
            box.start(env=self.control.environment(box.state))
            unsealed = box.ctl("status")["phase"] == "unsealed"
            return Outcome(unsealed, 0 if unsealed else 6, "" if unsealed else "sealed")
        except AssertionError as error:
            code = box.process.poll()
            return Outcome(False, 1 if code is None else code, str(error))
        finally:
            self.control.disarm()

    def count(self, operation):
        """Counts the calls of a run without a fault; what it leaves is the state from after."""
        before = self.reopened(operation, None)
        box = self.templates.copy(operation.template, "run")
        try:
            outcome = self.perform(operation, box, "count", 0)
            check(outcome.ok, f"fails without a fault: {outcome.code} {outcome.text}")
            self.calls[operation.name] = self.control.trace()
            box.kill()
            self.states[operation.name] = (before, self.reopened(operation, box))
            self.seen[operation.name] = (metadata_seen(self.templates.get(operation.template)), metadata_seen(box))
        finally:
            self.drop(box)

    def reopened(self, operation, box):
        """What a daemon without faults finds; on a copy of the template when there is no box."""
        own = box is None
        box = box or self.templates.copy(operation.template, "before")
        try:
            self.clean_start(box)
            return self.observe(operation, box)
        finally:
            if own:
                self.drop(box)

    def clean_start(self, box):
        box.start()
        check(box.ctl("status")["phase"] == "unsealed", "sealed after a start without faults: " + box.log_text()[-600:])
        box.settle()

    def observe(self, operation, box):
        state = observe(box)
        if operation.slots:
            state["secrets"] = secrets_that_open(box)
        return state

    def run(self, operation, kind, at):
        before, after = self.states[operation.name]
        box = self.templates.copy(operation.template, "run")
        known_records = len(box.audit_records())
        try:
            outcome = self.perform(operation, box, kind, at)
            fired = self.control.fired
            if fired == 0:
                check(outcome.ok, f"fails though the fault was not met: {outcome.code} {outcome.text}")
            if kind in ("kill", "torn"):
                if fired:
                    box.process.wait(30)
            else:
                self.check_live(operation, box, outcome, at, before, after)
            self.kill(box)
            self.check_audit_after_kill(box)
            # From here on without faults.
            self.clean_start(box)
            found = self.observe(operation, box)
            check(found in (before, after), f"neither old nor new: {differences(found, before, after)}")
            if outcome.ok:
                check(found == after, f"success was reported, but it did not happen: {differences(found, after)}")
                box.last_answer = outcome.answer
                operation.tries(box)
            records = box.audit_records()[known_records:]
            if found != before or outcome.ok:
                check(any(r["action"] == operation.action for r in records), "an effect without its record")
            self.check_seen(operation, box, [r["detail"] for r in records if r["action"] == "model:alarm"])
            if found == before != after:
                again = self.again(operation, box)
                check(again.ok, f"cannot be done again: {again.code} {again.text}")
                found_again = self.observe(operation, box)
                check(found_again == after, f"done again it is not the new state: {differences(found_again, after)}")
            check(serves(box), "does not serve")
            check(box.ctl("audit", "verify")["ok"], "the daemon finds its audit log bad")
            box.stop()
            self.check_audit(box)
            self.counts[operation.name][("new" if found == after else "old") if before != after else "same"] += 1
            self.counts[operation.name]["met" if fired else "not met"] += 1
        finally:
            self.drop(box)

    def check_seen(self, operation, box, alarms):
        """Metadata versions never fall. What an import had seen when it was cut off is in the floor file before it is in
        the rows: the next start takes the higher one and says so, as for every disagreement of the two."""
        before, after = self.seen[operation.name]
        seen = metadata_seen(box)
        check(all(version <= seen.get(name, 0) <= after[name] for name, version in before.items()), f"seen: {seen}")
        check(all("metadata seen" in alarm for alarm in alarms), f"an alarm: {alarms}")

    def again(self, operation, box):
        if operation.at_start:
            raise AssertionError("a start changes no state")
        return operation.perform(box)

    def check_live(self, operation, box, outcome, at, before, after):
        """The daemon met an error, or a short write, and goes on."""
        if operation.at_start and not outcome.ok:
            code = box.process.poll()
            check(code is None or code in START_EXITS, f"the start ended with {code}: {box.log_text()[-600:]}")
            return
        check(box.process.poll() is None, f"the daemon ended with {box.process.poll()}: {box.log_text()[-1500:]}")
        if not outcome.ok:
            check(outcome.code in TYPED_EXITS or outcome.code in (500, 503), f"no typed error: {outcome.code} {outcome.text}")
            check(outcome.text, "an error without words")
        status = box.ctl("status")
        if at % 2 == 0:
            return  # killed where it stands
        if not status["audit_writable"]:
            recovered = box.ctl_outcome("audit", "recover")
            check(recovered.ok, f"the audit does not recover: {recovered.text}")
            check(box.ctl("status")["audit_writable"], "the audit is still latched")
        if status["phase"] == "unsealed" and operation.unsealed and before != after:
            if observe(box) != {k: v for k, v in after.items() if k != "secrets"}:
                again = operation.perform(box)
                check(again.ok or again.code in CONFLICT, f"cannot be done again at once: {again.code} {again.text}")
                found = observe(box)
                check(found == {k: v for k, v in after.items() if k != "secrets"},
                      f"done again at once it is not the new state: {differences(found, after)}")
        box.stop()

    def check_audit_after_kill(self, box):
        code, text = box.audit_verify()
        check(code == 0 or "beyond the last checkpoint" in text or "that are no record" in text, f"the audit log is bad: {text}")

    def check_audit(self, box):
        code, text = box.audit_verify()
        check(code == 0, f"ostal-audit: {text}")
        verdict = Log(box.state / "audit").verdict()
        check(verdict["ok"], f"audit_verify.py: {verdict}")

    def kill(self, box):
        if box.process is not None and box.process.poll() is None:
            box.kill()
        box.process = None

    def drop(self, box):
        self.kill(box)
        shutil.rmtree(box.folder, ignore_errors=True)

    # ---- many runs ----

    def plan(self, operation, options):
        """(kind, at) of the runs of an operation, in the order of its calls."""
        runs = [(kind, at) for at, (call, _) in enumerate(self.calls[operation.name], 1) for kind in kinds_for(call)]
        if options.kind:
            runs = [run for run in runs if run[0] in options.kind]
        if options.at:
            runs = [run for run in runs if run[1] == options.at]
        if options.quick:
            # Spread over the calls; the first one differs by operation, so that all kinds come about.
            step = max(1, len(runs) // QUICK_RUNS)
            return runs[OPERATIONS.index(operation) % step::step][:QUICK_RUNS]
        return runs[::options.stride]


def differences(found, *expected):
    return "; ".join(f"{key}: {found[key]} expected {[e[key] for e in expected]}"
                     for key in found if any(found[key] != e.get(key) for e in expected))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--operation", action="append", choices=[o.name for o in OPERATIONS])
    parser.add_argument("--kind", action="append", choices=[k for k in KINDS if k != "count"])
    parser.add_argument("--at", type=int, help="only the K-th call")
    parser.add_argument("--stride", type=int, default=1, help="every N-th run")
    parser.add_argument("--json", type=pathlib.Path, help="write the table there, too")
    parser.add_argument("--trace", action="store_true", help="print the counted calls")
    options = parser.parse_args()

    shared_memory = pathlib.Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="ostal-faults-", dir=shared_memory if shared_memory.is_dir() else None)
    violations, rows = [], []
    began = time.monotonic()
    try:
        faults = Faults(folder)
        print(f"{'operation':14} {'calls':>5} {'runs':>5} {'met':>5} {'old':>5} {'new':>5} {'same':>5} {'bad':>4} {'s':>6}  kinds", flush=True)
        for operation in OPERATIONS:
            if options.operation and operation.name not in options.operation:
                continue
            from_s = time.monotonic()
            faults.count(operation)
            if options.trace:
                for number, line in enumerate(faults.calls[operation.name], 1):
                    print(f"{number:5} {' '.join(line)}")
            bad = 0
            runs = faults.plan(operation, options)
            for kind, at in runs:
                try:
                    faults.run(operation, kind, at)
                except (Violation, AssertionError, CtlError, OSError, subprocess.TimeoutExpired) as error:
                    bad += 1
                    where = " ".join(faults.calls[operation.name][at - 1])
                    violations.append(f"{operation.name}, {kind} at call {at} ({where}): {error}")
                    print(violations[-1], flush=True)
            counts = faults.counts[operation.name]
            rows.append({"operation": operation.name, "calls": len(faults.calls[operation.name]), "runs": len(runs), "bad": bad,
                         **{word: counts[word] for word in ("met", "old", "new", "same")}})
            print(f"{operation.name:14} {len(faults.calls[operation.name]):5} {len(runs):5} {counts['met']:5} {counts['old']:5} "
                  f"{counts['new']:5} {counts['same']:5} {bad:4} {time.monotonic() - from_s:6.1f}  "
                  f"{' '.join(sorted({kind for kind, _ in runs}))}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        options.json.write_text(json.dumps({"operations": rows, "violations": violations}, indent=1) + "\n")
    print(f"{len(violations)} violations in {time.monotonic() - began:.0f} s")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
