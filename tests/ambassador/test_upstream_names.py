"""Names: what an answer of the resolver means for the endpoints."""

import asyncio
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.endpoints import names
from podpatterns.ambassador.endpoints.endpoint import Endpoint
from podpatterns.ambassador.endpoints.names import Names, NoSuchName, fixed, preferred, system
from podpatterns.ambassador.endpoints.outliers import OutliersConfig
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Address

API = Address("api.svc:80")
OUTLIERS = OutliersConfig()


class Zone:
    """A resolver that answers as a test says, and what the endpoints were after each change."""

    def __init__(self, *addresses, every=5.0):
        self.telemetry = Telemetry()
        self.answers = {}
        self.seen = []
        self.asked = asyncio.Queue()
        self.names = Names(
            "stable",
            addresses or (API,),
            lambda address, host: Endpoint(address, OUTLIERS, host),
            lambda endpoints: self.seen.append([endpoint.host for endpoint in endpoints]),
            AmbassadorEvents(self.telemetry),
            every=every,
            lookup=self.lookup,
        )

    async def lookup(self, host, port):
        self.asked.put_nowait((host, port))
        answer = self.answers[host]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def hosts(self):
        return [endpoint.host for endpoint in self.names.endpoints]

    def metric(self, name):
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.telemetry.registry.collect()
            for sample in family.samples
            if sample.name == f"podpatterns_ambassador_{name}" and sample.value
        }


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("10.0.0.1:80", True),
        ("[::1]:80", True),
        ("unix:/run/app.sock", True),
        ("localhost:80", True),
        ("a.localhost:80", True),
        ("api:80", False),
        ("api.shop.svc.cluster.local:80", False),
        ("10.0.0.1.example:80", False),
    ],
)
def test_what_needs_no_resolver(address, known):
    """Addresses, sockets, and what always means this machine."""
    assert fixed(Address(address)) is known


def test_the_family_that_the_system_prefers():
    """Each address once, in an order that does not change with that of the answer; of one family alone."""
    v4, v6 = socket.AF_INET, socket.AF_INET6
    assert preferred([(v4, "10.0.0.2"), (v6, "::1"), (v4, "10.0.0.1"), (v4, "10.0.0.2")]) == ["10.0.0.1", "10.0.0.2"]
    assert preferred([(v6, "::2"), (v4, "10.0.0.2"), (v6, "::1")]) == ["::1", "::2"]
    assert preferred([]) == []


def test_before_the_first_answer():
    """A name is an endpoint itself, so that the first request does not wait for anything but its connection."""
    zone = Zone(API, Address("10.0.0.9:80"))
    assert zone.hosts == ["api.svc", "10.0.0.9"]
    assert zone.names.sought == [API]


def test_nothing_to_seek():
    """With `every: 0s` each connection resolves for itself."""
    assert Zone(API, every=0.0).names.sought == []


def test_endpoints_stay_as_long_as_their_address():
    """An answer with an address more or less leaves the others alone: their connections, and how they have been."""
    zone = Zone(API, Address("10.0.0.9:80"))
    zone.names.answered(API, ["10.0.0.1", "10.0.0.2"])
    first, second, other = zone.names.endpoints
    assert first.name == "api.svc:80 (10.0.0.1)"
    zone.names.answered(API, ["10.0.0.1", "10.0.0.2"])
    assert len(zone.seen) == 1
    zone.names.answered(API, ["10.0.0.2", "10.0.0.3"])
    assert zone.names.endpoints[0] is second
    assert zone.names.endpoints[2] is other
    assert zone.seen == [["10.0.0.1", "10.0.0.2", "10.0.0.9"], ["10.0.0.2", "10.0.0.3", "10.0.0.9"]]
    assert zone.metric("dns_changes_total") == {("stable", "added"): 3, ("stable", "removed"): 1}


def test_who_keeps_its_keys():
    """A name with one address is what keys are hashed to, wherever it leads; of several, each address is."""
    zone = Zone()
    identities = lambda: [endpoint.identity for endpoint in zone.names.endpoints]  # noqa: E731
    assert identities() == ["api.svc:80"]
    for host in ("10.0.0.1", "10.0.0.2"):
        zone.names.answered(API, [host])
        assert identities() == ["api.svc:80"]
    zone.names.answered(API, ["10.0.0.2", "10.0.0.3"])
    assert identities() == ["api.svc:80 (10.0.0.2)", "api.svc:80 (10.0.0.3)"]
    zone.names.answered(API, ["10.0.0.3"])
    assert identities() == ["api.svc:80"]


def test_nobody_knows():
    """A resolver that fails, however often, takes nothing away; its failures are counted."""
    zone = Zone()
    zone.names.answered(API, ["10.0.0.1"])
    for _ in range(10):
        zone.names.failed(API, "Temporary failure in name resolution")
    assert zone.hosts == ["10.0.0.1"]
    assert zone.metric("dns_failures_total") == {("stable",): 10}


def test_a_name_that_is_gone():
    """Is given up when a second answer in a row says so; failures in between do not count as answers."""
    zone = Zone()
    zone.names.answered(API, ["10.0.0.1"])
    zone.names.denied(API)
    zone.names.failed(API, "timeout")
    zone.names.denied(API)
    assert zone.hosts == ["10.0.0.1"]
    zone.names.denied(API)
    assert zone.hosts == []
    zone.names.denied(API)
    assert zone.seen == [["10.0.0.1"], []]
    zone.names.answered(API, ["10.0.0.1"])
    assert zone.hosts == ["10.0.0.1"]


ANSWERS = st.lists(
    st.one_of(st.none(), st.just("denied"), st.lists(st.sampled_from(["1.1.1.1", "2.2.2.2", "3.3.3.3"]), unique=True)),
    max_size=30,
)


@given(ANSWERS)
def test_the_last_good_answer_counts(answers):
    """Whatever comes in which order: the endpoints are those of the last answer, unless the name was denied twice."""
    zone, expected, denials = Zone(), ["api.svc"], 0
    for answer in answers:
        if answer is None:
            zone.names.failed(API, "timeout")
            denials = 0
        elif answer == "denied":
            zone.names.denied(API)
            denials += 1
            expected = [] if denials > 1 else expected
        else:
            zone.names.answered(API, sorted(answer))
            expected, denials = sorted(answer), 0
        assert zone.hosts == expected


async def test_names_are_asked_for_again_and_again():
    """All of them, each time; what one answers does not keep the others waiting."""
    zone = Zone(API, Address("db:5432"), every=0.001)
    zone.answers = {"api.svc": ["10.0.0.1"], "db": NoSuchName()}
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(zone.names.run())
        asked = {await zone.asked.get() for _ in range(6)}
        zone.answers = {"api.svc": socket.gaierror(socket.EAI_AGAIN, "later"), "db": ["10.0.0.5"]}
        while zone.hosts != ["10.0.0.1", "10.0.0.5"]:
            await zone.asked.get()
        running.cancel()
    assert asked == {("api.svc", 80), ("db", 5432)}
    assert zone.seen == [["10.0.0.1", "db"], ["10.0.0.1"], ["10.0.0.1", "10.0.0.5"]]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (socket.EAI_NONAME, NoSuchName),
        (socket.EAI_NODATA, NoSuchName),
        (socket.EAI_AGAIN, socket.gaierror),
        (socket.EAI_FAIL, socket.gaierror),
    ],
)
async def test_what_the_system_says(monkeypatch, number, kind):
    """That there is no such name is something else than that nobody could be asked."""

    async def fail(*_args, **_options):
        raise socket.gaierror(number, "said the system")

    class Loop:
        getaddrinfo = staticmethod(fail)

    monkeypatch.setattr(names.asyncio, "get_running_loop", Loop)
    with pytest.raises(kind, match="said the system"):
        await system("api.svc", 80)


async def test_the_system_itself():
    """A numeric address resolves to itself, on every loop."""
    assert await system("127.0.0.1", 80) == ["127.0.0.1"]
