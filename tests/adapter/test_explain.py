"""Laws of `explain` for metrics: every kind of input and transform, by the code that runs."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from podpatterns.adapter.config import AdapterConfig
from podpatterns.adapter.inputs import InputConfig
from podpatterns.adapter.outputs.prometheus import PrometheusConfig
from podpatterns.adapter.transforms import Explained, TransformConfig
from podpatterns.adapter.transforms.python import PythonConfig
from podpatterns.adapter.trials import Trials
from podpatterns.cli import main
from podpatterns.formats import prometheus_protobuf
from podpatterns.formats.families import Family
from podpatterns.runtime import config as configuration
from podpatterns.runtime.components import load_all, slot_of
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse as yaml

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
        ('{"components": {"db": {"status": "UP"}}}', ["json shop, the whole sample", 'becomes   up{c="db"} 1']),
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


EVERY = """
adapter:
  inputs:
  - {type: statsd}
  - {type: otlp}
  - {type: graphite, protocol: pickle}
  - {type: redis, labels: {of: cache}}
  - {type: apache}
  - {type: spring}
  - {type: jolokia}
  - {type: scrape, name: app, url: "http://localhost:1/metrics"}
  - {type: scrape, name: other, url: "http://localhost:2/metrics"}
  mapping: [{match: "shop.*.load", name: shop_load, labels: {city: "$1"}}]
  outputs: [{type: prometheus}]
"""


def command(tmp_path: Path, text: str, sample: bytes, *arguments: str) -> Result:
    """The command, with a file of bytes."""
    (tmp_path / "adapter.yaml").write_text(text)
    (tmp_path / "sample").write_bytes(sample)
    words = ["explain", str(tmp_path / "adapter.yaml"), "--sample", str(tmp_path / "sample"), *arguments]
    return CliRunner().invoke(main, words)


def points(*names: str) -> dict[str, object]:
    """A request of OTLP."""
    sums = [{"isMonotonic": True, "aggregationTemporality": 2, "dataPoints": [{"asInt": "3", "timeUnixNano": "5"}]}]
    return {"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": name, "sum": sums[0]} for name in names]}]}]}


def protobuf() -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="load")
    metric.gauge.data_points.add(as_double=0.5, time_unix_nano=5)
    return request.SerializeToString()


PICKLE = pickle.dumps([("shop.basel.load", (1_700_000_000, 3.5)), ("b", (1_700_000_000, 1))], protocol=2)
JOLOKIA = [{"status": 200, "request": {"mbean": "java.lang:type=Threading"}, "value": {"ThreadCount": 7}}]
METER = b'{"name":"jvm.threads.live","baseUnit":"threads","measurements":[{"statistic":"VALUE","value":23.0}]}'
SCRAPED = prometheus_protobuf.render([Family("a", "gauge", blocks=[""], values=[1.5])])


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (
            json.dumps(points("orders"), indent=1).encode(),
            ["otlp, the whole", "counter orders_total, 1 sample", "_total 3"],
        ),
        (b"\n".join(json.dumps(points(name)).encode() for name in "ab"), ["input     otlp", "a_total 3", "b_total 3"]),
        (protobuf(), ["otlp, the whole sample", "becomes   load 0.5"]),
        (
            struct.pack("!L", len(PICKLE)) + PICKLE,
            ["graphite, the whole", 'becomes   shop_load{city="basel"} 3.5', "b 1"],
        ),
        (PICKLE, ["read as   gauge shop.basel.load", "matched   rule 1 (glob shop.*.load)", "becomes   b 1"]),
        (b"# Server\r\nredis_version:7\r\nuptime_in_seconds:77\r\n", ["redis, the whole", '{of="cache"} 77']),
        (b"Total Accesses: 5\nScoreboard: _W.\n", ["apache, the whole sample", "apache_accesses_total 5"]),
        (b'{"status": "UP", "components": {"db": {"status": "DOWN"}}}', ["spring, the", 'component="db"} 0']),
        (METER, ["spring, the whole sample", "becomes   jvm_threads_live_threads 23"]),
        (json.dumps(JOLOKIA).encode(), ["jolokia, the whole sample", "java_lang_threading_threadcount 7"]),
        (json.dumps(JOLOKIA[0]).encode(), ["jolokia, the whole sample", "java_lang_threading_threadcount 7"]),
        (
            b"# TYPE a counter\na_total 1\n# EOF\n",
            ["scrape app, the", "counter a_total", "also      taken by scrape other"],
        ),
        (SCRAPED, ["scrape app, the whole sample", "becomes   a 1.5"]),
        (b"shop.bern.load:1|g\n", ["read as   gauge shop.bern.load", 'becomes   shop_load{city="bern"} 1']),
    ],
    ids=range(14),
)
def test_whatever_can_be_put_into_a_file(tmp_path: Path, sample: bytes, said: list[str]) -> None:
    """The input is found by trying: documents as a whole or one in each line, bytes as they are."""
    result = command(tmp_path, EVERY, sample)
    assert result.exit_code == 0, result.output
    for each in said:
        assert each in result.output


@pytest.mark.parametrize("cls", load_all(slot_of(InputConfig)), ids=lambda cls: cls.__name__)
def test_every_input_can_be_tried_out(cls: type[InputConfig]) -> None:
    """One that takes neither lines nor a document could not be explained."""
    config = AdapterConfig(inputs=[decode(yaml(cls.EXAMPLE)[0], InputConfig)], outputs=[PrometheusConfig()])
    trials = Trials(config)
    assert trials.takers or trials.readers


def test_an_input_can_be_named(tmp_path: Path) -> None:
    """By its name, type or place; what is ambiguous or not there is an error that says what there is."""
    page = b"# TYPE a gauge\na 1\n"
    for name in ("other", "inputs[8]"):
        assert command(tmp_path, EVERY, page, "--input", name).output.startswith("scrape other, the whole sample\n")
    result = command(tmp_path, EVERY, page, "--input", "scrape")
    assert (result.exit_code, result.output) == (2, "several inputs are called scrape; say inputs[7] or inputs[8]\n")
    result = command(tmp_path, EVERY, page, "--input", "otpl")
    assert result.exit_code == 2
    assert 'there is no input "otpl"' in result.output


def test_a_sample_that_is_no_inputs(tmp_path: Path) -> None:
    """Every input says why, and the exit code that it failed; of many lines the first ones are enough."""
    result = command(tmp_path, MIXED, b"what is this\n" * 50)
    assert result.exit_code == 1
    for each in ("refused   statsd: no_value", "refused   influx: bad_line", "no match  rule 2 (panic)"):
        assert result.output.count(each) == 5
    assert "and so on for 45 lines more" in result.output
    assert "no input of the configuration takes this sample; there is: statsd, graphite, influx, logs" in result.output
    result = command(tmp_path, EVERY, bytes(range(256)))
    assert result.exit_code == 1
    assert "otlp, the whole sample\n    refused   field 0" in result.output
    assert "statsd, the" not in result.output
    result = command(tmp_path, PAGES, b"a{b=c} 1\n")
    assert "line 1, column 3" in result.output
    result = command(tmp_path, EVERY, struct.pack("!L", 2 << 20) + b"x", "--input", "graphite")
    assert "a packet may have 1048576 bytes, and one of 2097152 was announced" in result.output
    result = command(tmp_path, PAGES, b" \n")
    assert (result.exit_code, result.output) == (1, "podpatterns: the sample is empty\n")


def test_families_of_a_page_that_contradict_each_other(tmp_path: Path) -> None:
    """They are explained by themselves, and what is wrong with them together is said at the end."""
    page = b'# TYPE h histogram\nh_bucket{le="+Inf"} 1\nh_count 1\nh_sum 1\n# TYPE h_x gauge\nh_x 1\n'
    renamed = PAGES.replace("- type: relabel", "- {type: rename, names: {h_x: h_sum}}\n  - type: relabel")
    result = command(tmp_path, renamed, page)
    assert "    left out  h_sum: suffix_conflict_histogram, beside the other families\n" in result.output


# --- transforms -------------------------------------------------------------------------------------------------------

LINE = "a:3|c|#pod:x,zone:eu\n"


def with_transforms(*transforms: str) -> str:
    inputs, outputs = "inputs: [{type: statsd}]", "outputs: [{type: prometheus}]"
    return f"adapter:\n  {inputs}\n  transforms: [{', '.join(transforms)}]\n  {outputs}\n"


POD = "source_labels: [pod]"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (f"action: drop, {POD}, regex: y", 'no match  (drop pod y): pod is "x"'),
        (f"action: drop, {POD}, regex: x", 'matched   (drop pod x): pod is "x"; the sample is dropped'),
        (f"action: keep, {POD}, regex: y", 'no match  (keep pod y): pod is "x"; the sample is dropped'),
        ("action: drop, source_labels: [pod, zone], regex: y", 'no match  (drop pod,zone y): pod,zone is "x;eu"'),
        (f"{POD}, target_label: p", 'matched   (replace p from pod (.*)): p is "x" now'),
        (f"{POD}, regex: y, target_label: p", 'no match  (replace p from pod y): pod is "x"'),
        ('target_label: p, replacement: ""', "matched   (replace p: ): it changes nothing"),
        ("action: labeldrop, regex: p.*", "matched   (labeldrop p.*): pod is gone"),
        ("action: labeldrop, regex: q.*", "no match  (labeldrop q.*): no name of a label matches"),
        ('action: labelkeep, regex: "pod|__name__"', "matched   (labelkeep pod|__name__): zone is gone"),
        (
            'target_label: __name__, replacement: ""',
            "matched   (replace __name__: ): __name__ is gone; a sample without a name is dropped",
        ),
        ('action: labelmap, regex: "po(.)"', 'matched   (labelmap po(.)): d is "x" now'),
        (f"action: hashmod, {POD}, target_label: m, modulus: 1", 'matched   (hashmod m from pod mod 1): m is "0" now'),
        (f"action: uppercase, {POD}, target_label: pod", 'matched   (uppercase pod from pod): pod is "X" now'),
        (
            f"action: keepequal, {POD}, target_label: zone",
            'no match  (keepequal zone from pod): pod is "x", zone is "eu"; the sample is dropped',
        ),
    ],
)
def test_every_rule_of_relabelling_says_why(tmp_path: Path, rule: str, said: str) -> None:
    """Whether it matches, and what it has changed or what it saw instead, in the words of mapping rules."""
    lines = explained(tmp_path, with_transforms(f"{{type: relabel, rules: [{{{rule}}}]}}"), LINE)
    happened, what = said[:10], said[10:]
    assert f"    {happened}relabel rule 1 {what}" in lines
    assert ("    dropped   by the transforms" in lines) == ("is dropped" in said)


FIRST = "what was added since the time before, which the first time is not known: so nothing is shown here"


def nothing(_families: list[Family]) -> list[Family]:
    return []


def doubled(families: list[Family]) -> list[Family]:
    for family in families:
        family.values = [2 * value for value in family.values]
    return families


def one_more(families: list[Family]) -> list[Family]:
    return [*families, Family("b", "gauge", blocks=[""], values=[1.0])]


@pytest.mark.parametrize(
    ("transform", "said"),
    [
        ("rename, prefix: x_, names: {b: c}", "no match  rename names: a_total is not among them"),
        ("rename, prefix: x_, names: {b: c}", "matched   rename prefix x_: a_total becomes x_a_total"),
        ("rename, names: {a_total: c_total}", "matched   rename names: a_total becomes c_total"),
        ("rename, prefix: a_", "no match  rename prefix a_: a_total begins with it already"),
        (
            "convert, conversions: [{metrics: [b], unit: ms, to: s}]",
            "no match  convert conversion 1 (b, ms to s): the name is a_total",
        ),
        (
            'convert, conversions: [{metrics: ["a.*"], unit: B, to: KiB}]',
            "matched   convert conversion 1 (a.*, B to KiB): a_total becomes a_kibibytes_total",
        ),
        ("aggregate, without: [pod]", "matched   aggregate without pod: samples: 1, then 1 by their sum"),
        ("aggregate, metrics: [b], by: [pod]", "no match  aggregate metrics b: the name is a_total"),
        ("delta, metrics: [b]", "no match  delta metrics b: a_total is a counter"),
        (
            "cumulative, metrics: [a_total]",
            "matched   cumulative metrics a_total: each value is added to a sum, which begins at 0 here",
        ),
        ("delta", f"matched   delta metrics all metrics: {FIRST}"),
        (f"python, function: {__name__}:nothing", f"dropped   python {__name__}:nothing a_total"),
        (f"python, function: {__name__}:doubled", f"matched   python {__name__}:doubled a_total: it is changed"),
        (f"python, function: {__name__}:one_more", f"matched   python {__name__}:one_more b: it is new"),
        ("python, function: builtins:list", "no match  python builtins:list a_total: it is as it was"),
        (
            "python, function: builtins:len",
            "failed    python builtins:len a_total: raised TypeError: builtins:len must return a list of families",
        ),
    ],
)
def test_every_transform_says_why(tmp_path: Path, transform: str, said: str) -> None:
    """What was tried, whether it applies, and the reason."""
    lines = explained(tmp_path, with_transforms(f"{{type: {transform}}}"), LINE)
    assert any(line.startswith(f"    {said}") for line in lines), lines


def test_samples_that_fare_alike_are_told_once(tmp_path: Path) -> None:
    """And a rule behind the one that drops is not tried."""
    rules = "{source_labels: [le], regex: .Inf, action: drop}, {action: labeldrop, regex: x}"
    buckets = "".join(f'h_bucket{{le="{at}"}} 1\n' for at in ("1", "2", "+Inf"))
    page = f"# TYPE h histogram\n{buckets}h_count 1\nh_sum 1\n"
    inputs = "inputs: [{type: scrape, name: a, url: 'http://localhost:1'}]"
    text = with_transforms(f"{{type: relabel, rules: [{rules}]}}").replace("inputs: [{type: statsd}]", inputs)
    lines = explained(tmp_path, text, page)
    told = [line.removeprefix("    samples   ") for line in lines if line.startswith("    samples")]
    assert told == ['h_bucket{le="1"}', 'h_bucket{le="2"}', 'h_bucket{le="+Inf"}', "h_count and 1 more"]
    dropped = lines.index('    matched   relabel rule 1 (drop le .Inf): le is "+Inf"; the sample is dropped')
    assert lines[dropped + 1].startswith("    samples")


def test_transforms_of_one_type_are_told_apart(tmp_path: Path) -> None:
    """By their places in the configuration."""
    text = with_transforms("{type: rename, prefix: x_}", "{type: rename, prefix: y_}")
    said = explained(tmp_path, text, LINE)
    assert "    matched   rename (transforms[1]) prefix y_: x_a_total becomes y_x_a_total" in said


@pytest.mark.parametrize("cls", load_all(slot_of(TransformConfig)), ids=lambda cls: cls.__name__)
def test_every_transform_of_ours_explains_itself(cls: type[TransformConfig]) -> None:
    """A function of the operator's is the one of which `explain` can only say what it has changed."""
    assert isinstance(decode(yaml(cls.EXAMPLE)[0], TransformConfig).build(), Explained) == (cls is not PythonConfig)


def test_a_line_that_is_no_text_is_refused_among_others(tmp_path: Path) -> None:
    """As the program refuses it: a sample of what goes wrong is what `explain` is for."""
    result = command(
        tmp_path, "adapter: {inputs: [{type: statsd}], outputs: [{type: prometheus}]}", b"a:1|c\n\xff:1|c\n"
    )
    assert result.exit_code == 0, result.output
    assert "becomes   a_total 1" in result.output
    assert "refused   not_utf8" in result.output


def test_a_sample_for_nobody(tmp_path: Path) -> None:
    """An empty one is not taken; what only asks says that it takes none."""
    result = command(tmp_path, "adapter: {inputs: [{type: statsd}], outputs: [{type: prometheus}]}", b"\n")
    assert (result.exit_code, result.output) == (1, "podpatterns: the sample is empty\n")
    result = command(tmp_path, "adapter: {health: {checks: [{type: redis}]}}", b"a:1|c\n")
    assert result.exit_code == 0
    assert result.output.endswith("nothing here takes a sample: there are neither inputs nor logs\n")


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
