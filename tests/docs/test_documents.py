"""What the documents show is what happens: their configurations are valid, their commands do what stands below them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from podpatterns.errors import ConfigError
from podpatterns.runtime import config
from podpatterns.runtime.catalog import slots
from podpatterns.runtime.nodes import MapNode, parse

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "containers/*.md")
    for page in ROOT.glob(pattern)
    if "components" not in page.parts and "_build" not in page.parts
)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARIABLES = dict.fromkeys(("POD_NAME", "POD_NAMESPACE", "NODE_NAME"), "x")


def blocks(page, language):
    return [body for kind, body in FENCE.findall(page.read_text("utf-8")) if kind == language]


FILES = [body for page in PAGES for kind in ("yaml", "text", "python") for body in blocks(page, kind)]


def configurations():
    for page in PAGES:
        for number, body in enumerate(blocks(page, "yaml")):
            yield pytest.param(body, id=f"{page.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize("body", list(configurations()))
def test_every_configuration_shown_is_valid(body):
    """A yaml block parses; with a pattern at its top level it is valid, unless it says that it is not."""
    documents = parse(body, "block.yaml")
    if not documents or not isinstance(documents[0], MapNode):
        return
    if documents[0].entries.keys() & config.PATTERNS.keys():
        if "with mistakes" in body:
            with pytest.raises(ConfigError):
                config.loads([("block.yaml", body)], VARIABLES)
        else:
            config.loads([("block.yaml", body)], VARIABLES)


def consoles():
    for page in PAGES:
        if blocks(page, "console"):
            yield pytest.param(page, id=str(page.relative_to(ROOT)))


@pytest.mark.parametrize("page", list(consoles()))
def test_every_command_shown_prints_what_is_shown(page, tmp_path):
    """A console block's commands, run where every page's `# file:` blocks are, print what stands below them."""
    for body in FILES:
        if match := re.match(r"# file: ([^\s,]+)", body):
            (tmp_path / match[1]).write_text(body)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    (tmp_path / "tmp").mkdir()  # where pods that run are looked for: not among those of others
    environment = {**os.environ, "PATH": path, "TMPDIR": str(tmp_path / "tmp"), **VARIABLES}
    for body in blocks(page, "console"):
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n?)*)", body, re.MULTILINE):
            assert shlex.split(command)
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                text=True,
                capture_output=True,
                timeout=100,
                check=False,
            )
            assert matches(expected, done.stdout + done.stderr), done.stdout + done.stderr


def matches(expected, printed):
    """Equal, line by line; `…` stands for anything."""
    pattern = "".join(re.escape(part) if part != "…" else "(?s:.*?)" for part in re.split("(…)", expected.strip()))
    return re.fullmatch(pattern, printed.strip()) is not None


def test_every_link_between_documents_leads_somewhere():
    """A relative link names a file that is there (generated pages excepted)."""
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        if "components/" not in target and not (page.parent / target).exists()
    ]
    assert broken == []


def test_every_slot_is_named_where_components_are_added():
    """Who adds a component finds its slot on the page."""
    page = (ROOT / "docs/how-to/add-a-component.md").read_text("utf-8")
    assert [slot.package for slot in slots() if f"`{slot.package.removeprefix('podpatterns.')}`" not in page] == []


def test_every_route_of_the_admin_endpoint_is_in_the_reference():
    """And no other is."""
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "podpatterns").rglob("*.py"))
    routes = set(re.findall(r'Route\("(GET|PUT|POST)", "(/[^"]*)"', sources))
    page = (ROOT / "docs/reference/admin.md").read_text("utf-8")
    assert set(re.findall(r"`(GET|PUT|POST) (/[\w/]+)`", page)) == routes
    assert len(routes) > 10


def test_every_command_is_in_make_help():
    """What `make` alone prints is all that there is."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z][\w-]*):.*##", makefile, re.MULTILINE))
    command = ["make", "--no-print-directory", "help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert {line.split()[1] for line in done.stdout.splitlines()} == targets
    assert {"demo", "test", "lint", "e2e"} <= targets


def test_every_guide_is_in_the_index_by_its_title():
    """Once as a link for who reads the sources, once in the tree of the built pages."""
    index = (ROOT / "docs/how-to/index.md").read_text("utf-8")
    guides = [page for page in (ROOT / "docs/how-to").glob("*.md") if page.stem != "index"]
    titles = {page: page.read_text("utf-8").partition("\n")[0].removeprefix("# ") for page in guides}
    assert [page.name for page, title in titles.items() if index.count(f"[{title}]({page.name})") != 1] == []
    assert sorted(index.partition(":maxdepth: 1\n")[2].split()[:-1]) == sorted(page.stem for page in guides)
