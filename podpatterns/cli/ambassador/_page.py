"""The status of an ambassador as lines for a terminal. Pure: the answer of `GET /ambassador` comes in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

BAR = 20
"""Characters of a bar for 100 %."""

_EIGHTHS = " ▏▎▍▌▋▊▉"
_LEFT = frozenset({"version", "bar", "flags", "upstream", "address", "state"})
_UNTITLED = frozenset({"bar", "flags", "state"})

Page = Mapping[str, Any]
Row = Mapping[str, str]


def lines(page: Page, before: Page | None = None, elapsed: float = 1.0, *, plain: bool = False) -> Iterator[str]:
    """The whole page; with an earlier one, `elapsed` seconds ago, requests per second as well.

    `plain` keeps to ASCII.
    """
    for name, listener in page["listeners"].items():
        yield name if not listener["port"] or name.endswith(f":{listener['port']}") else f"{name} :{listener['port']}"
        for index, route in enumerate(listener["routes"]):
            yield f"  {route['route']}: {route['match']}"
            earlier = _earlier(before, name, index)
            rows = [
                _version(version, each, earlier.get(version), elapsed, plain=plain)
                for version, each in route["versions"].items()
            ]
            yield from aligned(rows, "    ")
            if here := route.get("answered_here"):
                why = _counted(here["flags"])
                yield f"    answered here: {here['requests']:,}{f' ({why})' if why else ''}"
            if route.get("ramp"):
                yield f"    ramp of {ramp(route['ramp'])}"
    yield "upstreams"
    yield from aligned(list(_addresses(page["upstreams"])), "  ")


def _earlier(before: Page | None, listener: str, index: int) -> Mapping[str, Any]:
    if before is None:
        return {}
    routes = before["listeners"].get(listener, {}).get("routes", ())
    versions: Mapping[str, Any] = routes[index]["versions"] if index < len(routes) else {}
    return versions


def _version(name: str, now: Page, before: Page | None, elapsed: float, *, plain: bool) -> Row:
    share = now["share_since_change"] if now["share_since_change"] is not None else now["share"]
    per_second = "" if before is None else f"{max(0, now['requests'] - before['requests']) / elapsed:,.0f}"
    return {
        "version": name,
        "weight": str(now["weight"]),
        "share": percent(share),
        "bar": "" if share is None else bar(share, plain=plain),
        "overall": percent(now["share"]),
        "requests": f"{now['requests']:,}",
        "per second": per_second,
        "success": percent(now.get("success")),
        "p50": seconds(now.get("p50_seconds")),
        "p99": seconds(now.get("p99_seconds")),
        "flags": _counted(now.get("flags", {})),
    }


def _counted(flags: Mapping[str, int]) -> str:
    return ", ".join(f"{flag} {count:,}" for flag, count in flags.items())


def ramp(state: Page) -> str:
    """Where a ramp stands, in one line."""
    at = f"step {state['step']} of {len(state['steps'])}, {state['percent']} %"
    reason = f": {state['reason']}" if state["reason"] else ""
    if state["state"] == "done":
        return f"{state['version']}: done, {state['percent']} %{reason}"
    if state["state"] == "rolled_back":
        return f"{state['version']}: rolled back to 0 %{reason}"
    if state["state"] == "by_hand":
        return f"{state['version']}: ended{reason}"
    if state["state"] == "paused":
        return f"{state['version']}: paused at {at}"
    watched = f"{state['watched_seconds'] or 0:.0f} of {state['every_seconds']:g} s"
    seen = f"{state['requests']:,} of {state['min_requests']:,} requests"
    success = "" if state["success"] is None else f", {percent(state['success'])} succeeded"
    return f"{state['version']}: {at}; {watched}, {seen}{success}"


def _addresses(upstreams: Mapping[str, Any]) -> Iterator[Row]:
    for name, each in upstreams.items():
        first = True
        for address, state in each.get("addresses", {"-": ""}).items():
            yield {
                "upstream": name if first else "",
                "address": address,
                "connections": f"{each['connections']:,}" if first and "connections" in each else "",
                "waiting": f"{each['waiting']:,}" if first and "waiting" in each else "",
                "state": state
                if isinstance(state, str)
                else ", ".join(f"{key} {value}" for key, value in state.items()),
            }
            first = False


def aligned(rows: Sequence[Row], indent: str) -> Iterator[str]:
    """Rows under their titles; a column in which nobody has anything is left out."""
    if not rows:
        return
    columns = [name for name in rows[0] if any(row[name] not in {"", "-"} for row in rows)]
    titles = {name: "" if name in _UNTITLED else name for name in columns}
    widths = {name: max(len(titles[name]), *(len(row[name]) for row in rows)) for name in columns}
    for row in (titles, *rows):
        cells = [row[name].ljust(widths[name]) if name in _LEFT else row[name].rjust(widths[name]) for name in columns]
        yield (indent + "  ".join(cells)).rstrip()


def bar(share: float, *, plain: bool = False) -> str:
    """A share between 0 and 1 as a bar; what is more than nothing shows."""
    if plain:
        return "#" * max(round(share * BAR), int(share > 0))
    whole, eighths = divmod(max(round(share * BAR * 8), int(share > 0)), 8)
    return "█" * whole + (_EIGHTHS[eighths] if eighths else "")


def seconds(value: float | None) -> str:
    """A time with up to three digits and its unit."""
    if value is None:
        return "-"
    if value >= 999.5:
        return f"{value:,.0f} s"
    return f"{value:.3g} s" if value >= 0.9995 else f"{value * 1000:.3g} ms"


def percent(value: float | None) -> str:
    """With two digits where they say something: 99.95 %, but 100 % and 0 %."""
    if value is None:
        return "-"
    return f"{value:.0%}".replace("%", " %") if value in {0, 1} else f"{value:.2%}".replace("%", " %")
