"""Policies change what they say and nothing else: byte for byte, for every message that is known to confuse readers."""

import pytest

from podpatterns.ambassador.policies.faults import AbortConfig, FaultsConfig
from podpatterns.ambassador.policies.headers import FieldsConfig, HeadersConfig
from podpatterns.ambassador.policies.hooks import HooksConfig
from podpatterns.ambassador.policies.rate_limit import RateLimitConfig
from podpatterns.ambassador.policies.rewrite import RewriteConfig
from podpatterns.runtime.units import FunctionRef
from tests.fuzz import cuts
from tests.fuzz.answers import ANSWERS
from tests.fuzz.payloads import PAYLOADS, get
from tests.fuzz.wire import Wire

ADDED = b"X-Shaped: 1\r\n"
SHORT = 1500
"""Bytes; longer rows gain nothing from being cut byte by byte."""


def touch(head):
    """Changes a head, and changes it back."""
    head.headers["x-touched"] = "1"
    del head.headers["x-touched"]


SHAPED = {
    "rate_limit": RateLimitConfig(requests=1000),
    "faults": FaultsConfig(headers={"x-no-such-field": "*"}, abort=AbortConfig()),
    "hooks": HooksConfig(request=FunctionRef(touch), response=FunctionRef(touch)),
    "rewrite": RewriteConfig(regex="/(.*)", to=r"/\g<1>"),
    "headers": HeadersConfig(
        request=FieldsConfig(set={"X-Shaped": "1"}, remove=("x-touched",)),
        response=FieldsConfig(set={"X-Shaped": "1"}, remove=("x-touched",)),
    ),
}


def pieces(data):
    yield [data]
    if len(data) < SHORT:
        yield cuts.bytewise(data)


@pytest.mark.parametrize("name", PAYLOADS)
def test_requests(name):
    """The upstream gets what it gets without policies, and a field more; so does the client."""
    for cut in pieces(PAYLOADS[name].data):
        bare, shaped = Wire().run(cut), Wire(**SHAPED).run(cut)
        assert [sent.replace(ADDED, b"") for sent in shaped.upstream] == bare.upstream
        assert sum(sent.count(ADDED) for sent in shaped.upstream) == len(bare.requests) or bare.refused
        assert shaped.client.replace(ADDED, b"") == bare.client
        assert (shaped.closed, shaped.reset, shaped.refused) == (bare.closed, bare.reset, bare.refused)


@pytest.mark.parametrize("name", ANSWERS)
def test_responses(name):
    """The client gets what it gets without policies, and a field more in each final head that is the upstream's."""
    for cut in pieces(ANSWERS[name].data):
        bare, shaped = (Wire(lambda _, cut=cut: cut, closes=True, **policies).run([get()]) for policies in ({}, SHAPED))
        assert shaped.client.replace(ADDED, b"") == bare.client
        assert (shaped.closed, shaped.reset, shaped.flags) == (bare.closed, bare.reset, bare.flags)
