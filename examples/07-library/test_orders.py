"""Tests of the application: its transform alone, and the whole way to a log store that misbehaves."""

import json

import orders
import pytest

import podpatterns
from podpatterns.sidecar.batch import Batch
from podpatterns.sidecar.outputs.http import HttpConfig
from podpatterns.testing import Answer


@pytest.fixture
def taken(tmp_path):
    """Five orders in the log."""
    handler = orders.log_to(tmp_path)
    for number in range(5):
        orders.take_order(number, customer="ada")
    yield tmp_path
    orders.log.removeHandler(handler)
    handler.close()


def test_customers_are_hidden():
    """A transform is a plain function of a batch."""
    batch = Batch.of(["x", "y"]).with_records([{"customer": "ada", "order": "1"}, {"order": "2"}])
    assert orders.hide_customers(batch).records == [{"customer": "***", "order": "1"}, {"order": "2"}]


async def test_every_order_is_in_the_store_when_the_block_is_left(taken):
    """Leaving the block drains: nothing that was logged is missing."""
    async with podpatterns.Sidecar(orders.shipping(taken)):
        pass
    records = [json.loads(line) for line in (taken / "store.ndjson").read_text().splitlines()]
    assert [record["order"] for record in records] == ["0", "1", "2", "3", "4"]
    assert {record["customer"] for record in records} == {"***"}


async def test_a_store_that_is_busy_is_asked_again(taken, fake_server):
    """503 loses nothing: the same lines come again."""
    fake_server.will(Answer(503, headers={"Retry-After": "0"}))
    async with podpatterns.Sidecar(orders.shipping(taken, HttpConfig(url=f"{fake_server.url}/logs"))):
        refused, accepted = await fake_server.received(2)
    assert refused.body == accepted.body
    assert len(accepted.body.splitlines()) == 5
