"""AWS Signature Version 4, for requests to S3 whose body is signed as well.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html. Pure: the time is an argument.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import quote

ALGORITHM = "AWS4-HMAC-SHA256"


class Keys(NamedTuple):
    """What proves who asks; `token` belongs to keys that last for a while only."""

    access: str
    secret: str
    token: str | None = None


def path(key: str) -> str:
    """The path of an object's key in a request: percent-encoded as S3 does when it checks the signature."""
    return "/" + quote(key, safe="/-_.~")


def signed(
    method: str, target: str, headers: Mapping[str, str], body: bytes, keys: Keys, *, region: str, now: str
) -> dict[str, str]:
    """The headers with those that sign them. All of them are signed: none may be added or changed afterwards.

    Args:
        method: GET, PUT and so on.
        target: the path, percent-encoded, without a query.
        headers: with `Host`; names in any case.
        body: the whole body.
        keys: access key, secret key, session token.
        region: where the bucket is.
        now: the time in UTC, as 20261128T101500Z.
    """
    digest = hashlib.sha256(body).hexdigest()
    all_headers = {**headers, "x-amz-content-sha256": digest, "x-amz-date": now}
    if keys.token is not None:
        all_headers["x-amz-security-token"] = keys.token
    canonical = {name.lower(): " ".join(value.split()) for name, value in all_headers.items()}
    names = ";".join(sorted(canonical))
    lines = "".join(f"{name}:{canonical[name]}\n" for name in sorted(canonical))
    request = f"{method}\n{target}\n\n{lines}\n{names}\n{digest}"
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    text = f"{ALGORITHM}\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{keys.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    all_headers["Authorization"] = (
        f"{ALGORITHM} Credential={keys.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return all_headers
