"""The webhook's example: what is in its ConfigMap is what the webhook accepts."""

from pathlib import Path

import pytest
import yaml

from podpatterns.pod.inject.injection import ASK
from podpatterns.pod.webhook import config

EXAMPLE = Path(__file__).parents[2] / "examples" / "09-webhook"


@pytest.fixture
def documents():
    return {each["kind"]: each for each in yaml.safe_load_all((EXAMPLE / "webhook.yaml").read_text())}


def test_its_configuration_is_valid(documents, tmp_path):
    """The files of the ConfigMap, where the container has them."""
    for name, text in documents["ConfigMap"]["data"].items():
        (tmp_path / name).write_text(text)
    given, profiles, _ = config.load(tmp_path / "webhook.yaml")
    (container,) = documents["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["ports"][0]["containerPort"] == given.listen.port
    assert list(profiles) == ["log-shipper"]


def test_only_those_who_ask_are_sent_to_it(documents):
    """And a webhook that is away stops nobody."""
    (webhook,) = documents["MutatingWebhookConfiguration"]["webhooks"]
    assert ASK in webhook["matchConditions"][0]["expression"]
    assert webhook["failurePolicy"] == "Ignore"
    assert webhook["clientConfig"]["service"]["name"] == documents["Service"]["metadata"]["name"]
