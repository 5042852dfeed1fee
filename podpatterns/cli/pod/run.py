"""`podpatterns pod run`: run pods on this machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpatterns.cli._files import FILE

if TYPE_CHECKING:
    from podpatterns.pod.model import Manifest
    from podpatterns.pod.opening import Options
    from podpatterns.pod.session import Origin, Session
    from podpatterns.pod.writing import Writer


@click.command("run", short_help="Run pods from their manifests, as local processes.")
@click.argument("manifests", nargs=-1, required=True, type=FILE)
@click.option(
    "--with",
    "extra",
    multiple=True,
    type=FILE,
    help="Take ConfigMaps and Secrets from FILE.",
)
@click.option("--for", "duration", metavar="TIME", help="End the pods after this time, such as 20s.")
@click.option("--strict", is_flag=True, help="Refuse a manifest with fields that have no effect here.")
@click.option(
    "--mounts",
    type=click.Choice(["auto", "namespace", "rewrite"]),
    default="auto",
    show_default=True,
    help="How volumes get to their paths: mount namespaces, or rewriting the paths that containers are given.",
)
@click.option(
    "--network",
    type=click.Choice(["auto", "pod", "host"]),
    default="auto",
    show_default=True,
    help="A network for each pod, or this machine's for all; auto: the first where it can be had.",
)
@click.option(
    "--publish",
    multiple=True,
    metavar="PORTS",
    help="Let a port of this machine lead to a pod's: [[HOST:]PORT:][POD/]PORT, such as 8080:80. HOST is 127.0.0.1.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--speed", type=click.FloatRange(0.1, 1000), default=1.0, help="Let back-off, graces, probes pass faster."
)
@click.option("--keep", metavar="DIR", type=FILE, help="Keep the volumes' folders there.")
def command(
    *,
    manifests: tuple[Path, ...],
    extra: tuple[Path, ...],
    duration: str | None,
    strict: bool,
    mounts: str,
    network: str,
    publish: tuple[str, ...],
    output: str,
    speed: float,
    keep: Path | None,
) -> None:
    """Run the Pods, Jobs and Deployments in MANIFESTS side by side until they end, or until Ctrl-C.

    A second Ctrl-C ends them at once. Exit code 0: all did what they should; 1: not; 2: the manifest is wrong.
    """
    from podpatterns.pod import manifest as manifests_
    from podpatterns.pod import writing
    from podpatterns.pod.opening import Options
    from podpatterns.pod.session import Origin
    from podpatterns.runtime.signals import ended_by_signals

    seconds = _seconds(duration)
    options = Options(mounts, network, publish, speed, keep)

    def load() -> Manifest:
        return manifests_.load(manifests, extra)

    manifest = load()
    if strict:
        _refuse_notices(manifest)
    writer = writing.writer(output, manifest.pods)
    try:
        with ended_by_signals():
            good = asyncio.run(_run(manifest, writer, seconds, options, Origin((*manifests, *extra), load)))
    finally:
        writer.close()
    if not good:
        raise click.exceptions.Exit(1)


def _seconds(duration: str | None) -> float | None:
    from podpatterns.runtime.units import Duration

    if duration is None:
        return None
    try:
        return float(Duration(duration))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--for") from None


def _refuse_notices(manifest: Manifest) -> None:
    from podpatterns.errors import ConfigError
    from podpatterns.runtime.nodes import Mark

    problems = [
        mark.problem(f"{notice.what}: {notice.why}")
        for notice in manifest.notices
        for mark in notice.marks or (Mark(),)
    ]
    if problems:
        raise ConfigError(problems)


async def _run(manifest: Manifest, writer: Writer, seconds: float | None, options: Options, origin: Origin) -> bool:
    from podpatterns.pod.closing import judge
    from podpatterns.pod.control import serving
    from podpatterns.pod.opening import session
    from podpatterns.pod.timeline import Timeline
    from podpatterns.runtime.signals import handled

    timeline = Timeline()
    timeline.listen(writer.entry)
    loop = asyncio.get_running_loop()
    async with session(manifest, timeline, options, origin) as running, serving(running):
        with handled(lambda signal: running.end(f"{signal} received"), lambda: running.end("")):
            if seconds is not None:
                loop.call_later(seconds, _time_is_over, running, seconds)
            await running.run(_summaries(running, writer))
        verdicts = [
            verdict for runner in running.runners for verdict in judge(runner.pod, runner.messages, runner.at_the_end)
        ]
        writer.closing(verdicts, _look(running, after=True) if options.keep else [])
        return all(verdict.ok for verdict in verdicts) and not running.killed


def _time_is_over(running: Session, seconds: float) -> None:
    if not running.ending:
        running.end(f"{seconds:g} s are over")


async def _summaries(running: Session, writer: Writer) -> None:
    from podpatterns.pod import live

    while True:
        await asyncio.sleep(writer.every)
        if writer.lost and not running.ending:
            running.end("nobody reads the timeline any more")
        facts = await live.facts(running.runners)
        writer.summary([live.standing(runner) for runner in running.runners], facts, _look(running))


def _look(running: Session, *, after: bool = False) -> list[str]:
    from podpatterns.pod import live

    return [line for runner in running.runners for line in live.where_to_look(runner.spec, runner.paths, after=after)]
