"""`podpatterns pod inject`: add our containers to a workload."""

from __future__ import annotations

from pathlib import Path

import click

from podpatterns.cli._files import FILE


@click.command("inject", short_help="Add our containers to a workload, without touching its own.")
@click.argument("manifest", type=FILE)
@click.option(
    "--config",
    "configs",
    multiple=True,
    required=True,
    type=FILE,
    help="A configuration: one container for each; may be given several times.",
)
@click.option("--only", multiple=True, metavar="NAME", help="The workload, where the file has several of them.")
@click.option("--in-place", is_flag=True, help="Write the file itself.")
@click.option(
    "--output", type=click.Choice(["yaml", "patch", "policy", "kustomize"]), default="yaml", show_default=True
)
@click.option("--profile", default="podpatterns", show_default=True, help="What pods ask for, with --output policy.")
@click.option("--image", default="podpatterns/{pattern}:dev", show_default=True, help="The image of each container.")
@click.option("--pull", type=click.Choice(["Always", "IfNotPresent", "Never"]), help="The containers' imagePullPolicy.")
@click.option("--classic", is_flag=True, help="Regular containers, where native sidecars are not known.")
@click.option("--env", multiple=True, metavar="NAME=VALUE", help="A variable that the configurations refer to.")
@click.option(
    "--config-map", metavar="NAME", help="Take the configurations from this ConfigMap, by file name; it reloads."
)
def command(
    *,
    manifest: Path,
    configs: tuple[Path, ...],
    only: tuple[str, ...],
    in_place: bool,
    output: str,
    profile: str,
    image: str,
    pull: str | None,
    classic: bool,
    env: tuple[str, ...],
    config_map: str | None,
) -> None:
    """Add a container for each --config to the workload in MANIFEST, and print the result.

    Comments, order and spelling of all that is there stay as they are; `pod uninject` gives back the same bytes.
    """
    from podpatterns.pod.inject.forms import FORMS
    from podpatterns.pod.inject.injection import Options, checked, part
    from podpatterns.pod.inject.manifest import inject
    from podpatterns.runtime import config

    if in_place and output != "yaml":
        raise click.UsageError("--in-place writes YAML; leave out --output")
    try:
        checked(image)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--image") from None
    options = Options(image=image, classic=classic, config_map=config_map, pull=pull, env=dict(map(_variable, env)))
    parts = [part(path, config.read(path), options) for path in map(str, configs)]
    injected = inject(config.read(manifest), parts, file=str(manifest), only=only)
    if in_place:
        manifest.write_bytes(injected.source.encode())
        return
    for text in FORMS[output](injected, parts, profile):
        click.echo(text, nl=False)


def _variable(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not name or not equals:
        raise click.BadParameter(f'"{given}" must be NAME=VALUE', param_hint="--env")
    return name, value
