"""Why lines are refused, whatever their format; and the numbers that all of them have."""

from __future__ import annotations

import re
from math import isfinite

REASONS = {
    "not_utf8": "the line is not UTF-8 text",
    "no_name": "no name stands before the colon",
    "no_value": 'there is no value; a line of StatsD reads "name:value|type"',
    "no_type": 'no type: a line reads "name:value|type"',
    "unknown_type": "the type is none of c, g, ms, h, d, s",
    "not_a_number": "the value is not a decimal number",
    "not_finite": "NaN and infinity would spoil the sum for ever",
    "sample_rate": "the sample rate must lie between 0.000001 and 1",
    "bad_tags": "a tag has no name",
    "mixed_tags": "tags are written in two styles at once; use one",
    "unknown_section": "a section behind the type is of no known kind",
    "timestamp": "the timestamp is not a whole number of seconds",
    "bad_event": "the event's lengths do not fit its text",
    "bad_check": 'a service check reads "_sc|name|status", with a status from 0 to 3',
    "negative_counter": "a counter cannot go down",
    "type_conflict": "another type of metric has this name already",
    "series_budget": "the number of series has reached its budget",
    "bad_line": "the line does not have the form that this input takes",
    "bad_path": "a function of the path was given what it cannot work with",
    "no_number": "none of the fields is a number; text cannot be a metric",
    "too_long": "the line is longer than is accepted",
    "bad_pickle": "the pickle is no list of names, times and numbers; what else a pickle can say is never run",
    "no_temporality": "the metric does not say whether its points are changes or sums",
    "bad_buckets": "the buckets of the histogram do not fit together",
    "out_of_order": "the point is not newer than the one before it",
}
"""Every reason for which a line is refused, as it stands in the metric, with its explanation."""


class Refused(ValueError):  # noqa: N818 - named after what happened to the line
    """A line that means nothing; `reason` is a key of REASONS, `detail` the part in question."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason, self.detail = reason, detail
        super().__init__(REASONS[reason] + (f': "{detail}"' if detail else ""))


_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?(?:nan|inf(?:inity)?)", re.IGNORECASE)


def number(text: str) -> float:
    """A value as a float.

    Raises:
        Refused: not_a_number or not_finite; Python's own `1_000` and ` 1` are refused as well.
    """
    if _DECIMAL.fullmatch(text):
        value = float(text)
        if isfinite(value):
            return value
        raise Refused("not_finite", text)
    raise Refused("not_finite" if _NOT_FINITE.fullmatch(text) else "not_a_number", text)
