"""Whole connections: what the client sends, what the upstream gets of it, and what comes back. Also at every cut."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import cuts, laws, oracle
from tests.fuzz.answers import ANSWERS
from tests.fuzz.payloads import NEXT, PASSED, PAYLOADS, REFUSED, get
from tests.fuzz.wire import Wire, outcome

GET = get()
SHORT = 3000
"""Bytes; longer rows are about size, and gain nothing from being cut byte by byte."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    """With its status and its reason; what came before it is forwarded, and nothing of it or behind it."""
    payload = REFUSED[name]
    for pieces in ([payload.data], cuts.bytewise(payload.data) if len(payload.data) < SHORT else [payload.data]):
        got = outcome(pieces)
        assert got.refused == [(payload.status, payload.reason)]
        assert len(got.requests) == payload.before
        assert got.closed
        method = payload.data.partition(b" ")[0]
        answers, error = oracle.responses(got.client, [method] * (payload.before + 1))
        assert error is None
        assert [int(answer.first[1]) for answer in answers] == [200] * payload.before + [payload.status]
        assert answers[-1].values(b"connection") == [b"close"]


@pytest.mark.parametrize("name", PASSED)
def test_what_is_passed_on(name):
    """Each message as the one message it is: method, target, fields, payload and trailers."""
    payload = PASSED[name]
    laws.connection(payload.data, [])
    got = outcome([payload.data])
    assert not got.refused
    assert len(got.requests) == payload.before


@pytest.mark.parametrize("name", PAYLOADS)
def test_every_cut(name):
    """Each row, cut at every place in two."""
    data = PAYLOADS[name].data
    if len(data) < SHORT:
        whole = laws.summary(outcome([data]))
        for place in range(1, len(data)):
            assert laws.summary(outcome([data[:place], data[place:]])) == whole, place


@pytest.mark.parametrize("name", ANSWERS)
def test_what_a_client_gets_of_an_answer(name):
    """A whole response, a 502 with the reason, or a reset: never half a message that looks whole."""
    answer = ANSWERS[name]
    for cut in (lambda data: [data], cuts.bytewise):
        if len(answer.data) > SHORT and cut is cuts.bytewise:
            continue
        got = Wire(lambda _, cut=cut: cut(answer.data), closes=True).run([GET])
        answers, error = oracle.responses(got.client, [b"GET"], closed=not got.reset)
        assert error is None
        assert got.flags == ([answer.flag] if answer.flag else [])
        assert got.reset is (answer.payload is None)
        final = answers[-1]
        assert int(final.first[1]) == answer.status
        assert final.complete is not got.reset
        if answer.status != 502 and not got.reset:
            assert final.payload == answer.payload


@pytest.mark.parametrize("name", [name for name, answer in ANSWERS.items() if answer.payload is not None])
def test_the_next_request_gets_its_own_answer(name):
    """Whatever an upstream has sent beyond its response, or broken: none of it is taken for the next answer."""
    seen = 0

    def answers(message):
        nonlocal seen
        seen += 1
        return [ANSWERS[name].data] if seen == 1 else [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext"]

    got = Wire(answers).run([GET, NEXT])
    if seen == 2:
        assert got.client.endswith(b"\r\n\r\nnext")
    assert b"evil" not in got.client
    if "behind" in name:
        assert len(got.upstream) == 2  # a connection with something left on it carries nothing more
    answered, error = oracle.responses(got.client, [b"GET", b"GET"], closed=False)
    assert error is None
    finals = [answer for answer in answered if not answer.first[1].startswith(b"1")]
    assert len(finals) <= seen


STREAMS = st.lists(
    st.sampled_from([payload.data for payload in PAYLOADS.values() if len(payload.data) < 500]), min_size=1, max_size=5
)


@st.composite
def mangled(draw):
    """Several requests in a row, of which one may be damaged."""
    data = b"".join(draw(STREAMS))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(data)))
        new = draw(st.sampled_from([b"", b"\r\n", b"\n", b"\r", b"\x00", b" ", b"0", b":", b"5\r\n", GET, NEXT[:7]]))
        data = data[:at] + new + data[at + draw(st.integers(0, 2)) :]
    return data


@settings(max_examples=100, deadline=None)
@given(mangled(), st.lists(st.integers(0, 3000), max_size=8))
def test_pipelines(data, places):
    """Nothing reaches the upstream that the oracle does not read in the client's bytes, in that order, at any cut."""
    laws.connection(data, places)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from([answer.data for answer in ANSWERS.values() if len(answer.data) < SHORT]),
    st.lists(st.integers(0, 500), max_size=4),
    st.integers(0, 300),
    st.sampled_from([b"", b"\r\n", b"\n", b"\x00", b"0\r\n\r\n", b"5", b" "]),
    st.sampled_from([b"GET", b"HEAD"]),
)
def test_answers(data, places, at, new, method):
    """Whatever the upstream sends, the client gets whole messages or a reset; at any cut the same."""
    laws.answer(data[:at] + new + data[at:], places, method)
