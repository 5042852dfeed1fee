"""A store that speaks S3."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from podpatterns.testing.server import Answer, FakeServer, Seen
from podpatterns.testing.stores.store import Malformed, need


class FakeS3(FakeServer):
    """A bucket, with its name in the path.

    Strict: only PUT of an object below the bucket, signed with Signature Version 4 over every header that was sent and
    over the body, which has the hash that the request says; another bucket is answered 404, other keys 403.
    `objects` are the bodies by key, decompressed; `records` the records of all of them.
    """

    def __init__(self, bucket: str = "shop-logs", keys: tuple[str, str] = ("id", "secret")) -> None:
        super().__init__()
        self.bucket, self.keys = bucket, keys
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []
        """Keys, as often as they were put."""
        self.malformed: list[str] = []

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the objects hold."""
        return [json.loads(line) for body in self.objects.values() for line in body.splitlines()]

    def reply(self, seen: Seen) -> Answer:
        """Keep an object, or say what is wrong."""
        try:
            return self._put(seen)
        except (Malformed, ValueError, KeyError) as error:
            self.malformed.append(f"{type(error).__name__}: {error}")
            return self.error(400, "InvalidRequest")

    def error(self, status: int, code: str) -> Answer:
        """An answer as S3 gives it."""
        text = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code} it is</Message></Error>'
        return Answer(status, text.encode(), {"Content-Type": "application/xml"})

    def _put(self, seen: Seen) -> Answer:
        from urllib.parse import unquote

        from podpatterns.formats import sigv4

        need(seen.method == "PUT", "only PUT")
        given = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\S+)/\d{8}/([a-z0-9-]+)/s3/aws4_request, SignedHeaders=(\S+), Signature=\S+",
            seen.headers["Authorization"],
        )
        need(given, "not signed")
        assert given is not None
        headers = {name.lower(): value for name, value in seen.headers.items() if name.lower() != "content-length"}
        proof = headers.pop("authorization")
        need(given[3] == ";".join(sorted(headers)), "every header is signed, in order")
        need(headers["x-amz-content-sha256"] == hashlib.sha256(seen.raw).hexdigest(), "the hash of the body")
        now, token = headers["x-amz-date"], headers.get("x-amz-security-token")
        pure = {name: value for name, value in headers.items() if name not in OF_SIGNATURE}
        keys = sigv4.Keys(*self.keys, token)
        right = sigv4.signed("PUT", seen.path, pure, seen.raw, keys, region=given[2], now=now)["Authorization"]
        if given[1] != self.keys[0]:
            return self.error(403, "InvalidAccessKeyId")
        if right != proof:
            return self.error(403, "SignatureDoesNotMatch")
        bucket, _, key = unquote(seen.path).removeprefix("/").partition("/")
        if bucket != self.bucket:
            return self.error(404, "NoSuchBucket")
        need(key and "//" not in seen.path, "an object has a key")
        self.objects[key] = seen.body
        self.puts.append(key)
        return Answer(200, b"", {"ETag": '"0"'})


OF_SIGNATURE = frozenset({"x-amz-content-sha256", "x-amz-date", "x-amz-security-token"})
