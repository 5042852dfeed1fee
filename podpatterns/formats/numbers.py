"""Numbers as Prometheus writes them, a whole column at a time.

Prometheus writes a float with the fewest digits that give it back, without a fraction where there is none, and with an
exponent from seven digits on: `1`, `0.25`, `1e+06`, `1.5e-07`, `+Inf`, `NaN`. (Go: strconv.FormatFloat(f, 'g', -1,
64).)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import isfinite, isinf

import msgspec

_json = msgspec.json.Encoder().encode

# A plain integer of seven digits or more, or a fraction with such an integer before it: Go uses an exponent there.
_LONG = re.compile(r"^(-?)(\d)(\d{6,})(?:\.(\d+))?$", re.MULTILINE)
_SPECIAL = re.compile(r"^(?:-?inf|nan)$", re.MULTILINE)
_NAN = re.compile(r"[-+]nan", re.IGNORECASE)
_WORDS = {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}


def _exponent(match: re.Match[str]) -> str:
    sign, first, rest, fraction = match.groups()
    digits = (rest + (fraction or "")).rstrip("0")
    return f"{sign}{first}{'.' if digits else ''}{digits}e+{len(rest):02d}"


def _word(match: re.Match[str]) -> str:
    return _WORDS[match[0]]


def column(values: Sequence[float]) -> list[str]:
    """Every value as text."""
    if not values:
        return []
    return _usual(values) or _any(values)


def _usual(values: Sequence[float]) -> list[str] | None:
    """The same where JSON's way to write a float is Go's, but for a `.0`; a third of the cost of `repr`.

    That is so for what is finite, below a million, and zero or not tiny. Where every value is finite, so is their sum;
    one that is not tells nothing, and is a no.
    """
    if not isfinite(sum(values)) or min(values) <= -1e6 or max(values) >= 1e6:
        return None
    text = _json(values).decode()[1:-1]
    if "e-" in text or "0.0000" in text:
        return None
    return f"{text},".replace(".0,", ",")[:-1].split(",")


def _any(values: Sequence[float]) -> list[str]:
    """The same for every column. Works on the joined column, so that nothing is done per value but `repr`."""
    text = "\n".join(map(repr, values)) + "\n"
    text = text.replace(".0\n", "\n")
    if "n" in text:
        text = _SPECIAL.sub(_word, text)
    return _LONG.sub(_exponent, text)[:-1].split("\n")


def number(value: float) -> str:
    """One value as text."""
    return column((float(value),))[0]


def canonical(value: float) -> str:
    """A value as OpenMetrics wants it in `le` and `quantile`: `1.0` keeps its fraction."""
    text = number(value)
    return f"{text}.0" if text.lstrip("-").isdigit() else text


def scaled(values: Sequence[float], factor: float) -> Sequence[float]:
    """Each value times a factor. Where that is a division by a whole number it is done as one.

    9 * 0.001 is more than 0.009, as floats go, and would belong in the next bucket; 9 / 1000 is 0.009.
    """
    if factor == 1:
        return values
    divisor = 1 / factor if factor else 0.5
    if divisor.is_integer():
        return [value / divisor for value in values]
    return [value * factor for value in values]


def floats(texts: Iterable[str]) -> list[float]:
    """A column of texts as floats.

    Raises:
        ValueError: one is not a number as Go reads it: Python's own are `1_000`, `-nan`, blanks, other scripts' digits;
            and what is beyond the largest float is infinite only in words.
    """
    texts = list(texts)
    joined = "".join(texts)
    odd = "_" in joined or not joined.isascii() or (joined and joined.split() != [joined])
    if odd or (("n" in joined or "N" in joined) and any(map(_NAN.match, texts))):
        raise ValueError("a number has decimal digits only")
    if joined.isdigit():
        with suppress(ValueError, OverflowError):  # too long for an integer, or empty
            return list(map(float, map(int, texts)))  # takes half the time
    values = list(map(float, texts))
    if not isfinite(sum(values)) and any(map(_beyond, texts, values)):
        raise ValueError("a number is too large")
    return values


def _beyond(text: str, value: float) -> bool:
    return isinf(value) and text[-1].isdigit() | (text[-1] == ".")
