"""Laws of `explain` for metrics: every kind of input, by the code that runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from podpatterns.cli import main
from podpatterns.runtime import config as configuration

MIXED = r"""
adapter:
  inputs:
  - type: statsd
  - type: graphite
  - type: influx
  - type: logs
    paths: [/var/log/access.log]
    rules:
    - match: '"[A-Z]+ \S+" (?P<status>\d{3})'
      metrics: [{name: req_total, labels: {status: status}}]
    - match: panic
      metrics: [{name: panics_total}]
  mapping:
  - {match: "a.*", name: m, labels: {x: "$1"}}
  - {match: "a.b", name: n}
  outputs: [{type: prometheus}]
"""

PAGES = """
adapter:
  inputs:
  - {type: scrape, name: app, url: "http://localhost:1/metrics"}
  - {type: nginx, url: "http://localhost:1/stub_status"}
  - type: json
    name: shop
    url: http://localhost:1/health
    metrics: [{name: up, path: "components.*", value: status, values: {UP: 1}, labels: {c: "@key"}}]
  transforms:
  - type: relabel
    rules: [{action: drop, source_labels: [__name__], regex: "go_.*"}]
  outputs: [{type: prometheus}]
"""


def explained(tmp_path: Path, text: str, sample: str) -> list[str]:
    file = tmp_path / "adapter.yaml"
    file.write_text(text)
    return list(configuration.load([file]).patterns["adapter"].explain(sample))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("a.b:1|c|#k:v", ["input     statsd", "matched   rule 1 (glob a.*)", 'becomes   m{k="v",x="b"} 1']),
        ("a.b.c 12 1700000000", ["input     graphite", "the name has 3", "becomes   a_b_c 12"]),
        ("cpu,host=a value=1,idle=2i", ["input     influx", 'becomes   cpu_idle{host="a"} 2']),
        ('"GET /" 200 x', ["input     logs", "matched   rule 1", "no match  rule 2", 'req_total{status="200"} 1']),
        ("a panic", ["no match  rule 1 (", "matched   rule 2 (panic)", "becomes   panics_total 1"]),
        ("what is this", ["refused   statsd: no_value", "refused   influx: bad_line", "no match  rule 2 (panic)"]),
        ("_sc|db|0", ["skipped   service checks"]),
    ],
)
def test_each_kind_of_line(tmp_path: Path, line: str, said: list[str]) -> None:
    """The input that takes it, the rules, and what comes of it; or why none does."""
    text = "\n".join(explained(tmp_path, MIXED, line))
    for each in said:
        assert each in text


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (
            "# TYPE a counter\na 1\n# TYPE go_x gauge\ngo_x 1\n",
            ["counter a, 1 sample", "becomes   a 1", "by the transforms"],
        ),
        ("a{b=c} 1\n", ["line 1, column 3"]),
        ('{"components": {"db": {"status": "UP"}}}', ["json input shop", 'becomes   up{c="db"} 1']),
        (
            "Active connections: 3 \nserver accepts handled requests\n 1 2 3 \nReading: 0 Writing: 1 Waiting: 2 \n",
            ["nginx_connections_active 3"],
        ),
    ],
)
def test_each_kind_of_page(tmp_path: Path, page: str, said: list[str]) -> None:
    """Every input that fetches pages tries it; mistakes have their place."""
    text = "\n".join(explained(tmp_path, PAGES, page))
    for each in said:
        assert each in text


def test_check_warns_of_rules_that_can_never_match(tmp_path: Path) -> None:
    """The file is good, and what can hardly be meant is said."""
    file = tmp_path / "adapter.yaml"
    file.write_text(MIXED)
    result = CliRunner().invoke(main, ["check", str(file)])
    assert result.exit_code == 0
    assert (
        "warning: adapter: rule 2 (glob a.b) of the mapping can never match: rule 1 (glob a.*) comes first"
        in result.output
    )
