"""Removing what must not leave the pod."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from podpatterns.runtime.regex import check_regex
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.transforms import Transform, TransformConfig

KINDS = {
    "email": r"[A-Za-z0-9._%+\-]{1,64}@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8}",
    "bearer": r"(?i:\bbearer) +[A-Za-z0-9\-._~+/]{8,}=*",
    "jwt": r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*",
    "password": r"""(?i:\b(?:password|passwd|secret|api_?key|token))["']?[=:] ?["']?[^\s"'&,;]+""",
    "card": r"\b(?:\d[ -]?){12,18}\d\b",
    "aws_key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
}
"""Built-in patterns; each is bounded, so that no line makes the search slow."""

_BEYOND = re.compile(r"(?<!\[)\^|\$|\\[AZz]|\(\?<?[=!]")
"""Anchors and look-around: what they find depends on whether a line is alone or stands among others."""


class RedactConfig(TransformConfig, frozen=True, kw_only=True):
    """Replaces secrets and personal data in lines, or in every text of a parsed record, at any depth."""

    EXAMPLE: ClassVar[str] = "{type: redact, kinds: [email, bearer], patterns: ['session=[0-9a-f]+']}"

    kinds: Items[Literal["email", "bearer", "jwt", "password", "card", "aws_key"]] = (
        "bearer",
        "jwt",
        "password",
        "aws_key",
    )
    """Built-in patterns. By default those of credentials; `email` and `card` (numbers of 13 to 19 digits) are added
    where
    they are wanted."""

    patterns: Items[str] = ()
    """Regular expressions of your own, for one line at a time: `^` and `$` are its ends. Those and look-around cost a
    search for each line, where others cost one for each batch."""

    replacement: str = "[redacted]"
    """What stands there instead, as it is."""

    def __post_init__(self) -> None:
        """Check the expressions."""
        if not self.kinds and not self.patterns:
            raise ValueError("needs something to look for: kinds or patterns")
        if "\n" in self.replacement:
            raise InvalidField("replacement", "must be one line")
        for index, pattern in enumerate(self.patterns):
            check_regex(pattern, f"patterns[{index}]", text=True)
            if re.search(pattern, ""):
                raise InvalidField(f"patterns[{index}]", f'"{pattern}" matches nothing at all, and so everywhere')

    def build(self) -> Redact:
        """The transform."""
        return Redact(self)


class Redact(Transform):
    """One expression for all kinds, one search through the whole batch where nothing has been parsed."""

    def __init__(self, config: RedactConfig) -> None:
        self._names = [*config.kinds, *(f'the pattern "{pattern}"' for pattern in config.patterns)]
        parts = [*(KINDS[kind] for kind in config.kinds), *config.patterns]
        self._expressions = [re.compile(part) for part in parts]
        self._replacement = config.replacement
        self._each = any(_BEYOND.search(pattern) for pattern in config.patterns)

    def reason(self, batch: Batch) -> str:
        """The kinds and patterns that find something, and what."""
        texts = list(_texts(batch.records[0])) if batch.parsed else [line.decode() for line in batch.lines]
        found: list[str] = []
        for name, expression in zip(self._names, self._expressions, strict=True):
            matches = [match[0] for text in texts for match in expression.finditer(text)]
            texts = [expression.sub(lambda _: self._replacement, text) for text in texts]
            if matches:
                found.append(f"{name}: {', '.join(matches)}")
        return "; ".join(found)

    def apply(self, batch: Batch) -> Batch:
        """The batch without what was found; how often is noted as `redacted`."""
        if not len(batch):
            return batch
        if batch.parsed:
            count = 0
            records = []
            for record in batch.records:
                clean, found = self._value(record)
                records.append(clean)
                count += found
            batch.note("redacted", count)
            return batch.with_records(records)
        lines = batch.decoded.split("\n")
        if not self._each:
            text, count = self._text("\n".join(lines))
        if self._each or (count and text.count("\n") + 1 != len(lines)):
            # An expression looks, or has reached, across a line's end: each line alone, then.
            pairs = [self._text(line) for line in lines]
            text, count = "\n".join(clean for clean, _ in pairs), sum(found for _, found in pairs)
        batch.note("redacted", count)
        return batch.with_text(text.encode()) if count else batch

    def _text(self, text: str) -> tuple[str, int]:
        count = 0
        for expression in self._expressions:
            text, found = expression.subn(lambda _: self._replacement, text)
            count += found
        return text, count

    def _value(self, value: Any) -> tuple[Any, int]:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict):
            pairs = {name: self._value(item) for name, item in value.items()}
            return {name: clean for name, (clean, _) in pairs.items()}, sum(found for _, found in pairs.values())
        if isinstance(value, list):
            items = [self._value(item) for item in value]
            return [clean for clean, _ in items], sum(found for _, found in items)
        return value, 0


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)
