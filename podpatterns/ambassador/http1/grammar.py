"""The grammar of heads, as compiled expressions.

One anchored expression validates a whole head at C speed; a second one finds the few fields that decide on framing
and forwarding. Each part starts with a character that its neighbour cannot match, so that a failing match costs time
linear in the head's length: there is nothing to backtrack into. `++` and `*+` save remembering where one could; they
stand behind single characters only, for behind a group CPython before 3.11.5 matches with them what it should not
(gh-106052).

Strict where readers are known to differ: no bare CR, LF or NUL, no line folding, no space before the colon,
one space between the parts of the first line.
"""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_VALUE = rb"[\t\x20-\x7e\x80-\xff]"
_LINES = rb"(?:" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n)*\r\n"

TOKEN = re.compile(_TOKEN + rb"+")

REQUEST = re.compile(rb"(" + _TOKEN + rb"+) ([\x21\x22\x24-\x7e]+) HTTP/1\.([01])\r\n" + _LINES)
"""Groups: method, target (printable ASCII without `#`: a fragment is never sent), minor version."""

REQUEST_LINE = re.compile(rb"(" + _TOKEN + rb"+) ([\x21\x22\x24-\x7e]+) HTTP/([0-9])\.([0-9])\r\n")
"""Only used to say what is wrong with a head that REQUEST does not match."""

RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: " + _VALUE + rb"*)?\r\n" + _LINES)
"""Groups: minor version, status. Some servers leave out the space before an empty reason phrase."""

SPACED_COLON = re.compile(rb"(\r\n" + _TOKEN + rb"+)[ \t]+:")
"""In a response the space before a colon is removed (RFC 9112 5.1); in a request it is refused."""

REQUEST_FIELDS = re.compile(
    rb"\r\n(?=[hcvtuekpHCVTUEKP]|[xX]-[rR])(?i:(host|connection|content[-_]length|transfer[-_]encoding|via|expect|upgrade|te"
    rb"|keep-alive|proxy-connection|http2-settings|x-request-id)):([^\r\n]*)"
)
"""The request fields that decide. `Content_Length` is here because many servers read it as `Content-Length`, and
`X-Request-Id` because a request that has none may get one.

The look-ahead at the first letter halves the time: most lines are left at once.
"""

RESPONSE_FIELDS = re.compile(
    rb"\r\n(?=[ctkupCTKUP])(?i:(content-length|connection|transfer-encoding|keep-alive|upgrade|te|proxy-connection)):([^\r\n]*)"
)
"""The response fields that decide."""

HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+)(?::[0-9]{0,5})?")
"""A Host field's value (RFC 9110 7.2), not empty."""

ABSOLUTE = re.compile(rb"(?i:http)://([^/?@]*)(/[^?]*)?(\?.*)?")
"""A target in absolute form: authority, path, query. User information is refused by not matching."""

LENGTH = re.compile(rb"[0-9]{1,18}")
"""A Content-Length: digits alone, below 2⁶³."""

# --- what most heads are ----------------------------------------------------------------------------------------------
#
# One expression each that matches the heads of nearly all clients and servers, with everything that has to be known of
# them in its groups. A head that it does not match is not wrong: it is read by the expressions above, which take more
# time. Each line of a head is a plain one, or one of those that decide, each of which may come once and in the spelling
# that everybody uses: `(?(3)(?!))` fails where group 3 has matched already.

_DECIDE = (
    rb"(?:[hH](?i:ost|ttp2-settings)|[cC](?i:onnection|ontent[-_]length)|[tT](?i:ransfer[-_]encoding|e)|[vV](?i:ia)"
    rb"|[eE](?i:xpect)|[uU](?i:pgrade)|[kK](?i:eep-alive)|[pP](?i:roxy-connection)|[xX](?i:-request-id)):"
)
"""The names in REQUEST_FIELDS and RESPONSE_FIELDS; by their first letters, so that most lines are soon told from
them."""

_PLAIN = rb"(?!" + _DECIDE + rb")" + _TOKEN + rb"++:" + _VALUE + rb"*+\r\n"
_KEEPS = rb"[cC](?i:onnection): [kK](?i:eep-alive)\r\n"


@lru_cache
def usual_request(fields: int) -> re.Pattern[bytes]:
    """A usual request with at most so many fields.

    Groups: method, target, host, length, chunked, the line that says keep-alive, X-Request-Id's name.
    """
    host = rb"(?:[A-Za-z0-9._~-]++|\[[0-9A-Fa-f:.]++\])(?::[0-9]{0,5}+)?"
    return re.compile(
        rb"(GET|POST|PUT|HEAD|DELETE|PATCH) (/[\x21\x22\x24-\x7e]*+) HTTP/1\.1\r\n"
        rb"(?:" + _PLAIN + rb"|(?(3)(?!))[hH](?i:ost): ?(" + host + rb")\r\n"
        rb"|(?(4)(?!))(?(5)(?!))[cC](?i:ontent-length): ?(0|[1-9][0-9]{0,17}+)\r\n"
        rb"|(?(4)(?!))(?(5)(?!))[tT](?i:ransfer-encoding): (chunked)\r\n"
        rb"|(?(6)(?!))(" + _KEEPS + rb")"
        rb"|(?(7)(?!))([xX](?i:-request-id)):" + _VALUE + rb"*+\r\n"
        rb"){1,%d}\r\n" % fields
    )


@lru_cache
def usual_response(fields: int) -> re.Pattern[bytes]:
    """A usual final response, to anything but HEAD, that has a body, with at most so many fields.

    Groups: status, length, chunked, the line that says keep-alive, the line Keep-Alive.
    """
    return re.compile(
        rb"HTTP/1\.1 (?!204|304)([2-5][0-9][0-9])(?: " + _VALUE + rb"*+)?\r\n"
        rb"(?:" + _PLAIN + rb"|(?(2)(?!))(?(3)(?!))[cC](?i:ontent-length): ?([0-9]{1,18}+)\r\n"
        rb"|(?(2)(?!))(?(3)(?!))[tT](?i:ransfer-encoding): (chunked)\r\n"
        rb"|(?(4)(?!))(" + _KEEPS + rb")"
        rb"|(?(5)(?!))([kK](?i:eep-alive):" + _VALUE + rb"*+\r\n)"
        rb"){1,%d}\r\n" % fields
    )
