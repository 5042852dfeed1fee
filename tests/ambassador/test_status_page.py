"""The status page as text: pure, so every case is a table."""

import pytest

from podpatterns.cli.ambassador import _page

VERSIONS = {
    "stable": {
        "weight": 90, "requests": 1234, "share": 0.9038, "share_since_change": 0.9, "success": 1.0,
        "p50_seconds": 0.0012, "p99_seconds": 0.25, "flags": {},
    },
    "test": {
        "weight": 10, "requests": 131, "share": 0.0962, "share_since_change": 0.1, "success": 0.9771,
        "p50_seconds": 0.0034, "p99_seconds": 1.5, "flags": {"truncated": 2, "reset": 1},
    },
}  # fmt: skip
RAMP = {
    "version": "test", "state": "ramping", "step": 2, "steps": [1, 10, 100], "percent": 10, "reason": "",
    "watched_seconds": 13.2, "every_seconds": 60.0, "requests": 131, "min_requests": 200, "success": 0.9771,
}  # fmt: skip
PAGE = {
    "listeners": {
        "web": {"port": 8700, "routes": [{"route": "shop", "match": "path below /shop", "versions": VERSIONS}]},
    },
    "upstreams": {
        "stable": {"connections": 4, "waiting": 0, "addresses": {"10.0.0.7:80": "ok", "10.0.0.8:80": "rests for 3.0s"}},
        "test": {"connections": 1, "waiting": 2, "addresses": {"10.0.1.7:80": {"state": "ejected", "until": "9s"}}},
    },
}


def page(**ramp):
    route = {**PAGE["listeners"]["web"]["routes"][0], "ramp": {**RAMP, **ramp} if ramp else None}
    return {**PAGE, "listeners": {"web": {"port": 8700, "routes": [route]}}}


def test_the_whole_page():
    """Listener, route, a row for each version under its titles, and every address."""
    assert "\n".join(_page.lines(page())) == (
        """\
web :8700
  shop: path below /shop
    version  weight    share                      overall  requests  success     p50     p99
    stable       90  90.00 %  ██████████████████  90.38 %     1,234    100 %  1.2 ms  250 ms
    test         10  10.00 %  ██                   9.62 %       131  97.71 %  3.4 ms   1.5 s  truncated 2, reset 1
upstreams
  upstream  address      connections  waiting
  stable    10.0.0.7:80            4        0  ok
            10.0.0.8:80                        rests for 3.0s
  test      10.0.1.7:80            1        2  state ejected, until 9s"""
    )


def test_rates_come_from_two_looks():
    """Requests since the look before, per second; a version that has come in between counts from then on."""
    before = page()
    later = {name: {**each, "requests": each["requests"] + 50} for name, each in VERSIONS.items()}
    route = {**before["listeners"]["web"]["routes"][0], "versions": later}
    now = {**before, "listeners": {"web": {"port": 8700, "routes": [route]}}}
    text = list(_page.lines(now, before, 2.0, plain=True))
    assert "per second" in text[2]
    assert " 25 " in text[3]
    assert "##" in text[3]


@pytest.mark.parametrize(
    ("flags", "text"), [({}, "1,200"), ({"rate_limited": 7, "fault": 1}, "1,200 (rate_limited 7, fault 1)")]
)
def test_what_is_answered_here(flags, text):
    """A route without versions has no table; what was answered in the place of an upstream is told with its reasons."""
    here = {"requests": 1200, "flags": flags}
    route = {"route": "old", "match": "every request", "versions": {}, "answered_here": here, "ramp": None}
    moved = {"listeners": {"web": {"port": 0, "routes": [route]}}, "upstreams": {}}
    assert list(_page.lines(moved)) == ["web", "  old: every request", f"    answered here: {text}", "upstreams"]


def test_what_nobody_has_has_no_column():
    """TCP listeners have no success and no flags; a fresh start has no shares."""
    bare = {"weight": 1, "requests": 0, "share": None, "share_since_change": None}
    fresh = {
        "listeners": {
            "127.0.0.1:5432": {"port": 5432, "routes": [{"route": "r", "match": "m", "versions": {"a": bare}}]}
        },
        "upstreams": {"a": {}},
    }
    assert list(_page.lines(fresh)) == [
        "127.0.0.1:5432", "  r: m", "    version  weight  requests", "    a             1         0",
        "upstreams", "  upstream", "  a",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"state": "ramping"}, "test: step 2 of 3, 10 %; 13 of 60 s, 131 of 200 requests, 97.71 % succeeded"),
        ({"state": "ramping", "success": None}, "test: step 2 of 3, 10 %; 13 of 60 s, 131 of 200 requests"),
        ({"state": "paused"}, "test: paused at step 2 of 3, 10 %"),
        ({"state": "done", "percent": 100, "reason": "all is well"}, "test: done, 100 %: all is well"),
        ({"state": "rolled_back", "reason": "90 % succeeded"}, "test: rolled back to 0 %: 90 % succeeded"),
        ({"state": "by_hand", "reason": "by hand"}, "test: ended: by hand"),
    ],
)
def test_a_ramp_is_one_line(state, line):
    """Where it stands, what it waits for, and why it ended."""
    assert _page.ramp({**RAMP, **state}) == line
    assert f"    ramp of {line}" in list(_page.lines(page(**state)))


@pytest.mark.parametrize(
    ("share", "fine", "plain"),
    [(0.0, "", ""), (1.0, "█" * 20, "#" * 20), (0.5, "█" * 10, "#" * 10), (0.0001, "▏", "#"), (0.03, "▋", "#")],
)
def test_bars(share, fine, plain):
    """Proportional, and what is more than nothing shows."""
    assert (_page.bar(share), _page.bar(share, plain=True)) == (fine, plain)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.00004, "0.04 ms"), (0.25, "250 ms"), (0.9999, "1 s"), (2.5, "2.5 s"), (4321.0, "4,321 s")],
)
def test_times(value, text):
    """Three digits and a unit."""
    assert _page.seconds(value) == text
