"""Figures out of JSON documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from math import isfinite
from typing import Any, ClassVar, Literal

import msgspec

from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.fetching import Fetch, FetchConfig, Name
from podpatterns.adapter.inputs import Input, Wiring
from podpatterns.adapter.naming import check_labels
from podpatterns.formats.families import Family, is_metric_name
from podpatterns.formats.json_path import Path
from podpatterns.formats.json_text import text
from podpatterns.formats.numbers import scaled
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Duration, Size

KEY = "@key"
"""The path of a label that means the key, or the number, by which the last projection reached a thing."""


class JsonMetricConfig(Config, frozen=True, kw_only=True):
    """One metric: where its samples are in the document, and how they are read."""

    name: str
    """The metric's name, as it is on the page: counters end in `_total`."""

    path: str = ""
    """The things that have a sample each, in JMESPath (jmespath.org): `queues[*]` is every element of an array,
    `queues[?state=='up']` those of which that is true, `components.*` every value of an object, `a.b[0]` one thing,
    `a."odd key"` one with an odd key, `length(queues)` how many there are. Empty: the document itself."""

    value: str = ""
    """The path from such a thing to its value, in JMESPath as well. Empty: it is the value."""

    labels: dict[str, str] = {}
    """Labels by the paths from such a thing to their values; `@key` is the key that the last `*` stood for, or the
    number of the element in its array."""

    kind: Literal["gauge", "counter"] = "gauge"
    """What the metric is."""

    help: str = ""
    """The metric's help text. Empty: it names the paths."""

    read: Literal["number", "duration", "size", "percent", "date"] = "number"
    """How a value that is text is read. `number`: the number in front, as in `95 Mbps`; `duration`: `1m30s`, in
    seconds; `size`: `4MiB`, in bytes; `percent`: `1%`, as 0.01; `date`: ISO 8601, in seconds since 1970, in UTC
    where it does not say."""

    values: dict[str, float] = {}
    """Numbers for values that are words, such as `{UP: 1, DOWN: 0}`; tried before `read`. True and false are 1 and 0
    by themselves."""

    scale: float = 1.0
    """What every value is multiplied with, such as 0.001 for milliseconds."""

    def __post_init__(self) -> None:
        if not is_metric_name(self.name):
            raise InvalidField("name", f'"{self.name}" is no name of a metric; use letters, digits, _ and :')
        texts = {"path": self.path, "value": self.value}
        texts |= {f"labels.{label}": path for label, path in self.labels.items() if path != KEY}
        for field, path in texts.items():
            try:
                Path(path)
            except ValueError as error:
                raise InvalidField(field, str(error)) from None
        check_labels(self.labels)


class JsonConfig(FetchConfig, frozen=True, kw_only=True):
    """Figures out of a JSON document that is fetched whenever a page is wanted; `<name>_up` says whether it came.

    A path that leads nowhere gives no sample; a value that cannot be read is refused and counted, with its metric.
    """

    EXAMPLE: ClassVar[str] = """
    type: json
    url: http://localhost:8080/actuator/health
    name: shop
    metrics:
    - name: shop_component_up
      path: components.*
      value: status
      values: {UP: 1, DOWN: 0}
      labels: {component: "@key"}
    """

    name: Name
    """What the source is called: the beginning of `<name>_up`, and the name in logs."""

    metrics: list[JsonMetricConfig]
    """What is taken out of the document; it is parsed once for all of them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.metrics:
            raise InvalidField("metrics", "name what is taken out of the document, such as {name: x, path: a.b}")

    def build(self, wiring: Wiring) -> Input:
        """The input."""
        return Json(self, wiring.events)


class Json(Fetch):
    """Walks the document once for each metric."""

    accept = "application/json"

    def __init__(self, config: JsonConfig, events: AdapterEvents) -> None:
        super().__init__(config, events)
        self.name = f"json input {config.name}"
        self._metrics = [Extraction(metric, events.line_refused) for metric in config.metrics]

    def read(self, body: bytes, content_type: str) -> list[Family]:  # noqa: ARG002 - many say text/plain
        """The families of a document. Raises ValueError where it is none."""
        try:
            document = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(f"this is not JSON: {error}") from None
        return [metric.family(document) for metric in self._metrics]


class Extraction:
    """One metric, made ready. `refused` is told the reason and the metric for each value that cannot be read."""

    def __init__(self, config: JsonMetricConfig, refused: Callable[[str, str], None]) -> None:
        self._config, self._refused = config, refused
        self._path, self._value = Path(config.path), Path(config.value)
        self._labels = {label: Path(path) for label, path in config.labels.items() if path != KEY}
        self._keyed = [label for label, path in config.labels.items() if path == KEY]
        self._help = config.help or f"{config.value or 'The value'} of {config.path or 'the document'}."

    def family(self, document: Any) -> Family:
        """Every sample that there is."""
        family = Family(self._config.name, self._config.kind, self._help)
        try:
            for key, thing in self._path.find(document):
                self._add(family, key, thing)
        except ValueError as error:
            self._refused("bad_path", f"{self._config.name}: {error}")
        return family

    def _add(self, family: Family, key: str, thing: Any) -> None:
        """One sample, if there is one."""
        try:
            value = self._value.first(thing)
            if value is None:
                return  # null and what is not there are no values
            labels = list(self._pairs(key, thing))
        except ValueError as error:
            self._refused("bad_path", f"{self._config.name}: {error}")
            return
        try:
            (found,) = scaled((number(value, self._config),), self._config.scale)
        except (ValueError, OverflowError):
            self._refused("not_a_number", f"{self._config.name}: {str(value)[:60]!r}")
            return
        if isfinite(found):
            family.add(found, labels)
        else:
            self._refused("not_finite", f"{self._config.name}: {str(value)[:60]!r}")

    def _pairs(self, key: str, thing: Any) -> Iterator[tuple[str, str]]:
        for label in self._keyed:
            yield label, key
        for label, path in self._labels.items():
            yield label, text(path.first(thing))


_FRONT = re.compile(r"\s*([-+]?[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)(?:\s*[^\s0-9.,].*)?", re.DOTALL)


def number(value: Any, config: JsonMetricConfig) -> float:
    """A value of JSON as a number. Raises ValueError."""
    if isinstance(value, (dict, list)):
        raise ValueError("a whole object or array is no number")  # noqa: TRY004 - a value in a document
    word = text(value)
    if word in config.values:
        return config.values[word]
    if not isinstance(value, str):
        return float(value)
    if config.read == "duration":
        return float(Duration(value))
    if config.read == "size":
        return float(Size(value))
    if config.read == "date":
        date = datetime.fromisoformat(value)
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    match = _FRONT.fullmatch(value)
    if match is None:
        raise ValueError("no number stands in front")
    return float(match[1]) / (100 if config.read == "percent" else 1)
