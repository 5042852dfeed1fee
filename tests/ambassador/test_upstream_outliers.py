"""Outlier detection as a pure state machine: clock and dice are arguments."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.endpoints.outliers import OutliersConfig, Reason, Record, State, retry_after
from podpatterns.errors import ConfigError
from podpatterns.runtime.decode import validated
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration, Share

CONFIG = OutliersConfig()


def fail(record, times):
    """The reasons that so many failures in a row give."""
    return [record.failed(0) for _ in range(times)]


def test_failures_in_a_row():
    """The fifth one is one too many; a good answer in between starts the count anew."""
    record = Record(CONFIG)
    assert fail(record, 4) == [None] * 4
    record.succeeded(0)
    assert not record.troubled
    assert fail(record, 5) == [None, None, None, None, Reason.FAILURES]


def test_connections_are_counted_apart():
    """Three in a row; what answers say does not matter, an open connection does."""
    record = Record(CONFIG)
    assert [record.connect_failed(), record.connect_failed()] == [None, None]
    assert not record.connected(0)
    assert [record.connect_failed() for _ in range(3)] == [None, None, Reason.CONNECT]


@pytest.mark.parametrize(("others", "reason"), [(0.0, Reason.FAILURE_RATE), (0.3, Reason.FAILURE_RATE), (0.4, None)])
def test_the_failure_rate(others, reason):
    """More than half of at least twenty, and twice as bad as the others: where all fail, nobody is to blame."""
    config = msgspec.structs.replace(CONFIG, failures=None)
    record, found = Record(config), []
    for requests in range(1, 41):
        if requests % 5 < 3:
            found.append(record.failed(requests, others))
        else:
            record.succeeded(0.0)
    assert found[:10] == [None] * 10  # too few requests so far
    assert next(filter(None, found), None) is reason


def test_old_failures_are_forgotten():
    """Failures count within the window, however many there were before."""
    record = Record(msgspec.structs.replace(CONFIG, failures=None))
    assert [record.failed(requests) for requests in range(1, 19)] == [None] * 18
    record.begin_window(19)
    assert [record.failed(requests) for requests in range(20, 39)] == [None] * 19
    assert record.recent(38) == (19, 19)
    assert record.failed(39) is Reason.FAILURE_RATE


def test_the_whole_way_round():
    """Rest, one trial, longer rest, trial, back; and after that the first rest is short again."""
    record = Record(CONFIG)
    assert record.eject(100.0, Reason.FAILURES, 1.0) == 1.0
    assert record.state is State.RESTING
    assert not record.due(100.9)
    assert record.due(101.0)
    assert fail(record, 9) == [None] * 9  # answers to what was sent before
    assert not record.succeeded(100.5)
    record.try_again(101.0, 5.0)
    assert not record.due(101.1)
    assert record.failed(0) is Reason.FAILURES
    assert record.eject(101.2, Reason.FAILURES, 1.0) == 2.0
    record.try_again(103.2, 5.0)
    assert record.succeeded(103.3)
    assert record.state is State.WELL
    assert not record.troubled
    assert record.eject(200.0, Reason.FAILURES, 1.0) == 1.0


def test_who_flaps_rests_longer_and_longer():
    """Being well for a moment is no reason to start with a short rest again; being well for long is."""
    record, now, rests = Record(CONFIG), 0.0, []
    for _ in range(7):
        rests.append(record.eject(now, Reason.FAILURES, 1.0))
        now += rests[-1]
        record.try_again(now, 5.0)
        assert record.succeeded(now)
        now += 0.1
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    assert record.eject(now + 30.0, Reason.FAILURES, 1.0) == 1.0


def test_a_connection_brings_back_who_could_not_be_connected_to():
    """And nobody else: that somebody listens says nothing about what he answers."""
    record = Record(CONFIG)
    record.eject(0.0, Reason.CONNECT, 0.0)
    assert record.connected(0.1)
    record.eject(1.0, Reason.FAILURES, 0.0)
    assert not record.connected(1.1)
    assert record.state is State.RESTING


def test_a_trial_of_which_nobody_tells():
    """Is lost after a while, and another request is tried; else the endpoint would be out for ever."""
    record = Record(CONFIG)
    record.eject(0.0, Reason.FAILURES, 0.0)
    record.try_again(1.0, 5.0)
    assert not record.due(5.9)
    assert record.due(6.0)


def test_a_trial_that_cannot_connect():
    """Has failed, whatever the rest was for."""
    record = Record(CONFIG)
    record.eject(0.0, Reason.FAILURES, 0.0)
    record.try_again(1.0, 5.0)
    assert record.connect_failed() is Reason.CONNECT


@given(st.lists(st.tuples(st.sampled_from(list(Reason)), st.floats(0, 1, exclude_max=True), st.floats(0, 1e6))))
def test_rests_are_bounded(ejections):
    """Each rest lies between half of the first bound and the last bound, also with what Retry-After asks for."""
    record, now = Record(CONFIG), 0.0
    for reason, u, at_least in ejections:
        rest = record.eject(now, reason, u, at_least)
        assert 0.5 <= rest <= CONFIG.max_rest
        assert rest >= min(at_least, CONFIG.max_rest)
        now = record.until
        record.try_again(now, 1.0)


@given(st.lists(st.sampled_from(["connect_failed", "connected", "failed", "succeeded", "wait", "try"]), max_size=200))
def test_no_sequence_leads_astray(moves):
    """Whatever happens in which order: a rest ends, and then a good answer always brings the endpoint back."""
    record, now, requests = Record(CONFIG), 0.0, 0
    for move in moves:
        if move == "wait":
            now += 0.7
        elif move == "try":
            if record.due(now):
                record.try_again(now, 3.0)
        elif move == "failed":
            requests += 1
            if reason := record.failed(requests):
                record.eject(now, reason, 0.5)
        elif move == "connect_failed":
            if reason := record.connect_failed():
                record.eject(now, reason, 0.5)
        else:
            getattr(record, move)(now)
        assert record.state is State.WELL or record.troubled
    if record.state is not State.WELL:
        now = max(now, record.until)
        record.try_again(now, 3.0)
        assert record.succeeded(now)
    assert record.state is State.WELL


DATE = b"\r\nDate: Mon, 23 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        (b"", 0),
        (b"\r\nRetry-After: 7", 7),
        (b"\r\nretry-after:  120 \t", 120),
        (b"\r\nRetry-After: 99999999999999999999", 999999999),
        (b"\r\nRetry-After: -3", 0),
        (b"\r\nRetry-After: soon", 0),
        (b"\r\nRetry-After:", 0),
        (b"\r\nRetry-After: Mon, 23 Nov 2026 10:00:30 GMT" + DATE, 30),
        (b"\r\nRetry-After: Mon, 23 Nov 2026 09:00:30 GMT" + DATE, 0),
        (b"\r\nRetry-After: Mon, 23 Nov 2026 10:00:30" + DATE, 0),  # no time zone on one side
        (b"\r\nRetry-After: Mon, 23 Nov 2026 10:00:30 GMT", 0),  # nothing to count from
        (b"\r\nRetry-After: Mon, 99 Nov 2026 10:00:30 GMT" + DATE, 0),
    ],
)
def test_retry_after(fields, seconds):
    """Seconds, or a date counted from the response's own; nothing where it makes no sense."""
    assert retry_after(b"HTTP/1.1 503 No" + fields + b"\r\n") == seconds


@given(st.binary(max_size=40))
def test_any_retry_after(value):
    """No bytes raise anything."""
    assert retry_after(b"HTTP/1.1 503 No\r\nRetry-After: " + value + DATE + b"\r\n") >= 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rest": Duration("1m")}, "rest: 1m is longer than max_rest, 30s"),
        ({"rest": Duration("0s")}, "rest: must be longer than nothing; to eject no address, set failures to null"),
        ({"window": Duration("0s")}, "window: must be longer than nothing"),
        ({"failures": 0}, "failures: must be at least 1"),
        ({"failure_rate": Share(1)}, None),
    ],
)
def test_mistakes(options, message):
    """Are named, with what to do."""
    if message is None:
        assert validated(OutliersConfig(**options)) == OutliersConfig(**options)
        return
    with pytest.raises((ConfigError, InvalidField)) as caught:
        validated(OutliersConfig(**options))
    field = f"{caught.value.field}: " if isinstance(caught.value, InvalidField) else ""
    assert field + str(caught.value) == message
