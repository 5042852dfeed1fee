"""What people see of a run: the timeline with its lanes, the panel, and what is said when nothing happens."""

import asyncio
import io
import re

import pytest

from podpatterns.pod.events import What
from podpatterns.pod.lanes import WIDEST, Lanes
from podpatterns.pod.manifest import of
from podpatterns.pod.timeline import Entry, Timeline
from podpatterns.pod.writing import TextWriter, in_colour


def spec(*names, sidecars=(), inits=(), pod="shop"):
    def containers(names, **more):
        return [{"name": name, "command": ["true"], **more} for name in names]

    first = [*containers(inits), *containers(sidecars, restartPolicy="Always")]
    return of(
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod},
            "spec": {"initContainers": first, "containers": containers(names)},
        }
    ).pods[0]  # fmt: skip


SHOP = spec("app", inits=["migrate"], sidecars=["shipper"])
STORY = [
    (None, What.PHASE, "Pending", None),
    ("migrate", What.STARTED, "", None),
    ("migrate", None, "creating tables", None),
    ("migrate", What.COMPLETED, "exit code 0", 0),
    ("shipper", What.STARTED, "", None),
    ("shipper", What.READY, "", None),
    ("app", What.STARTED, "", None),
    ("app", What.ENDED, "exit code 1", 1),
    ("app", What.BACK_OFF, "in 10 s (CrashLoopBackOff)", None),
    ("shipper", None, "3 lines", None),
    ("app", What.RESTARTED, "", None),
    ("app", What.READY, "", None),
    (None, What.PHASE, "Running", None),
    (None, What.STOPPING, "SIGINT received; within 30 s", None),
    ("app", What.STOPPING, "SIGTERM", None),
    ("app", What.ENDED, "exit code 0", 0),
    ("shipper", What.STOPPING, "SIGTERM", None),
    ("shipper", What.ENDED, "exit code 143", 143),
    (None, What.FINISHED, "SIGINT received", None),
]
SHOWN = """\
           ╭───── migrate init
           │ ╭─── shipper sidecar
           │ │ ╭─ app
    0.00s  · · ·  shop      Pending
    1.00s  ○ · ·  migrate   started
    2.00s  ┊ · ·  migrate │ creating tables
    3.00s  ✓ · ·  migrate   completed: exit code 0
    4.00s    ○ ·  shipper   started
    5.00s    ● ·  shipper   ready
    6.00s    ┃ ○  app       started
    7.00s    ┃ ✗  app       ended: exit code 1
    8.00s    ┃ …  app       waits to restart: in 10 s (CrashLoopBackOff)
    9.00s    ┃ …  shipper │ 3 lines
   10.00s    ┃ ↻  app       restarted
   11.00s    ┃ ●  app       ready
   12.00s    ┃ ┃  shop      Running
   13.00s    ┃ ┃  shop      stopping: SIGINT received; within 30 s
   14.00s    ┃ ▽  app       stopping: SIGTERM
   15.00s    ┃ ■  app       ended: exit code 0
   16.00s    ▽    shipper   stopping: SIGTERM
   17.00s    ■    shipper   ended: exit code 143
   18.00s         shop      finished: SIGINT received
"""


def written(pods, story, **options):
    out = io.StringIO()
    writer = TextWriter(pods, out, **options)
    for second, (container, what, detail, code) in enumerate(story):
        writer.entry(Entry(second, pods[0].name, container, what, detail, code))
    return out.getvalue()


def test_lanes_show_who_runs_beside_whom():
    """A lane for each container: not started, running, ready, waiting, ended; a sign where something happens."""
    assert written([SHOP], STORY) == SHOWN


def test_several_pods_name_each_container_with_its_pod():
    """And one container alone has no lane."""
    text = written([spec("app"), spec("app", pod="cart")], [("app", What.STARTED, "", None)])
    assert "○ ·  shop/app   started" in text
    assert written([spec("app")], [("app", What.STARTED, "", None)]) == "    0.00s  app    started\n"


def test_too_many_containers_have_no_lanes():
    """The text needs its room."""
    assert not Lanes([spec(*(f"c{n}" for n in range(WIDEST + 1)))]).shown
    assert Lanes([spec(*(f"c{n}" for n in range(WIDEST)))]).shown


def test_colours_only_add_to_the_text():
    """Without its escapes the coloured timeline is the plain one."""
    coloured = written([SHOP], STORY, colours=True)
    assert "\033[32mready\033[0m" in coloured
    assert re.sub(r"\033\[\d+m", "", coloured) == written([SHOP], STORY)


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_refused(monkeypatch, variable, value):
    """NO_COLOR (no-color.org), and terminals that have none."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert in_colour(Terminal())
    monkeypatch.setenv(variable, value)
    assert not in_colour(Terminal())


def test_a_container_starts_before_it_speaks():
    """What it has written before its start was told comes after that; a start that failed shows it all the same."""
    timeline = Timeline()
    seen = []
    timeline.listen(lambda entry: seen.append(entry.what.value if entry.what else entry.detail))
    timeline.line("shop", "app", "stdout", "early")
    timeline.tell("shop", "app", What.STARTED)
    timeline.line("shop", "app", "stdout", "late")
    timeline.tell("shop", "app", What.ENDED)
    timeline.line("shop", "app", "stdout", "of the next run")
    timeline.tell("shop", "app", What.RESTARTED)
    timeline.line("shop", "bad", "stderr", "cannot")
    timeline.tell("shop", "bad", What.FAILED)
    timeline.line("shop", "bad", "stdout", "of another try")
    timeline.tell("shop", "bad", What.STARTED)
    assert seen == [
        "started", "early", "late", "ended", "restarted", "of the next run", "failed to start", "cannot", "started",
        "of another try",
    ]  # fmt: skip


WAITING = {
    "pod": "shop", "phase": "Pending", "ready": False, "age": 12.0, "ending": None, "failure": None, "speed": 1,
    "containers": [
        {"name": "migrate", "kind": "init", "state": "running", "why": "it has not completed", "held_up": True,
         "ready": False, "restarts": 2, "share": 0.5},
        {"name": "app", "kind": "main", "state": "running and ready", "why": "", "held_up": False, "ready": True,
         "restarts": 0, "share": None},
    ],
}  # fmt: skip


def test_silence_is_broken_by_who_waits():
    """After ten seconds without a line, then after twice as long: a run in CI that hangs says where."""
    out = io.StringIO()
    writer = TextWriter([SHOP], out)
    said = []
    for _ in range(12):
        writer.summary([WAITING], [], [])
        said.append(out.getvalue().count("still migrate running: it has not completed"))
    assert said == [0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3]
    assert "app" not in out.getvalue()


@pytest.fixture
def panel(monkeypatch):
    """A panel writer, and what a terminal of 80 columns and 10 rows that gets its output shows."""
    from podpatterns.pod.panel import PanelWriter

    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "10")
    monkeypatch.setenv("TERM", "xterm")
    out = io.StringIO()

    def screen():
        """Plays the text: lines, carriage return, cursor up, erase to the end of the screen."""
        rows, row, column = [""], 0, 0
        for part in re.findall(r"\033\[\d*[AJ]|\033\[[\d;]*m|\n|\r|[^\033\n\r]+", out.getvalue()):
            if part == "\n":
                row, column = row + 1, 0
                rows += [""] * (row + 1 - len(rows))
            elif part == "\r":
                column = 0
            elif part.endswith("A") and part[0] == "\033":
                row -= int(part[2:-1])
            elif part == "\033[J":
                rows[row:] = [rows[row][:column]]
            elif part[0] != "\033":
                rows[row] = rows[row][:column].ljust(column) + part
                column += len(part)
        return rows

    return PanelWriter([SHOP], out), screen


def test_the_panel_shows_each_container(panel):
    """State, restarts, progress, and why one waits; the facts of ours where they run."""
    writer, screen = panel
    writer.summary([WAITING], [("app", {"lines read": 3})], ["http://localhost/"])
    text = "\n".join(screen())
    assert "shop · Pending · 1/1 ready · 12 s" in text
    assert re.search(r"… +migrate +↻2 +━+╸?━* +it has not completed", text)
    assert "lines read 3" in text
    assert "→ http://localhost/" in text
    assert max(map(len, screen())) < 80


def test_the_panel_stays_below_the_lines_and_leaves_nothing_behind(panel):
    """Lines go above it, however often it is refreshed; at the end it is gone."""
    writer, screen = panel
    writer.summary([WAITING], [], [])
    for second in range(3):
        writer.entry(Entry(second, "shop", "app", What.STARTED))
        writer.summary([WAITING], [], [])
        assert [line for line in screen() if "started" in line] == screen()[3 : second + 4]
        assert sum("shop · Pending" in line for line in screen()) == 1
        assert "shop · Pending" in screen()[-4]
    writer.close()
    assert not any("─ shop" in line for line in screen())
    assert len([line for line in screen() if "started" in line]) == 3


def test_a_panel_without_room_is_not_shown(panel):
    """On a terminal of ten rows, a panel of twelve."""
    writer, screen = panel
    writer.summary([WAITING], [], [f"look {n}" for n in range(10)])
    writer.entry(Entry(0, "shop", "app", What.STARTED))
    writer.close()
    assert not any("look" in line for line in screen())


async def test_many_lines_are_written_together(panel, monkeypatch):
    """One write for what comes within a moment: the panel is not drawn for each line."""
    writer, _ = panel
    writer.summary([WAITING], [], [])
    writes, written = [], asyncio.Event()
    monkeypatch.setattr(writer, "_write", lambda text: (writes.append(text), written.set()))
    for _ in range(1000):
        writer.entry(Entry(0, "shop", "app", None, "x"))
    assert writes == []
    async with asyncio.timeout(10):
        await written.wait()
    assert len(writes) == 1
    assert writes[0].count("│\033[0m x") == 1000
