#!/usr/bin/env python3
"""Lint: coroutines keep to the forms that g++ 12 compiles rightly (docs/adr/0003).

In appliance/net, `co_await` stands alone or initialises one named local:

    co_await stream.shutdown(limit);            if (x) co_await f();            while (x) co_await f();
    const bool is_written = co_await stream.write(piece, limit);

and nothing else: not in a condition, an argument, a ternary or a return; no lambda or brace list in its
expression; not within catch. OSTAL_TRY, structured bindings and arrays never stand in a coroutine's co_await
statement. A coroutine is a function, never a lambda.
"""
import pathlib, re, sys

root = pathlib.Path(__file__).resolve().parents[2]

GUARD = r"(?:(?:if|while) \((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\) )?"
CALL = r"[A-Za-z_][\w:]*(?:(?:\.|->)[A-Za-z_]\w*)*\((?P<arguments>.*)\)"
ALONE = re.compile(rf"^{GUARD}co_await {CALL}$", re.S)
LOCAL = re.compile(rf"^(?:const )?(?:auto|[A-Za-z_][\w:]*(?:<[\w:<>, ]+>)?) [a-z_]\w* = co_await {CALL}$", re.S)


def without_comments_and_strings(text):
    keep_lines = lambda m: "\n" * m.group().count("\n")
    text = re.sub(r"/\*.*?\*/", keep_lines, text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r'"(?:[^"\\\n]|\\.)*"', '""', text)


def statements(text):
    """(line number, text) of what stands between ; { and } outside parentheses."""
    depth, start = 0, 0
    for i, c in enumerate(text):
        if c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
        elif c in ";{}" and depth == 0:
            yield text.count("\n", 0, start) + 1, text[start:i], c
            start = i + 1


def problem_of(statement):
    flat = re.sub(r"\s+", " ", statement).strip()
    if flat.count("co_await") > 1:
        return "one co_await a statement"
    match = ALONE.match(flat) or LOCAL.match(flat)
    if not match:
        return "co_await stands alone or initialises one named local"
    arguments = match.group("arguments")
    if re.search(r"[{}?]|\[", arguments):
        return "no lambda, brace list or ternary in a co_await expression"
    if re.search(r"&&|\|\|", arguments):
        return "no condition in a co_await expression"
    return None


def in_catch(text, position):
    """True when `position` lies in the block of a catch."""
    open_blocks = []
    for i, c in enumerate(text[:position]):
        if c == "{":
            open_blocks.append(bool(re.search(r"\bcatch\s*\([^)]*\)\s*$", text[max(0, i - 200):i])))
        elif c == "}" and open_blocks:
            open_blocks.pop()
    return any(open_blocks)


def check(name, text):
    problems = []
    text = without_comments_and_strings(text)
    for number, statement, end in statements(text):
        if "co_await" in statement:
            problem = problem_of(statement) if end == ";" else "no co_await in a brace list or a condition"
            number += len(statement[: len(statement) - len(statement.lstrip())].split("\n")) - 1
            if problem:
                problems.append(f"{name}:{number}: {problem}")
            if "OSTAL_TRY" in statement:
                problems.append(f"{name}:{number}: no OSTAL_TRY around a co_await")
    for match in re.finditer(r"\bco_await\b", text):
        if in_catch(text, match.start()):
            problems.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: no co_await in a catch")
    for match in re.finditer(r"\bco_return\b[^;]*\bco_await\b|\[[^\]]*\]\s*\([^)]*\)\s*->\s*\S*awaitable", text):
        problems.append(f"{name}:{text.count(chr(10), 0, match.start()) + 1}: a coroutine is a plain function that "
                        "names what it awaits")
    return problems


GOOD = """
awaitable<bool> f(S& s) { co_await s.go(a, b); const bool x = co_await s->write(std::move(y), limit);
  if (!s.done()) co_await g(); while (p && !q()) co_await e.wait_until(kNever); auto v = co_await h(k(1), "x{");
  const std::size_t n = co_await t.async_read_some(buffer, redirect_error(use_awaitable, error)); co_return x; }
"""
BAD = [
    "co_await f(A{1});", "co_await f({x, y});", "co_await f([a] { return a; });", "c ? co_await a() : b;",
    "A x{co_await a()};", "if (co_await f()) g();", "while (auto e = co_await next()) g();", "co_return co_await f();",
    "g(co_await f());", "auto [a, b] = co_await f();", "x = co_await f();", "co_await f(c ? a : b);",
    "try { g(); } catch (...) { co_await f(); }", "OSTAL_TRY(auto x, co_await f());", "(co_await f()).x();",
    "auto l = [x]() -> awaitable<void> { co_await f(); };", "const bool b = co_await f() && g();",
]


def self_test():
    failures = [f"self-test: refused: {p}" for p in check("good", GOOD)]
    for bad in BAD:
        if not check("bad", "void f() { " + bad + " }"):
            failures.append(f"self-test: accepted: {bad}")
    return failures


problems = self_test()
count = 0
for path in sorted((root / "appliance/net").rglob("*")):
    if path.suffix in (".h", ".cpp"):
        text = path.read_text()
        count += text.count("co_await")
        problems += check(path.relative_to(root), text)
print("\n".join(problems))
print(f"{count} co_awaits, {len(problems)} problems")
sys.exit(1 if problems or count == 0 else 0)
