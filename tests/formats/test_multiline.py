"""Stack traces as the languages print them: each is one group, and the lines around it are not in it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats.multiline import TABLES, Patterns, Traces

PYTHON = {
    "plain": "def f(n):\n    1 / (n - n)\nf(2)",
    "chained": "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('x: y') from error",
    "while handling": "try:\n    {}['a']\nexcept KeyError:\n    raise ValueError",
    "deep": "def f(n):\n    f(n + 1)\nf(0)",
    "group": "raise ExceptionGroup('many', [ValueError(1), ExceptionGroup('in', [TypeError('a'), KeyError(2)])])",
    "group in a chain": (
        "try:\n    raise ExceptionGroup('g', [ValueError(1)])\nexcept ExceptionGroup as error:\n"
        "    raise RuntimeError('later') from error"
    ),
    "chain in a group": (
        "try:\n    try:\n        1 / 0\n    except ArithmeticError as error:\n        raise OSError(2) from error\n"
        "except OSError as error:\n    raise ExceptionGroup('g', [error]) from None"
    ),
    "syntax": "compile('x = = 1', 'f.py', 'exec')",
    "indented note": "error = ValueError('a')\nerror.add_note('  see\\n  there')\nraise error",
    "without a message": "class Odd(Exception): pass\nraise Odd",
}


@pytest.mark.parametrize("program", PYTHON.values(), ids=PYTHON)
def test_python_prints_one_group(program: str) -> None:
    """What this Python prints for an exception that nobody catches, between two lines of a log."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    trace = done.stderr.rstrip("\n").split("\n")
    assert len(trace) > 2
    alone(["python"], trace)


def alone(languages: list[str], trace: list[str]) -> None:
    """A trace is one group: between other lines, twice, at the end (where it may go on), and with carriage returns."""
    traces = Traces(languages)
    around = ["INFO one", *trace, "INFO two", "", "INFO three"]
    end = 1 + len(trace)
    assert traces.groups(around) == ([0, 1, end, end + 1, end + 2], len(around))
    assert traces.groups([line + "\r" for line in around]) == ([0, 1, end, end + 1, end + 2], len(around))
    assert traces.concerns("\n".join(around))
    assert traces.concerns("\n".join(f"2026-11-23T09:36:16Z stderr F {line}" for line in around))
    for cut in range(1, len(trace)):
        starts, open_from = traces.groups(["INFO one", *trace[:cut]])
        assert (starts[:2], open_from) == ([0, 1], 1), "what has begun may go on"


JAVA = """\
Exception in thread "main" java.lang.IllegalStateException: no order
\tat shop.Orders.place(Orders.java:17) ~[shop.jar:1.0]
\tat shop.Main.main(Main.java:5)
\tSuppressed: java.io.IOException: closing
\t\tat shop.Db.close(Db.java:9)
\t\t... 2 more
Caused by: java.sql.SQLException: timeout
  with a second line
\tat shop.Db.query(Db.java:42)
\t... 12 common frames omitted"""
JAVA_LOGGED = """\
2026-11-23 09:36:16 ERROR [http-1] shop.Orders - failed org.acme.Deep$InnerException
    at shop.Orders.place(Orders.java:17)
Caused by: org.acme.OtherError
    at shop.Db.query(Db.java:42)"""
GO = """\
panic: runtime error: invalid memory address or nil pointer dereference [recovered]
\tpanic: again
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x4a1b2c]

goroutine 1 [running]:
main.(*Orders).Place[...](0x0, {0xc000012345, 0x3})
\t/src/shop/orders.go:17 +0x1d
main.main()
\t/src/shop/main.go:5 +0x25

goroutine 18 [chan receive, 2 minutes]:
main.worker.func1()
\t/src/shop/main.go:30 +0x65
created by main.worker in goroutine 1
\t/src/shop/main.go:28 +0x97
exit status 2"""
GO_HTTP = """\
2026/11/23 09:36:16 http: panic serving 10.0.0.7:51234: boom
goroutine 34 [running]:
net/http.(*conn).serve.func1()
\t/usr/local/go/src/net/http/server.go:1868 +0xb9"""
NODE = """\
/srv/app/orders.js:17
    throw new TypeError("no order");
    ^

TypeError: no order
    at place (/srv/app/orders.js:17:11)
    at async Server.<anonymous> (/srv/app/main.js:5:3) {
  code: 'E_ORDER',
  [cause]: Error: timeout
      at query (/srv/app/db.js:42:9)
}

Node.js v20.19.2"""
NODE_LOGGED = """\
Unhandled rejection Error: connect ECONNREFUSED 127.0.0.1:5432
    at TCPConnectWrap.afterConnect [as oncomplete] (node:net:1555:16)"""
RUBY = """\
orders.rb:17:in `place': no order (Shop::OrderError)
\tfrom orders.rb:30:in `block in run'
\t ... 3 levels...
\tfrom main.rb:5:in `<main>'
db.rb:42:in 'Db#query': timeout (Timeout::Error)
\tfrom orders.rb:12:in 'Orders#place'"""


@pytest.mark.parametrize(
    ("language", "trace"),
    [("java", JAVA), ("java", JAVA_LOGGED), ("go", GO), ("go", GO_HTTP), ("node", NODE_LOGGED), ("ruby", RUBY)],
)
def test_a_trace_is_one_group(language: str, trace: str) -> None:
    """With its causes, and whatever else is printed with it."""
    if trace is GO:
        lines = trace.split("\n")
        around = Traces(["go"]).groups(["INFO", *lines, "INFO"])
        assert around == ([0, 1, len(lines) + 1], len(lines) + 2)
    else:
        alone([language], trace.split("\n"))


def test_node_prints_one_group() -> None:
    """The line of the source comes before the error, and is known as its beginning only then."""
    lines = ["INFO", *NODE.split("\n"), "INFO"]
    assert Traces(["node"]).groups(lines) == ([0, 1, len(lines) - 1], len(lines))
    assert Traces(["node"]).groups(lines[:4]) == ([0, 1, 2, 3], 1), "it may become one"
    assert Traces(["node"]).groups(["/srv/x:1", "INFO", "INFO"]).starts == [0, 1, 2], "it has not"


def test_several_languages_at_once() -> None:
    """Each trace is followed by the table of the language that it began in."""
    lines = [*JAVA.split("\n"), *GO_HTTP.split("\n"), *RUBY.split("\n"), "INFO"]
    starts = [0, len(JAVA.split("\n")), len((JAVA + "\n" + GO_HTTP).split("\n")), len(lines) - 1]
    assert Traces(list(TABLES)).groups(lines) == (starts, len(lines))


def test_blank_lines_belong_to_nobody_until_something_follows() -> None:
    """After an exception an empty line is part of it only if the next one says that there was another."""
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1', "ValueError: x", "", "INFO"]
    assert Traces(["python"]).groups(trace) == ([0, 3, 4], 5)
    assert Traces(["python"]).groups(trace[:4]) == ([0, 3], 0)


def patterns(**given_: str) -> Patterns:
    import re

    return Patterns(**{name: re.compile(each) for name, each in given_.items()})


@pytest.mark.parametrize(
    ("rules", "lines", "starts", "open_from"),
    [
        ({"start": "^2026"}, ["2026 a", " b", "c", "2026 d"], [0, 3], 3),
        ({"start": "^2026"}, ["rest", "rest", "2026 a"], [0, 2], 2),
        ({"start": "^2026"}, ["rest"], [0], 0),
        ({"start": "^2026"}, [], [], 0),
        ({"more": r"^\s"}, ["a", " b", "c", " d"], [0, 2], 2),
        ({"more": r"^\s"}, [" a", " b"], [0], 0),
        ({"start": "^S", "more": "^m"}, ["S", "m", "x", "m", "S", "m"], [0, 2, 3, 4], 4),
        ({"start": "^S", "more": "^m"}, ["S", "m", "x"], [0, 2], 3),
    ],
)
def test_patterns_of_one_s_own(rules: dict[str, str], lines: list[str], starts: list[int], open_from: int) -> None:
    """A start begins a record; lines that go on join it; the last one may go on, unless a line has ended it."""
    assert patterns(**rules).groups(lines) == (starts, open_from)


POOL = "\n".join([JAVA, GO, NODE, RUBY, "INFO\n\n", *(f"  File {n}\nValueError: {n}" for n in range(3))]).split("\n")
POOL += ["Traceback (most recent call last):", "  + Exception Group Traceback (most recent call last):", "  | x", ""]


@given(st.lists(st.sampled_from(POOL), max_size=30))
def test_groups_cover_every_line_once(lines: list[str]) -> None:
    """Whatever comes: groups are in order, the first begins at the first line; what is whole stays when more comes."""
    for rules in (Traces(list(TABLES)), patterns(start="^[A-Z]"), patterns(more=r"^\s")):
        starts, open_from = rules.groups(lines)
        assert starts == sorted(set(starts))
        assert starts[:1] == ([0] if lines else [])
        assert 0 <= open_from <= len(lines)
        whole = [start for start in starts if start < open_from]
        later = rules.groups([*lines, "INFO", *lines]).starts
        assert [start for start in later if start < open_from] == whole


@pytest.mark.parametrize("line", ["a." * 100_000, "A" * 200_000, " " * 200_000, "x" * 200_000 + "Error", "(" * 200_000])
def test_no_line_makes_it_slow(line: str) -> None:
    """A line of 200 kB is looked at in a moment, whatever it is made of (the test's own time limit says if not)."""
    traces = Traces(list(TABLES))
    assert traces.groups([line, line]).starts[0] == 0
    traces.concerns(f"{line}\n{line}")
