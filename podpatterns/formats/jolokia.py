"""JMX by way of Jolokia: attributes of MBeans as metrics, under the names that Prometheus' jmx_exporter gives them.

`java.lang:type=Memory` with the attribute HeapMemoryUsage becomes `java_lang_memory_heapmemoryusage_used` and so on:
domain, the first property's value, attribute, and keys within it; the other properties become labels.
Source: jolokia.org, "Protocol"; prometheus/jmx_exporter, "default format".
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from podpatterns.formats.families import Family, label_name, metric_name

_PROPERTY = re.compile(r'([^=,]+)=("(?:[^"\\]|\\.)*"|[^,]*)(?:,|$)')


def question(mbeans: Sequence[str]) -> bytes:
    """The request that asks for all attributes of MBeans, or of all that match a pattern."""
    return msgspec.json.encode([{"type": "read", "mbean": each, "ignoreErrors": True} for each in mbeans])


class _Answer(msgspec.Struct):
    request: dict[str, Any]
    status: int = 0
    value: Any = None
    error: str = ""


def read(body: bytes) -> tuple[list[Family], list[str]]:
    """The families that the answers make, and what went wrong with others.

    Raises:
        ValueError: these are no answers of Jolokia.
    """
    try:
        document = msgspec.json.decode(body, type=list[_Answer] | _Answer)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"this is not Jolokia's answer: {error}") from None
    families: dict[str, Family] = {}
    problems = []
    for answer in document if isinstance(document, list) else [document]:
        mbean = str(answer.request.get("mbean", ""))
        if answer.status != 200:
            problems.append(f"{mbean}: {answer.error or answer.status}")
            continue
        pattern = "*" in mbean or "?" in mbean
        found = answer.value if pattern and isinstance(answer.value, dict) else {mbean: answer.value}
        for name, attributes in found.items():
            for metric, value, labels in _samples(name, attributes):
                help_ = f"{metric} of the JVM, by JMX."
                families.setdefault(metric, Family(metric, "unknown", help_)).add(value, labels)
    return list(families.values()), problems


def _samples(mbean: str, attributes: Any) -> Iterator[tuple[str, float, Sequence[tuple[str, str]]]]:
    domain, _, rest = mbean.partition(":")
    properties = [(name, _plain(value)) for name, value in _PROPERTY.findall(rest)]
    if not properties or not isinstance(attributes, dict):
        return
    # `type` comes first, as JMX itself shows it; Jolokia sorts properties by name.
    properties.sort(key=lambda each: each[0] != "type")
    first, *others = properties
    labels = tuple({label_name(name): value for name, value in others}.items())
    for path, value in _numbers(attributes, (domain, first[1])):
        yield metric_name("_".join(path)).lower(), value, labels


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number within, with its path; truth is 1 and 0, and text and lists are no metrics."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, (*path, key))
    elif isinstance(value, (int, float)) and abs(value) <= sys.float_info.max:  # a BigInteger need not be a float
        yield path, float(value)


def _plain(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
