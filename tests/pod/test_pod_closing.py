"""The judgement after the end, and what the live summary shows."""

import dataclasses
import io
import json

import pytest

from podpatterns.pod.closing import judge, read_checks
from podpatterns.pod.live import where_to_look
from podpatterns.pod.manifest import of
from podpatterns.pod.writing import JsonWriter, TextWriter

MESSAGE = json.dumps(
    {
        "phase": "stopped",
        "patterns": {"sidecar": {"facts": {}, "checks": [{"name": "lost = 0", "ok": False, "detail": "3"}]}},
    }
)


def faults(simulation, messages=None, then=None):
    alive = dict.fromkeys(simulation.pod.members, (True, True))
    verdicts = judge(simulation.pod, messages or {}, alive if then is None else then)
    return {verdict.container: list(verdict.faults) for verdict in verdicts}


@pytest.mark.parametrize("code", [0, 143])
def test_ending_as_asked_is_fine(play, code):
    """By its own decision, or by SIGTERM."""
    assert faults(play(ending={"main": (0, code)}).until(5).delete().to_the_end()) == {"main": []}


def test_a_stop_signal_of_the_containers_own_is_what_asks_it(play):
    """128 + its number is fine, and the number of another one is not."""
    main = {"name": "main", "command": ["true"], "lifecycle": {"stopSignal": "SIGUSR1"}}
    assert faults(play((), [main], ending={"main": (0, 138)}).until(5).delete().to_the_end()) == {"main": []}
    assert faults(play((), [main], ending={"main": (0, 143)}).until(5).delete().to_the_end()) != {"main": []}


def test_ending_badly_when_asked_is_a_fault(play):
    """The exit code is named."""
    simulation = play(ending={"main": (0, 3)}).until(5).delete().to_the_end()
    assert faults(simulation) == {"main": ["ended with exit code 3 when it was asked to end"]}


def test_a_restart_that_was_recovered_is_fine_and_one_that_was_not_is_a_fault(play):
    """In back-off when the end comes: not recovered."""
    assert faults(play(script={"main": [(1, 1)]}).until(5).delete().to_the_end()) == {"main": []}
    simulation = play(script={"main": [(0, 1)] * 5}).until(5)
    then = {"main": (simulation.pod.members["main"].alive, False)}
    (fault,) = faults(simulation.delete().to_the_end(), then=then)["main"]
    assert "was not running: exit code 1" in fault


def test_a_container_that_was_never_started_says_what_it_waited_for(play):
    """The init that had not completed is named."""
    simulation = play([play.container("init")]).until(5).delete().to_the_end()
    assert "was never started" in faults(simulation, then={})["main"][0]
    assert "init, which has not completed" in faults(simulation, then={})["main"][0]


def test_a_container_that_waited_for_one_in_back_off_says_how_that_ended(play):
    """And no longer when it would be started again: the end has come. Of our own messages the error is shown."""
    simulation = play([play.container("init")], script={"init": [(0, 2)] * 9}).until(5)
    simulation.pod.members["init"].ends[-1] = dataclasses.replace(
        simulation.pod.members["init"].ends[-1], message='{"error": "no such file", "patterns": {}}'
    )
    (fault,) = faults(simulation.delete().to_the_end(), then={})["main"]
    assert fault.endswith("while it waited for init, which ended with exit code 2 (no such file)")


def test_a_failed_check_of_our_runtimes_is_a_fault_and_another_programs_message_is_not(play):
    """Only the JSON of our runtimes holds checks."""
    assert [check.name for check in read_checks(MESSAGE)] == ["lost = 0"]
    for text in ("", "done", "[]", '{"patterns": 3}', '{"patterns": {"x": []}}'):
        assert read_checks(text) == ()
    ours = play([], [{"name": "main", "image": "podpatterns/sidecar"}]).until(5).delete().to_the_end()
    assert faults(ours, {"main": MESSAGE}) == {"main": ["check lost = 0: 3"]}
    theirs = play().until(5).delete().to_the_end()
    assert faults(theirs, {"main": MESSAGE}) == {"main": []}


def test_where_to_look_names_folders_of_this_machine(tmp_path, monkeypatch):
    """`{volume:NAME}` becomes a path, relative where it can be; after the end only those lines are left."""
    monkeypatch.chdir(tmp_path)
    marks = {"podpatterns.dev/look-1": "http://x/", "podpatterns.dev/look-2": "cat {volume:v}/f", "other": "no"}
    document = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": marks},
        "spec": {"containers": [{"name": "m", "command": ["x"]}]},
    }  # fmt: skip
    spec = of(document).pods[0]
    assert where_to_look(spec, {"v": tmp_path / "kept/v"}) == ["http://x/", "cat kept/v/f"]
    assert where_to_look(spec, {"v": tmp_path / "kept/v"}, after=True) == ["cat kept/v/f"]


def test_both_writers_show_the_facts():
    """The same facts as text and as JSON."""
    text, lines = io.StringIO(), io.StringIO()
    for writer in (TextWriter(out=text), JsonWriter(lines)):
        writer.summary([], [("shipper", {"lines read": 3, "lost": 0})], ["look"])
    assert "lines read 3, lost 0" in text.getvalue()
    assert json.loads(lines.getvalue())["facts"] == {"shipper": {"lines read": 3, "lost": 0}}
