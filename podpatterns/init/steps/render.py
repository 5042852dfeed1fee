"""`type: render`: a file made from a template, complete or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec

from podpatterns.init import publish
from podpatterns.init.steps import Fatal, Step, StepConfig, StepContext
from podpatterns.init.template import TemplateError, render
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import SecretFile

LARGEST = 16 << 20
"""Bytes of a template; a configuration file that is larger is a mistake in the path."""


class RenderConfig(StepConfig, frozen=True, kw_only=True):
    """Render a template into a file: `${NAME}` and `${NAME:-default}` are replaced, an undefined name is an error."""

    READS: ClassVar[frozenset[str]] = frozenset({"template"})
    WRITES: ClassVar[frozenset[str]] = frozenset({"target"})
    EXAMPLE: ClassVar[str] = """
type: render
template: /etc/templates/nginx.conf
target: /etc/nginx/conf.d/site.conf
values: {SERVER_NAME: shop.example.org}
"""

    template: Annotated[str, msgspec.Meta(min_length=1)]
    """The template's path, usually in a ConfigMap. A lone `$` is text, `$${` stands for `${`."""

    target: Annotated[str, msgspec.Meta(min_length=1)]
    """The file to write; replaced in one step, and left alone if it has the right content and mode already."""

    values: dict[str, str] = {}
    """Values by name; they go before what the environment says."""

    secrets: dict[str, SecretFile] = {}
    """Files whose content is the value of a name; they go before `values` and are never shown."""

    environment: bool = True
    """Whether names that are not in `values` or `secrets` are looked up in the environment."""

    mode: Annotated[str, msgspec.Meta(pattern="^0?[0-7]{3}$")] = "0644"
    """The file's permission bits, in octal. Readable for all by default, since the primary container often runs as
    another user; with `secrets`, choose fewer."""

    def __post_init__(self) -> None:
        """A template cannot be its own target."""
        super().__post_init__()
        if Path(self.template) == Path(self.target):
            raise InvalidField("target", "is the template itself; it would be rendered only once")

    def build(self, context: StepContext) -> Render:
        """The step at work."""
        return Render(self, context)

    def explain(self) -> list[str]:
        """What would be written."""
        return [f"render {self.template} into {self.target}, mode {self.mode}"]

    def preview(self, sample: str) -> Iterator[str]:
        """The lines of a template rendered with these values; secrets are not shown."""
        shown = dict.fromkeys(self.secrets, "***")
        try:
            yield from render(sample, {**self.names(), **shown}).splitlines()
        except TemplateError as error:
            yield from (f"error: {fault}" for fault in error.faults)

    def names(self) -> dict[str, str]:
        """What is defined, without the secrets."""
        return {**(os.environ if self.environment else {}), **self.values}


class Render(Step):
    """The step at work. Files are small, so they are read and written where we stand."""

    def __init__(self, config: RenderConfig, context: StepContext) -> None:
        self.config, self._context = config, context
        self.target = Path(config.target)

    async def done(self) -> bool:
        """Whether the target is what rendering would give."""
        try:
            content, found = self._rendered(), self.target.stat()
            return found.st_mode & 0o777 == int(self.config.mode, 8) and self.target.read_bytes() == content
        except (OSError, Fatal):
            return False  # `apply` meets the same and says what it means

    async def apply(self) -> str:
        """Render, and replace the target."""
        content = self._rendered()
        publish.write(self.target, content, int(self.config.mode, 8))
        return f"rendered {len(content)} bytes into {self.target}"

    def _rendered(self) -> bytes:
        path = Path(self.config.template)
        if path.stat().st_size > LARGEST:
            raise Fatal(f"{path} is larger than {LARGEST >> 20} MiB", "check `template`")
        try:
            secrets = {name: file.read() for name, file in self.config.secrets.items()}
            text = path.read_bytes().decode("utf-8")
            return render(text, {**self.config.names(), **secrets}).encode("utf-8")
        except TemplateError as error:
            raise Fatal(f"{path}: {error}", "define the names in `values`, `secrets` or the environment") from None
        except UnicodeDecodeError as error:
            raise Fatal(f"{path} or a secret is not UTF-8 text (byte {error.start})") from None
