"""Laws of what is asked when a page is wanted: whether it answered is seen, and why not is said."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from aiohttp import web

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.events import AdapterEvents
from podpatterns.adapter.inputs import PullInput
from podpatterns.adapter.inputs.jolokia import JolokiaConfig
from podpatterns.adapter.inputs.redis import RedisConfig
from podpatterns.adapter.inputs.scrape import ScrapeConfig
from podpatterns.adapter.inputs.spring import SpringConfig
from podpatterns.adapter.inputs.statsd import StatsdConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.runtime import Adapter
from podpatterns.errors import ConfigError
from podpatterns.formats.families import Family
from podpatterns.runtime import config as configuration
from podpatterns.runtime.service import Deadline
from podpatterns.runtime.units import Address, Duration, Url
from tests.adapter.test_adapter_runtime import exporter
from tests.adapter.test_java_presets import answering
from tests.adapter.test_presets import asked
from tests.adapter.test_real_prometheus import free_port

DEEP = '{"status":' * 50_000


@dataclass
class Case:
    """What a server answers, whether its source is up then, and what is said of it."""

    response: web.Response
    up: int
    said: str = ""


SCRAPED = {
    "nothing": Case(web.Response(text=""), 1),
    "no sample": Case(web.Response(text="# TYPE a gauge\n"), 1),
    "a mistake": Case(
        web.Response(text="a 1\nb x\n"), 1, 'a mistake in the page: line 2, column 3: "x" is not a number'
    ),
    "mistakes": Case(web.Response(text="a 1\nb x\nc y\n"), 1, "2 mistakes in the page, the first: line 2, column 3"),
    "no page": Case(web.Response(text="hello\n"), 0, "line 1, column 6"),
    "for people": Case(web.Response(text="<html>", content_type="text/html"), 0, "is the path right"),
    "elsewhere": Case(web.Response(status=302, headers={"Location": "/x"}), 0, "302 Found to /x, where nobody goes"),
    "an error": Case(web.Response(status=500), 0, "answered 500 Internal Server Error"),
}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said of sources."""
    found: list[str] = []
    monkeypatch.setattr(AdapterEvents, "collect_failed", lambda _self, _source, error: found.append(error))
    return found


@pytest.mark.parametrize("name", SCRAPED)
async def test_a_page_is_up_where_it_can_be_read(name: str, said: list[str]) -> None:
    """An empty one, too; a mistake costs its line, and what is no page at all is down. All but silence is said."""
    case = SCRAPED[name]

    async def answer(_request: web.Request) -> web.Response:
        return case.response

    runner, url = await exporter(answer)
    found = await asked(ScrapeConfig(url=url, name="app"))
    await runner.cleanup()
    assert found["app_up"] == case.up
    assert bool(said) == bool(case.said)
    assert all(case.said in each for each in said)


@pytest.mark.parametrize(
    "config",
    [
        lambda port: ScrapeConfig(url=Url(f"http://127.0.0.1:{port}/metrics"), name="app"),
        lambda port: RedisConfig(address=Address(f"127.0.0.1:{port}")),
    ],
)
async def test_nobody_listens(config, said: list[str]) -> None:
    """The system's own word for it, not that of a library."""
    port = free_port()
    assert set((await asked(config(port))).values()) == {0}
    assert [each.rpartition(": ")[2] for each in said] == ["Connection refused"]


@pytest.mark.parametrize("config", [SpringConfig, JolokiaConfig])
async def test_a_document_that_is_nested_without_end(config, said: list[str]) -> None:
    """Is no document, and costs nothing but its source."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=DEEP)

    async with answering("*", "/{path:.*}", answer) as url:
        found = await asked(config(url=Url(url)))
    assert set(found.values()) == {0}
    assert len(said) == 1


class Broken(PullInput):
    """Raises what it should not."""

    name = "broken"

    async def collect(self, deadline: Deadline) -> list[Family]:
        """Nothing."""
        raise KeyError("x")


async def test_a_source_that_raises_costs_only_itself(said: list[str]) -> None:
    """The page is answered without it, and the error is named."""
    page = PrometheusConfig(listen=Address("127.0.0.1:0"), final_scrape=Duration("0s"))
    config = AdapterConfig(inputs=[StatsdConfig(listen=Address("127.0.0.1:0"))], outputs=[page])
    async with Adapter(config) as adapter:
        adapter.inputs.append(Broken())
        adapter.feed(b"a:1|c")
        assert b"a_total 1" in await adapter.page()
    assert said == ["KeyError: 'x'"]


MISTAKES = {
    "{type: scrape, name: app, url: 'http://example.com/m'}": "remote: true",
    "{type: scrape, name: app, url: 'http://localhost/m', timeout: 0s}": r"timeout: no source answers in no time",
    "{type: scrape, name: app, url: 'http://localhost/m', max_size: 0}": r"max_size: every page is longer",
    "{type: scrape, name: app, url: 'http://localhost/m', labels: {le: x}}": r"labels\.le: .* of its own",
    "{type: redis, labels: {__a: x}}": r"labels\.__a: .* cannot be a label",
    "{type: redis, timeout: 0s}": "no source answers",
    "{type: json, name: app, url: 'http://localhost/m', metrics: []}": "name what is taken out of the document",
}


@pytest.mark.parametrize("source", MISTAKES)
def test_mistakes_are_told_before_anything_runs(source: str) -> None:
    """With the field, and what to do."""
    text = f"adapter:\n  inputs:\n  - {source}\n  outputs: [{{type: prometheus}}]\n"
    with pytest.raises(ConfigError, match=MISTAKES[source]):
        configuration.loads([("a.yaml", text)])
