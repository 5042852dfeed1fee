"""Request smuggling and splitting, as a table: what was found against real proxies over the years, and what could be.

Each row is what one client sends, and what becomes of it: so many requests reach the upstream (`before`), then one is
refused with a status and a reason; or none is refused, and every message goes on as the one message it is.
Sources: RFC 9112 11.2, Linhart et al. 2005, Kettle's "HTTP Desync Attacks" (2019), "HTTP/1 must die" (2025) and the
requests of the http-garden and the H1 tests of the proxies named there.
"""

from __future__ import annotations

from dataclasses import dataclass

NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKS = b"5\r\nhello\r\n0\r\n\r\n"


@dataclass(frozen=True)
class Payload:
    """What a client sends on one connection."""

    data: bytes
    status: int = 0
    """Of the refusal; 0 if nothing is refused."""
    reason: str = ""
    """The label of the refusal in the metrics."""
    before: int = 0
    """How many requests are forwarded whole."""


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST / HTTP/1.1", host: bytes | None = b"Host: a") -> bytes:
    lines = [line, *([host] if host is not None else []), *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"Host: a") -> bytes:
    return post(*fields, line=line, host=host)


def refused(data: bytes, status: int = 400, reason: str = "malformed_field", before: int = 0) -> Payload:
    return Payload(data, status, reason, before)


TE = b"Transfer-Encoding: chunked"

LENGTH_AND_CODING = {
    "CL.TE": refused(post(b"Content-Length: 6", TE, body=b"0\r\n\r\nG"), reason="length_and_chunked"),
    "TE.CL": refused(post(TE, b"Content-Length: 4", body=b"5c\r\n" + SMUGGLED), reason="length_and_chunked"),
    "CL.TE with length 0": refused(post(b"Content-Length: 0", TE, body=CHUNKS), reason="length_and_chunked"),
    "TE beside an empty CL": refused(post(b"Content-Length:", TE, body=CHUNKS), reason="length_and_chunked"),
    "TE beside an invalid CL": refused(post(b"Content-Length: x", TE, body=CHUNKS), reason="length_and_chunked"),
    "TE beside CL in other capitals": refused(
        post(b"cOnTeNt-LeNgTh: 4", b"tRaNsFeR-eNcOdInG: chunked", body=CHUNKS), reason="length_and_chunked"
    ),
    "identity beside CL": refused(
        post(b"Content-Length: 5", b"Transfer-Encoding: identity", body=b"hello"), reason="length_and_chunked"
    ),
    "CL.TE where Connection lists Transfer-Encoding": refused(
        post(b"Connection: transfer-encoding", b"Content-Length: 5", TE, body=CHUNKS), reason="length_and_chunked"
    ),
    "Connection lists Content-Length": refused(
        post(b"Connection: content-length", b"Content-Length: 5", body=b"hello"), reason="connection_options"
    ),
    "Connection lists Host": refused(get(b"Connection: host"), reason="connection_options"),
    "Connection lists Cookie": refused(get(b"Connection: close, cookie", b"Cookie: a=b"), reason="connection_options"),
    "Connection lists Authorization": refused(get(b"Connection: Authorization"), reason="connection_options"),
    "Connection lists no token": refused(get(b"Connection: a b"), reason="connection_options"),
}

CODINGS = {
    "no coding": refused(post(b"Transfer-Encoding:", body=CHUNKS), reason="transfer_encoding"),
    "identity": refused(post(b"Transfer-Encoding: identity", body=CHUNKS), reason="transfer_encoding"),
    "gzip": refused(post(b"Transfer-Encoding: gzip", body=CHUNKS), reason="transfer_encoding"),
    "gzip, chunked": refused(post(b"Transfer-Encoding: gzip, chunked", body=CHUNKS), 501, "transfer_encoding"),
    "chunked, gzip": refused(post(b"Transfer-Encoding: chunked, gzip", body=CHUNKS), reason="transfer_encoding"),
    "chunked, identity": refused(
        post(b"Transfer-Encoding: chunked, identity", body=CHUNKS), reason="transfer_encoding"
    ),
    "identity, chunked": refused(post(b"Transfer-Encoding: identity, chunked", body=CHUNKS), 501, "transfer_encoding"),
    "chunked, chunked": refused(post(b"Transfer-Encoding: chunked, chunked", body=CHUNKS), 501, "transfer_encoding"),
    "two fields": refused(post(TE, TE, body=CHUNKS), reason="transfer_encoding"),
    "chunked, then identity in a second field": refused(
        post(TE, b"Transfer-Encoding: identity", body=CHUNKS), reason="transfer_encoding"
    ),
    "nonsense, then chunked in a second field": refused(
        post(b"Transfer-Encoding: x", b"Transfer-encoding: chunked", body=CHUNKS), reason="transfer_encoding"
    ),
    "xchunked": refused(post(b"Transfer-Encoding: xchunked", body=CHUNKS), 501, "transfer_encoding"),
    "chunkedx": refused(post(b"Transfer-Encoding: chunkedx", body=CHUNKS), reason="transfer_encoding"),
    "chunk": refused(post(b"Transfer-Encoding: chunk", body=CHUNKS), reason="transfer_encoding"),
    "quoted": refused(post(b'Transfer-Encoding: "chunked"', body=CHUNKS), reason="transfer_encoding"),
    "single quotes": refused(post(b"Transfer-Encoding: 'chunked'", body=CHUNKS), reason="transfer_encoding"),
    "with a parameter": refused(post(b"Transfer-Encoding: chunked;q=1", body=CHUNKS), reason="transfer_encoding"),
    "with a comma": refused(post(b"Transfer-Encoding: chunked,", body=CHUNKS), reason="transfer_encoding"),
    "behind a comma": refused(post(b"Transfer-Encoding: ,chunked", body=CHUNKS), 501, "transfer_encoding"),
    "behind a vertical tab": refused(post(b"Transfer-Encoding: \x0bchunked", body=CHUNKS)),
    "before a vertical tab": refused(post(b"Transfer-Encoding: chunked\x0b", body=CHUNKS)),
    "behind a form feed": refused(post(b"Transfer-Encoding:\x0cchunked", body=CHUNKS)),
    "behind a no-break space": refused(post(b"Transfer-Encoding: \xa0chunked", body=CHUNKS), 501, "transfer_encoding"),
    "behind a byte order mark": refused(
        post(b"Transfer-Encoding: \xef\xbb\xbfchunked", body=CHUNKS), 501, "transfer_encoding"
    ),
    "with a long s": refused(post(b"Tran\xc5\xbffer-Encoding: chunked", body=CHUNKS)),
    "with a Kelvin sign": refused(
        post("Transfer-Encoding: chun\u212aed".encode(), body=CHUNKS), reason="transfer_encoding"
    ),
    "percent-encoded": refused(post(b"Transfer-Encoding: %63hunked", body=CHUNKS), reason="transfer_encoding"),
    "NUL in it": refused(post(b"Transfer-Encoding: chu\x00nked", body=CHUNKS)),
    "in HTTP/1.0": refused(post(TE, body=CHUNKS, line=b"POST / HTTP/1.0"), reason="transfer_encoding"),
}

NAMES = {
    "space before the colon": refused(post(b"Transfer-Encoding : chunked", body=CHUNKS)),
    "tab before the colon": refused(post(b"Transfer-Encoding\t: chunked", body=CHUNKS)),
    "space before the colon of a length": refused(post(b"Content-Length : 5", body=b"hello")),
    "space before the name": refused(post(b" Transfer-Encoding: chunked", body=CHUNKS)),
    "tab before the name": refused(post(b"\tTransfer-Encoding: chunked", body=CHUNKS)),
    "space in the name": refused(post(b"Transfer Encoding: chunked", body=CHUNKS)),
    "NUL after the name": refused(post(b"Transfer-Encoding\x00: chunked", body=CHUNKS)),
    "vertical tab after the name": refused(post(b"Content-Length\x0b: 5", body=b"hello")),
    "CR after the name": refused(post(b"Transfer-Encoding\r: chunked", body=CHUNKS)),
    "quoted name": refused(post(b'"Transfer-Encoding": chunked', body=CHUNKS)),
    "name in brackets": refused(post(b"(Transfer-Encoding): chunked", body=CHUNKS)),
    "no colon": refused(post(b"Transfer-Encoding chunked", body=CHUNKS)),
    "equals sign for a colon": refused(post(b"Transfer-Encoding=chunked", body=CHUNKS)),
    "no name": refused(get(b": x")),
    "line of blanks": refused(get(b" ")),
    "underscore in Transfer_Encoding": refused(post(b"Transfer_Encoding: chunked"), reason="impostor_field"),
    "underscore in Content_Length": refused(post(b"Content_Length: 5", body=b"hello"), reason="impostor_field"),
    "non-ASCII hyphen": refused(post("Content\u2010Length: 5".encode(), body=b"hello")),
    "folded framing field": refused(post(b"Transfer-Encoding:\r\n chunked", body=CHUNKS)),
    "folded with a tab": refused(post(b"Transfer-Encoding:\r\n\tchunked", body=CHUNKS)),
    "framing field inside a fold": refused(post(b"X: y\r\n Content-Length: 5", body=b"hello")),
    "fold before the first field": refused(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
}

LINES = {
    "LF alone ends the first line": refused(b"GET / HTTP/1.1\nHost: a\r\n\r\n", reason="malformed"),
    "LF alone ends a field": refused(post(b"X: y\nTransfer-Encoding: chunked", body=CHUNKS)),
    "LF alone ends the head": refused(b"GET / HTTP/1.1\r\nHost: a\r\n\n" + SMUGGLED),
    "LF alone everywhere": refused(b"GET / HTTP/1.1\nHost: a\n\n", reason="malformed"),
    "CR alone ends a field": refused(post(b"X: y\rTransfer-Encoding: chunked", body=CHUNKS)),
    "CR alone ends the first line": refused(b"GET / HTTP/1.1\rHost: a\r\n\r\n", reason="malformed"),
    "CR CR LF": refused(get(b"X: y\r")),
    "CR alone before the name": refused(post(b"\rTransfer-Encoding: chunked", body=CHUNKS)),
    "LF CR for CR LF": refused(b"GET / HTTP/1.1\n\rHost: a\n\r\n\r", reason="malformed"),
    "NUL in a value": refused(get(b"X: a\x00b")),
    "DEL in a value": refused(get(b"X: a\x7fb")),
    "escape in a value": refused(get(b"X: a\x1bb")),
    "NUL in the first line": refused(get(line=b"GET /\x00 HTTP/1.1"), reason="malformed"),
    "NUL before the first line": refused(b"\x00" + get(), reason="malformed"),
    "space before the first line": refused(b" " + get(), reason="malformed"),
    "LF before the first line": refused(b"\n" + get(), reason="malformed"),
    "CR alone before the first line": refused(b"\r" + get(), reason="malformed"),
    "byte order mark before the first line": refused(b"\xef\xbb\xbf" + get(), reason="malformed"),
}

FIRST_LINES = {
    "HTTP/0.9": refused(b"GET /\r\n\r\n", reason="malformed"),
    "HTTP/0.9 with a version": refused(get(line=b"GET / HTTP/0.9"), 505, "version"),
    "HTTP/1.2": refused(get(line=b"GET / HTTP/1.2"), 505, "version"),
    "HTTP/2.0": refused(get(line=b"GET / HTTP/2.0"), 505, "version"),
    "HTTP/1.10": refused(get(line=b"GET / HTTP/1.10"), reason="malformed"),
    "HTTP/01.1": refused(get(line=b"GET / HTTP/01.1"), reason="malformed"),
    "HTTP/1": refused(get(line=b"GET / HTTP/1"), reason="malformed"),
    "HTTP /1.1": refused(get(line=b"GET / HTTP /1.1"), reason="malformed"),
    "HTTP/1. 1": refused(get(line=b"GET / HTTP/1. 1"), reason="malformed"),
    "lower-case version": refused(get(line=b"GET / http/1.1"), reason="malformed"),
    "another protocol": refused(get(line=b"GET / ICAP/1.1"), reason="malformed"),
    "no version": refused(get(line=b"GET /"), reason="malformed"),
    "two versions": refused(get(line=b"GET / HTTP/1.1 HTTP/1.0"), reason="malformed"),
    "two spaces": refused(get(line=b"GET  / HTTP/1.1"), reason="malformed"),
    "tab between the parts": refused(get(line=b"GET\t/ HTTP/1.1"), reason="malformed"),
    "vertical tab between the parts": refused(get(line=b"GET\x0b/\x0bHTTP/1.1"), reason="malformed"),
    "trailing space": refused(get(line=b"GET / HTTP/1.1 "), reason="malformed"),
    "space in the target": refused(get(line=b"GET /a b HTTP/1.1"), reason="malformed"),
    "CR in the target": refused(get(line=b"GET /a\rb HTTP/1.1"), reason="malformed"),
    "LF in the target": refused(get(line=b"GET /a\nb HTTP/1.1"), reason="malformed"),
    "fragment": refused(get(line=b"GET /a#b HTTP/1.1"), reason="malformed"),
    "non-ASCII target": refused(get(line=b"GET /\xe9 HTTP/1.1"), reason="malformed"),
    "no target": refused(get(line=b"GET HTTP/1.1"), reason="malformed"),
    "no method": refused(get(line=b" / HTTP/1.1"), reason="malformed"),
    "method with a colon": refused(get(line=b"GET: / HTTP/1.1"), reason="malformed"),
    "method in quotes": refused(get(line=b'"GET" / HTTP/1.1'), reason="malformed"),
    "very long method": refused(get(line=b"G" * 33 + b" / HTTP/1.1"), 501, "method"),
    "CONNECT": refused(get(line=b"CONNECT a:443 HTTP/1.1"), 501, "method"),
    "TRACE": refused(get(line=b"TRACE / HTTP/1.1"), 501, "method"),
    "HTTP/2 preface": refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http2"),
    "HTTP/2 preface with fields": refused(get(line=b"PRI * HTTP/2.0"), 505, "version"),
    "TLS on a plain port": refused(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", reason="malformed"),
    "a response for a request": refused(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", reason="malformed"),
    "asterisk for a GET": refused(get(line=b"GET * HTTP/1.1"), reason="target"),
    "relative target": refused(get(line=b"GET a HTTP/1.1"), reason="target"),
    "https in absolute form": refused(get(line=b"GET https://a/ HTTP/1.1"), reason="target"),
    "file in absolute form": refused(get(line=b"GET file:///etc/passwd HTTP/1.1"), reason="target"),
    "absolute form without a host": refused(get(line=b"GET http:///a HTTP/1.1"), reason="target"),
    "absolute form with a user": refused(get(line=b"GET http://u@a/ HTTP/1.1"), reason="target"),
    "absolute form with a backslash": refused(get(line=b"GET http://a\\@b/ HTTP/1.1"), reason="target"),
    "authority form for a GET": refused(get(line=b"GET a:80 HTTP/1.1"), reason="target"),
}

HOSTS = {
    "no Host": refused(get(host=None), reason="host"),
    "two Hosts": refused(get(b"Host: b"), reason="host"),
    "two equal Hosts": refused(get(b"Host: a"), reason="host"),
    "Host in two spellings": refused(get(b"hOST: b"), reason="host"),
    "two Hosts with an absolute form": refused(get(b"Host: b", line=b"GET http://a/ HTTP/1.1"), reason="host"),
    "no Host with an absolute form": refused(get(line=b"GET http://a/ HTTP/1.1", host=None), reason="host"),
    "two Hosts in HTTP/1.0": refused(get(b"Host: b", line=b"GET / HTTP/1.0"), reason="host"),
    "empty Host": refused(get(host=b"Host:"), reason="host"),
    "blank Host": refused(get(host=b"Host:  \t"), reason="host"),
    "Host with a path": refused(get(host=b"Host: a/b"), reason="host"),
    "Host with a query": refused(get(host=b"Host: a?b"), reason="host"),
    "Host with a user": refused(get(host=b"Host: u@a"), reason="host"),
    "Host with a blank": refused(get(host=b"Host: a b"), reason="host"),
    "Host with a tab": refused(get(host=b"Host: a\tb"), reason="host"),
    "Host with a letter for a port": refused(get(host=b"Host: a:b"), reason="host"),
    "Host with two ports": refused(get(host=b"Host: a:1:2"), reason="host"),
    "Host with a long port": refused(get(host=b"Host: a:123456"), reason="host"),
    "Host of a port alone": refused(get(host=b"Host: :80"), reason="host"),
    "Host with an open bracket": refused(get(host=b"Host: [::1"), reason="host"),
    "Host with something after the bracket": refused(get(host=b"Host: [::1]a"), reason="host"),
    "Host in UTF-8": refused(get(host="Host: caf\u00e9".encode()), reason="host"),
    "Host that is a URL": refused(get(host=b"Host: http://a/"), reason="host"),
    "space before the colon of Host": refused(get(host=b"Host : a")),
    "folded Host": refused(get(host=b"Host:\r\n a")),
    "NUL in Host": refused(get(host=b"Host: a\x00.b")),
}

LENGTHS = {
    "two lengths": refused(post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello"), reason="content_length"),
    "two equal lengths": refused(
        post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), reason="content_length"
    ),
    "length in two spellings": refused(
        post(b"Content-Length: 0", b"content-length: 5", body=b"hello"), reason="content_length"
    ),
    "list of lengths": refused(post(b"Content-Length: 5, 5", body=b"hello"), reason="content_length"),
    "length with a comma": refused(post(b"Content-Length: 5,", body=b"hello"), reason="content_length"),
    "empty length": refused(post(b"Content-Length:", body=b"hello"), reason="content_length"),
    "negative length": refused(post(b"Content-Length: -5", body=b"hello"), reason="content_length"),
    "length with a sign": refused(post(b"Content-Length: +5", body=b"hello"), reason="content_length"),
    "hexadecimal length": refused(post(b"Content-Length: 0x5", body=b"hello"), reason="content_length"),
    "length with a point": refused(post(b"Content-Length: 5.0", body=b"hello"), reason="content_length"),
    "length with an exponent": refused(post(b"Content-Length: 5e0", body=b"hello"), reason="content_length"),
    "length with an underscore": refused(post(b"Content-Length: 1_0", body=b"hello"), reason="content_length"),
    "length with a blank in it": refused(post(b"Content-Length: 1 0", body=b"hello"), reason="content_length"),
    "length in quotes": refused(post(b'Content-Length: "5"', body=b"hello"), reason="content_length"),
    "length in Arabic digits": refused(post("Content-Length: \u0665".encode(), body=b"hello"), reason="content_length"),
    "length in full-width digits": refused(
        post("Content-Length: \uff15".encode(), body=b"hello"), reason="content_length"
    ),
    "length in superscript": refused(post(b"Content-Length: \xb2", body=b"hello"), reason="content_length"),
    "length beyond 64 bits": refused(
        post(b"Content-Length: 18446744073709551621", body=b"hello"), reason="content_length"
    ),
    "length behind a vertical tab": refused(post(b"Content-Length: \x0b5", body=b"hello")),
    "length before a NUL": refused(post(b"Content-Length: 5\x00", body=b"hello")),
    "length before a CR": refused(post(b"Content-Length: 5\r", body=b"hello")),
}


def chunked(body: bytes, reason: str = "chunk_framing", status: int = 400) -> Payload:
    return refused(post(TE, body=body), status, reason)


FRAMING = {
    "LF alone after a size": chunked(b"5\nhello\r\n0\r\n\r\n"),
    "LF alone after the data": chunked(b"5\r\nhello\n0\r\n\r\n"),
    "LF alone after the last size": chunked(b"5\r\nhello\r\n0\n\r\n" + SMUGGLED),
    "CR alone after a size": chunked(b"5\rhello\r\n0\r\n\r\n"),
    "CR alone after the data": chunked(b"5\r\nhello\r0\r\n\r\n"),
    "nothing after the data": chunked(b"5\r\nhello0\r\n\r\n"),
    "two bytes of another kind after the data": chunked(b"5\r\nhelloXX0\r\n\r\n"),
    "data longer than its size": chunked(b"4\r\nhello\r\n0\r\n\r\n"),
    "data shorter than its size": chunked(b"6\r\nhello\r\n0\r\n\r\n"),
    "0x before a size": chunked(b"0x5\r\nhello\r\n0\r\n\r\n"),
    "sign before a size": chunked(b"+5\r\nhello\r\n0\r\n\r\n"),
    "negative size": chunked(b"-5\r\nhello\r\n0\r\n\r\n"),
    "underscore in a size": chunked(b"0_5\r\nhello\r\n0\r\n\r\n"),
    "letter behind a size": chunked(b"5g\r\nhello\r\n0\r\n\r\n"),
    "empty size": chunked(b"\r\nhello\r\n0\r\n\r\n"),
    "blank before a size": chunked(b" 5\r\nhello\r\n0\r\n\r\n"),
    "blank after a size": chunked(b"5 \r\nhello\r\n0\r\n\r\n"),
    "tab after a size": chunked(b"5\t\r\nhello\r\n0\r\n\r\n"),
    "blank before an extension": chunked(b"5 ;a=b\r\nhello\r\n0\r\n\r\n"),
    "NUL after a size": chunked(b"5\x00\r\nhello\r\n0\r\n\r\n"),
    "comma after a size": chunked(b"5,5\r\nhello\r\n0\r\n\r\n"),
    "size of 64 bits and one": chunked(b"10000000000000005\r\nhello\r\n0\r\n\r\n"),
    "size of sixteen digits": chunked(b"0000000000000005\r\nhello\r\n0\r\n\r\n"),
    "size in full-width digits": chunked("\uff15\r\nhello\r\n0\r\n\r\n".encode()),
    "LF in an extension (TERM.EXT)": chunked(b"5;\nxx\r\nhello\r\n0\r\n\r\n"),
    "CR in an extension": chunked(b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    "NUL in an extension": chunked(b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
    "long extension": chunked(b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n", "chunk_line_too_long"),
    "LF in a long extension": chunked(b"5;a\n" + b"b" * 300 + b"\r\nhello\r\n0\r\n\r\n"),
    "many extensions": chunked(b"".join(b"1;%b\r\nx\r\n" % (b"a" * 200) for _ in range(30)), "chunk_extensions"),
    "trailer without a colon": chunked(b"0\r\nx\r\n\r\n", "trailers"),
    "folded trailer": chunked(b"0\r\nX: y\r\n z\r\n\r\n", "trailers"),
    "trailer with a space before the colon": chunked(b"0\r\nX : y\r\n\r\n", "trailers"),
    "trailer with a NUL": chunked(b"0\r\nX: \x00\r\n\r\n", "trailers"),
    "trailer that ends with LF": chunked(b"0\r\nX: y\nZ: z\r\n\r\n", "trailers"),
    "request in the place of trailers": chunked(b"0\r\n" + SMUGGLED, "trailers"),
    "endless trailers": chunked(b"0\r\n" + b"X: y\r\n" * 2000, "trailers_too_large", 431),
}

SIZES = {
    "head too large": refused(get(b"X: " + b"y" * 70_000), 431, "head_too_large"),
    "head that does not end": refused(get()[:-2] + b"X: y\r\n" * 12_000, 431, "head_too_large"),
    "target too long": refused(get(line=b"GET /" + b"a" * 70_000 + b" HTTP/1.1"), 414, "target_too_long"),
    "too many fields": refused(get(*[b"X: y"] * 100), 431, "too_many_fields"),
    "very long connection option": refused(get(b"Connection: " + b"a" * 65), reason="connection_options"),
    "very many connection options": refused(
        get(b"Connection: " + b",".join(b"x%d" % n for n in range(17))), reason="connection_options"
    ),
}

PIPELINES = {
    "a bad request behind a good one": refused(get() + get(b"X : y"), before=1),
    "a bad request behind a good body": refused(
        post(b"Content-Length: 5", body=b"hello") + get(host=None), reason="host", before=1
    ),
    "what CL.TE would smuggle": refused(
        post(b"Content-Length: 5", body=b"helloXPOST ") + get(), reason="malformed", before=1
    ),
    "a body behind GET without a length": refused(get() + b"x=1&y=2\r\n" + get(), reason="malformed", before=1),
    "what follows the last chunk": refused(post(TE, body=CHUNKS + b"XXX / HTTP/9.9\r\n\r\n"), 505, "version", before=1),
    "an upgrade with a body": refused(
        get(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5"), reason="upgrade"
    ),
    "an upgrade by POST": refused(post(b"Connection: upgrade", b"Upgrade: websocket"), reason="upgrade"),
    "two upgrades": refused(get(b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c"), reason="upgrade"),
    "an unknown expectation": refused(post(b"Expect: 100-continued", b"Content-Length: 5"), 417, "expectation"),
    "two expectations": refused(
        post(b"Expect: 100-continue", b"Expect: 100-continue", b"Content-Length: 5"), 417, "expectation"
    ),
    "Max-Forwards that is no number": refused(
        get(b"Max-Forwards: -1", line=b"OPTIONS / HTTP/1.1"), reason="max_forwards"
    ),
    "two Max-Forwards": refused(
        get(b"Max-Forwards: 1", b"Max-Forwards: 2", line=b"OPTIONS / HTTP/1.1"), reason="max_forwards"
    ),
    "a HEAD that is refused": refused(post(b"Content-Length: x", line=b"HEAD / HTTP/1.1"), reason="content_length"),
    "a loop": refused(get(b"Via: 1.0 x, 1.1 us"), 508, "loop"),
}

REFUSED = {
    f"{group}: {name}": payload
    for group, rows in {
        "length and coding": LENGTH_AND_CODING,
        "coding": CODINGS,
        "name": NAMES,
        "line": LINES,
        "first line": FIRST_LINES,
        "host": HOSTS,
        "length": LENGTHS,
        "chunk": FRAMING,
        "size": SIZES,
        "pipeline": PIPELINES,
    }.items()
    for name, payload in rows.items()
}

PASSED = {
    "plain": Payload(get() + NEXT, before=2),
    "empty lines between requests": Payload(get() + b"\r\n\r\n" + NEXT, before=2),
    "empty lines before the first request": Payload(b"\r\n\r\n\r\n" + get(), before=1),
    "CL.0: a GET with a length": Payload(get(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED + NEXT, before=2),
    "0.CL: a POST without a length": Payload(post() + NEXT, before=2),
    "HEAD with a body": Payload(post(b"Content-Length: 5", body=b"hello", line=b"HEAD / HTTP/1.1") + NEXT, before=2),
    "DELETE with chunks": Payload(post(TE, body=CHUNKS, line=b"DELETE / HTTP/1.1") + NEXT, before=2),
    "a request inside a body": Payload(post(b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + NEXT, before=2),
    "a request inside a chunk": Payload(
        post(TE, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)) + NEXT, before=2
    ),
    "chunk framing inside a body": Payload(post(b"Content-Length: 15", body=CHUNKS) + NEXT, before=2),
    "one byte more than the length": Payload(post(b"Content-Length: 4", body=b"hello") + NEXT, before=2),
    "leading zeros in a length": Payload(post(b"Content-Length: 0005", body=b"hello") + NEXT, before=2),
    "a tab before a length": Payload(post(b"Content-Length:\t5", body=b"hello") + NEXT, before=2),
    "blanks around a length": Payload(post(b"Content-Length:   5  ", body=b"hello") + NEXT, before=2),
    "capitals in chunked": Payload(post(b"TRANSFER-ENCODING: CHUNKED", body=CHUNKS) + NEXT, before=2),
    "a tab before chunked": Payload(post(b"Transfer-Encoding:\tchunked", body=CHUNKS) + NEXT, before=2),
    "blanks around chunked": Payload(post(b"Transfer-Encoding:  chunked  ", body=CHUNKS) + NEXT, before=2),
    "Connection lists Transfer-Encoding": Payload(
        post(b"Connection: transfer-encoding", TE, body=CHUNKS) + NEXT, before=2
    ),
    "extensions": Payload(post(TE, body=b'5;a="b;c";d\r\nhello\r\n0;e\r\n\r\n') + NEXT, before=2),
    "leading zeros in a size": Payload(post(TE, body=b"00005\r\nhello\r\n000\r\n\r\n") + NEXT, before=2),
    "trailers": Payload(post(TE, body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n") + NEXT, before=2),
    "trailers that would decide": Payload(
        post(
            TE, body=b"5\r\nhello\r\n0\r\nContent-Length: 0\r\nHost: evil\r\nTransfer-Encoding: x\r\nCookie: y\r\n\r\n"
        )
        + NEXT,
        before=2,
    ),
    "trailers that Connection lists": Payload(
        post(b"Connection: X-Hop", TE, body=b"5\r\nhello\r\n0\r\nX-Hop: 1\r\nX-Sum: 1\r\nx-hop: 2\r\n\r\n") + NEXT,
        before=2,
    ),
    "absolute form": Payload(get(line=b"GET http://b/c HTTP/1.1") + NEXT, before=2),
    "hop-by-hop fields": Payload(
        get(b"Connection: keep-alive, X-Hop", b"Keep-Alive: 5", b"X-Hop: 1", b"TE: trailers") + NEXT, before=2
    ),
    "h2c": Payload(
        get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAM") + NEXT, before=2
    ),
    "Expect": Payload(post(b"Expect: 100-continue", b"Content-Length: 5", body=b"hello") + NEXT, before=2),
    "values that look like line ends": Payload(
        get(b"X: %0d%0aTransfer-Encoding: chunked", b"Y: \\r\\nZ: 1") + NEXT, before=2
    ),
    "HTTP/1.0 that keeps its connection": Payload(
        get(b"Connection: keep-alive", line=b"GET / HTTP/1.0") + NEXT, before=2
    ),
    "HTTP/1.0 that does not": Payload(get(line=b"GET / HTTP/1.0") + NEXT, before=1),
    "the last request of a connection": Payload(get(b"Connection: close") + NEXT, before=1),
    "Max-Forwards on GET means nothing": Payload(get(b"Max-Forwards: 0") + NEXT, before=2),
    "an impostor that decides nothing": Payload(get(b"X_Content_Length: 5", b"Content-Lengths: 5") + NEXT, before=2),
    "non-ASCII value": Payload(get(b"X: \xe9\xff") + NEXT, before=2),
}
"""Looks like an attack, and is none: one reading alone, which every upstream shares."""

PAYLOADS = REFUSED | PASSED
