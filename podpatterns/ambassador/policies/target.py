"""Request targets, and what may be put in their place. Pure.

Nothing that is configured can make a target malformed: literals are checked when the configuration is read, and what
is taken over from a request has passed the grammar of its first line.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from podpatterns.runtime.schema import InvalidField

MAX_TARGET = 64 * 1024
"""Bytes of a target that was put together: a template may repeat what it takes from the request."""

_PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*")
_PATH_AND_QUERY = re.compile(r"/[\x21\x22\x24-\x7e]*")
_REFERENCE = re.compile(r"\\(?:([0-9]{1,2})|g<(\w+)>)")


def check_path(path: str, place: str, *, query: bool = False) -> None:
    """Raise InvalidField for `place`, unless this is a path as it stands in a request; with `query`, that may follow.

    Nothing is encoded silently: what is configured is what is sent.
    """
    if not path.startswith("/"):
        raise InvalidField(place, f'must start with "/"; did you mean "/{path}"?')
    if (_PATH_AND_QUERY if query else _PATH).fullmatch(path) is None:
        safe = quote(path, safe="/%:@!$&'()*+,;=~-._" + ("?" if query else ""))
        raise InvalidField(place, f'"{path}" is not a path as it is sent; did you mean "{safe}"?')


def target_of(head: bytes) -> bytes:
    """The target in the first line of a head."""
    return head[head.index(b" ") + 1 : head.index(b" HTTP/1.1\r\n")]


def with_target(head: bytes, target: bytes) -> bytes:
    """A head with another target."""
    return head[: head.index(b" ") + 1] + target + head[head.index(b" HTTP/1.1\r\n") :]


def replace_prefix(path: bytes, prefix: bytes, replacement: bytes) -> bytes:
    """`path` with its first segments `prefix` replaced; a slash at the end of either makes no difference.

    What follows the prefix stays as it is. The path must be below the prefix.
    """
    return replacement.rstrip(b"/") + path[len(prefix.rstrip(b"/")) :] or b"/"


def with_query(path: bytes, target: bytes) -> bytes:
    """`path` with the query of a target, as it stands there; behind a query that the path has itself."""
    _, mark, query = target.partition(b"?")
    if b"?" not in path:
        return path + mark + query
    return path + b"&" + query if query else path


class Substitution:
    r"""Replaces a path that a regular expression matches as a whole; `\1` or `\g<name>` stand for its groups.

    `\g<1>` is `\1` where a digit follows.
    """

    __slots__ = ("_parts", "_pattern")

    def __init__(self, regex: str, template: str, place: str) -> None:
        """Raises InvalidField for `place`: the template is malformed, or names a group that there is not."""
        self._pattern = re.compile(regex.encode())
        self._parts: list[bytes | int] = []
        end = 0
        check_path(_REFERENCE.sub("", template), place, query=True)
        for found in _REFERENCE.finditer(template):
            self._literal(template[end : found.start()], place)
            self._parts.append(self._group(found[1] or found[2], place))
            end = found.end()
        self._literal(template[end:], place)
        if not template.startswith("/"):
            raise InvalidField(place, 'must start with "/", not with a group')

    def _literal(self, text: str, place: str) -> None:
        if "\\" in text:
            raise InvalidField(place, r"a backslash is followed by a group: \1 or \g<name>")
        if text:
            self._parts.append(text.encode())

    def _group(self, name: str, place: str) -> int:
        last = self._pattern.groups
        group = int(name) if name.isdigit() else self._pattern.groupindex.get(name, last + 1)
        if group > last:
            raise InvalidField(place, f'there is no group "{name}" in the regular expression')
        return group

    def __call__(self, path: bytes) -> bytes | None:
        """What takes the path's place; None if the expression does not match."""
        match = self._pattern.fullmatch(path)
        if match is None:
            return None
        return b"".join(part if isinstance(part, bytes) else match[part] or b"" for part in self._parts)
