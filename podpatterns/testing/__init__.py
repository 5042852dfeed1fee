"""Fakes for tests of applications that embed a pattern, and of the patterns themselves.

`podpatterns.testing.plugin` is a pytest plugin (loaded by its entry point): its fixtures hand these out.
"""

from podpatterns.testing.clock import VirtualTimeLoop, run_virtually
from podpatterns.testing.server import Answer, FakeServer, Seen

__all__ = ["Answer", "FakeServer", "Seen", "VirtualTimeLoop", "run_virtually"]
