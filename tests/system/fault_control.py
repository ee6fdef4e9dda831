"""The other side of fault_preload.cpp: arms it, and reads what it saw."""
import mmap
import os
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parents[2]
KINDS = {"count": 0, "kill": 1, "torn": 2, "enospc": 3, "eio": 4, "short": 5}
WRITES = {"write", "pwrite", "writev"}
# A file system may report a full disk late: at a sync (delayed allocation) or a rename (a folder that grows).
MAY_FILL = WRITES | {"open", "mkdir", "fallocate", "link", "rename", "fsync", "fdatasync"}
HEADER = struct.Struct("<IIQQQ")
TRACE_LINES, TRACE_WIDTH = 8192, 64


def preload_library():
    """Built beside the programs under test."""
    bin_folder = pathlib.Path(os.environ.get("OSTAL_BIN_DIR", ROOT / "build" / "release" / "bin"))
    return bin_folder.parent / "tests" / "system" / "fault_preload.so"


def is_instrumented():
    """A sanitizer's runtime must come first in a process, so nothing is preloaded there."""
    return preload_library().parents[2].name in ("asan", "tsan")


def kinds_for(call):
    """The faults that this call can meet."""
    kinds = ["kill", "eio"]
    if call in WRITES:
        kinds += ["torn", "short"]
    if call in MAY_FILL:
        kinds.append("enospc")
    return kinds


class FaultControl:
    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.write_bytes(bytes(64 + TRACE_LINES * TRACE_WIDTH))
        with open(self.path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 0)

    def environment(self, state):
        return {"LD_PRELOAD": str(preload_library()), "OSTAL_FAULT_STATE": str(state), "OSTAL_FAULT_CONTROL": str(self.path)}

    def arm(self, kind="count", at=0, only=""):
        """`only`: the beginning of "call path" of the calls that count."""
        HEADER.pack_into(self.page, 0, 0, KINDS[kind], at, 0, 0)
        self.page[HEADER.size:64] = only.encode().ljust(64 - HEADER.size, b"\0")
        struct.pack_into("<I", self.page, 0, 1)

    def disarm(self):
        struct.pack_into("<I", self.page, 0, 0)

    @property
    def calls(self):
        return HEADER.unpack_from(self.page)[3]

    @property
    def fired(self):
        return HEADER.unpack_from(self.page)[4]

    def trace(self):
        """(call, path below the state folder) of each counted call."""
        lines = []
        for i in range(min(self.calls, TRACE_LINES)):
            text = self.page[64 + i * TRACE_WIDTH:64 + (i + 1) * TRACE_WIDTH].split(b"\0")[0].decode(errors="replace")
            lines.append(tuple(text.split(" ", 1)))
        return lines
