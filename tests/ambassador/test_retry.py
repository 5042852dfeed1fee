"""Which requests may be sent again: pure, so a table and two properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.retry import CAUSES, Cause, Retry, RetryConfig
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import Duration


def request(method="GET", fields=""):
    return read_request(f"{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode(), Limits())


@pytest.mark.parametrize(
    ("config", "method", "cause", "retries", "allowed"),
    [
        ({}, "GET", "connect", 0, True),
        ({}, "GET", "reset", 1, True),
        ({}, "GET", "reset", 2, False),
        ({}, "GET", "timeout", 0, False),
        ({}, "GET", "503", 0, False),
        ({}, "GET", "", 0, False),
        ({}, "POST", "connect", 0, True),
        ({}, "POST", "reset", 0, False),
        ({}, "PATCH", "reset", 0, False),
        ({"on": ("503",)}, "GET", "503", 0, True),
        ({"on": ("503",)}, "POST", "503", 0, False),
        ({"on": ("503",)}, "GET", "reset", 0, False),
        ({"attempts": 0}, "GET", "connect", 0, False),
    ],
)
def test_what_may_be_repeated(config, method, cause, retries, allowed):
    """Only named causes, only so often; and only what does no harm twice, unless nothing was sent at all."""
    assert Retry(RetryConfig(**config)).allows(cause, request(method), retries) is allowed


def test_a_key_makes_a_request_repeatable():
    """But only where the service keeps to it."""
    keyed = request("POST", "Idempotency-Key: 7\r\n")
    assert not Retry(RetryConfig()).repeatable(keyed)
    assert Retry(RetryConfig(idempotency_key=True)).repeatable(keyed)
    assert not Retry(RetryConfig(idempotency_key=True)).repeatable(request("POST"))


def test_every_cause_of_a_flag_can_be_configured():
    """What stands behind a failure's flag is a cause that `on` may name."""
    assert set(CAUSES.values()) <= set(Cause.__args__)


@given(st.integers(0, 50), st.floats(0, 1, exclude_max=True))
def test_waits_are_bounded(retries, u):
    """A wait never exceeds the highest bound."""
    assert 0 <= Retry(RetryConfig()).delay(retries, u) < 0.25


def test_bounds_are_in_order():
    """The first bound is not above the last."""
    with pytest.raises(InvalidField, match="is below backoff"):
        RetryConfig(backoff=Duration("1s"))
