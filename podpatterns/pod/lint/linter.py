"""From texts to findings."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Collection, Iterator
from functools import cache
from importlib import import_module

from podpatterns.errors import ConfigError
from podpatterns.pod.lint import rules as package
from podpatterns.pod.lint.finding import CONFIGURATION, SCHEMA, Finding, Rule, Severity
from podpatterns.pod.workload import TEMPLATES, Workload, text
from podpatterns.runtime.decode import suggest
from podpatterns.runtime.nodes import KIND, MapNode, Mark, Node, ScalarNode, parse


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, by the files of `rules/`."""
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(rule for name in modules for rule in import_module(f"{package.__name__}.{name}").RULES)


_IGNORE = re.compile(r"#.*\bpodpatterns: ignore ([a-z-]+(?:, *[a-z-]+)*)")

YAML = "yaml"
"""The name under which a text that cannot be read is reported."""


class Linter:
    """The rules that are wanted, and the version of Kubernetes whose schema counts."""

    def __init__(
        self, *, only: Collection[str] = (), ignore: Collection[str] = (), kubernetes: str | None = None
    ) -> None:
        """`only`: rules by name, all if empty; `kubernetes`: `1.36`, None for no schema. Raises ValueError."""
        known = [rule.name for rule in rules()] + [CONFIGURATION, SCHEMA]
        for name in (*only, *ignore):
            if name not in known:
                raise ValueError(f'no rule is called "{name}"{suggest(name, known)}')
        self._rules = [rule for rule in rules() if (not only or rule.name in only) and rule.name not in ignore]
        self._configurations = (not only or CONFIGURATION in only) and CONFIGURATION not in ignore
        self._schemas = None
        if kubernetes is not None and (not only or SCHEMA in only) and SCHEMA not in ignore:
            from podpatterns.pod.lint.schema import Schemas

            self._schemas = Schemas(kubernetes)

    def lint(self, source: str, file: str | None = None) -> list[Finding]:
        """What is wrong with the documents of a text, in their order."""
        try:
            documents = parse(source, file)
        except ConfigError as error:
            return [
                Finding(YAML, Severity.ERROR, Mark(each.file, each.line, each.column), each.message, "mend it first")
                for each in error.problems
            ]
        ignored = {
            number: {name.strip() for name in match[1].split(",")}
            for number, line in enumerate(source.splitlines(), start=1)
            if (match := _IGNORE.search(line))
        }
        findings = [
            finding
            for document in documents
            for finding in self._document(document, source)
            if finding.rule not in ignored.get(finding.mark.line or 0, ())
        ]
        # What a rule of ours says of a place, the schema need not say again.
        ours = {each.mark for each in findings if each.rule != SCHEMA and each.severity is Severity.ERROR}
        findings = [each for each in findings if each.rule != SCHEMA or each.mark not in ours]
        return sorted(findings, key=lambda each: (each.mark.line or 0, each.mark.column or 0))

    def _document(self, document: Node, source: str) -> Iterator[Finding]:
        if isinstance(document, ScalarNode) and document.value is None:
            return
        if not isinstance(document, MapNode):
            yield Finding(
                YAML,
                Severity.ERROR,
                document.mark,
                f"a document must be a mapping, not {KIND[type(document)]}",
                'begin with "apiVersion:", "kind:" and "metadata:"',
            )
            return
        if self._schemas is not None:
            yield from self._schemas.check(document)
        if self._configurations and text(document, "kind") == "ConfigMap":
            from podpatterns.pod.lint import configurations

            yield from configurations.check(document, source.splitlines())
        kind = text(document, "kind")
        if kind in TEMPLATES:
            workload = Workload(document, kind)
            for rule in self._rules:
                for found in rule.check(workload):
                    yield Finding(rule.name, rule.severity, found.mark, found.message, found.remedy, found.edit)
