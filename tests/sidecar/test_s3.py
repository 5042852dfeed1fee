"""The output `s3`: against a strict fake for what goes wrong, moto's server for what S3 is, botocore for signatures."""

from __future__ import annotations

import datetime as dt
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError, Retryable, StartError
from podpatterns.formats import sigv4
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Duration
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.config import SidecarConfig
from podpatterns.sidecar.inputs.tail import TailConfig
from podpatterns.sidecar.outputs import OutputConfig
from podpatterns.sidecar.runtime import Sidecar
from podpatterns.testing import Answer
from podpatterns.testing.stores import FakeS3

NOW = "20130524T000000Z"
EXAMPLE = sigv4.Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_the_signature_of_the_documentation() -> None:
    """The example of Amazon's documentation, to the last digit."""
    headers = {
        "Host": "examplebucket.s3.amazonaws.com",
        "Date": "Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-storage-class": "REDUCED_REDUNDANCY",
    }
    target = sigv4.path("test$file.text")
    made = sigv4.signed(
        "PUT", target, headers, b"Welcome to Amazon S3.", EXAMPLE, region="us-east-1", now=NOW
    )["Authorization"]  # fmt: skip
    assert made == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class, "
        "Signature=98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"
    )


@given(
    key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    body=st.binary(max_size=50),
    token=st.none() | st.just("a-token"),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    value=st.text("ab  c", max_size=8).map(str.strip),
)
def test_signatures_are_those_of_amazons_own_library(
    key: str, body: bytes, token: str | None, region: str, value: str
) -> None:
    """botocore signs the same request with the same signature, whatever the key, the body and the headers."""
    import botocore.auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    keys = sigv4.Keys("id", "secret/+", token)
    target = sigv4.path(key)
    made = sigv4.signed(
        "PUT", target, {"Host": "store:9000", "x-amz-meta-a": value}, body, keys, region=region, now=NOW
    )

    request = AWSRequest(method="PUT", url=f"http://store:9000{target}", data=body, headers={"x-amz-meta-a": value})
    request.context["payload_signing_enabled"] = True
    signer = botocore.auth.S3SigV4Auth(Credentials("id", "secret/+", token), "s3", region)
    right = dt.datetime(2013, 5, 24, tzinfo=dt.UTC)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: right)
        signer.add_auth(request)
    assert request.headers["Authorization"] == made["Authorization"]


# --- what it puts ----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def keys(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("id\n")
    (tmp_path / "secret").write_text("secret\n")


def s3(url: str, tmp_path: Path, **more: Any) -> OutputConfig:
    item = {
        "type": "s3", "bucket": "shop-logs", "endpoint": url, "prefix": "shop/é ü/",
        "access_key": f"{tmp_path}/id", "secret_key": f"{tmp_path}/secret", **more,
    }  # fmt: skip
    return decode(parse(json.dumps(item))[0], OutputConfig)


def batch(*messages: str, start: int = 0, source: str = "/var/log/app.log") -> Batch:
    lines = [message.encode() for message in messages]
    made = Batch(Source(source, source), None, start, start + sum(map(len, lines)) + len(lines), lines=lines)
    made.encode({})
    return made


async def test_an_object_for_each_file_and_delivery(tmp_path: Path) -> None:
    """Its key says which file and which bytes; the same delivery again overwrites it."""
    one, more, other = batch("a", "b"), batch("c", start=4), batch("x", source="/var/log/é.log")
    async with FakeS3() as server:
        output = s3(server.url, tmp_path).build()
        await output.start()
        for _ in range(2):
            await output.deliver([one, other, more])
        await output.stop()
    key = f"shop/é ü/{one.source.key}/{0:016d}-{6:016d}.ndjson.gz"
    assert server.malformed == []
    assert {each["message"] for each in server.records} == {"a", "b", "c", "x"}
    assert [json.loads(line)["message"] for line in server.objects[key].splitlines()] == ["a", "b", "c"]
    assert len(server.puts) == 4
    assert len(server.objects) == 2
    assert server.seen[0].headers["Content-Encoding"] == "gzip"
    assert {seen.headers["x-amz-meta-source"] for seen in server.seen} == {"/var/log/app.log", "/var/log/%C3%A9.log"}


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
async def test_compression_and_ids(tmp_path: Path, compression: str) -> None:
    """Said in the name and in the header; records with their ids if wanted."""
    made = batch("a", "b")
    async with FakeS3() as server:
        output = s3(server.url, tmp_path, compression=compression, event_id=True, prefix="").build()
        await output.start()
        await output.deliver([made])
        await output.stop()
    ((key, _),) = server.objects.items()
    assert key.endswith({"none": ".ndjson", "gzip": ".ndjson.gz", "zstd": ".ndjson.zst"}[compression])
    assert [record["id"] for record in server.records] == made.ids


FAILURES = ["SlowDown 503", "InternalError 500", "AccessDenied 403", "ExpiredToken 400", "RequestTimeout 400"]


@pytest.mark.parametrize("failure", [*FAILURES, "reset", "truncate", "hang"])
async def test_whatever_goes_wrong_is_waited_out(tmp_path: Path, failure: str) -> None:
    """No error of S3 is about a record: nothing is dead, nothing is lost, and what is there is not put again."""
    async with FakeS3() as server:
        code, _, status = failure.partition(" ")
        bad: Any = server.error(int(status), code) if status else Answer(200, b"x" * 9, fault=code)
        output = s3(server.url, tmp_path, timeout="300ms").build()
        await output.start()
        batches = [batch("a"), batch("b", source="other")]
        server.will(bad)
        with pytest.raises((Retryable, OSError)) as caught:
            await output.deliver(batches)
        if status:
            assert str(caught.value).startswith(f"{status} {code}: {code} it is")
        await output.deliver(batches)
        server.will(Answer(200), server.error(503, "SlowDown"))
        server.objects.clear()
        with pytest.raises(Retryable, match="SlowDown"):
            await output.deliver([batch("c"), batch("d", source="other")])
        await output.stop()
    assert server.malformed == []


async def test_hints(tmp_path: Path) -> None:
    """A wrong secret, a wrong id and a bucket that is not there say what to do; keys are read anew for each object."""
    async with FakeS3() as server:
        output = s3(server.url, tmp_path).build()
        await output.start()
        (tmp_path / "secret").write_text("wrong")
        with pytest.raises(Retryable, match=r"403 SignatureDoesNotMatch.*is the secret key right\?"):
            await output.deliver([batch("a")])
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "id").write_text("wrong")
        with pytest.raises(Retryable, match=r"InvalidAccessKeyId.*is the access key right\?"):
            await output.deliver([batch("a")])
        (tmp_path / "id").write_text("id")
        server.bucket = "other"
        with pytest.raises(Retryable, match=r'NoSuchBucket.*make the bucket "shop-logs", or name another one'):
            await output.deliver([batch("a")])
        server.bucket = "shop-logs"
        await output.deliver([batch("a")])
        await output.stop()
    assert server.malformed == []


async def test_keys_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Amazon's tools take them; without any it does not start."""
    plain = "{type: s3, bucket: shop-logs, endpoint: 'URL'}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    async with FakeS3() as server:
        config = decode(parse(plain.replace("URL", server.url))[0], OutputConfig)
        with pytest.raises(StartError, match="no keys for S3: the environment has no 'AWS_ACCESS_KEY_ID'; name files"):
            await config.build().start()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", "token")
        output = config.build()
        await output.start()
        await output.deliver([batch("a")])
        await output.stop()
    assert server.seen[0].headers["x-amz-security-token"] == "token"
    assert [record["message"] for record in server.records] == ["a"]


async def test_a_header_of_ones_own_wins(tmp_path: Path) -> None:
    """However its name is written: what is signed is what is sent, once."""
    async with FakeS3() as server:
        output = s3(server.url, tmp_path, headers={"content-type": "text/plain"}).build()
        await output.start()
        await output.deliver([batch("a")])
        await output.stop()
    assert (server.malformed, len(server.objects)) == ([], 1)
    assert server.seen[0].headers["Content-Type"] == "text/plain"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{bucket: UPPER}", "bucket"),
        ("{bucket: abc, prefix: /x}", "begins without a slash"),
        ("{bucket: abc, access_key: /a}", "stands beside the other key"),
        ("{bucket: abc, session_token: /a}", "stands beside access_key"),
        ("{bucket: abc, headers: {Host: x}}", "Host is set by the output itself"),
        ("{bucket: abc, timeout: 0s}", "must be longer"),
        ("{bucket: abc, endpoint: 'http://id:secret@minio'}", "keys belong in access_key and secret_key"),
    ],
)
def test_mistakes(item: str, said: str) -> None:
    """Refused before anything runs."""
    with pytest.raises(ConfigError, match=said):
        decode(parse("{type: s3, " + item[1:])[0], OutputConfig)


async def test_where_amazon_listens(tmp_path: Path) -> None:
    """The bucket is a part of the host's name there, and of the path elsewhere, unless said otherwise."""
    for more, host, path in (
        ({"endpoint": None, "region": "eu-central-1"}, "shop-logs.s3.eu-central-1.amazonaws.com", ""),
        ({"endpoint": None, "path_style": True}, "s3.us-east-1.amazonaws.com", "/shop-logs"),
        ({"endpoint": "http://minio:9000"}, "minio:9000", "/shop-logs"),
        ({"endpoint": "http://minio:9000", "path_style": False}, "shop-logs.minio:9000", ""),
    ):
        output: Any = s3("http://x", tmp_path, **more).build()
        await output.start()
        assert (output._host, output._path) == (host, path)


# --- a real one ------------------------------------------------------------------------------------------------------


@pytest.fixture
def moto() -> Iterator[str]:
    """Moto's S3, in threads of its own."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


async def test_moto(tmp_path: Path, moto: str) -> None:
    """The bucket is not there at first, which is said and waited out; then every line is in it, as Amazon's own client
    reads it."""
    import asyncio

    import boto3

    (tmp_path / "app.log").write_text("".join(f"line {n}\n" for n in range(3000)))
    tail = TailConfig(paths=(f"{tmp_path}/app.log",), poll=Duration("2ms"))
    config = SidecarConfig(
        inputs=(tail,),
        outputs=(s3(moto, tmp_path),),
        checkpoint=f"{tmp_path}/state/checkpoint",
        linger=Duration("2ms"),
        retry_cap=Duration("20ms"),
    )
    client = boto3.client(
        "s3", endpoint_url=moto, aws_access_key_id="id", aws_secret_access_key="secret", region_name="us-east-1"
    )
    async with Sidecar(config) as sidecar:
        while "NoSuchBucket" not in str(sidecar.status().facts.get("waiting")):  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.005)
        await asyncio.to_thread(client.create_bucket, Bucket="shop-logs")
        await sidecar.acknowledged(3000)
    assert [check for check in sidecar.status().checks if not check.ok] == []
    assert not (tmp_path / "state" / "dead-letters.ndjson").exists()
    found: list[str] = []
    for each in client.list_objects_v2(Bucket="shop-logs")["Contents"]:
        answer = client.get_object(Bucket="shop-logs", Key=each["Key"])
        assert (answer["ContentEncoding"], answer["Metadata"]["source"]) == ("gzip", f"{tmp_path}/app.log")
        found += [json.loads(line)["message"] for line in gzip.decompress(answer["Body"].read()).splitlines()]
    client.close()
    assert found == [f"line {n}" for n in range(3000)]
