"""Hooks: what a function sees and may change, what it answers, and that a failure of it never passes silently."""

import asyncio
import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import podpatterns
from podpatterns.ambassador.head import RequestHead, ResponseHead
from podpatterns.ambassador.http1.limits import Limits
from podpatterns.ambassador.http1.request import read_request
from podpatterns.ambassador.policies.headers import FieldsConfig, HeadersConfig
from podpatterns.ambassador.policies.hooks import HooksConfig
from podpatterns.ambassador.policies.rewrite import RewriteConfig
from podpatterns.ambassador.route import RouteConfig
from podpatterns.errors import ConfigError
from podpatterns.runtime.config import loads, validated
from podpatterns.runtime.units import FunctionRef

RAW = b"GET /a/b?c=1 HTTP/1.1\r\nHost: shop:80\r\nX-One: 1\r\nx-many: a \r\nX-Many:b\r\nX-Odd: \xff\r\n"


def heading(raw=RAW):
    return RequestHead(raw, peer=SimpleNamespace(address="10.0.0.1"), listener="in", route="r")


# --- heads --------------------------------------------------------------------------------------------------------


def test_what_can_be_read():
    """Each part as it was sent; fields in any case, several of one name together or one by one."""
    head = heading()
    assert (head.method, head.target, head.path, head.query) == ("GET", "/a/b?c=1", "/a/b", "c=1")
    assert (head.host, head.client, head.listener, head.route) == ("shop:80", "10.0.0.1", "in", "r")
    headers = head.headers
    assert headers["x-ONE"] == "1"
    assert headers["x-many"] == "a, b"
    assert headers.all("X-MANY") == ["a", "b"]
    assert list(headers) == ["host", "x-one", "x-many", "x-odd"]
    assert len(headers) == 4
    assert "x-one" in headers
    assert "one" not in headers
    assert headers.get("x-none", "-") == "-"
    assert headers.all("x-none") == []
    with pytest.raises(KeyError):
        headers["x-none"]
    assert head.raw == RAW


def test_what_can_be_changed():
    """Fields are set, added and removed; path and Host replaced; the rest stays as it was, byte for byte."""
    head = heading()
    head.headers["X-many"] = "c"
    head.headers.add("x-one", "2")
    del head.headers["x-odd"]
    head.path = "/new"
    head.host = "other"
    assert head.raw == b"GET /new?c=1 HTTP/1.1\r\nHost: other\r\nX-One: 1\r\nX-many: c\r\nx-one: 2\r\n"
    head = heading()
    head.headers["x-copy"] = head.headers["x-odd"]
    assert head.raw == RAW + b"x-copy: \xff\r\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head.headers.update({"content-length": "1"}), "says where a body ends"),
        (lambda head: head.headers.add("Transfer-Encoding", "chunked"), "says where a body ends"),
        (lambda head: head.headers.pop("host"), "rewrite: {host: NAME}"),
        (lambda head: head.headers.update({"x": "a\r\nb: c"}), "neither line ends"),
        (lambda head: head.headers.update({"x": "a\0"}), "neither line ends"),
        (lambda head: head.headers.update({"x y": "a"}), "not the name"),
        (lambda head: head.headers.update({"x:": "a"}), "not the name"),
        (lambda head: head.headers.update({"": "a"}), "not the name"),
        (lambda head: head.headers.update({"x": " "}), "no space at its ends"),
        (lambda head: setattr(head, "path", "/a b"), "not a path as it is sent"),
        (lambda head: setattr(head, "path", "a"), "must start with"),
        (lambda head: setattr(head, "path", "/ä"), "not a path as it is sent"),
        (lambda head: setattr(head, "host", "a b"), "is not a host"),
        (lambda head: head.answer(100), "not the status"),
        (lambda head: head.answer(600), "not the status"),
        (lambda head: head.answer(200, headers={"x": "\n"}), "neither line ends"),
        (lambda head: head.answer(200, headers={"content-length": "3"}), "says where a body ends"),
        (lambda head: head.answer(200, content_type="a\nb"), "neither line ends"),
    ],
)
def test_what_cannot_be_sent_is_refused(change, message):
    """Whatever could end a line, or say where a body ends; the head stays as it was."""
    head = heading()
    with pytest.raises(ValueError, match=re.escape(message)):
        change(head)
    assert head.raw == RAW
    assert head.answered is None


TEXTS = st.text(max_size=6)
CHANGES = st.lists(st.tuples(st.sampled_from(["set", "add", "del", "path", "host"]), TEXTS, TEXTS), max_size=6)


@given(CHANGES)
def test_a_head_stays_a_head(changes):
    """Whatever a hook tries, what is sent is one request, with the framing that it had."""
    head = heading()
    for kind, name, value in changes:
        try:
            if kind == "set":
                head.headers[name] = value
            elif kind == "add":
                head.headers.add(name, value)
            elif kind == "del":
                del head.headers[name]
            else:
                setattr(head, kind, value)
        except (ValueError, KeyError):
            pass
    request = read_request(head.raw + b"\r\n", Limits())
    assert request.size == len(head.raw) + 2
    assert (request.method, request.length) == (b"GET", 0)


def test_secrets_are_not_shown():
    """A head that ends up in a log shows neither its query nor values of fields."""
    head = heading(b"GET /a?token=geheim HTTP/1.1\r\nAuthorization: geheim\r\n")
    response = ResponseHead(b"HTTP/1.1 200 OK\r\nSet-Cookie: geheim\r\n", status=200, version="v", request=head)
    for shown in (repr(head), repr(response), repr(head.headers), repr(response.headers)):
        assert "geheim" not in shown


# --- at work ------------------------------------------------------------------------------------------------------

SEEN = []


@podpatterns.hook
def tag(request):
    """A request hook."""
    SEEN.append(request)
    if "x-forbidden" in request.headers:
        request.answer(403, "nö\n", headers={"x-why": "ä"})
    elif "x-broken" in request.headers:
        raise RuntimeError("geplatzt")
    elif "x-wrong" in request.headers:
        return request
    request.headers["x-tag"] = f"{request.method} {request.path}"
    request.path = "/hooked"
    return None


@podpatterns.hook
def untag(response):
    """A response hook."""
    response.headers["x-from"] = f"{response.version} {response.status} {response.request.path}"
    response.headers.pop("server", None)
    if "x-secret" in response.headers:
        response.answer(502, "hidden\n")
    if "x-broken" in response.headers:
        raise KeyError("weg")


def asking(fields=b""):
    return b"GET /a?b HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n"


async def answers(client, fields=b""):
    await client.send(asking(fields))
    head = await client.until(b"\r\n\r\n")
    return head, await client.exactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))


def hooked(**options):
    hooks = HooksConfig(request=tag, response=untag)
    return (RouteConfig(name="r", to="stable", hooks=hooks, **options),)


async def test_requests_and_responses_are_changed(upstream, running, connect):
    """The request hook before rewriting and fields, the response hook before fields; the connection is kept."""
    server = await upstream(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\nok")
    options = {
        "rewrite": RewriteConfig(regex="/hooked", to="/rewritten"),
        "headers": HeadersConfig(
            request=FieldsConfig(add={"x-tag": "late"}), response=FieldsConfig(remove=("x-none",))
        ),
    }
    async with running(server, routes=hooked(**options)) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            head, body = await answers(client)
            assert body == b"ok"
            assert b"x-from: stable 200 /rewritten\r\n" in head
            assert b"Server" not in head
    assert server.connections == 1
    assert server.heads[0].startswith(b"GET /rewritten?b HTTP/1.1\r\n")
    assert b"\r\nx-tag: GET /a\r\nx-tag: late\r\n" in server.heads[0]


@pytest.mark.parametrize(("hooks", "steps"), [({"request": tag}, (1, 0)), ({"response": untag}, (0, 1))])
async def test_one_of_them_alone(upstream, running, connect, hooks, steps):
    """The other way is not looked at."""
    server = await upstream()
    async with running(server, routes=(RouteConfig(to="stable", hooks=HooksConfig(**hooks)),)) as proxy:
        assert (await answers(await connect(proxy)))[1] == b"ok"
        (route,) = proxy.all_routes()
        assert (len(route.steps), len(route.edits)) == steps


async def test_a_request_is_answered_by_a_hook(upstream, running, connect):
    """No upstream is asked, and the connection is kept."""
    server = await upstream()
    async with running(server, routes=hooked()) as proxy:
        client = await connect(proxy)
        head, body = await answers(client, b"X-Forbidden: 1\r\n")
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert "x-why: ä\r\n".encode() in head
        assert body == "nö\n".encode()
        assert (await answers(client))[1] == b"ok"
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("fields", "error"),
    [(b"X-Broken: 1\r\n", "RuntimeError: geplatzt"), (b"X-Wrong: 1\r\n", "TypeError: ")],
)
async def test_a_failure_is_an_error(upstream, running, connect, capfd, fields, error):  # noqa: PLR0917
    """Answered 500 with its flag, counted, and logged with the place; the upstream sees nothing, the next is served."""
    server = await upstream()
    async with running(server, routes=hooked(), name="in") as proxy:
        client = await connect(proxy)
        head, body = await answers(client, fields)
        assert head.startswith(b"HTTP/1.1 500")
        assert b"hook_error" in body
        assert b"geplatzt" not in body
        assert (await answers(client))[1] == b"ok"
        assert proxy.events._hook_failures.series == {("in", "r", str(tag)): 1}
    lines = [line for line in "".join(capfd.readouterr()).splitlines() if "hook.failed" in line]
    assert len(lines) == 1
    assert error in lines[0]
    assert re.search(r"where=\S*\.py:\d+", lines[0])
    assert len(server.heads) == 1


@pytest.mark.parametrize(
    ("field", "status", "text"), [(b"X-Secret: 1", b"502", b"hidden\n"), (b"X-Broken: 1", b"500", b"hook_error")]
)
@pytest.mark.parametrize(
    "body", [b"Content-Length: 6\r\n\r\nsecret", b"Transfer-Encoding: chunked\r\n\r\n6\r\nsecret\r\n"]
)
async def test_a_response_is_replaced(upstream, running, connect, field, status, text, body):  # noqa: PLR0917
    """By an answer of the hook, or because it has failed; nothing of the upstream's response gets through."""
    server = await upstream(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n" + body)
    async with running(server, routes=hooked()) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            head, got = await answers(client)
            assert head.split()[1] == status
            assert text in got
            assert b"secret" not in head.lower() + got
    assert len(server.heads) == 2


async def test_a_protocol_change_is_replaced_too(upstream, running, connect):
    """A hook that refuses the answer to a WebSocket handshake leaves an ordinary connection."""

    async def switch(server, peer):
        await server.head(peer)
        await peer.send(
            b"HTTP/1.1 101 Switching Protocols\r\nX-Secret: 1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        await peer.rest()

    server = await upstream(switch)
    async with running(server, routes=hooked()) as proxy:
        client = await connect(proxy)
        for _ in range(2):
            head, _ = await answers(client, b"Connection: upgrade\r\nUpgrade: websocket\r\n")
            assert head.startswith(b"HTTP/1.1 502")


async def test_an_upload_that_is_answered_early(upstream, running, connect):
    """The rest of the body is not taken for a request."""
    server = await upstream()
    async with running(server, routes=hooked()) as proxy:
        client = await connect(proxy)
        await client.send(b"POST / HTTP/1.1\r\nHost: a\r\nX-Forbidden: 1\r\nContent-Length: 20\r\n\r\nGET / HT")
        got = await client.rest()
        assert got.count(b"HTTP/1.1") == 1
        assert b"Connection: close" in got


# --- configuration ------------------------------------------------------------------------------------------------


async def waits(request):
    await asyncio.sleep(0)


YAML = """
ambassador:
  listeners:
  - listen: 127.0.0.1:8000
    routes:
    - to: stable
      hooks: {request: "podpatterns.ambassador.head:RequestHead.answer"}
  upstreams: {stable: "10.0.0.1:80"}
"""


def test_explain_and_python():
    """By name in YAML, by a decorator in Python; both mean the same."""
    config = loads([("a.yaml", YAML)], {}).patterns["ambassador"]
    assert "calls podpatterns.ambassador.head:RequestHead.answer with the request" in "\n".join(config.explain(None))
    assert validated(HooksConfig(request=tag)).request == tag
    with pytest.raises(TypeError, match="waits is async"):
        podpatterns.hook(waits)
    with pytest.raises(ValueError, match="is async"):
        HooksConfig(response=FunctionRef(waits))


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ("{}", "says nothing to call"),
        ("{request: nowhere}", 'write "package.module:function"'),
        ("{request: 'podpatterns.nowhere:f'}", "cannot be imported"),
        ("{respond: 'podpatterns:run'}", 'did you mean "response"'),
    ],
)
def test_mistakes_are_named(new, expected):
    """Where it stands, and what is wrong with it."""
    with pytest.raises(ConfigError, match=re.escape(expected)):
        loads([("a.yaml", re.sub(r"hooks: \{.*\}", f"hooks: {new}", YAML))], {})


async def test_without_hooks_there_is_no_step(upstream, running):
    """What is not configured is not asked for."""
    server = await upstream()
    async with running(server) as proxy:
        (route,) = proxy.all_routes()
        assert route.steps == ()
        assert route.edits == ()
