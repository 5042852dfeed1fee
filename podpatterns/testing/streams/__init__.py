"""Fakes of log stores that speak a protocol of their own over TCP: Fluent forward, syslog, Redis streams.

Each keeps what is well-formed in `records`, once each, and notes in `malformed` what is not, with the connection closed
after it. `will` scripts faults, one for each message (or pipeline) that arrives: `reset` closes the connection before
anything of it is kept, `late` after it was kept and before it is answered, `hang` keeps nothing and never answers.
"""

from podpatterns.testing.streams.forward import FakeForward
from podpatterns.testing.streams.redis import FakeRedis
from podpatterns.testing.streams.stream import FakeStream, Fatal, Fault
from podpatterns.testing.streams.syslog import FakeSyslog

__all__ = ["FakeForward", "FakeRedis", "FakeStream", "FakeSyslog", "Fatal", "Fault"]
