"""`podpatterns pod lint`: say what is wrong with manifests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpatterns.cli._files import FILE

if TYPE_CHECKING:
    from podpatterns.pod.lint import Finding, Linter


@click.command("lint", short_help="Say what is wrong with manifests, and what will go wrong with their pods.")
@click.argument("paths", nargs=-1, type=FILE)
@click.option("--fix", "fixing", is_flag=True, help="Mend what can be mended safely, in the files themselves.")
@click.option("--output", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
@click.option(
    "--kubernetes",
    metavar="VERSION",
    default="latest",
    show_default=True,
    help="Whose schema counts, such as 1.36; none: no schema.",
)
@click.option("--only", multiple=True, metavar="RULE", help="This rule alone; may be given several times.")
@click.option("--ignore", multiple=True, metavar="RULE", help="All rules but this; may be given several times.")
@click.option("--rules", "listing", is_flag=True, help="List the rules, with their reasons.")
def command(
    *,
    paths: tuple[Path, ...],
    fixing: bool,
    output: str,
    kubernetes: str,
    only: tuple[str, ...],
    ignore: tuple[str, ...],
    listing: bool,
) -> None:
    """Lint the manifests in PATHS: files, and folders with all their .yaml and .yml files.

    Exit code 0: nothing to mend; 1: something; 2: a file cannot be read, or wrong usage.
    """
    from podpatterns.pod.lint import Linter, rules
    from podpatterns.pod.lint.report import REPORTS

    if listing:
        for rule in rules():
            click.echo(f"{rule.name} ({rule.severity}): {(rule.check.__doc__ or '').strip()} {rule.reason}")
        return
    if not paths:
        raise click.UsageError("name the files or folders to lint")
    try:
        linter = Linter(only=only, ignore=ignore, kubernetes=None if kubernetes == "none" else kubernetes)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    files = list(_files(paths))
    findings = [finding for file in files for finding in _lint(linter, file, fixing=fixing)]
    for line in REPORTS[output](findings, len(files)):
        click.echo(line)
    if findings:
        raise click.exceptions.Exit(1)


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(each for each in path.rglob("*") if each.suffix in {".yaml", ".yml"} and each.is_file())
        else:
            yield path


def _lint(linter: Linter, file: Path, *, fixing: bool) -> list[Finding]:
    from podpatterns.pod.lint.fixing import fix
    from podpatterns.runtime.config import read

    source = read(file)
    findings = linter.lint(source, str(file))
    if fixing:
        mended, done = fix(source, [finding.edit for finding in findings if finding.edit is not None])
        if done:
            file.write_bytes(mended.encode())
            click.echo(f"{file}: {done} mended", err=True)
            findings = linter.lint(mended, str(file))
    return findings
