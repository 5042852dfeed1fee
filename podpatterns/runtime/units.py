"""Scalars of the configuration that are more than a string: durations, sizes, shares, addresses, URLs, secrets.

Each is a subclass of the Python type that the code works with, so a `Duration` *is* its seconds and
needs no conversion; `parse` takes the text of the configuration and raises `ValueError` with a
message that shows the right form; `SCHEMA` is its JSON Schema; `str()` gives the text back.
"""

from __future__ import annotations

import errno
import ipaddress
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit, urlunsplit

_NUMBER = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-zµ]*)")
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


class Duration(float):
    """A length of time in seconds, written `250ms`, `30s`, `5m` or `1m30s`; no time at all needs no unit."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^(0|([0-9]+(\.[0-9]+)?(us|ms|s|m|h|d))+)$",
        "examples": ["250ms", "30s", "1m30s"],
    }

    def __new__(cls, value: str | float) -> Self:
        """Take seconds as a number, or text with units."""
        if isinstance(value, str):
            value = cls._seconds(value)
        if not 0 <= value < float("inf"):
            raise ValueError("a duration cannot be negative or infinite")
        return super().__new__(cls, value)

    @staticmethod
    def _seconds(text: str) -> float:
        if text == "0":
            return 0.0
        parts = _NUMBER.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            raise ValueError(f'"{text}" is not a duration; write it with a unit, such as "30s", "250ms" or "1m30s"')
        for number, unit in parts:
            if unit not in _SECONDS:
                hint = f'; did you mean "{number}s"?' if not unit else f"; the units are {', '.join(_SECONDS)}"
                raise ValueError(f'"{text}" is not a duration{hint}')
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)

    def __str__(self) -> str:
        """The shortest form with one unit: `90s`, `250ms`, `5m`."""
        for unit in ("d", "h", "m", "s", "ms"):
            count = self / _SECONDS[unit]
            if count >= 1 and count == int(count):
                return f"{int(count)}{unit}"
        return f"{float(self):.9f}".rstrip("0").rstrip(".") + "s"

    __repr__ = __str__


class Size(int):
    """A number of bytes, written `512KiB`, `4MiB`, `1GB` or as a plain number."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB|KiB|MiB|GiB)?$"}, {"type": "integer"}],
        "examples": ["512KiB", "4MiB"],
    }

    def __new__(cls, value: str | int) -> Self:
        """Take a number of bytes, or text with a unit."""
        if isinstance(value, str):
            match = _NUMBER.fullmatch(value)
            if match is None or match[2] not in _BYTES:
                raise ValueError(f'"{value}" is not a size; write it as "512KiB", "4MiB" or a number of bytes')
            whole, _, fraction = match[1].partition(".")  # exactly, as a float would not be
            number = int(whole + fraction) * _BYTES[match[2]] // 10 ** len(fraction)
        else:
            number = value
        if number < 0:
            raise ValueError("a size cannot be negative")
        return super().__new__(cls, number)

    def __str__(self) -> str:
        """The largest binary unit that divides it."""
        for unit in ("GiB", "MiB", "KiB"):
            if self and not int(self) % _BYTES[unit]:
                return f"{int(self) // _BYTES[unit]}{unit}"
        return str(int(self))

    __repr__ = __str__


class Share(float):
    """A fraction between 0 and 1, written `10%` or `0.1`."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "anyOf": [
            {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
            {"type": "number", "minimum": 0, "maximum": 1},
        ],
        "examples": ["10%", "0.5"],
    }

    def __new__(cls, value: str | float) -> Self:
        """Take a fraction, or text with a percent sign."""
        if isinstance(value, str):
            text = value.removesuffix("%")
            try:
                value = float(text) / 100 if value.endswith("%") else float(text)
            except ValueError:
                raise ValueError(f'"{value}" is not a share; write it as "10%" or "0.1"') from None
        if not 0 <= value <= 1:
            raise ValueError(f'a share lies between "0%" and "100%", not {value:g}; did you mean "{value:g}%"?')
        return super().__new__(cls, value)

    def __str__(self) -> str:
        """In percent."""
        return f"{float(self) * 100:.9g}%"

    __repr__ = __str__


class Address(str):
    """Where to listen or connect: `host:port`, `:port` (all interfaces), `[v6]:port` or `unix:/path`."""

    __slots__ = ("host", "path", "port")
    SCHEMA: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^(unix:/.+|(\[[0-9a-fA-F:.]+\]|[^:/\[\]]*):[0-9]{1,5})$",
        "examples": ["127.0.0.1:8080", ":9125", "unix:/run/app.sock"],
    }
    host: str
    port: int
    path: str | None

    def __new__(cls, value: str) -> Self:
        """Split once; `host` is empty for all interfaces, `path` is None unless it is a unix socket."""
        self = super().__new__(cls, value)
        self.host, self.port, self.path = "", 0, None
        if value.startswith("unix:"):
            self.path = value.removeprefix("unix:")
            if not self.path.startswith("/"):
                raise ValueError(f'"{value}" must name an absolute path, such as "unix:/run/app.sock"')
            return self
        host, colon, port = value.rpartition(":")
        if not colon:
            port_alone = value.isascii() and value.isdigit() and int(value) <= 65535
            hint = f'did you mean ":{value}"?' if port_alone else 'write "host:port", ":port" or "unix:/path"'
            raise ValueError(f'"{value}" is not an address; {hint}')
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f'"{value}": the port must be a number between 0 and 65535')
        if host.startswith("["):
            try:
                host = str(ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]")))
            except ValueError:
                raise ValueError(f'"{value}": what stands in brackets must be an IPv6 address') from None
        elif ":" in host or "/" in host:
            raise ValueError(f'"{value}" is not an address; write "host:port", without scheme or path')
        self.host, self.port = host, int(port)
        return self


class Url(str):
    """An http or https URL; a password in it is hidden whenever it is shown."""

    __slots__ = ()
    SCHEMA: ClassVar[dict[str, Any]] = {"type": "string", "pattern": "^https?://", "examples": ["http://logs:8080/in"]}

    def __new__(cls, value: str) -> Self:
        """Check the scheme and the host."""
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"not a URL: {error}") from None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f'"{cls._hidden(value)}" is not a URL; write "http://host:port/path" or "https://…"')
        return super().__new__(cls, value)

    @staticmethod
    def _hidden(value: str) -> str:
        parts = urlsplit(value)
        if "@" not in parts.netloc:
            return value
        return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))

    @property
    def redacted(self) -> str:
        """The URL without its user and password, for logs, errors and the admin pages."""
        return self._hidden(str(self))


class SecretFile(str):
    """The path of a file that holds a secret; only the path is ever shown."""

    __slots__ = ()
    SCHEMA: ClassVar[dict[str, Any]] = {"type": "string", "minLength": 1, "examples": ["/var/run/secrets/token"]}

    def read(self) -> str:
        """The secret as it is now, without the final newline that editors add.

        Raises:
            OSError: the file cannot be read, or does not hold text in UTF-8.
        """
        try:
            return Path(self).read_text("utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:  # which would show what the file holds
            raise OSError(errno.EILSEQ, "does not hold text in UTF-8", str(self)) from None


class FunctionRef:
    """A Python function, named in YAML as `package.module:function`."""

    SCHEMA: ClassVar[dict[str, Any]] = {
        "type": "string",
        "pattern": r"^[\w.]+:[\w.]+$",
        "examples": ["shop.logs:add_team"],
    }
    __slots__ = ("name", "target")

    def __init__(self, value: str | Callable[..., Any]) -> None:
        if callable(value):
            self.target, self.name = value, f"{value.__module__}:{getattr(value, '__qualname__', repr(value))}"
            return
        module, colon, attribute = value.partition(":")
        if not colon:
            raise ValueError(f'"{value}" does not name a function; write "package.module:function"')
        try:
            target: Any = import_module(module)
            for part in attribute.split("."):
                target = getattr(target, part)
        except (ImportError, AttributeError) as error:
            raise ValueError(f'"{value}" cannot be imported: {error}') from None
        if not callable(target):
            raise ValueError(f'"{value}" is a {type(target).__name__}, not a function')  # noqa: TRY004 - a bad value in a file
        self.target, self.name = target, value

    def __call__(self, *args: Any) -> Any:
        """Call the function."""
        return self.target(*args)

    def __str__(self) -> str:
        """The form used in YAML."""
        return self.name

    def __eq__(self, other: object) -> bool:
        """The same function; so that a file which is written anew is no change."""
        return isinstance(other, FunctionRef) and self.target is other.target

    def __hash__(self) -> int:
        return hash(self.target)


SCALARS: tuple[type, ...] = (Duration, Size, Share, Address, Url, SecretFile, FunctionRef)
"""Every type above: decoding, schema and rendering treat them alike."""


def transform(function: Callable[..., Any]) -> Any:
    """Mark a plain function as a transform, to stand in a configuration's `transforms` list (of any pattern's type).

    The function takes what flows through the pattern (the sidecar's `Batch`, the adapter's families) and
    returns it, changed. It runs synchronously between input and output: it must not block or await.
    """
    import inspect

    if not callable(function):
        raise TypeError(f"a transform is a function, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} is async; a transform is synchronous: it works on a batch in memory")
    return FunctionRef(function)


def hook(function: Callable[..., Any]) -> FunctionRef:
    """Mark a plain function as a hook of the ambassador, to stand in a route's `hooks`.

    The function takes the head of a request or of a response, and changes it or answers. It runs in the event loop, for
    every request of its route: it must not block or await.
    """
    import inspect

    if not callable(function):
        raise TypeError(f"a hook is a function, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} is async; a hook is synchronous: it sees every request on its way")
    return FunctionRef(function)
