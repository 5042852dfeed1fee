"""Carrying out edits: on the text itself, so that comments, order and spelling of all the rest stay as they are."""

from __future__ import annotations

from collections.abc import Iterable

from podpatterns.pod.lint.finding import Edit, Remove, Replace


def fix(source: str, edits: Iterable[Edit]) -> tuple[str, int]:
    """The text with the edits made, and how many could be made.

    Not made is an edit in flow style (`{a: 1, b: 2}`) or of the first field of a list's item, where the text around it
    would have to change as well: that is left to people.
    """
    lines = source.splitlines(keepends=True)
    done = 0
    for edit in sorted(set(edits), key=lambda each: (each.mark.line or 0, each.mark.column or 0), reverse=True):
        made = _remove(lines, edit) if isinstance(edit, Remove) else _replace(lines, edit)
        done += made
    return "".join(lines), done


def _remove(lines: list[str], edit: Remove) -> bool:
    if edit.mark.line is None or edit.mark.column is None:
        return False
    start, indent = edit.mark.line - 1, edit.mark.column - 1
    if lines[start][:indent].strip():
        return False
    end = start + 1
    while end < len(lines) and (not lines[end].strip() or _indent(lines[end]) > indent or _item(lines[end], indent)):
        end += 1
    while end > start + 1 and (not lines[end - 1].strip() or _comment(lines[end - 1], indent)):
        end -= 1  # empty lines and comments in front of the next field belong to that
    del lines[start:end]
    return True


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _item(line: str, indent: int) -> bool:
    """Whether a line is an item of a list that stands right below its key, not indented any further."""
    return _indent(line) == indent and line.lstrip().partition(" ")[0].rstrip() == "-"


def _comment(line: str, indent: int) -> bool:
    return line.lstrip().startswith("#") and _indent(line) <= indent


def _replace(lines: list[str], edit: Replace) -> bool:
    if edit.mark.line is None or edit.mark.column is None:
        return False
    line, at = lines[edit.mark.line - 1], edit.mark.column - 1
    if not line.startswith(edit.old, at):
        return False
    lines[edit.mark.line - 1] = line[:at] + edit.new + line[at + len(edit.old) :]
    return True
