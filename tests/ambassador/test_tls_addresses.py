"""Addresses with and without a scheme: what they mean, and what contradicts itself."""

import pytest

from podpatterns import ConfigError
from podpatterns.ambassador.credentials.oauth2 import Oauth2Config
from podpatterns.ambassador.endpoints import origin
from podpatterns.ambassador.tls import TlsConfig
from podpatterns.ambassador.upstreams import UpstreamConfig
from podpatterns.ambassador.upstreams.hosts import HostsConfig
from podpatterns.runtime.decode import decode, validated
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Address, SecretFile, Url


def decoded(text):
    (node,) = parse(text, "f.yaml")
    return decode(node, UpstreamConfig)


@pytest.mark.parametrize(
    ("written", "place", "host"),
    [
        ("https://orders.example.org", "orders.example.org:443", "orders.example.org"),
        ("https://orders.example.org/", "orders.example.org:443", "orders.example.org"),
        ("https://orders.example.org:443", "orders.example.org:443", "orders.example.org"),
        ("https://orders.example.org:8443", "orders.example.org:8443", "orders.example.org:8443"),
        ("http://orders", "orders:80", "orders"),
        ("https://Bücher.example", "bücher.example:443", "xn--bcher-kva.example"),
        ("https://10.0.0.7", "10.0.0.7:443", "10.0.0.7"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443", "[2001:db8::1]:8443"),
    ],
)
def test_a_url_says_where_to_connect_and_which_host_it_is(written, place, host):
    """The port is that of the scheme if none is given; the host is what a client that was given the URL would send."""
    assert origin.mistake(Url(written)) == ""
    assert origin.place(Url(written)) == place
    assert origin.authority([Url(written)]) == host
    assert origin.secure([Url(written)]) == written.startswith("https")


def test_an_address_stays_as_it_is():
    """And says nothing of the host."""
    assert origin.place(Address("orders:8080")) == "orders:8080"
    assert origin.authority([Address("orders:8080"), Address("unix:/run/a")]) is None
    assert not origin.secure([Address("orders:8080")])


@pytest.mark.parametrize(
    ("text", "tls", "host"),
    [
        ("https://orders.example.org", True, b"orders.example.org"),
        ("{addresses: [https://a.example], host: b.example}", True, b"b.example"),
        ("http://orders.example.org", False, b"orders.example.org"),
        ("orders:8080", False, None),
        ("{addresses: [orders:8443], tls: {}}", True, None),
        ("{addresses: ['unix:/run/a'], tls: {server_name: a}}", True, None),
        ("[https://a.example, https://a.example]", True, b"a.example"),
    ],
)
def test_how_an_upstream_is_spoken_to(text, tls, host):
    """The short form says it as well as the long one."""
    config = decoded(text)
    assert (config.secured is not None) == tls
    assert config.authority == host


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://orders.example.org/v1", 'f.yaml:1:1: addresses[0]: "https://orders.example.org/v1" has a path'),
        ("https://a:s3cret@orders.example.org", 'addresses[0]: "https://***@orders.example.org" holds a user'),
        ("'https://a b'", "has no valid host name"),
        ("https://a%20b", "has no valid host name"),
        ("https://orders:0", "has port 0, which cannot be connected to"),
        ("'orders:0'", '"orders:0" has port 0'),
        ("':8080'", 'f.yaml:1:1: addresses[0]: ":8080" lacks a host; did you mean "127.0.0.1:8080"?'),
        ("orders.example.org", 'is not an address; write "host:port"'),
        ("[https://a, b:80]", "addresses: would partly be spoken to in plain text"),
        ("[https://a, https://b]", "host: is required: the addresses go by several names, a and b"),
        ("{addresses: [HTTP://a], tls: {}}", 'tls: contradicts an address that begins with "http://"'),
        ("{addresses: ['unix:/run/a'], tls: {}}", "tls: needs server_name"),
    ],
)
def test_mistakes_are_named_with_their_place(text, problem):
    """And a password in an address is not repeated."""
    with pytest.raises(ConfigError) as caught:
        decoded(text)
    assert problem in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_what_an_application_builds_is_checked_like_a_file():
    """Addresses in either form, TLS and credentials come out of the check as they went in."""
    config = HostsConfig(
        addresses=(Url("https://orders.example.org"),),
        tls=TlsConfig(ca="/ca", certificate="/crt", key=SecretFile("/key")),
        credentials=Oauth2Config(
            token_url=Url("https://login.example.org/token"), client_id="shop", client_secret=SecretFile("/secret"),
            tls=TlsConfig(server_name="login"),
        ),
    )  # fmt: skip
    assert validated(config) == config
