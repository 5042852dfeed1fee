"""TLS to an upstream: the files, their rotation, and what is said when something is wrong with them."""

import ssl
import subprocess
import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns import ConfigError, StartError
from podpatterns.ambassador.events import AmbassadorEvents
from podpatterns.ambassador.tls import LATE, Tls, TlsConfig, explained
from podpatterns.ambassador.x509 import validity
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.telemetry import Telemetry
from podpatterns.runtime.units import SecretFile

DAY = 86400


@pytest.fixture
def telemetry(log):
    return Telemetry(log)


@pytest.fixture
def log():
    return Log()


class Log:
    """Remembers every event with its fields."""

    def __init__(self):
        self.said = []

    def __getattr__(self, level):
        return lambda event, **fields: self.said.append((level, event, fields))

    def events(self):
        return [event for _, event, _ in self.said]


@pytest.fixture
def ours(authority, tmp_path):
    """A certificate of ours, and its key."""
    return authority.sign("ours", folder=tmp_path)


def config_of(authority, ours, **options):
    certificate, key = ours
    return TlsConfig(ca=str(authority.ca), certificate=str(certificate), key=SecretFile(str(key)), **options)


@pytest.fixture
def tls(authority, ours, telemetry):
    """TLS with the files above."""
    return Tls(config_of(authority, ours), "stable", AmbassadorEvents(telemetry))


# --- dates ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 10, 3650, 20000])
def test_the_dates_are_those_that_openssl_reads(authority, tmp_path, days):
    """Before 2050 they are written with two digits of the year, later with four."""
    certificate, _ = authority.sign("dates", days=days, folder=tmp_path)
    found = validity("words before\n" + certificate.read_text() + authority.ca.read_text())
    for name, value in zip(("-startdate", "-enddate"), found, strict=True):
        said = subprocess.run(
            ["openssl", "x509", "-noout", name, "-in", certificate], capture_output=True, text=True, check=True
        ).stdout
        assert ssl.cert_time_to_seconds(said.strip().partition("=")[2]) == value
    assert found.ends - found.begins == days * DAY


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.integers(min_value=0), st.integers(min_value=0, max_value=20))
def test_no_damage_is_more_than_a_value_error(authority, noise, at, size):
    """Whatever stands between BEGIN and END: a certificate's dates, or ValueError."""
    der = ssl.PEM_cert_to_DER_cert(authority.ca.read_text())
    at %= len(der)
    damaged = der[:at] + noise + der[at + size :]
    with suppress(ValueError):
        assert isinstance(validity(ssl.DER_cert_to_PEM_cert(damaged)).begins, float)


def test_a_file_without_a_certificate():
    """Is not one."""
    with pytest.raises(ValueError, match="holds no certificate"):
        validity("-----BEGIN CERTIFICATE-----")


# --- configuration ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{key: /k}", "f.yaml:1:7: key: is of no use without the certificate"),
        ("{ca: /a, verify: false}", "f.yaml:1:6: ca: is of no use with verify: false"),
        ("{server_name: 'https://a'}", 'server_name: "https://a" is not the name of a host'),
        ("{minimum: 1.1}", 'minimum: unknown value "1.1"'),
        ("{certificate: ''}", "certificate: names no file"),
    ],
)
def test_mistakes_are_named_with_their_place(text, problem):
    """Before anything is opened."""
    (node,) = parse(text, "f.yaml")
    with pytest.raises(ConfigError) as caught:
        decode(node, TlsConfig)
    assert problem in str(caught.value)


def test_versions_are_read_as_text():
    """`minimum: 1.3` needs no quotes."""
    (node,) = parse("{minimum: 1.3}")
    assert decode(node, TlsConfig).minimum == "1.3"


# --- files ------------------------------------------------------------------------------------------------------------


def test_each_bad_file_is_named_with_what_is_wrong(authority, ours, telemetry, tmp_path):
    """At the start that is an error; it holds nothing of the files."""
    certificate, key = map(str, ours)
    other_certificate, other = map(str, authority.sign("other", folder=tmp_path))
    encrypted, empty, garbled = (str(tmp_path / name) for name in ("encrypted", "empty", "garbled"))
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", encrypted, "-passout", "pass:secret"],
        check=True, capture_output=True,
    )  # fmt: skip
    (tmp_path / "empty").touch()
    (tmp_path / "garbled").write_text("-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n")
    (tmp_path / "both").write_text((tmp_path / "ours.crt").read_text() + (tmp_path / "ours.key").read_text())
    events = AmbassadorEvents(telemetry)
    table = [
        ({"ca": "/nowhere/ca.crt"}, "/nowhere/ca.crt cannot be read: no such file or directory"),
        ({"ca": str(tmp_path)}, f"{tmp_path} cannot be read: is a directory"),
        ({"ca": empty}, f"{empty} holds no certificate in PEM form that can be trusted"),
        ({"ca": garbled}, f"{garbled} holds no certificate in PEM form that can be trusted"),
        ({"certificate": empty, "key": key}, f"{empty} holds no certificate in PEM form"),
        ({"certificate": garbled, "key": key}, f"{garbled} holds something between BEGIN and END"),
        ({"certificate": certificate}, f"{certificate} holds no private key in PEM form"),
        ({"certificate": certificate, "key": empty}, f"{empty} holds no private key in PEM form"),
        ({"certificate": certificate, "key": other}, f"{other} is not the key of the certificate in {certificate}"),
        ({"certificate": certificate, "key": encrypted}, f"{encrypted} is encrypted"),
        ({"certificate": certificate, "key": "/nowhere/key"}, "/nowhere/key cannot be read: no such file"),
    ]
    for fields, message in table:
        if "key" in fields:
            fields["key"] = SecretFile(fields["key"])
        with pytest.raises(StartError) as caught:
            Tls(TlsConfig(**fields), "stable", events)
        assert str(caught.value).startswith(f"upstream stable: {message}"), fields
    assert Tls(TlsConfig(certificate=str(tmp_path / "both")), "stable", events).validity is not None
    assert Tls(TlsConfig(), "stable", events).validity is None
    assert other_certificate != certificate


async def test_new_files_are_taken_and_bad_ones_are_not(tls, authority, ours, log):
    """The last good ones stay, which is said once; good ones are taken as soon as they are there."""
    certificate, key = ours
    first, text = tls.context, key.read_text()
    assert not await tls.renewed()
    certificate.touch()
    assert not await tls.renewed(), "the content is the same"
    authority.sign("ours", days=20, folder=certificate.parent)
    new = key.read_text()
    key.write_text(text)
    for _ in range(3):
        assert not await tls.renewed()
    assert tls.context is first
    assert log.events() == ["ambassador.rotation.failed"]
    assert log.said[0][2]["reason"] == f"{key} is not the key of the certificate in {certificate}"
    key.write_text(new)
    assert await tls.renewed()
    assert tls.context is not first
    second = tls.context
    key.unlink()
    for _ in range(3):
        assert not await tls.renewed()
    key.write_text(new)
    assert not await tls.renewed()
    assert tls.context is second
    assert log.events()[1:] == ["ambassador.rotation.taken", "ambassador.rotation.failed"]
    assert log.said[2][2]["reason"] == f"{key} cannot be found"


async def test_a_secret_volume_swaps_its_files_together(authority, telemetry, tmp_path):
    """The path leads through `..data`; what it led to before is never written to."""

    def publish(name, days):
        folder = tmp_path / name
        folder.mkdir()
        authority.sign("tls", days=days, folder=folder)
        link = tmp_path / "..data_tmp"
        link.symlink_to(name)
        link.rename(tmp_path / "..data")

    publish("..1", 10)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    ours = tmp_path / "tls.crt", tmp_path / "tls.key"
    tls = Tls(config_of(authority, ours), "stable", AmbassadorEvents(telemetry))
    before = tls.validity
    publish("..2", 20)
    assert await tls.renewed()
    assert tls.validity.ends == pytest.approx(before.ends + 10 * DAY, abs=5)


# --- telling ----------------------------------------------------------------------------------------------------------


def test_how_long_the_certificate_lasts_is_a_metric(tls, telemetry):
    """For as long as the upstream is in use."""
    name = "podpatterns_ambassador_certificate_seconds_left"
    assert telemetry.registry.get_sample_value(name, {"version": "stable"}) is None
    tls.use()
    assert telemetry.registry.get_sample_value(name, {"version": "stable"}) == pytest.approx(10 * DAY, abs=60)
    newer = Tls(tls.config, "stable", tls._events)
    newer.use()
    tls.retire()
    assert telemetry.registry.get_sample_value(name, {"version": "stable"}) is not None
    newer.retire()
    assert telemetry.registry.get_sample_value(name, {"version": "stable"}) is None


def test_a_certificate_that_nobody_renews_is_told_once(authority, ours, telemetry, log):
    """When a tenth of its lifetime is left."""
    now = time.time()
    tls = Tls(config_of(authority, ours), "stable", AmbassadorEvents(telemetry), clock=lambda: now)
    assert log.events() == []
    now += 10 * DAY * (1 - LATE)
    for _ in range(3):
        tls.warn()
    assert log.events() == ["ambassador.tls.certificate_late"]
    assert log.said[0][2]["seconds_left"] == pytest.approx(DAY, abs=60)


def test_not_to_verify_is_told_at_each_start(telemetry, log):
    """Loudly."""
    tls = Tls(TlsConfig(verify=False), "stable", AmbassadorEvents(telemetry))
    assert [(level, event) for level, event, _ in log.said] == [("warning", "ambassador.tls.unverified")]
    assert tls.describe() == {"verified": False}


# --- handshakes -------------------------------------------------------------------------------------------------------


def shake(client, server, name):
    """A handshake in memory; the first error of either side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                if end is ends[0]:
                    return error
                waiting.remove(end)
    try:
        ends[0].read(1)
    except ssl.SSLWantReadError:
        return None
    except ssl.SSLError as error:
        return error


def server(authority, tmp_path, *, names="DNS:localhost", days=10, client_ca=None, newest=None):
    certificate, key = authority.sign("server", names=names, days=days, folder=tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    if newest:
        context.maximum_version = newest
    return context


def test_both_sides_know_each_other(tls, authority, tmp_path):
    """mTLS: our certificate is shown, the upstream's is checked."""
    assert shake(tls.context, server(authority, tmp_path, client_ca=authority.ca), tls.name("localhost")) is None


def test_an_address_may_be_an_ip_address(tls, authority, tmp_path):
    """Then the certificate must name it."""
    context = server(authority, tmp_path, names="IP:10.0.0.7")
    assert shake(tls.context, context, tls.name("10.0.0.7")) is None
    assert "not for this IP address" in explained(shake(tls.context, context, tls.name("10.0.0.8")))


def test_the_server_name_replaces_that_of_the_address(authority, ours, telemetry, tmp_path):
    """For upstreams at an address that their certificate does not name."""
    tls = Tls(config_of(authority, ours, server_name="orders.example.org"), "stable", AmbassadorEvents(telemetry))
    context = server(authority, tmp_path, names="DNS:orders.example.org")
    assert shake(tls.context, context, tls.name("10.0.0.7")) is None


def test_what_goes_wrong_is_said_in_terms_of_the_configuration(tls, authority, ours, telemetry, tmp_path):
    """Each reason with the setting that has to do with it."""
    stranger = type(authority)(tmp_path / "stranger", "stranger")
    events = AmbassadorEvents(Telemetry())
    plain = Tls(TlsConfig(ca=str(authority.ca)), "stable", events)
    strict = Tls(config_of(authority, ours, minimum="1.3"), "stable", AmbassadorEvents(Telemetry()))
    ended = server(authority, tmp_path, days=-1)
    table = [
        (tls, server(stranger, tmp_path), "its authority is not in tls.ca"),
        (tls, server(authority, tmp_path, names="DNS:other.example.org"), "for another name; set tls.server_name"),
        (tls, ended, "its certificate has expired"),
        (tls, server(authority, tmp_path, client_ca=stranger.ca), "does not know the authority of our certificate"),
        (plain, server(authority, tmp_path, client_ca=authority.ca), "asks for a certificate of ours"),
        (strict, server(authority, tmp_path, newest=ssl.TLSVersion.TLSv1_2), "other versions of TLS than ours"),
    ]
    for client, context, words in table:
        error = shake(client.context, context, "localhost")
        assert error is not None, words
        assert words in explained(error)


def test_plain_text_is_not_taken_for_tls(tls):
    """The usual mistake: the port of the plain service."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    end = tls.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    incoming.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ssl.SSLError) as caught:
        end.do_handshake()
    assert explained(caught.value) == "it does not speak TLS at this port"
