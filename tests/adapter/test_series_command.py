"""Laws of `podpatterns adapter series`: its page, and the command against an adapter that runs."""

from __future__ import annotations

import asyncio
import json

from click.testing import CliRunner

from podpatterns.adapter.config import AdapterConfig, SeriesConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.cli import main
from podpatterns.cli.adapter import _page
from podpatterns.runtime.http_server import HttpReply, HttpRequest, HttpServer
from podpatterns.runtime.service import Request
from podpatterns.runtime.units import Address, Duration


def adapter_with(budget: int) -> Adapter:
    any_port = Address("127.0.0.1:0")
    return Adapter(
        AdapterConfig(
            inputs=[StatsdConfig(listen=any_port)],
            outputs=[PrometheusConfig(listen=any_port, final_scrape=Duration("0s"))],
            series=SeriesConfig(budget=budget, budget_per_metric=4),
        )
    )


async def answer(adapter: Adapter, **query: str) -> dict[str, object]:
    (route,) = adapter.routes()
    return (await route.handle(Request(query))).data  # type: ignore[no-any-return]


async def test_the_whole_page() -> None:
    """Series against the budget, the largest first, and everything that is missing with its reason."""
    async with adapter_with(10) as adapter:
        adapter.feed(b"a:1|c|#x:1\na:1|c|#x:2\na:1|c|#x:3\nb:1|c\nb:NaN|c\nb:x|c\n_sc|x|0")
        assert list(_page.lines(await answer(adapter), plain=True)) == [
            "series 4 of 10 (40 %), metrics 2, lines 7",
            "largest metrics; each may have 4 series",
            "  3  a_total  ###############",
            "  1  b_total  #####",
            "lines refused, by reason",
            "  1  not_a_number",
            "  1  not_finite",
            "lines skipped, by what they are",
            "  1  service_check",
        ]


async def test_nothing_is_missing() -> None:
    """An adapter without any losses says so; so does one without series."""
    async with adapter_with(10) as adapter:
        assert list(_page.lines(await answer(adapter))) == [
            "series 0 of 10 (0 %), metrics 0, lines 0",
            "nothing was refused, dropped or left out",
        ]


async def test_what_is_beyond_the_budget_is_named() -> None:
    """Overflowed samples by their metrics, those with new names among them."""
    async with adapter_with(2) as adapter:
        adapter.feed(b"a:1|c|#x:1\na:1|c|#x:2\na:1|c|#x:3\nb:1|c")
        text = "\n".join(_page.lines(await answer(adapter, top="1")))
        assert "samples beyond the budget" in text
        assert '  1  ""' in text
        assert "  1  a_total" in text


async def test_what_a_format_has_no_place_for_is_told() -> None:
    """By output and reason, like all that is missing at the far side."""
    async with adapter_with(10) as adapter:
        adapter.events.samples_left_out("cloudwatch", "not_finite", 2)
        adapter.events.samples_left_out("cloudwatch", "not_finite", 1)
        found = await answer(adapter)
        assert found["samples_left_out"] == {"cloudwatch: not_finite": 3}
        assert list(_page.lines(found))[1:] == [
            "samples that an output's format has no place for, by output and reason",
            "  3  cloudwatch: not_finite",
        ]


async def test_what_waits_is_shown_with_what_is_wrong() -> None:
    """An output that is down loses nothing for a while; whoever misses something has to be told all the same."""
    async with adapter_with(10) as adapter:
        adapter.events.deliveries_waiting("otlp", 4000)
        adapter.events.delivery_failed("otlp", "http://x/", "answered 503 Service Unavailable")
        adapter.events.deliveries_waiting("json", 0)
        found = await answer(adapter)
        assert found["deliveries_waiting"] == {"otlp": {"bytes": 4000, "error": "answered 503 Service Unavailable"}}
        assert list(_page.lines(found))[1:3] == [
            "bytes that wait to be delivered, by output, and what was wrong the last time",
            "  4,000  otlp  answered 503 Service Unavailable",
        ]


async def test_the_command_asks_the_admin_endpoint() -> None:
    """Text for people and JSON for programs; an endpoint that is no adapter's is told from one that is not there."""
    async with adapter_with(10) as adapter:
        adapter.feed(b"a:1|c")

        async def handle(request: HttpRequest) -> HttpReply:
            if request.path != "/adapter/series":
                return HttpReply(404, b"", "text/plain")
            data = await answer(adapter, **request.query)
            return HttpReply(200, json.dumps(data).encode(), "application/json")

        async def somebody_else(_request: HttpRequest) -> HttpReply:
            return HttpReply(200, b"<html>", "text/html")

        async def missing(_request: HttpRequest) -> HttpReply:
            return HttpReply(404, b"", "text/plain")

        async def asked(server: HttpServer, *arguments: str) -> tuple[int, str]:
            port = await server.start(Address("127.0.0.1:0"))
            words = ["adapter", "series", "--admin", f"127.0.0.1:{port}", *arguments]
            result = await asyncio.to_thread(CliRunner().invoke, main, words)
            await server.close()
            return result.exit_code, result.output

        code, text = await asked(HttpServer(handle))
        assert (code, text.splitlines()[0]) == (0, "series 1 of 10 (10 %), metrics 1, lines 1")
        code, text = await asked(HttpServer(handle), "--output", "json", "--top", "1")
        assert (code, json.loads(text)["top"]) == (0, [{"metric": "a_total", "series": 1}])
        code, text = await asked(HttpServer(somebody_else))
        assert (code, text) == (1, "podpatterns: what answers is no admin endpoint; name another one with --admin\n")
        code, text = await asked(HttpServer(missing))
        assert code == 1
        assert "not that of an adapter" in text
