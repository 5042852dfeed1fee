"""The webhook: the API server's questions, certificates that change, and nobody blocked who has not asked."""

import asyncio
import base64
import json
import os
import signal
import ssl
import subprocess
import sys

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError, StartError
from podpatterns.pod.inject.injection import ASK, MARK
from podpatterns.pod.lint import Linter
from podpatterns.pod.webhook import config, review
from podpatterns.pod.webhook.server import Webhook
from podpatterns.runtime.nodes import parse

SHIPPER = "sidecar:\n  inputs: [{type: tail, paths: [/var/log/app/*.log]}]\n  outputs: [{type: stdout}]\n"
PROXY = "ambassador:\n  listeners: [{listen: ':8000', routes: [{to: a}]}]\n  upstreams: {a: 'a:80'}\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two certificates for localhost: (certificate, key) paths."""
    folder = tmp_path_factory.mktemp("certificates")
    found = []
    for name in ("old", "new"):
        paths = folder / f"{name}.crt", folder / f"{name}.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
             "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True,
        )  # fmt: skip
        found.append(paths)
    return found


@pytest.fixture
def folder(tmp_path, certificates):
    """A webhook's files, with the old certificate."""
    (tmp_path / "shipper.yaml").write_text(SHIPPER)
    (tmp_path / "proxy.yaml").write_text(PROXY)
    for source, name in zip(certificates[0], ("tls.crt", "tls.key"), strict=True):
        (tmp_path / name).write_bytes(source.read_bytes())
    (tmp_path / "webhook.yaml").write_text(
        f"listen: 127.0.0.1:0\ncertificate: {tmp_path}/tls.crt\nkey: {tmp_path}/tls.key\n"
        "profiles:\n  log-shipper: {configs: [shipper.yaml]}\n"
        "  proxy: {configs: [proxy.yaml], image: 'example.org/{pattern}:1', classic: true}\n"
    )
    return tmp_path


@pytest.fixture
def profiles(folder):
    return config.load(folder / "webhook.yaml")[1]


def pod(asked=None, **spec):
    annotations = {} if asked is None else {ASK: asked}
    container = {"name": "web", "image": "a:1", "volumeMounts": [{"name": "l", "mountPath": "/var/log/app"}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shop", "annotations": annotations},
        "spec": {"containers": [container], "volumes": [{"name": "l", "emptyDir": {"sizeLimit": "1Mi"}}], **spec},
    }


def asking(obj, uid="u-1"):
    return {
        "apiVersion": review.VERSION,
        "kind": "AdmissionReview",
        "request": {"uid": uid, "operation": "CREATE", "namespace": "shop", "object": obj},
    }


def said(profiles, obj):
    question = review.read(json.dumps(asking(obj)).encode())
    answer = review.answer(question, profiles)
    response = json.loads(answer.encode())["response"]
    assert response["uid"] == "u-1"
    return answer, response


def test_what_was_asked_for_is_injected(profiles):
    """A patch that fits Kubernetes' schema, for one profile or several, each with its own image."""
    answer, response = said(profiles, pod("log-shipper, proxy"))
    assert answer.outcome == "injected"
    assert response["allowed"] is True
    assert response["patchType"] == "JSONPatch"
    patched = pod("log-shipper, proxy")
    for operation in json.loads(base64.b64decode(response["patch"])):
        *path, last = [key.replace("~1", "/") for key in operation["path"].split("/")[1:]]
        target = patched
        for key in path:
            target = target[key]
        if isinstance(target, list):
            target.insert(len(target) if last == "-" else int(last), operation["value"])
        else:
            target[last] = operation["value"]
    assert [each["image"] for each in patched["spec"]["initContainers"]] == ["podpatterns/sidecar:dev"]
    assert [each["image"] for each in patched["spec"]["containers"]] == ["a:1", "example.org/ambassador:1"]
    assert [each for each in Linter(kubernetes="latest").lint(json.dumps(patched)) if each.severity == "error"] == []


@pytest.mark.parametrize(
    ("obj", "outcome", "message"),
    [
        (pod(), "unasked", ""),
        (pod(""), "unasked", ""),
        ({}, "unasked", ""),
        ({"kind": "Pod", "metadata": "sauce"}, "unasked", ""),
        ({"kind": "Pod", "metadata": {"annotations": [ASK]}}, "unasked", ""),
        ({"kind": "Service"}, "unsupported", "a Service holds no pod"),
        ({"spec": {}}, "unsupported", "a nameless kind"),
        (pod("log-shiper"), "refused", 'did you mean "log-shipper"?'),
        (pod("log-shipper", hostNetwork=True), "refused", "hostNetwork"),
        (pod("log-shipper", containers=[]), "refused", "no containers"),
        (pod("log-shipper", volumes="none", containers="none"), "refused", "no containers"),
        (pod("log-shipper", containers=[{"name": "a"}]), "refused", "needs /var/log/app"),
    ],
)
def test_everyone_else(profiles, obj, outcome, message):
    """Whoever has not asked passes as they came; whoever asked in vain is told why."""
    answer, response = said(profiles, obj)
    assert answer.outcome == outcome
    assert message in answer.message
    assert response["allowed"] is (outcome != "refused")
    assert "patch" not in response
    assert ("warnings" in response) == (outcome == "unsupported")


def test_once_is_enough(profiles):
    """The API server may ask again after other webhooks; what is injected stays as it is."""
    again = pod("log-shipper")
    again["metadata"]["annotations"][MARK] = "podpatterns-sidecar"
    assert said(profiles, again)[0].outcome == "already"


KEYS = ["metadata", "annotations", "spec", "containers", "volumes", "name", "template", ASK]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(KEYS), below),
)


@given(st.sampled_from(["Pod", "Deployment", "CronJob"]), st.dictionaries(st.sampled_from(["metadata", "spec"]), JSON))
def test_no_object_brings_it_down(kind, obj):
    """Whatever is sent as an object gets an answer."""
    question = review.read(json.dumps(asking({"kind": kind, **obj})).encode())
    assert review.answer(question, {}).outcome in {"unasked", "refused"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not an AdmissionReview"),
        (b"{", "not an AdmissionReview"),
        (b"[]", "not an AdmissionReview"),
        (b'{"apiVersion": "v1", "kind": "Pod"}', "request"),
        (json.dumps(asking({}) | {"apiVersion": "admission.k8s.io/v1beta1"}).encode(), "admission.k8s.io/v1, not"),
        (json.dumps(asking({}, uid="")).encode(), "uid is empty"),
    ],
)
def test_malformed_reviews(body, expected):
    """Say what is wrong."""
    with pytest.raises(review.Malformed, match=expected):
        review.read(body)


# --- over HTTPS -----------------------------------------------------------------------------------------------------


def trusting(*certificates):
    context = ssl.create_default_context()
    for certificate, _ in certificates:
        context.load_verify_locations(certificate)
    return context


async def test_200_reviews_at_once_while_the_certificate_changes(folder, certificates):
    """None fails; once it has changed, new connections get the new certificate."""
    async with Webhook(folder / "webhook.yaml") as webhook:
        url = f"https://localhost:{webhook.port}/mutate"

        async def ask(number, *trusted):
            connector = aiohttp.TCPConnector(ssl=trusting(*trusted), force_close=True)
            review_ = asking(pod("log-shipper"), uid=f"u-{number}")
            async with aiohttp.ClientSession(connector=connector) as client, client.post(url, json=review_) as answer:
                response = (await answer.json())["response"]
                return answer.status, response["uid"], response["allowed"], "patch" in response

        first = [asyncio.create_task(ask(number, *certificates)) for number in range(100)]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        for source, name in zip(certificates[1], ("tls.crt", "tls.key"), strict=True):
            new = folder / f"{name}.new"
            new.write_bytes(source.read_bytes())
            new.rename(folder / name)
            webhook.look()
        second = [asyncio.create_task(ask(number, certificates[1])) for number in range(100, 200)]
        answers = await asyncio.gather(*first, *second)
    assert answers == [(200, f"u-{number}", True, True) for number in range(200)]


async def test_over_the_wire(folder, certificates):
    """400 for what is no review, health, metrics; a bad change of the profiles keeps the last good ones."""
    async with Webhook(folder / "webhook.yaml") as webhook:
        base = f"https://localhost:{webhook.port}"
        connector = aiohttp.TCPConnector(ssl=trusting(certificates[0]))
        async with aiohttp.ClientSession(connector=connector) as client:
            async with client.post(f"{base}/mutate", data=b"{") as answer:
                assert answer.status == 400
                assert "not an AdmissionReview" in await answer.text()
            (folder / "shipper.yaml").write_text("sidecar: {inputs: 3}")
            webhook.look()
            (folder / "tls.crt").write_text("broken")
            webhook.look()
            async with client.post(f"{base}/mutate", json=asking(pod("log-shipper"))) as answer:
                assert (await answer.json())["response"]["patchType"] == "JSONPatch"
            (folder / "shipper.yaml").write_text(SHIPPER.replace("app", "other"))
            webhook.look()
            async with client.post(f"{base}/mutate", json=asking(pod("log-shipper"))) as answer:
                assert (await answer.json())["response"]["allowed"] is False
            async with client.get(f"{base}/healthz") as answer:
                assert answer.status == 200
            async with client.get(f"{base}/metrics") as answer:
                text = await answer.text()
    assert 'podpatterns_webhook_reviews_total{outcome="malformed"} 1.0' in text
    assert 'podpatterns_webhook_reloads_total{outcome="refused",what="profiles"} 1.0' in text
    assert 'podpatterns_webhook_reloads_total{outcome="refused",what="certificate"} 1.0' in text


async def test_a_file_that_a_change_has_brought_is_looked_at_as_well(folder):
    """A profile takes another file; then that one changes."""
    webhook = Webhook(folder / "webhook.yaml")
    (folder / "more.yaml").write_text(PROXY)
    text = (folder / "webhook.yaml").read_text()
    (folder / "webhook.yaml").write_text(text.replace("[shipper.yaml]", "[shipper.yaml, more.yaml]"))
    webhook.look()
    (folder / "more.yaml").write_text("ambassador: {}")
    webhook.look()
    text = webhook._telemetry.exposition().decode()
    assert 'podpatterns_webhook_reloads_total{outcome="taken",what="profiles"} 1.0' in text
    assert 'podpatterns_webhook_reloads_total{outcome="refused",what="profiles"} 1.0' in text


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("webhook.yaml", "configs: [shipper", "configs: [shiper", "shiper.yaml: cannot be read"),
        ("webhook.yaml", "configs: [shipper.yaml]", "configs: []", "must name at least one file"),
        ("webhook.yaml", "{pattern}", "{name}", "the one thing in braces that is replaced is {pattern}"),
        ("webhook.yaml", "profiles:", "profils:", 'did you mean "profiles"?'),
        ("shipper.yaml", "tail", "tial", 'shipper.yaml:2:19.*did you mean "tail"?'),
    ],
)
def test_a_bad_configuration(folder, file, old, new, expected):
    """Every problem with its file and place."""
    (folder / file).write_text((folder / file).read_text().replace(old, new))
    with pytest.raises(ConfigError, match=expected):
        Webhook(folder / "webhook.yaml")


async def test_a_certificate_that_cannot_be_used(folder):
    """Is said at the start, with its name."""
    (folder / "tls.key").write_text("nothing")
    with pytest.raises(StartError, match=r"tls\.crt with key .*tls\.key cannot be used"):
        async with Webhook(folder / "webhook.yaml"):
            pass


def test_the_command(folder):
    """Serves until SIGTERM, and exits 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "podpatterns", "pod", "webhook", folder / "webhook.yaml", "--log-format", "json"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    with process:
        assert json.loads(process.stderr.readline())["event"] == "webhook.listening"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_the_example_of_the_configuration_is_one():
    """What the reference shows parses."""
    assert parse(config.WebhookConfig.EXAMPLE)
