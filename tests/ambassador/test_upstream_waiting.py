"""Who waits for a connection, who gets it, and for how long an unused one is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.endpoints.keeping import Keeping
from podpatterns.ambassador.endpoints.waiting import Waiting

A, B, C = "ABC"


def test_first_come_first_served():
    """Any connection helps whoever has waited longest."""
    waiting = Waiting(affine=False)
    for exchange in (1, 2, 3):
        waiting.join(exchange, A, None)
    assert [waiting.take(B) for _ in range(4)] == [1, 2, 3, None]


def test_not_where_it_has_failed():
    """Who avoids an endpoint is passed over; the next one in the queue is served."""
    waiting = Waiting(affine=False)
    waiting.join(1, B, avoid=A)
    waiting.join(2, A, None)
    assert [waiting.take(A), waiting.take(A), waiting.take(C)] == [2, None, 1]


def test_nowhere_else_to_go():
    """What has to be avoided and was chosen all the same is the only one there is."""
    waiting = Waiting(affine=False)
    waiting.join(1, A, avoid=A)
    assert waiting.take(A) == 1


def test_affine():
    """Only a connection to the endpoint that was chosen; or the one that was opened for this very request."""
    waiting = Waiting(affine=True)
    waiting.join(1, A, None)
    owner = waiting.join(2, B, None)
    assert waiting.take(C) is None
    assert waiting.take(C, owner) == 2
    assert [waiting.take(B), waiting.take(A)] == [None, 1]


def test_leaving():
    """Who has left gets nothing, and leaves once."""
    waiting = Waiting(affine=False)
    first = waiting.join(1, A, None)
    waiting.join(2, A, None)
    waiting.withdraw(2)
    waiting.withdraw(2)
    assert waiting.leave(first)
    assert not waiting.leave(first)
    assert len(waiting) == 0


STEPS = st.lists(
    st.tuples(st.sampled_from(["join", "take", "leave", "connect"]), st.sampled_from("ABC"), st.sampled_from("ABC-")),
    max_size=60,
)


@given(st.booleans(), STEPS)
def test_nobody_is_lost_and_nobody_is_served_twice(affine, steps):
    """Everybody who joined was served, has left, or waits; in the order of arrival among those who could be served."""
    waiting, joined, done = Waiting(affine=affine), {}, []
    for number, (step, endpoint, avoid) in enumerate(steps):
        if step == "join":
            joined[number] = waiting.join(number, endpoint, None if avoid == "-" else avoid)
        elif step == "take":
            exchange = waiting.take(endpoint)
            fitting = [
                each
                for each, waiter in joined.items()
                if each not in done and (waiter.endpoint == endpoint if affine else waiter.avoid != endpoint)
            ]
            assert exchange == (fitting[0] if fitting else None)
            done += fitting[:1]
        elif step == "leave" and joined:
            done += [min(joined)] if waiting.leave(joined[min(joined)]) else []
        elif joined:
            joined[max(joined)].connecting = True
        assert len(waiting) == len(joined) - len(done)
        assert [each.exchange for each in waiting.stranded] == [
            each for each, waiter in joined.items() if each not in done and not waiter.connecting
        ]
    assert len(set(done)) == len(done)


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        (b"Keep-Alive: timeout=2, max=100", 1.6),
        (b"keep-alive: max=5, Timeout = 3", 2.4),
        (b'Keep-Alive: timeout="1"', 0.8),
        (b"Keep-Alive: timeout=60", 4.0),
        (b"Keep-Alive: max=5", 4.0),
        (b"X-Keep-Alive: timeout=1", 4.0),
        (b"Keep-Alive: timeout=soon", 4.0),
        (b"Keep-Alive: timeout=0", 0.0),
    ],
)
def test_how_long_the_far_side_keeps_connections(field, seconds):
    """Four fifths of what it says, never longer than configured; said once, it is no news."""
    keeping = Keeping(4.0)
    head = b"HTTP/1.1 200 OK\r\n" + field + b"\r\nContent-Length: 0\r\n\r\n"
    assert keeping.told(head) is (seconds < 4.0)
    assert not keeping.told(head)
    assert keeping.seconds == pytest.approx(seconds)


@given(st.lists(st.floats(0, 100)))
def test_what_is_learned_from_connections_that_were_closed(unused):
    """It only becomes shorter, never from what may be a restart, and stays below the shortest time that was seen."""
    keeping = Keeping(4.0)
    for seconds in unused:
        before = keeping.seconds
        assert keeping.closed_after(seconds) is (keeping.seconds < before)
    late = [seconds for seconds in unused if seconds > 0.5]
    assert keeping.seconds <= min(late, default=4.0)
    assert keeping.seconds >= 0.4
