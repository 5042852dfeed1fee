"""Relabelling beside a real Prometheus (Debian's `prometheus`): the same rules, on the same samples."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from podpatterns.adapter.transforms.relabel import Relabel, RuleConfig
from podpatterns.formats.families import Family, block
from podpatterns.formats.prometheus import render
from tests.adapter.test_java_presets import answering
from tests.adapter.test_page_transforms import REFUSED, RELABEL, SOURCE
from tests.adapter.test_real_prometheus import program, prometheus

pytestmark = pytest.mark.e2e

SINCE_3 = {"target_label": "http.status", "regex": "one.two"}
"""What Debian's Prometheus does not know yet: names in UTF-8, and a dot that matches a newline."""

RULES = [rule for rule, _ in RELABEL if not SINCE_3.items() & {(key, str(value)) for key, value in rule.items()}]

NAMELESS = "a(x*)"
"""An expression that makes labels without a name: Prometheus then fails the whole scrape."""


def scraping(number: int, rule: dict[str, object]) -> dict[str, Any]:
    """A job that takes in the page of this number, and relabels it. What Prometheus adds itself is hidden."""
    hidden = {"action": "labeldrop", "regex": "job|instance"}
    named = {"target_label": "rule", "replacement": str(number)}
    return {
        "job_name": f"rule {number}",
        "metrics_path": "/metrics",
        "static_configs": [{"targets": ["{target}"]}],
        "metric_relabel_configs": [hidden, rule, named],
    }


@pytest.mark.holds("relabelling")
async def test_prometheus_relabels_as_we_do(tmp_path: Path) -> None:
    """Every rule of the table, on the same series: what is stored has the labels that we give it."""

    async def answer(_request: web.Request) -> web.Response:
        labels = [(name, value) for name, value in SOURCE.items() if name != "__name__"]
        page = Family(SOURCE["__name__"], "gauge", blocks=[block(labels)], values=[1.0])
        return web.Response(body=render([page]), headers={"Content-Type": "text/plain; version=0.0.4"})

    ours = {}
    rules = [rule for rule in RULES if rule.get("regex") != NAMELESS]
    for number, rule in enumerate(rules):
        labels = Relabel([RuleConfig(**rule)]).relabel(SOURCE)  # type: ignore[arg-type]
        if labels is not None:
            ours[str(number)] = labels
    jobs = [scraping(number, rule) for number, rule in enumerate(rules)]
    text = yaml.safe_dump({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs})
    config = text.replace("{", "{{").replace("}", "}}").replace("{{target}}", "{target}")
    async with answering("GET", "/metrics", answer) as url, prometheus(url, tmp_path, config=config) as queries:
        await queries.comes_to("count(up == 1)", len(rules))
        async with queries._session.get(f"{queries._url}/api/v1/series", params={"match[]": '{rule!=""}'}) as response:
            series = (await response.json())["data"]
    theirs = {labels.pop("rule"): labels for labels in series}
    assert theirs == ours


@pytest.mark.holds("relabelling")
@pytest.mark.parametrize("rule", [*RULES, *(rule for rule, _ in REFUSED)], ids=str)
def test_prometheus_accepts_what_we_accept(rule: dict[str, object], tmp_path: Path) -> None:
    """`promtool check config` has the same opinion of each rule."""
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump({"scrape_configs": [{"job_name": "a", "metric_relabel_configs": [rule]}]}))
    done = subprocess.run(
        [program("promtool"), "check", "config", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode == 0) == (rule in RULES), done.stdout + done.stderr
