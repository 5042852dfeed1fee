"""Scalars of the configuration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.runtime.units import SCALARS, Address, Duration, FunctionRef, SecretFile, Share, Size, Url, transform

GOOD = [
    (Duration, "30s", 30.0),
    (Duration, "1m30s", 90.0),
    (Duration, "250ms", 0.25),
    (Duration, "0s", 0.0),
    (Duration, "1.5h", 5400.0),
    (Size, "4MiB", 4 << 20),
    (Size, "1KB", 1000),
    (Size, "12", 12),
    (Size, "0.5KiB", 512),
    (Share, "10%", 0.1),
    (Share, "0.5", 0.5),
]


@pytest.mark.parametrize(("cls", "text", "value"), GOOD)
def test_text_becomes_the_number_it_means(cls, text, value):
    """A scalar *is* the number that the code works with."""
    assert cls(text) == pytest.approx(value)


BAD = [
    (Duration, "30", 'did you mean "30s"?'),
    (Duration, "30 s", "write it with a unit"),
    (Duration, "5parsecs", "the units are us, ms, s, m, h, d"),
    (Duration, "", "write it with a unit"),
    (Size, "4 MiB", 'write it as "512KiB"'),
    (Size, "4mib", 'write it as "512KiB"'),
    (Share, "110%", "between"),
    (Share, "half", 'write it as "10%"'),
    (Address, "localhost", '":port"'),
    (Address, "9102", 'did you mean ":9102"?'),
    (Address, "http://x:80", "without scheme"),
    (Address, "x:port", "between 0 and 65535"),
    (Address, "x:65536", "between 0 and 65535"),
    (Address, "x:٣", "between 0 and 65535"),
    (Address, "[::zz]:80", "IPv6"),
    (Address, "unix:relative", "absolute"),
    (Url, "ftp://host/", "is not a URL"),
    (Url, "http:///path", "is not a URL"),
    (Url, "http://host:99999/", "not a URL"),
    (FunctionRef, "os.path", "package.module:function"),
    (FunctionRef, "os:no_such_thing", "cannot be imported"),
    (FunctionRef, "os:sep", "not a function"),
]


@pytest.mark.parametrize(("cls", "text", "words"), BAD)
def test_a_refusal_shows_the_right_form(cls, text, words):
    """What does not parse is refused with words that say how to write it."""
    with pytest.raises(ValueError, match=r".") as caught:
        cls(text)
    assert words in str(caught.value)


def test_a_size_is_exact():
    """Beyond what a double holds, too."""
    assert Size("9007199254740993") == 2**53 + 1
    assert Size(f"{2**80}") == 2**80


@given(st.integers(0, 10**7).map(lambda ms: ms / 1000))
def test_a_duration_reads_what_it_writes(seconds):
    """Duration(str(d)) = d, to the microsecond."""
    assert Duration(str(Duration(seconds))) == pytest.approx(seconds, abs=1e-6)


@given(st.integers(0, 1 << 50))
def test_a_size_reads_what_it_writes(size):
    """Size(str(s)) = s."""
    assert Size(str(Size(size))) == size


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        (":9125", "", 9125, None),
        ("127.0.0.1:80", "127.0.0.1", 80, None),
        ("[::1]:80", "::1", 80, None),
        ("catalog.shop.svc:8080", "catalog.shop.svc", 8080, None),
        ("unix:/run/a.sock", "", 0, "/run/a.sock"),
    ],
)
def test_an_address_is_split_once(text, host, port, path):
    """host, port and path are ready to use; the text stays what was written."""
    address = Address(text)
    assert (address.host, address.port, address.path, str(address)) == (host, port, path, text)


def test_a_password_in_a_url_is_never_shown():
    """`redacted` and error messages hide user and password; the URL itself keeps them."""
    url = Url("https://shop:secret@logs:8080/in?x=1")
    assert url.redacted == "https://***@logs:8080/in?x=1"
    assert "secret" in url
    with pytest.raises(ValueError, match="is not a URL") as caught:
        Url("ftp://shop:secret@logs/")
    assert "secret" not in str(caught.value)


def test_a_secret_is_read_anew_without_its_final_newline(tmp_path):
    """Rotation is picked up, and the newline that an editor added is not part of the secret."""
    path = tmp_path / "token"
    path.write_text("one\n")
    secret = SecretFile(path)
    assert secret.read() == "one"
    path.write_text("two\r\n")
    assert secret.read() == "two"


def test_a_secret_that_is_no_text_is_an_error_that_does_not_show_it(tmp_path):
    """Like a file that cannot be read: whoever reads secrets expects that one."""
    path = tmp_path / "token"
    path.write_bytes(b"hunter2\xff")
    with pytest.raises(OSError, match="does not hold text in UTF-8") as caught:
        SecretFile(path).read()
    assert caught.value.filename == str(path)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_transform_is_a_plain_function():
    """The decorator marks a function, which still can be called; a coroutine function is refused."""

    @transform
    def double(batch):
        return batch * 2

    assert double(21) == 42
    assert double == transform(double.target)
    assert double != transform(print)
    with pytest.raises(TypeError, match="synchronous"):

        @transform
        async def wrong(batch):
            return batch


def test_every_scalar_has_a_schema_with_examples_that_parse():
    """The published examples are valid."""
    for cls in SCALARS:
        for example in cls.SCHEMA["examples"]:
            if cls is not FunctionRef:
                cls(example)
