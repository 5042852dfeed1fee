"""podpatterns: Kubernetes' multi-container pod patterns, ready to run.

    async with podpatterns.Ambassador(podpatterns.AmbassadorConfig(...)) as proxy: ...
    podpatterns.run(podpatterns.SidecarConfig(...))

Names are imported when they are used: an application that embeds one pattern does not pay for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podpatterns.adapter.config import AdapterConfig
    from podpatterns.adapter.runtime import Adapter
    from podpatterns.ambassador.config import AmbassadorConfig
    from podpatterns.ambassador.runtime import Ambassador
    from podpatterns.errors import (
        ConfigError,
        DeliveryError,
        PodpatternsError,
        Problem,
        Rejected,
        Retryable,
        ServiceError,
        StartError,
        UpstreamError,
    )
    from podpatterns.init.config import InitConfig
    from podpatterns.init.runtime import Init
    from podpatterns.runtime.config import PatternConfig, RuntimeConfig
    from podpatterns.runtime.units import hook, transform
    from podpatterns.sidecar.config import SidecarConfig
    from podpatterns.sidecar.runtime import Sidecar

__version__ = "0.1.0"

_HOME = {
    "ConfigError": "podpatterns.errors",
    "DeliveryError": "podpatterns.errors",
    "PodpatternsError": "podpatterns.errors",
    "Problem": "podpatterns.errors",
    "Rejected": "podpatterns.errors",
    "Retryable": "podpatterns.errors",
    "ServiceError": "podpatterns.errors",
    "StartError": "podpatterns.errors",
    "UpstreamError": "podpatterns.errors",
    "Adapter": "podpatterns.adapter.runtime",
    "AdapterConfig": "podpatterns.adapter.config",
    "Ambassador": "podpatterns.ambassador.runtime",
    "AmbassadorConfig": "podpatterns.ambassador.config",
    "Init": "podpatterns.init.runtime",
    "InitConfig": "podpatterns.init.config",
    "PatternConfig": "podpatterns.runtime.config",
    "RuntimeConfig": "podpatterns.runtime.config",
    "Sidecar": "podpatterns.sidecar.runtime",
    "SidecarConfig": "podpatterns.sidecar.config",
    "hook": "podpatterns.runtime.units",
    "transform": "podpatterns.runtime.units",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def run(*configs: PatternConfig, runtime: RuntimeConfig | None = None) -> None:
    """Run one or several patterns in this process, with admin endpoint and signals, until it is told to stop.

    Raises:
        ConfigError: with every problem in the configurations.
        PodpatternsError: a part could not start, or failed while running.
    """
    from podpatterns.runtime import config, process

    process.run(config.of(configs, runtime))


__all__ = [
    "Adapter",
    "AdapterConfig",
    "Ambassador",
    "AmbassadorConfig",
    "ConfigError",
    "DeliveryError",
    "Init",
    "InitConfig",
    "PatternConfig",
    "PodpatternsError",
    "Problem",
    "Rejected",
    "Retryable",
    "RuntimeConfig",
    "ServiceError",
    "Sidecar",
    "SidecarConfig",
    "StartError",
    "UpstreamError",
    "__version__",
    "hook",
    "run",
    "transform",
]
