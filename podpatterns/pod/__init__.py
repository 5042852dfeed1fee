"""The pod: its manifest, the kubelet's rules, and running it on one machine.

`LocalPod` runs pods in tests: `async with LocalPod("pod.yaml") as pod: await pod.wait_ready("main")`.
"""

from __future__ import annotations

from podpatterns.pod.events import What
from podpatterns.pod.local import LocalPod

__all__ = ["LocalPod", "What"]
