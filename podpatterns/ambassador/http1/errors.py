"""What is wrong with a message, and which status tells the sender so."""

from __future__ import annotations

from podpatterns.errors import PodpatternsError


class Refused(PodpatternsError):  # noqa: N818 - named after what happened to the message
    """A message that is not forwarded.

    `status` answers a client (in a response from an upstream, whatever is wrong is a 502 to the client); `reason` is
    constant for one kind of mistake, and labels the counter; the text is for people and quotes nothing of the message.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(message)
