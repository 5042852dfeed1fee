"""The access log: which requests get a line, and what stands in it."""

import pytest
import structlog
from structlog.testing import capture_logs

from podpatterns import Ambassador
from podpatterns.ambassador.access_log import AccessLogConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.service import Context
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Duration, Share

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET /items?token=secret HTTP/1.1\r\nHost: shop\r\nX-Request-Id: abc-1\r\n\r\n"


@pytest.fixture
def logged(running, connect, upstream):
    """The access lines of some requests on one connection, and the upstream that answered them."""

    async def lines_of(access_log, *, requests=(GET,), behaviour=OK, **options):
        server = await upstream(behaviour)
        with capture_logs() as lines:
            async with running(server, access_log=access_log, **options) as proxy:
                client = await connect(proxy)
                for request in requests:
                    await client.send(request)
                    await client.until(b"\r\n\r\n")
                    await client.exactly(2)
        return [line for line in lines if line["event"] == "ambassador.request.done"], server

    return lines_of


async def test_a_line_says_what_happened(logged):
    """Who asked what, who answered, from where, how long it took; without the query, where secrets stand."""
    routes = (RouteConfig(name="shop", to="stable"),)
    (line,), server = await logged("all", routes=routes)
    assert 0 <= line.pop("seconds") < 10  # in steps of a millisecond: the clock of the loop
    assert line == {
        "event": "ambassador.request.done", "log_level": "info", "listener": "127.0.0.1:0", "route": "shop",
        "method": "GET", "path": "/items", "host": "shop", "status": 200, "version": "stable", "flag": "",
        "address": f"127.0.0.1:{server.port}", "request_id": "abc-1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("access_log", "status", "lines"),
    [
        ("off", 200, 0), ("off", 500, 0), ("errors", 200, 0), ("errors", 404, 0), ("errors", 500, 1), ("all", 200, 1),
        ("all", 500, 1), (AccessLogConfig(), 200, 1), (AccessLogConfig(requests="errors"), 500, 1),
        (AccessLogConfig(sample=Share(0)), 200, 0), (AccessLogConfig(sample=Share(0)), 500, 1),
    ],
)  # fmt: skip
async def test_which_requests_get_a_line(logged, access_log, status, lines):
    """By the configuration, in its short form and in its long one; an error is never left out of a sample."""
    answer = b"HTTP/1.1 %d X\r\nContent-Length: 2\r\n\r\nok" % status
    found, _ = await logged(access_log, behaviour=answer)
    assert len(found) == lines


async def test_a_sample(logged):
    """About its share of the requests, each line with the share, so that counts can be scaled up."""
    found, _ = await logged(AccessLogConfig(sample=Share("50%")), requests=[GET] * 200)
    assert 50 < len(found) < 150  # seven standard deviations
    assert {line["sample"] for line in found} == {0.5}


async def test_a_failure_has_its_flag(running, connect):
    """Nobody answers: the flag says why, whatever the status."""
    with capture_logs() as lines:
        async with running(1, hosts={"failfast": Duration("0s")}) as proxy:
            client = await connect(proxy)
            await client.send(GET)
            await client.until(b"\r\n\r\n")
    (line,) = [each for each in lines if each["event"] == "ambassador.request.done"]
    assert (line["status"], line["flag"], line["retries"]) == (502, "connect_failure", 2)


async def test_flags_are_counted_by_version(running, connect):
    """So that a dashboard can tell why."""
    context = Context(telemetry=Telemetry(structlog.get_logger()))
    async with running(1, hosts={"failfast": Duration("0s")}) as first:
        config = first.config
    async with Ambassador(config, context) as proxy:
        client = await connect(proxy)
        await client.send(GET)
        await client.until(b"\r\n\r\n")
        client.reset()
    labels = 'flag="connect_failure",listener="127.0.0.1:0",route="route-0",version="stable"'
    assert f"podpatterns_ambassador_response_flags_total{{{labels}}} 1.0" in context.telemetry.exposition().decode()


def test_a_sample_of_nothing():
    """Errors are all logged: there is nothing to draw."""
    with pytest.raises(InvalidField, match="goes with requests: all; errors has nothing to draw from"):
        AccessLogConfig(requests="errors", sample=Share("1%"))
