#!/usr/bin/env python3
"""Lint: what each module may include, and calls that have one home.

 - base <- engine, base <- security, all <- appliance; the engine never sees security, nor the reverse.
 - Third-party headers stand in .cpp files only, and only in the modules named here.
 - Coroutines (co_await) stand in appliance/net only.
 - Wall-clock time and weak randomness come from base alone.
"""
import pathlib, re, sys

root = pathlib.Path(__file__).resolve().parents[2]

MODULES = {  # our own modules that each one may include
    "base": {"base"},
    "engine": {"base", "engine"},
    "security": {"base", "security"},
    "appliance": {"base", "engine", "security", "appliance", "admin"},
}
THIRD_PARTY = {  # prefix of an include: the folders whose .cpp files may use it
    "boost/json": ["base/json.cpp"],
    "boost/": ["appliance/net"],
    "openssl/": ["security/crypto", "security/tls", "security/storage", "appliance/net", "appliance/tls"],
    "sodium": ["security/"],
    "Poco/": ["security/storage", "appliance/ops", "appliance/config", "appliance/main.cpp"],
    "sqlite3": ["security/storage"],
    "seccomp": ["security/sandbox"],
    "toml++": ["appliance/config.cpp"],
    "tl/expected": ["base/result.h"],
    "zlib": ["security/identity"],
}
FORBIDDEN = [  # pattern, folders where it is allowed, what to use
    (r"\bsystem_clock::now|\bstd::time\(|\b::time\(|\bgettimeofday\(", ["base/clock.cpp"], "Clock (base/clock.h)"),
    (r"\bstd::rand\b|\bstd::srand\b|\brandom_device\b|\bmt19937", [], "RandomSource (base/random.h)"),
    (r"\bco_await\b|\bco_return\b|\bco_yield\b", ["appliance/net"], "plain functions; coroutines live in appliance/net"),
]


def allowed(path, places):
    return any(str(path).startswith(p) for p in places)


def without_comments(text):
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)
    return re.sub(r"//[^\n]*", "", text)


problems = []
count = 0
for top, may in MODULES.items():
    for path in sorted((root / top).rglob("*")):
        if path.suffix not in (".h", ".cpp"):
            continue
        count += 1
        name = path.relative_to(root)
        is_test = path.stem.endswith("_test") or "_test_" in path.stem or path.stem.startswith("test_")
        text = without_comments(path.read_text())
        for number, line in enumerate(text.split("\n"), 1):
            include = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if include:
                target = include.group(1)
                module = target.split("/")[0]
                if module in MODULES and module not in may:
                    problems.append(f"{name}:{number}: {top} must not include {target}")
                if not is_test:
                    for prefix, places in THIRD_PARTY.items():
                        if target.startswith(prefix):
                            if not allowed(name, places):
                                problems.append(f"{name}:{number}: {target} is for {', '.join(places)} only")
                            elif path.suffix == ".h" and prefix != "tl/expected" and not name.stem.endswith("_impl"):
                                problems.append(f"{name}:{number}: {target} in a header; third-party stays in .cpp")
                            break
            elif not is_test:
                for pattern, places, instead in FORBIDDEN:
                    if re.search(pattern, line) and not allowed(name, places):
                        problems.append(f"{name}:{number}: use {instead}")

print("\n".join(problems))
print(f"{count} files, {len(problems)} problems")
sys.exit(1 if problems or count == 0 else 0)
