"""Laws of the presets for Java: Spring's actuator and Jolokia, by servers that answer as those do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from podpatterns.adapter.inputs.jolokia import JolokiaConfig
from podpatterns.adapter.inputs.spring import SpringConfig
from podpatterns.formats import actuator, jolokia
from podpatterns.runtime.units import Url
from tests.adapter.test_presets import asked

HEALTH = {
    "status": "DOWN",
    "components": {
        "db": {"status": "UP", "components": {"main": {"status": "UP"}}},
        "disk": {"status": "OUT_OF_SERVICE"},
    },
}
METERS: dict[str, Any] = {
    "jvm.memory.used": {
        "name": "jvm.memory.used",
        "description": "The amount of used memory",
        "baseUnit": "bytes",
        "measurements": [{"statistic": "VALUE", "value": 30.0}],
        "availableTags": [{"tag": "area", "values": ["heap", "non heap"]}],
    },
    "http.server.requests": {
        "name": "http.server.requests",
        "baseUnit": "seconds",
        "measurements": [
            {"statistic": "COUNT", "value": 4.0},
            {"statistic": "TOTAL_TIME", "value": 0.5},
            {"statistic": "MAX", "value": 0.3},
        ],
        "availableTags": [],
    },
    "jvm.gc.memory.allocated": {
        "name": "jvm.gc.memory.allocated",
        "baseUnit": "bytes",
        "measurements": [{"statistic": "COUNT", "value": 7.0}],
    },
    "jvm.threads.live": {"name": "jvm.threads.live", "measurements": [{"statistic": "VALUE", "value": "NaN"}]},
    "disk.free": {"name": "disk.free", "measurements": [{"statistic": "VALUE", "value": 1.0}]},
}


@contextlib.asynccontextmanager
async def answering(method: str, path: str, handler: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route(method, path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def spring(request: web.Request) -> web.Response:
    path = request.match_info["path"]
    if path == "health":
        return web.json_response(HEALTH, status=503)
    if path == "metrics":
        return web.json_response({"names": [*METERS, "jvm.gc.gone"]})
    meter = METERS.get(path.removeprefix("metrics/"))
    if meter is None:
        raise web.HTTPNotFound
    if "tag" in request.query:
        value = {"area:heap": 20.0, "area:non heap": 10.0}[request.query["tag"]]
        meter = {**meter, "measurements": [{"statistic": "VALUE", "value": value}]}
    return web.json_response(meter)


async def test_the_actuator_is_asked() -> None:
    """Health by component though it is down, meters under Micrometer's names, one of them by a tag."""
    async with answering("GET", "/actuator/{path:.*}", spring) as url:
        found = await asked(SpringConfig(url=Url(f"{url}/actuator/")))
    assert found == {
        "spring_up": 1,
        "spring_health": 0,
        'spring_health{component="db"}': 1,
        'spring_health{component="db/main"}': 1,
        'spring_health{component="disk"}': 0,
        'jvm_memory_used_bytes{area="heap"}': 20,
        'jvm_memory_used_bytes{area="non heap"}': 10,
        "jvm_gc_memory_allocated_bytes_total": 7,
        "http_server_requests_seconds_max": 0.3,
        "http_server_requests_seconds": 0.5,  # count and sum: `asked` looks at names of families
    }


async def test_an_application_that_is_gone_is_down() -> None:
    """No answer, or another page, is `spring_up 0` and nothing else."""

    async def other(_request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with answering("GET", "/{path:.*}", other) as url:
        assert await asked(SpringConfig(url=Url(url))) == {"spring_up": 0}
    assert await asked(SpringConfig(url=Url(url))) == {"spring_up": 0}


def test_mistakes_in_presets_are_named() -> None:
    """Expressions, names of MBeans, and what is not this pod."""
    for make, field in (
        (lambda: SpringConfig(meters=["("]), "meters[0]"),
        (lambda: SpringConfig(url=Url("http://example.com/")), "url"),
        (lambda: JolokiaConfig(mbeans=[]), "mbeans"),
        (lambda: JolokiaConfig(mbeans=["type=Memory"]), "mbeans[0]"),
        (lambda: JolokiaConfig(url=Url("http://example.com/")), "url"),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011 - the field is what counts
            make()
        assert error.value.field == field  # type: ignore[attr-defined]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a":1}', b'{"status":1,"components":[]}', b"\xff"])
def test_documents_that_are_none_are_refused(body: bytes) -> None:
    """Nothing but ValueError is raised."""
    for read in (actuator.health, actuator.names, actuator.read_meter, jolokia.read):
        with contextlib.suppress(ValueError):
            read(body)


ANSWERS = [
    {
        "request": {"type": "read", "mbean": "java.lang:type=Memory"},
        "status": 200,
        "value": {"HeapMemoryUsage": {"used": 5, "max": -1}, "Verbose": True, "ObjectName": {"objectName": "x"}},
    },
    {
        "request": {"type": "read", "mbean": "java.lang:type=GarbageCollector,*"},
        "status": 200,
        "value": {
            'java.lang:name="G1, \\"old\\"",type=GarbageCollector': {"CollectionCount": 3, "LastGcInfo": None},
            "java.lang:name=G1 Young,type=GarbageCollector": {"CollectionCount": 4},
        },
    },
    {"request": {"type": "read", "mbean": "no:type=Such"}, "status": 404, "error": "InstanceNotFoundException"},
]


async def test_jolokia_is_asked_once() -> None:
    """Numbers and truths of all MBeans, the further properties as labels; one that is not there spoils no other."""
    questions = []

    async def agent(request: web.Request) -> web.Response:
        questions.append(json.loads(await request.read()))
        return web.Response(text=json.dumps(ANSWERS), content_type="text/plain")

    async with answering("POST", "/jolokia/", agent) as url:
        found = await asked(JolokiaConfig(url=Url(f"{url}/jolokia"), mbeans=["java.lang:type=Memory", "a:*"]))
    assert found == {
        "jolokia_up": 1,
        "java_lang_memory_heapmemoryusage_used": 5,
        "java_lang_memory_heapmemoryusage_max": -1,
        "java_lang_memory_verbose": 1,
        'java_lang_garbagecollector_collectioncount{name="G1, \\"old\\""}': 3,
        'java_lang_garbagecollector_collectioncount{name="G1 Young"}': 4,
    }
    ((first, second),) = questions
    assert first == {"type": "read", "mbean": "java.lang:type=Memory", "ignoreErrors": True}
    assert second["mbean"] == "a:*"
