"""Transforms of records: rename, drop, sample, throttle, enrich."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.errors import ConfigError
from podpatterns.formats import downward
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.units import Share
from podpatterns.sidecar.batch import Batch, Source
from podpatterns.sidecar.transforms import Transform, TransformConfig
from podpatterns.sidecar.transforms.enrich import Enrich, EnrichConfig
from podpatterns.sidecar.transforms.sample import Sample, SampleConfig
from podpatterns.sidecar.transforms.throttle import KEYS, Throttle, ThrottleConfig


def built(item: str) -> Transform:
    return decode(parse(item)[0], TransformConfig).build()


def records(*given: dict[str, Any]) -> Batch:
    batch = Batch(Source("app.log", "1-2-3/0"), None, 0, 10 * len(given), lines=[b"123456789"] * len(given))
    return batch.with_records([dict(each) for each in given])


def shipped(batch: Batch) -> list[dict[str, Any]]:
    return [json.loads(line) for line in batch.encode({}).split(b"\n")[:-1]]


@pytest.mark.parametrize(
    ("item", "record", "becomes"),
    [
        ("{type: rename, fields: {a: b}}", {"a": 1, "c": 2}, {"c": 2, "b": 1}),
        ("{type: rename, fields: {a: b}}", {"c": 2}, {"c": 2}),
        ("{type: rename, fields: {a: b, b: a}}", {"a": 1, "b": 2}, {"b": 1, "a": 2}),
        ("{type: rename, fields: {a: b, b: c}}", {"a": 1, "b": 2}, {"b": 1, "c": 2}),
        ("{type: rename, fields: {a: b}}", {"a": None, "b": 2}, {"b": None}),
        ("{type: rename, fields: {a: a}}", {"a": 1}, {"a": 1}),
        ("{type: drop, fields: [a, b]}", {"a": 1, "c": 2}, {"c": 2}),
        ("{type: drop, keep: [a, b]}", {"a": 1, "c": 2}, {"a": 1}),
        ("{type: drop, keep: [a]}", {"c": 2}, {}),
    ],
)
def test_what_becomes_of_a_record(item: str, record: dict[str, Any], becomes: dict[str, Any]) -> None:
    """Fields get other names all at once, or go; the record and its id stay."""
    batch = records(record, record)
    names = batch.ids
    batch = built(item).apply(batch)
    assert (shipped(batch), batch.ids) == ([becomes, becomes], names)


def test_rename_counts_what_it_replaces() -> None:
    """A field that has the new name already is lost, and that is said."""
    batch = built("{type: rename, fields: {a: b}}").apply(records({"a": 1, "b": 2}, {"a": 1}))
    assert batch.notes == {"replaced": 1}


def test_a_line_has_the_field_message() -> None:
    """Where nothing has been parsed, the line is a field like any other."""
    batch = built("{type: rename, fields: {message: msg}}").apply(Batch.of(["x"]))
    assert shipped(batch) == [{"msg": "x"}]


# --- sample ----------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1), st.integers(0, 10**6))
def test_sample_keeps_about_its_share(share: float, start: int) -> None:
    """Of many records so many stay, the same ones each time; all of them for 100 %, none for 0 %."""
    kept = []
    for _ in range(2):
        batch = Batch(Source("a", f"{start}"), None, 0, 4000, lines=[b"x"] * 2000)
        batch = Sample(SampleConfig(share=Share(share))).apply(batch)
        assert len(batch) + batch.dropped == 2000
        kept.append(batch.ids)
    assert kept[0] == kept[1]
    assert abs(len(kept[0]) / 2000 - share) < 0.08
    if share in {0, 1}:
        assert len(kept[0]) == 2000 * share


def test_sample_by_a_field() -> None:
    """Records with the same value share their fate; those without it are kept."""
    made = records(*({"trace": number % 50, "n": number} for number in range(500)), {"n": 500})
    batch = built("{type: sample, share: 30%, by: trace}").apply(made)
    kept = [record.get("trace") for record in batch.records]
    assert kept.count(None) == 1
    assert {kept.count(trace) for trace in set(kept) - {None}} == {10}
    assert 1 < len(set(kept)) < 50


def test_sample_always() -> None:
    """What the expression finds is kept in any case."""
    made = records({"level": "error"}, {"level": "info"}, {"level": None}, {}, {"level": 50})
    batch = built("{type: sample, share: 0%, always: 'error|50'}").apply(made)
    assert shipped(batch) == [{"level": "error"}, {"level": 50}]
    assert batch.dropped == 3


# --- throttle --------------------------------------------------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_throttle_refills() -> None:
    """A burst passes, then the rate; what does not pass is filtered and counted."""
    clock = Clock()
    throttle = Throttle(ThrottleConfig(rate=2, burst=5), clock)
    passed = []
    for wait in (0, 0, 0.5, 0.4, 0.1, 1000, -5):
        clock.now += wait
        batch = throttle.apply(records(*({"n": n} for n in range(8))))
        assert batch.notes.get("throttled", 0) == batch.dropped == 8 - len(batch)
        passed.append([record["n"] for record in batch.records])
    assert passed == [[0, 1, 2, 3, 4], [], [0], [], [0], [0, 1, 2, 3, 4], []]


def test_throttle_by_a_field() -> None:
    """Each value has a bucket of its own; one that was forgotten begins anew."""
    clock = Clock()
    throttle = Throttle(ThrottleConfig(rate=0.1, burst=1, by="k"), clock)
    assert len(throttle.apply(records({"k": "a"}, {"k": "a"}, {"k": "b"}, {}, {}))) == 3
    assert len(throttle.apply(records({"k": "a"}, {}))) == 0
    throttle.apply(records(*({"k": number} for number in range(KEYS))))
    assert len(throttle.apply(records({"k": "a"}))) == 1


# --- enrich ----------------------------------------------------------------------------------------------------------


def test_enrich_from_the_environment() -> None:
    """Variables become fields below one field; what is not set is left out and counted."""
    config = EnrichConfig(environment={"pod": "POD_NAME", "node": "NODE_NAME"})
    batch = Enrich(config, {"POD_NAME": "shop-1", "NODE_NAME": ""}).apply(Batch.of(["x"]))
    assert not batch.parsed, "it costs nothing for each line"
    assert shipped(batch) == [{"message": "x", "kubernetes": {"pod": "shop-1"}}]
    assert batch.notes == {"enrich_missing": 1}


def test_enrich_from_the_volume(tmp_path: Path) -> None:
    """Labels and the annotations that are wanted; a change of the volume is seen, as the kubelet makes it."""

    def publish(name: str, labels: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "labels").write_text(labels)
        (tmp_path / name / "annotations").write_text('team="a \\"b\\""\nlarge="x"\n')
        (tmp_path / "new").symlink_to(name)
        (tmp_path / "new").rename(tmp_path / "..data")

    publish("one", 'app="shop"\nversion="1"')
    for name in ("labels", "annotations"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    config = EnrichConfig(volume=str(tmp_path), annotations=("team", "none"), field=None)
    enrich = Enrich(config, {})
    batch = enrich.apply(Batch.of(["x"]))
    expected = {"message": "x", "labels": {"app": "shop", "version": "1"}, "annotations": {"team": 'a "b"'}}
    assert (shipped(batch), batch.notes) == ([expected], {"enrich_missing": 1})
    publish("two", 'app="shop"\nversion="2"')
    assert shipped(enrich.apply(Batch.of(["x"])))[0]["labels"]["version"] == "2"
    only = Enrich(EnrichConfig(volume=str(tmp_path), labels=("app",)), {})
    assert shipped(only.apply(Batch.of(["x"]))) == [{"message": "x", "kubernetes": {"labels": {"app": "shop"}}}]


def test_enrich_without_its_volume(tmp_path: Path) -> None:
    """A volume that is not there yet adds nothing; when it comes, it does."""
    enrich = Enrich(EnrichConfig(volume=f"{tmp_path}/info"), {})
    assert shipped(enrich.apply(Batch.of(["x"]))) == [{"message": "x"}]
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "labels").write_text('a="b"')
    assert shipped(enrich.apply(Batch.of(["x"]))) == [{"message": "x", "kubernetes": {"labels": {"a": "b"}}}]


@given(st.dictionaries(st.from_regex(r"[a-z./-]{1,9}", fullmatch=True), st.text(max_size=20)))
def test_a_downward_file_is_read(pairs: dict[str, str]) -> None:
    """What Go's %q writes is read back, whatever is in it."""
    text = "\n".join(f"{name}={quoted(value)}" for name, value in pairs.items())
    assert downward.parse(text) == pairs


def quoted(value: str) -> str:
    signs = {"\a": "\\a", "\b": "\\b", "\n": "\\n", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    return '"' + "".join(signs.get(each) or _escaped(each) for each in value) + '"'


def _escaped(sign: str) -> str:
    if sign.isprintable():
        return sign
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("{type: rename, fields: {}}", "name at least one field"),
        ("{type: rename, fields: {a: c, b: c}}", 'cannot both become "c"'),
        ("{type: drop}", "either the fields to leave out or those to keep"),
        ("{type: drop, fields: [a], keep: [b]}", "either the fields to leave out or those to keep"),
        ("{type: drop, fields: []}", "fields"),
        ("{type: sample, share: 200%}", "share"),
        ("{type: sample, share: 1%, always: '('}", "not a regular expression"),
        ("{type: throttle, rate: 0}", "rate"),
        ("{type: throttle, rate: 0.05}", "less than one record"),
        ("{type: enrich}", "needs something to add"),
        ("{type: enrich, environment: {a: B}, labels: [c]}", "must say where"),
    ],
)
def test_what_makes_no_sense_is_refused(item: str, said: str) -> None:
    """Before anything runs, with the reason."""
    with pytest.raises(ConfigError, match=said):
        built(item)


def test_the_environment_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """As configured, without a word about it."""
    monkeypatch.setitem(os.environ, "POD_NAME", "shop-2")
    batch = built("{type: enrich, environment: {pod: POD_NAME}}").apply(Batch.of(["x"]))
    assert shipped(batch) == [{"message": "x", "kubernetes": {"pod": "shop-2"}}]
