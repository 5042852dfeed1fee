"""Generates the reference from the code: components, commands, and the manifest's fields."""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path
from typing import Any

import click
import msgspec
from sphinx.application import Sphinx

from podpatterns.cli import main
from podpatterns.pod import fields
from podpatterns.pod.lint import rules
from podpatterns.runtime.catalog import default_text, everything, nested, summary, type_text
from podpatterns.runtime.decode import hints
from podpatterns.runtime.schema import Config, field_docs

MANIFEST = """# Fields of a manifest

What `podpatterns pod run` does with each field of a Pod, Job, Deployment, ConfigMap and Secret. None is dropped
silently: what is not emulated is reported on the timeline, and refused with `--strict`.

"""

LINT = """# Rules of `pod lint`

`schema` stands for the published schema of the chosen version of Kubernetes, `configuration` for what `podpatterns
check` says of our own configurations in ConfigMaps; all other rules are our own.

| Rule | | What is wanted | What happens otherwise |
|---|---|---|---|
"""


def component(name: str, cls: type[Config]) -> str:
    """The page of one component, in Markdown."""
    lines = [f"# `{name}`", "", inspect.getdoc(cls) or "", ""]
    for struct in (cls, *nested(cls)):
        if struct is not cls:
            lines += [f"## {struct.__name__.removesuffix('Config')}", "", inspect.getdoc(struct) or "", ""]
        for field in msgspec.structs.fields(struct):
            docs = field_docs(struct).get(field.name, "")
            head = f"`{field.encode_name}`: {type_text(hints(struct)[field.name])}{default_text(field)}"
            lines += [head, textwrap.indent(docs, "  ").replace("  ", ": ", 1), ""]
    example = getattr(cls, "EXAMPLE", "")
    if example:
        lines += ["```yaml", textwrap.dedent(example).strip(), "```"]
    return "\n".join(lines) + "\n"


def commands(group: click.Group, path: str, context: click.Context) -> list[str]:
    """The help of every command below a group."""
    lines: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        full = f"{path} {name}"
        inner = click.Context(command, info_name=full)
        lines += [f"## {full}", "", "```text", command.get_help(inner), "```", ""]
        if isinstance(command, click.Group):
            lines += commands(command, full, inner)
    return lines


def generate(app: Sphinx, *_: Any) -> None:
    """Write the pages; only what has changed, so that an incremental build stays one."""
    folder = Path(app.srcdir) / "reference" / "components"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{name}.md": component(name, cls) for name, cls in everything().items()}
    listed = [f"`{name}`\n: {summary(cls)}\n" for name, cls in everything().items()]
    toc = ["```{toctree}", ":hidden:", "", *everything(), "```"]
    pages["index.md"] = "\n".join(["# Components", "", *listed, *toc, ""])
    context = click.Context(main, info_name="podpatterns")
    pages["cli.md"] = "\n".join(["# Command line", "", *commands(main, "podpatterns", context)])
    pages["manifest.md"] = MANIFEST + fields.markdown() + "\n"
    rows = [f"| `{each.name}` | {each.severity} | {inspect.getdoc(each.check)} | {each.reason} |" for each in rules()]
    pages["lint.md"] = LINT + "\n".join(rows) + "\n"
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != text:
            path.write_text(text, "utf-8")
    for stale in {path.name for path in folder.iterdir()} - pages.keys():
        (folder / stale).unlink()


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before the sources are read."""
    app.connect("builder-inited", generate)
    return {"parallel_read_safe": True}
