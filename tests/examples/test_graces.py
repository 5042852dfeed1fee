"""Every example leaves its runtimes the time that they take."""

import re
from pathlib import Path

import pytest

from podpatterns.pod.workload import TEMPLATES, Workload, text
from podpatterns.runtime.config import RuntimeConfig
from podpatterns.runtime.nodes import parse

SERVING = re.compile(r"podpatterns/(sidecar|ambassador|adapter)\b")
WORKLOADS = [
    pytest.param(workload, id=str(path))
    for path in sorted(Path("examples").glob("*/*.yaml"))
    for document in parse(path.read_text("utf-8"))
    if (kind := text(document, "kind")) in TEMPLATES
    for workload in [Workload(document, kind)]
    if any(SERVING.search(text(each.node, "image")) for each in workload.containers)
]


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_pods_grace_is_longer_than_that_of_the_runtimes_in_it(workload):
    """So that a runtime which cannot finish says so and ends by itself, before it is killed."""
    assert workload.grace > float(RuntimeConfig().grace)


def test_there_are_such_examples():
    """The law above is about something."""
    assert len(WORKLOADS) >= 7
