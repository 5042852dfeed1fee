"""What a client prefers: fields such as Accept and Accept-Encoding, items with parameters and weights (RFC 9110, 12.4).

A weight that is no number from 0 to 1 counts as 0: nobody gets what nobody understood.
"""

from __future__ import annotations

from collections.abc import Iterator


def preferences(field: str) -> Iterator[tuple[str, dict[str, str], float]]:
    """Each item in its order: its name in lower case, its parameters, and its weight, 1 where it names none."""
    for item in field.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        given = dict(_parameter(parameter) for parameter in parameters if "=" in parameter)
        yield name.lower(), given, _weight(given.pop("q", "1"))


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), value.strip().strip('"')


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        return 0.0
    return weight if 0 <= weight <= 1 else 0.0
