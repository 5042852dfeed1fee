"""The pod: its manifest, the kubelet's rules, and running it on one machine.

`LocalPod` runs pods in tests: `async with LocalPod("pod.yaml") as pod: await pod.wait_ready("main")`. Both names are
imported when they are used: the node's process, which is in this package too, needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podpatterns.pod.events import What
    from podpatterns.pod.local import LocalPod

_HOME = {"LocalPod": "podpatterns.pod.local", "What": "podpatterns.pod.events"}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


__all__ = ["LocalPod", "What"]
