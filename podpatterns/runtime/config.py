"""The configuration file of one process: which patterns run in it, and how.

    sidecar: {...}       one or several of sidecar, ambassador and adapter, or init alone
    runtime: {...}       admin endpoint, log level, drain grace

text → nodes with marks → structs → problems, all of them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import msgspec

from podpatterns.errors import ConfigError, Problem
from podpatterns.runtime.decode import Decoder, decode, suggest, validated
from podpatterns.runtime.nodes import KIND, MapNode, Mark, from_python, parse
from podpatterns.runtime.schema import ComponentConfig, Config, component_type
from podpatterns.runtime.units import Address, Duration

if TYPE_CHECKING:
    from podpatterns.runtime.service import Context, Pattern

PATTERNS = {
    "sidecar": "podpatterns.sidecar.config:SidecarConfig",
    "ambassador": "podpatterns.ambassador.config:AmbassadorConfig",
    "adapter": "podpatterns.adapter.config:AdapterConfig",
    "init": "podpatterns.init.config:InitConfig",
}
"""The patterns, by the key that names them in a file; a pattern is imported when a file names it."""

ADMIN_PORTS = {"sidecar": 9801, "ambassador": 9802, "adapter": 9803, "init": 9804}
"""Different, so that all share one pod. What ends by itself has no admin endpoint unless one is asked for."""


class PatternConfig(Config, frozen=True, kw_only=True):
    """Base of the four patterns' configurations: what they share, and how a runtime is built from one."""

    @classmethod
    def parse(cls, value: str | Mapping[str, Any]) -> Self:
        """A configuration from YAML text, or from plain values: what stands in a file below the pattern's key.

        `${VARIABLE}` is the environment's, as in a file.

        Raises:
            ConfigError: with every problem; of a text also with line and column.
        """
        nodes = parse(value) if isinstance(value, str) else [from_python(value)]
        if len(nodes) != 1:
            raise ConfigError([Problem(f"holds {len(nodes)} documents; a configuration is one")])
        top, key = nodes[0], next((name for name in PATTERNS if PATTERNS[name].endswith(f":{cls.__name__}")), None)
        if isinstance(top, MapNode) and key is not None and key in top.entries:
            raise ConfigError([top.keys[key].problem(f'"{key}" is for files; give what stands below it', key)])
        config: Self = decode(top, cls, env=os.environ)
        return config

    @property
    def ends(self) -> bool:
        """Whether it ends by itself, as init steps do that are gone through once."""
        return False

    def build(self, context: Context) -> Pattern[Any]:
        """The runtime of this configuration; nothing is opened before its `start`."""
        raise NotImplementedError

    def warnings(self) -> Iterator[str]:
        """What is allowed, and can hardly be meant: `podpatterns check` says so."""
        yield from ()

    def explain(self, sample: str | None) -> Iterator[str]:
        """Lines of text: what would be done with this sample (None: with one of its own). Opens and sends nothing.

        A sample that is no text has surrogate escapes (PEP 383) for the bytes that are not UTF-8. Raises
        PodpatternsError where nothing in the configuration takes such a sample.
        """
        raise NotImplementedError

    def with_input(self, name: str) -> Self | None:
        """The same with one of its inputs alone: by its name, its type, or its place, `inputs[0]`. None: no such one.

        Raises:
            ConfigError: several have this name.
        """
        inputs: Sequence[ComponentConfig] = getattr(self, "inputs", ())
        for place, each in enumerate(inputs):
            if name == f"inputs[{place}]":
                return msgspec.structs.replace(self, inputs=[each])
        found = [
            place
            for place, each in enumerate(inputs)
            if name in (getattr(each, "name", None), component_type(type(each)))
        ]
        if len(found) > 1:
            places = " or ".join(f"inputs[{place}]" for place in found)
            raise ConfigError([Problem(f"several inputs are called {name}; say {places}")])
        return msgspec.structs.replace(self, inputs=[inputs[found[0]]]) if found else None


class RuntimeConfig(Config, frozen=True, kw_only=True):
    """The process around the patterns."""

    admin: Address | Literal["off"] | None = None
    """Where the admin endpoint listens. None: all interfaces (the kubelet probes the pod's address, not loopback) on
    port 9801 for a sidecar, 9802 for an ambassador, 9803 for an adapter, 9804 for init steps with `every`, and none for
    those that end. `off`: nowhere."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe event that is logged. Can be changed while running: `PUT /loglevel` from loopback."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """`auto`: for people on a terminal, JSON elsewhere. Logs go to standard error."""

    grace: Duration = Duration("25s")
    """How long a drain may take altogether; then what is left is given up, and counted. Shorter than the pod's
    terminationGracePeriodSeconds (30 s by default), so that the runtime ends by itself before it is killed."""

    reload: Duration = Duration("1s")
    """How often the files are looked at for changes, by one `stat` each; a ConfigMap's swap is seen. `0s`: never."""

    termination_log: Annotated[str, msgspec.Meta(min_length=1)] = "/dev/termination-log"
    """Where the closing summary goes, at most 4096 bytes; Kubernetes shows it as the termination message. It is
    written only if the file exists, as it does in a container."""


VARIABLE = "env:"
"""What a name begins with that is not a file's: an injected container has its configuration in a variable."""


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What runs in one process: patterns by name, in the order of PATTERNS, and the runtime around them."""

    patterns: Mapping[str, PatternConfig]
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)

    @property
    def admin(self) -> Address | None:
        """Where the admin endpoint listens, after defaults; None for nowhere."""
        if self.runtime.admin is not None:
            return self.runtime.admin if isinstance(self.runtime.admin, Address) else None
        ports = [ADMIN_PORTS[name] for name, config in self.patterns.items() if not config.ends]
        return Address(f":{ports[0]}") if ports else None


_BUILD = "; build one, such as podpatterns.SidecarConfig(...), or read one with podpatterns.SidecarConfig.parse(...)"


def pattern_class(name: str) -> type[PatternConfig]:
    """The config class of a pattern, imported now."""
    module, _, attribute = PATTERNS[name].partition(":")
    cls: type[PatternConfig] = getattr(import_module(module), attribute)
    return cls


def of(configs: Iterable[PatternConfig], runtime: RuntimeConfig | None = None) -> ProcessConfig:
    """A process of configurations built in Python, validated as strictly as a file.

    Raises:
        ConfigError: with every problem, or because two are of the same pattern.
    """
    patterns: dict[str, PatternConfig] = {}
    for config in configs:
        name = next((name for name in PATTERNS if type(config).__name__ == PATTERNS[name].partition(":")[2]), None)
        if name is None:
            raise ConfigError([Problem(f"{type(config).__name__} is not the configuration of a pattern{_BUILD}")])
        if name in patterns:
            raise ConfigError([Problem(f"two configurations for one {name}; a process runs one of each", name)])
        patterns[name] = validated(config)
    _check(patterns, [])
    return ProcessConfig(patterns, validated(runtime or RuntimeConfig()))


def load(files: Sequence[str | Path], env: Mapping[str, str] | None = None) -> ProcessConfig:
    """Read one process's configuration from one or several files; `env:NAME` stands for the text in a variable.

    Raises:
        ConfigError: with every problem in all the files.
    """
    texts: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for path in files:
        try:
            texts.append((str(path), read(path)))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return loads(texts, env)


def loads(texts: Sequence[tuple[str, str]], env: Mapping[str, str] | None = None) -> ProcessConfig:
    """The same from (file name, text) pairs; `env` is what `${VARIABLE}` sees, the process's own by default."""
    decoder = Decoder(os.environ if env is None else env)
    found: dict[str, tuple[Any, Mark]] = {}
    for name, text in texts:
        try:
            documents = parse(text, name)
        except ConfigError as error:
            decoder.problems += error.problems
            continue
        if any(isinstance(document, MapNode) and document.entries.keys() >= _MANIFEST for document in documents):
            decoder.problems.append(documents[0].mark.problem(NO_CONFIGURATION))
            continue
        if len(documents) != 1:
            mark = documents[1].mark if documents else Mark(name, 1, 1)
            message = "holds several documents; a configuration is one" if documents else _EMPTY
            decoder.problems.append(mark.problem(message))
            continue
        _top_level(documents[0], decoder, found)
    patterns = {name: found[name][0] for name in PATTERNS if name in found}
    if not decoder.problems:
        _check(patterns, [mark for _, mark in found.values()] or [Mark(texts[0][0], 1, 1)] if texts else [])
    if decoder.problems:
        raise ConfigError(sorted(decoder.problems, key=lambda p: (p.file or "", p.line or 0, p.column or 0)))
    return ProcessConfig(patterns, found["runtime"][0] if "runtime" in found else RuntimeConfig())


_MANIFEST = {"apiVersion", "kind"}
NO_CONFIGURATION = (
    'is a Kubernetes manifest, not a configuration; "podpatterns pod lint" checks it, and "podpatterns pod run" runs '
    "it, with the configurations in its ConfigMaps"
)
"""What is said of a manifest in the place of a configuration."""
_EMPTY = f"is empty; name a pattern at the top level: {', '.join(PATTERNS)}"


def _top_level(document: Any, decoder: Decoder, found: dict[str, tuple[Any, Mark]]) -> None:
    if not isinstance(document, MapNode):
        decoder.problems.append(
            document.mark.problem(f"must be a mapping with a pattern as its key, not {KIND[type(document)]}")
        )
        return
    if not document.entries:
        decoder.problems.append(document.mark.problem(_EMPTY))
    for key, node in document.entries.items():
        mark = document.keys[key]
        if key in found:
            decoder.problems.append(mark.problem(f"stands in {found[key][1].file} already", key))
        elif key == "runtime":
            found[key] = decoder.value(node, RuntimeConfig, key), mark
        elif key in PATTERNS:
            found[key] = decoder.value(node, pattern_class(key), key), mark
        else:
            decoder.problems.append(mark.problem(f'unknown key "{key}"{suggest(key, [*PATTERNS, "runtime"])}', key))


def _check(patterns: Mapping[str, PatternConfig], marks: Sequence[Mark]) -> None:
    mark = marks[0] if marks else Mark()
    if not patterns:
        raise ConfigError([mark.problem(f"no pattern to run; name one at the top level: {', '.join(PATTERNS)}")])
    if "init" in patterns and len(patterns) > 1:
        others = ", ".join(name for name in patterns if name != "init")
        raise ConfigError(
            [mark.problem(f"init steps run to completion and end, so they cannot share a process with {others}")]
        )


def variable(path: str | Path) -> str | None:
    """The variable that holds a configuration, for `env:NAME` in the place of a file; None for a file."""
    name = str(path)
    return name.removeprefix(VARIABLE) if name.startswith(VARIABLE) else None


def read(path: str | Path) -> str:
    """The text of a file, or of a variable: `env:NAME`. Line ends stay as they are. Raises ConfigError."""
    name = variable(path)
    try:
        return Path(path).read_bytes().decode("utf-8") if name is None else os.environ[name]
    except KeyError:
        problem = "cannot be read: there is no such variable"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        problem = f"is not UTF-8 text (byte {error.start})"
    raise ConfigError([Problem(problem, file=str(path))])
