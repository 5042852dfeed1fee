"""What the webhook serves, and what pods can ask for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from podpatterns.errors import ConfigError, Problem
from podpatterns.pod.inject.injection import Options, Part, checked, part
from podpatterns.runtime.config import read
from podpatterns.runtime.decode import decode
from podpatterns.runtime.nodes import parse
from podpatterns.runtime.schema import Config, InvalidField
from podpatterns.runtime.units import Address, SecretFile


class ProfileConfig(Config, frozen=True, kw_only=True):
    """What a pod gets that names this profile in its annotation `podpatterns.dev/inject`."""

    configs: tuple[str, ...]
    """Files with configurations, each for one container; looked for beside this file."""

    image: str = "podpatterns/{pattern}:dev"
    """The image of each container; `{pattern}` is the first pattern that it runs."""

    pull: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the image is pulled. None: Kubernetes decides by the tag."""

    classic: bool = False
    """Regular containers in the place of native sidecars, for clusters before 1.29."""

    env: dict[str, str] = {}
    """Variables that the configurations refer to, beside POD_NAME, POD_NAMESPACE and NODE_NAME."""

    def __post_init__(self) -> None:
        """At least one configuration, and an image that can be."""
        if not self.configs:
            raise InvalidField("configs", "must name at least one file")
        try:
            checked(self.image)
        except ValueError as error:
            raise InvalidField("image", str(error)) from None


class WebhookConfig(Config, frozen=True, kw_only=True):
    """An admission webhook. It needs no rights in the cluster: it only ever answers."""

    EXAMPLE: ClassVar[str] = """
certificate: /var/run/tls/tls.crt
key: /var/run/tls/tls.key
profiles:
  log-shipper: {configs: [shipper.yaml]}
"""

    listen: Address = Address(":8443")
    """Where the API server asks."""

    certificate: str
    """The file with the certificate for the Service's name, in PEM form; looked at for changes."""

    key: SecretFile
    """The file with its key."""

    profiles: dict[str, ProfileConfig]
    """What pods can ask for, by name."""

    def __post_init__(self) -> None:
        """At least one profile."""
        if not self.profiles:
            raise InvalidField("profiles", "must have at least one profile")


Profiles = Mapping[str, tuple[Part, ...]]
"""The containers of each profile."""


def load(file: str | Path) -> tuple[WebhookConfig, Profiles, tuple[str, ...]]:
    """The configuration, its profiles, and every file that they were read from.

    Raises:
        ConfigError: with every problem in all files.
    """
    documents = parse(read(file), str(file))
    if len(documents) != 1:
        raise ConfigError([Problem("must hold one document", file=str(file))])
    config: WebhookConfig = decode(documents[0], WebhookConfig)
    problems: list[Problem] = []
    profiles: dict[str, tuple[Part, ...]] = {}
    files = [str(file)]
    for name, profile in config.profiles.items():
        options = Options(image=profile.image, classic=profile.classic, pull=profile.pull, env=profile.env)
        parts: list[Part] = []
        for each in profile.configs:
            path = str(Path(file).parent / each)
            files.append(path)
            try:
                parts.append(part(path, read(path), options))
            except ConfigError as error:
                problems += error.problems
        profiles[name] = tuple(parts)
    if problems:
        raise ConfigError(problems)
    return config, profiles, tuple(dict.fromkeys(files))
