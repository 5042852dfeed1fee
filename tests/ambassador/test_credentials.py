"""Credentials: what stands in the field, where it comes from, and that it stands nowhere else."""

import asyncio
import json
from base64 import b64decode, b64encode
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns import AmbassadorConfig, ConfigError, StartError
from podpatterns.ambassador.credentials import CredentialConfig
from podpatterns.ambassador.credentials.basic import BasicConfig
from podpatterns.ambassador.credentials.bearer import BearerConfig
from podpatterns.ambassador.credentials.oauth2 import YOUNG, Oauth2Config
from podpatterns.ambassador.credentials.static import StaticConfig
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.tls import TlsConfig
from podpatterns.ambassador.token_endpoint import (
    ADVICE,
    LONGEST,
    PATIENCE,
    NoToken,
    Token,
    renewal,
    request,
    token_of,
    usable,
)
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import Duration, SecretFile, Url
from podpatterns.testing.clock import run_virtually
from podpatterns.testing.server import Answer, FakeServer


class Log:
    """Remembers every event with its fields."""

    def __init__(self):
        self.said = []

    def __getattr__(self, level):
        return lambda event, **fields: self.said.append((event.removeprefix("ambassador."), fields))

    def __len__(self):
        return len(self.said)

    @property
    def events(self):
        return [event for event, _ in self.said]


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def events(log):
    return AmbassadorEvents(Telemetry(log))


@pytest.fixture
def secret(tmp_path):
    """Writes a secret into a file."""

    def write(text, name="secret"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return SecretFile(str(path))

    return write


def decoded(text):
    (node,) = parse(text, "f.yaml")
    return decode(node, CredentialConfig)


OAUTH2 = "type: oauth2, token_url: 'https://a/token', client_id: shop, client_secret: /s"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{type: beerer}", 'f.yaml:1:8: .type: unknown ambassador credential "beerer"; did you mean "bearer"?'),
        ("{type: static, header: 'x y', value: /s}", 'header: "x y" is not the name of a field'),
        ("{type: static, header: Content-Length, value: /s}", "header: Content-Length is set by the ambassador itself"),
        ("{type: static, header: a, value: /s, scheme: 'b c'}", 'scheme: "b c" is not a single word'),
        ("{type: basic, user: 'a:b', password: /s}", "it must have no colon"),
        (f"{{{OAUTH2.replace('https', 'http')}, tls: {{}}}}", 'tls: needs a token_url that begins with "https://"'),
        (f"{{{OAUTH2.replace('//a', '//b:c@a')}}}", "write client_id and client_secret instead"),
        (f"{{{OAUTH2.replace('/token', '/to ken')}}}", "token_url: must be in ASCII"),
        (f"{{{OAUTH2.replace('//a', '//' + 'a' * 64)}}}", "token_url: has no valid host name"),
        (f"{{{OAUTH2}, parameters: {{scope: a}}}}", "parameters.scope: is set by itself, by the key scope beside"),
        (f"{{{OAUTH2}, authentication: post}}", "known: client_secret_basic, client_secret_post"),
        (f"{{{OAUTH2}, timeout: 0s}}", "timeout: must be longer than 0s"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_place(text, problem):
    """Before anything is opened; a secret in a URL is not repeated."""
    with pytest.raises(ConfigError) as caught:
        decoded(text)
    assert problem in str(caught.value)
    assert "b:c" not in str(caught.value)


def test_a_tcp_listener_cannot_show_credentials():
    """It passes bytes on as they are; whoever expects it to add a field is told."""
    text = """
    listeners: [{type: tcp, listen: ':1', split: {a: 1, b: 1}}]
    upstreams: {a: 'h:1', b: {addresses: ['h:1'], credentials: {type: bearer, token: /t}}}
    """
    (node,) = parse(text, "f.yaml")
    with pytest.raises(
        ConfigError, match=r"f.yaml:2:60: listeners\[0\].split.b: b has credentials, which are for HTTP"
    ):
        decode(node, AmbassadorConfig)


# --- from files -------------------------------------------------------------------------------------------------------


def test_each_kind_makes_its_field(secret, events):
    """Line ends behind a secret are no part of it: editors, `echo` and Windows add them."""
    for end in ("", "\n", "\r\n", "\n\n"):
        path = secret("s3cret" + end)
        table = {
            StaticConfig(header="X-Api-Key", value=path): b"X-Api-Key: s3cret\r\n",
            StaticConfig(header="Authorization", value=path, scheme="ApiKey"): b"Authorization: ApiKey s3cret\r\n",
            BearerConfig(token=path): b"Authorization: Bearer s3cret\r\n",
            BasicConfig(user="shop", password=path): b"Authorization: Basic " + b64encode(b"shop:s3cret") + b"\r\n",
        }
        for config, line in table.items():
            credential = config.build("stable", events)
            assert credential.line == line
            assert line.startswith(credential.name)
            assert "s3cret" not in repr(credential) + credential.describe() + repr(config)


def test_a_password_may_have_any_printable_character(secret, events):
    """Basic sends UTF-8 (RFC 7617 2.1)."""
    line = BasicConfig(user="küche", password=secret("pass:wörd ☂\n")).build("stable", events).line
    assert b64decode(line.removeprefix(b"Authorization: Basic ").strip()).decode() == "küche:pass:wörd ☂"


def built(config):
    """The line, or the text of the error."""
    try:
        return config.build("stable", AmbassadorEvents(Telemetry(Log()))).line
    except StartError as error:
        return str(error)


BAD = st.one_of(
    st.text(min_size=4).filter(lambda text: len(text.strip("\r\n")) >= 4).map(str.encode),
    st.binary(min_size=4).map(b"\xff\xfe".__add__),
    st.builds(lambda a, b: a + "\r\nHost: evil" + b, st.text("abc"), st.text("abc")).map(str.encode),
)


@given(BAD)
def test_nothing_but_one_field_ever_comes_out_of_a_file(tmp_path_factory, content):
    """Whatever a file holds: one line, or an error that names the file and holds nothing of its content."""
    path = tmp_path_factory.getbasetemp() / "any-secret"
    path.write_bytes(content)
    file = SecretFile(str(path))
    for config in (
        StaticConfig(header="a", value=file),
        BearerConfig(token=file),
        BasicConfig(user="u", password=file),
    ):
        found = built(config)
        if isinstance(found, str):
            assert str(path) in found
            assert content.decode("utf-8", "replace").strip("\r\n") not in found.replace(str(path), "")
        else:
            assert found.endswith(b"\r\n")
            assert found.count(b"\r") == found.count(b"\n") == 1


def test_a_file_that_is_missing_at_the_start_is_an_error(events, tmp_path):
    """As a pod with a missing Secret does not start; the file is named."""
    with pytest.raises(StartError, match="upstream stable: /nowhere/token cannot be read: no such file or directory"):
        BearerConfig(token=SecretFile("/nowhere/token")).build("stable", events)


def test_a_new_secret_is_used_and_a_bad_one_is_not(secret, events, log):
    """The last good one stays, also when the file is gone."""
    path = secret("one")
    credential = BearerConfig(token=path).build("stable", events)
    assert not credential.reject(credential.line), "there is no other one"
    old = credential.line
    secret("another")
    assert credential.reject(old), "it has been replaced in the meantime"
    assert credential.line == b"Authorization: Bearer another\r\n"
    secret("not a token")
    assert not credential.reject(credential.line)
    assert not credential._rotation.look()
    secret("")
    assert not credential._rotation.look()
    Path(path).unlink()
    assert not credential._rotation.look()
    assert credential.line == b"Authorization: Bearer another\r\n"
    assert log.events == ["rotation.taken", *["rotation.failed"] * 3]
    assert all("another" not in str(fields) for _, fields in log.said)


def test_a_rotated_file_is_noticed_within_seconds(secret, events):
    """Nobody needs to ask."""
    path = secret("one")
    credential = BearerConfig(token=path).build("stable", events)

    async def main():
        changed = asyncio.Event()
        work = asyncio.create_task(credential.run(changed.set))
        await asyncio.sleep(0)
        secret("another")
        await changed.wait()
        work.cancel()

    run_virtually(main())
    assert credential.line == b"Authorization: Bearer another\r\n"


# --- the token endpoint, pure -----------------------------------------------------------------------------------------


def test_a_request_for_a_token():
    """RFC 6749 4.4.2 and 2.3.1: id and secret are encoded as in a form before they are put together."""
    headers, body = request("client_secret_basic", "shop 1", "s:c/é", {"scope": "a b", "audience": "https://x"})
    assert b64decode(headers["Authorization"].removeprefix("Basic ")) == b"shop+1:s%3Ac%2F%C3%A9"
    assert dict(parse_qsl(body.decode())) == {
        "grant_type": "client_credentials", "scope": "a b", "audience": "https://x",
    }  # fmt: skip
    headers, body = request("client_secret_post", "shop 1", "s:c/é", {})
    assert "Authorization" not in headers
    assert dict(parse_qsl(body.decode())) == {
        "grant_type": "client_credentials", "client_id": "shop 1", "client_secret": "s:c/é",
    }  # fmt: skip


def answered(status, body, **options):
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return token_of(status, content, **{"secret": "s3cret", "lifetime": 300.0, **options})


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ({"token_type": "Bearer", "expires_in": 3600}, 3600),
        ({"token_type": "bearer", "expires_in": "3600"}, 3600),
        ({"expires_in": 12.5}, 12.5),
        ({}, 300),
        ({"expires_in": None}, 300),
        ({"expires_in": "soon"}, 300),
        ({"expires_in": True}, 300),
        ({"expires_in": 10**12}, LONGEST),
    ],
)
def test_a_token_and_how_long_it_is_good(body, seconds):
    """As the endpoint says; as the configuration says where it does not."""
    assert answered(200, {"access_token": "t0ken", **body}) == Token("t0ken", seconds)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (200, b"<html>", "without an access_token"),
        (200, [1], "without an access_token"),
        (200, {"access_token": 5}, "without an access_token"),
        (200, {"access_token": "a", "token_type": "mac"}, "of another type than Bearer"),
        (200, {"access_token": "a\r\nb: c"}, "cannot stand in a header"),
        (200, {"access_token": ""}, "cannot stand in a header"),
        (200, {"access_token": "a", "expires_in": 0}, "has ended already"),
        (200, {"access_token": "a", "expires_in": -1}, "has ended already"),
        (302, b"", "it answers 302; redirects are not followed"),
        (404, b"Not Found", "it answers 404; check token_url"),
        (503, b"", "it answers 503"),
        (401, {"error": "invalid_client"}, f"it answers 401 invalid_client; {ADVICE['invalid_client']}"),
        (
            400,
            {"error": "invalid_scope", "error_description": "no a"},
            "it answers 400 invalid_scope (no a); check scope",
        ),
        (400, {"error": "own_words"}, "it answers 400 own_words"),
        (400, {"error": 7, "error_description": "a\nb"}, "it answers 400"),
    ],
)
def test_no_token_and_why(status, body, reason):
    """In words, with what to do."""
    with pytest.raises(NoToken) as caught:
        answered(status, body)
    assert reason in str(caught.value)


@pytest.mark.parametrize(("after", "wait"), [("7", 7.0), ("99999", PATIENCE), ("Tue", None), ("٣", None), (None, None)])
def test_the_endpoint_may_say_when_to_come_again(after, wait):
    """Within reason."""
    with pytest.raises(NoToken) as caught:
        answered(429, b"", after=after)
    assert caught.value.after == wait


@given(
    st.text(min_size=5),
    st.sampled_from(["{}", "before {} behind", "{}{}", "Bearer {}"]),
    st.sampled_from(["error", "error_description"]),
    st.integers(min_value=0, max_value=250),
)
def test_an_error_never_holds_the_secret(secret, form, key, padding):
    """Whatever the endpoint repeats of what it was sent, in whichever form."""
    headers, _ = request("client_secret_post", "shop", secret, {})
    said = "." * padding + form.replace("{}", secret)
    for status in (200, 400, 401):
        with pytest.raises(NoToken) as caught:
            answered(status, {key: said, "grant": headers}, secret=secret)
        words = str(caught.value)
        for text in (
            *ADVICE.values(),
            "it answers 200 without an access_token; is token_url that of a token endpoint?",
        ):
            words = words.replace(text, "")
        assert secret not in words.removeprefix(f"it answers {status}")


@given(st.floats(min_value=0.001, max_value=LONGEST), st.floats(min_value=0, max_value=1, exclude_max=True))
def test_a_token_is_renewed_before_it_ends(seconds, u):
    """With a tenth to a quarter of its time left, and before it is no longer shown; tokens of a second come late."""
    assert 0 < usable(seconds) < seconds
    assert renewal(seconds, u) >= 1.0
    if seconds * 0.75 >= 1.0:
        assert seconds * 0.75 <= renewal(seconds, u) <= seconds * 0.9 < usable(seconds)


# --- oauth2 -----------------------------------------------------------------------------------------------------------


def oauth2(secret, events, **options):
    config = Oauth2Config(
        **{
            "token_url": Url("http://localhost:1/token"), "client_id": "shop",
            "client_secret": secret("s3cret\n"), **options,
        }
    )  # fmt: skip
    return config.build("stable", events)


class Story:
    """A token endpoint by script, in virtual time: each answer is a number of seconds, or an error."""

    def __init__(self, credential, *answers):
        self.credential = credential
        self.answers = list(answers)
        self.asked = []
        self.changes = []
        credential._fetch = self._fetch

    async def _fetch(self):
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.25)
        answer = self.answers.pop(0) if self.answers else 3600.0
        if isinstance(answer, Exception):
            raise answer
        return Token(f"token-{len(self.asked)}", answer)

    def _changed(self):
        self.changes.append((asyncio.get_running_loop().time(), self.credential.line))

    def run(self, seconds, act=None):
        async def main():
            loop = asyncio.get_running_loop()
            if act is not None:
                loop.call_at(act[0], act[1])
            work = asyncio.create_task(self.credential.run(self._changed))
            await asyncio.sleep(seconds)
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

        run_virtually(main())
        return self


def test_a_token_is_there_soon_and_stays(secret, events, log):
    """Each is replaced before it ends; at no time after the first there is none."""
    story = Story(oauth2(secret, events), *[100.0] * 20).run(1000)
    assert story.asked[0] == 0.0
    steps = [b - a for a, b in zip(story.asked, story.asked[1:], strict=False)]
    assert all(75.0 <= step <= 90.5 for step in steps)
    assert len(set(steps)) > 1
    assert [line for _, line in story.changes] == [
        b"Authorization: Bearer token-%d\r\n" % (number + 1) for number in range(len(story.asked))
    ]
    assert set(log.events) == {"token.taken"}


def test_while_the_endpoint_fails_tries_get_rarer(secret, events, log):
    """From half a second to half a minute apart; the reason is known to whoever waits."""
    credential = oauth2(secret, events)
    story = Story(credential, *[NoToken("it answers 500")] * 100).run(300)
    steps = [b - a - 0.25 for a, b in zip(story.asked, story.asked[1:], strict=False)]
    assert 0.25 <= steps[0] <= 0.5
    assert all(step <= 30 for step in steps)
    assert all(step >= 15 for step in steps[8:])
    assert credential.problem == "no access token from http://localhost:1/token: it answers 500"
    assert credential.line == b""
    assert set(log.events) == {"token.failed"}


def test_the_endpoint_may_ask_for_patience(secret, events):
    """Its Retry-After counts."""
    story = Story(oauth2(secret, events), NoToken("it answers 429", after=60.0)).run(100)
    assert story.asked == [0.0, pytest.approx(60.25)]


def test_a_token_that_has_ended_is_not_shown(secret, events, log):
    """Better a clear 503 than the upstream's 401; the next one is shown at once."""
    credential = oauth2(secret, events)
    story = Story(credential, 100.0, *[NoToken("it answers 500")] * 4, 100.0).run(190)
    times = [(round(at), line) for at, line in story.changes]
    assert times[0] == (0, b"Authorization: Bearer token-1\r\n")
    assert log.events[:2] == ["token.taken", "token.failed"]
    before = log.events.count("token.expired")
    failing = Story(oauth2(secret, events), 100.0, *[NoToken("it answers 500")] * 50).run(150)
    assert failing.changes[1] == (pytest.approx(95.0), b"")
    assert {line for _, line in failing.changes[1:]} == {b""}
    assert log.events.count("token.expired") == before + 1


def test_a_refused_token_is_replaced_once_for_all(secret, events):
    """However many requests were refused with it; nobody is shown it again."""
    credential = oauth2(secret, events)
    seen = []

    def refused():
        line = credential.line
        seen.extend(credential.reject(line) for _ in range(10))
        seen.append(credential.line)

    story = Story(credential).run(100, (50.0, refused))
    assert seen == [True] * 10 + [b""]
    assert story.asked == [0.0, 50.0]
    assert story.changes[-1] == (50.25, b"Authorization: Bearer token-2\r\n")


def test_a_fresh_token_that_is_refused_is_not_replaced(secret, events):
    """The next one would be refused, too: the endpoint is not asked for one with each request."""
    credential = oauth2(secret, events)
    seen = []
    story = Story(credential).run(YOUNG, (YOUNG - 1, lambda: seen.append(credential.reject(credential.line))))
    assert seen == [False]
    assert story.asked == [0.0]
    credential = oauth2(secret, events)
    Story(credential).run(YOUNG, (1.0, lambda: seen.append(credential.reject(b"Authorization: Bearer old\r\n"))))
    assert seen == [False, True], "an older one was refused: there is a newer one already"


def test_a_new_client_secret_is_tried_at_once(secret, events):
    """Whoever has rotated it does not wait for the back-off."""
    credential = oauth2(secret, events)
    answers = [NoToken("it answers 401 invalid_client", after=200.0)]
    story = Story(credential, *answers).run(100, (20.0, lambda: secret("n3w")))
    assert len(story.asked) == 2
    assert 20 < story.asked[1] < 25
    assert credential._secret.current == "n3w"


# --- over the wire ----------------------------------------------------------------------------------------------------

TOKEN = Answer(body=b'{"access_token": "t0ken", "expires_in": 60}', headers={"Content-Type": "application/json"})


async def test_the_endpoint_is_asked_as_configured(secret, events):
    """Method, path, authentication and parameters arrive as they are meant."""
    async with FakeServer(TOKEN) as server:
        credential = oauth2(
            secret, events, token_url=Url(f"{server.url}/realms/shop/token?a=1"), scope="read", audience="orders",
            parameters={"resource": "x"}, authentication="client_secret_post",
        )  # fmt: skip
        assert await credential._fetch() == Token("t0ken", 60.0)
        (seen,) = server.seen
    assert (seen.method, seen.path) == ("POST", "/realms/shop/token?a=1")
    assert dict(parse_qsl(seen.body.decode())) == {
        "grant_type": "client_credentials", "client_id": "shop", "client_secret": "s3cret", "scope": "read",
        "audience": "orders", "resource": "x",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(fault="reset"), "it cannot be reached: it has closed the connection without an answer"),
        (
            Answer(fault="truncate", body=b"x" * 1000),
            "it cannot be reached: it has closed the connection in the middle",
        ),
        (Answer(headers={"Transfer-Encoding": "gzip"}), "its answer cannot be read"),
        (Answer(fault="hang"), "it does not answer within 200ms"),
        (Answer(body=b" " * 100_000), "its answer cannot be read: it has more than 65536 bytes"),
        (Answer(status=307, headers={"Location": "http://127.0.0.1:1/"}), "redirects are not followed"),
        (Answer(status=401, body=b'{"error": "invalid_client"}'), "it answers 401 invalid_client; check client_id"),
    ],
)
async def test_what_can_go_wrong_with_the_endpoint(secret, events, answer, reason):
    """Is said in words."""
    timeout = Duration("200ms" if answer.fault == "hang" else "10s")
    async with FakeServer(answer) as server:
        credential = oauth2(secret, events, token_url=Url(server.url + "/token"), timeout=timeout)
        with pytest.raises(NoToken, match=reason):
            await credential._fetch()


async def test_the_endpoint_may_be_gone(secret, events):
    """The reason is the system's."""
    credential = oauth2(secret, events, token_url=Url("http://127.0.0.1:1/token"))
    with pytest.raises(NoToken, match="it cannot be reached: connection refused"):
        await credential._fetch()


async def test_the_endpoint_has_its_own_tls(secret, events, authority, tmp_path):
    """An authority that only the configuration knows; without it the error says what to set."""
    import ssl

    certificate, key = authority.sign("login", folder=tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        body = TOKEN.body
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    url = Url(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/token")
    known = oauth2(secret, events, token_url=url, tls=TlsConfig(ca=str(authority.ca)))
    assert await known._fetch() == Token("t0ken", 60.0)
    with pytest.raises(NoToken, match=r"its authority is not in credentials\.tls\.ca"):
        await oauth2(secret, events, token_url=url)._fetch()
    server.close()
