"""Findings for people, for programs, and for code review: text, JSON, SARIF 2.1.0."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from podpatterns.pod.lint.finding import Finding
from podpatterns.pod.lint.linter import rules


def text(findings: Sequence[Finding], files: int) -> Iterator[str]:
    """A line for each finding, and one that adds up."""
    yield from map(str, findings)
    counts = Counter(finding.severity for finding in findings)
    said = ", ".join(f"{count} {severity}{'s' if count > 1 else ''}" for severity, count in sorted(counts.items()))
    yield f"{files} file{'s' if files != 1 else ''}: {said or 'nothing to mend'}"


def as_json(findings: Sequence[Finding], files: int) -> Iterator[str]:
    """One object."""
    yield json.dumps({"files": files, "findings": [_plain(finding) for finding in findings]}, indent=2)


def _plain(finding: Finding) -> dict[str, Any]:
    return {
        "rule": finding.rule,
        "severity": str(finding.severity),
        "file": finding.mark.file,
        "line": finding.mark.line,
        "column": finding.mark.column,
        "message": finding.message,
        "remedy": finding.remedy,
        "fixable": finding.edit is not None,
    }


def sarif(findings: Sequence[Finding], files: int) -> Iterator[str]:  # noqa: ARG001 - one shape for all reports
    """A run in the form that code hosts show beside the lines of a change."""
    known = {
        rule.name: {
            "id": rule.name,
            "shortDescription": {"text": (rule.check.__doc__ or rule.name).strip()},
            "fullDescription": {"text": rule.reason},
            "defaultConfiguration": {"level": str(rule.severity)},
        }
        for rule in rules()
    }
    for finding in findings:
        known.setdefault(finding.rule, {"id": finding.rule, "shortDescription": {"text": finding.rule}})
    run = {
        "tool": {"driver": {"name": "podpatterns", "rules": list(known.values())}},
        "results": [_result(finding) for finding in findings],
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    yield json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2)


def _result(finding: Finding) -> dict[str, Any]:
    region = {"startLine": finding.mark.line or 1, "startColumn": finding.mark.column or 1}
    return {
        "ruleId": finding.rule,
        "level": str(finding.severity),
        "message": {"text": f"{finding.message}; {finding.remedy}"},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": finding.mark.file or "stdin"}, "region": region}}
        ],
    }


Report = Callable[[Sequence[Finding], int], Iterator[str]]

REPORTS: Final[Mapping[str, Report]] = {"text": text, "json": as_json, "sarif": sarif}
"""The forms, by the name of `--output`."""
