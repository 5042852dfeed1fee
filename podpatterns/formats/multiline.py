"""Lines that belong together: stack traces of the common languages, and whatever patterns of one's own say.

A trace is a small language of its own, so each is a table: state → what the next line may look like → next state. A
line that fits none of a state's patterns is not part of it. A tentative state (`?`) holds lines that are part of the
trace only if a later line is, such as the empty line before "During handling of the above exception".

Sources: CPython's traceback module (3.11 to 3.13: carets, notes, exception groups), Java's Throwable.printStackTrace,
Go's runtime/traceback.go and panic.go, V8's stack trace API and Node's process 'uncaughtException', Ruby's
error.c (`Exception#full_message`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

Table = Mapping[str, Sequence[tuple[str, str]]]

_BLANK = r"\s*$"
_PYTHON_TRACE = r"\s*Traceback \(most recent call last\):"
_PYTHON_GROUP = r"\s*\+ Exception Group Traceback \(most recent call last\):"
_NODE_ERROR = r"(?:.*[\s(])?(?:[A-Z]\w{0,60})?(?:Error|Exception)\b(?: \[\w+\])?(?::|\s*$)"
_JAVA_MORE = (
    (r"[ \t]+at \S", "at"),
    (r"[ \t]*(?:Caused by|Suppressed|Wrapped by): ", "exception"),
    (r"[ \t]*\.\.\. \d+ (?:more|common frames omitted)", "at"),
    (r"[ \t]*\[CIRCULAR REFERENCE", "at"),
    (r"[ \t]*nested exception is", "exception"),
)

TABLES: Mapping[str, Table] = {
    "python": {
        "": ((_PYTHON_TRACE, "frames"), (_PYTHON_GROUP, "group")),
        "frames": (
            (r"[ \t]+\S", "frames"),  # frames, their source, carets, "[Previous line repeated 3 more times]"
            (r"(?:[\w<>]+\.)*[\w<>]+(?::|\s*$)", "exception"),
        ),
        "exception": ((r"[ \t]+\S", "exception"), (_BLANK, "gap?")),
        "gap?": (
            (_BLANK, "gap?"),
            (r"During handling of the above exception, another exception occurred:", "chain"),
            (r"The above exception was the direct cause of the following exception:", "chain"),
        ),
        "chain": ((_BLANK, "chain"), (_PYTHON_TRACE, "frames"), (_PYTHON_GROUP, "group")),
        "group": ((r"\s*[|+]", "group"), (_BLANK, "gap?")),
    },
    "java": {
        "": (
            (r"Exception in thread ", "exception"),
            (r".*?\b(?:[a-z_$][\w$]{0,60}\.){1,20}[A-Z][\w$]{0,90}(?:Exception|Error|Throwable)\b", "exception"),
        ),
        "exception": (*_JAVA_MORE, (r"[ \t]+\S", "exception")),
        "at": _JAVA_MORE,
    },
    "go": {
        "": ((r"(?:\S+ \S+ )?(?:panic: |fatal error: |http: panic serving |runtime: goroutine stack )", "panic"),),
        "panic": (
            (r"\s*panic: |\[signal |\[recovered|\s+/", "panic"),
            (r"goroutine \d+ .*:|runtime stack:", "function"),
            (_BLANK, "gap?"),
        ),
        "gap?": (
            (_BLANK, "gap?"),
            (r"goroutine \d+ .*:|runtime stack:", "function"),
            (r"\[signal |\s*panic: ", "panic"),
            (r"[a-z]\w{1,5}\s+0x", "registers"),
            (r"exit status \d+", "end"),
        ),
        "function": (
            (r"created by \S|(?:[^\s()]|\(\*?[\w.]+\))+\(.*\)\s*$", "file"),
            (r"\.\.\.\s?\d* ?(?:additional )?frames elided", "function"),
            (r"exit status \d+", "end"),
            (_BLANK, "gap?"),
        ),
        "file": ((r"\s+\S.*:\d+", "function"),),
        "registers": ((r"[a-z]\w{1,5}\s+0x", "registers"), (r"exit status \d+", "end"), (_BLANK, "gap?")),
        "end": (),
    },
    "node": {
        "": ((_NODE_ERROR, "error"), (r"(?:node:|file:/|/|[A-Za-z]:\\)\S+:\d+\s*$", "source?")),
        "error": ((r"\s+at \S", "at"), (r"[ \t]+\S", "error")),
        "at": (
            (r"[ \t]+\S", "at"),  # frames, causes and properties, which are indented as well
            (r"[}\]]|\[(?:cause|errors)\]|Caused by", "at"),
            (_BLANK, "gap?"),
        ),
        "gap?": ((_BLANK, "gap?"), (r"Node\.js v\d", "end")),
        "source?": ((r".*\S", "caret?"),),
        "caret?": ((r"\s*\^+\s*$", "after?"),),
        "after?": ((_BLANK, "after?"), (_NODE_ERROR, "error")),
        "end": (),
    },
    "ruby": {
        "": ((r"(?:\S+: )?\S+:\d+:in .*\((?:\w+::)*\w+\)\s*$", "error"),),
        "error": ((r"\s+(?:\d+: )?from \S", "from"), (r"\s+\.\.\. \d+ levels", "from")),
        "from": (
            (r"\s+(?:\d+: )?from \S", "from"),
            (r"\s+\.\.\. \d+ levels", "from"),
            (r"\S+:\d+:in .*\((?:\w+::)*\w+\)\s*$", "error"),  # its cause
        ),
    },
}


WORDS: Mapping[str, Sequence[str]] = {
    "python": ("Traceback (most recent call last):",),
    "java": ("Exception", "Error", "Throwable"),
    "go": ("panic: ", "fatal error: ", "panic serving ", "goroutine stack "),
    "node": ("Error", "Exception"),
    "ruby": (":in ",),
}
"""What stands in the first line of every trace: plain words are found a hundred times faster than patterns."""
_SOURCE = r":\d+\s*$"
"""What the line of the source ends with that Node prints before the error."""
_PREFIX = re.compile(r"\S+ std(?:out|err) [PF]\S* ")
"""A container runtime's time, stream and tag, where nobody has parsed the lines yet."""


class Groups(NamedTuple):
    """Where each group begins, and from which line on more of a group may come (their number if from none)."""

    starts: list[int]
    open_from: int


class Traces:
    """Finds the traces of some languages; every other line is a group of its own."""

    def __init__(self, languages: Sequence[str]) -> None:
        begin = [
            f"(?P<{language}_{index}>{pattern})"
            for language in languages
            for index, (pattern, _) in enumerate(TABLES[language][""])
        ]
        self._begin = re.compile("|".join(begin))
        words = list(dict.fromkeys(word for language in languages for word in WORDS[language]))
        self._words = words
        self._word = re.compile("|".join(map(re.escape, words)))
        self._hint = re.compile("|".join([*map(re.escape, words), *([_SOURCE] if "node" in languages else [])]))
        self._rules = {
            language: {
                state: tuple((re.compile(pattern), then) for pattern, then in rules)
                for state, rules in TABLES[language].items()
            }
            for language in languages
        }

    def concerns(self, text: str) -> bool:
        """Whether any line of a text begins a trace: if not, there is nothing to group."""
        if not any(word in text for word in self._words):
            return False
        if text.startswith('{"log":'):
            return True  # in Docker's JSON the text is escaped: only parsing it shows what it is
        end = 0
        while found := self._word.search(text, end):
            start = text.rfind("\n", 0, found.start()) + 1
            end = text.find("\n", found.end())
            end = len(text) if end < 0 else end
            line = text[start:end]
            prefix = _PREFIX.match(line)
            if self._begin.match(line[prefix.end() :] if prefix else line):
                return True
        return False

    def groups(self, lines: Sequence[str]) -> Groups:
        """The groups of some lines."""
        starts: list[int] = []
        at, count = 0, len(lines)
        while at < count:
            starts.append(at)
            begin = self._begin.match(lines[at]) if self._hint.search(lines[at]) else None
            if begin is None:
                at += 1
                continue
            end, ended = self._follow(lines, at, str(begin.lastgroup))
            if not ended:
                return Groups([*starts, *range(end, count)], at)
            at = end
        return Groups(starts, count)

    def _follow(self, lines: Sequence[str], at: int, name: str) -> tuple[int, bool]:
        """The end of the trace that begins at a line, and whether it is known to have ended there."""
        language, _, index = name.rpartition("_")
        rules = self._rules[language]
        state = rules[""][int(index)][1]
        end = at + 1
        for position in range(at + 1, len(lines)):
            line = lines[position]
            state = next((then for pattern, then in rules[state] if pattern.match(line)), "")
            if not state:
                return end, True
            if not state.endswith("?"):
                end = position + 1
        return end, not rules[state]


@dataclass(frozen=True, slots=True)
class Patterns:
    """Groups by patterns of one's own: `start` is found in a group's first line, `more` in every other one.

    With `start` alone all lines up to the next start belong together; with `more` alone a line without it starts a
    group; with both a line that is neither is a group of its own.
    """

    start: re.Pattern[str] | None = None
    more: re.Pattern[str] | None = field(default=None)

    def concerns(self, _text: str) -> bool:
        """Whether there may be something to group."""
        return True

    def groups(self, lines: Sequence[str]) -> Groups:
        """The groups of some lines; what stands before the first start is the rest of a group that was cut."""
        starts: list[int] = []
        inside = False
        for at, line in enumerate(lines):
            begins = self.start is not None and self.start.search(line) is not None
            joins = not begins
            if self.more is not None:
                joins = joins and (inside or self.start is None) and self.more.search(line) is not None
            if not (joins and starts):
                starts.append(at)
            inside = begins or joins or self.start is None
        return Groups(starts, starts[-1] if starts and inside else len(lines))
