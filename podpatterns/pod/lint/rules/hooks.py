"""Hooks: what is run when a container begins and ends."""

from __future__ import annotations

from collections.abc import Iterator

from podpatterns.pod.lint.finding import Found, Rule, Severity
from podpatterns.pod.workload import Workload, mapping


def hook_over_tcp(workload: Workload) -> Iterator[Found]:
    """A hook is a command, a request or a pause; the API server accepts `tcpSocket` as well, and no kubelet runs it."""
    for each in workload.containers:
        for field in ("postStart", "preStop"):
            hook = mapping(each.node, f"lifecycle.{field}")
            if "tcpSocket" in hook.entries:
                then = "and the container is killed" if field == "postStart" else "and the container ends without it"
                yield Found(
                    hook.keys["tcpSocket"],
                    f"{each.title} has a {field} with tcpSocket, which fails each time, {then}",
                    "use exec or httpGet",
                )


RULES = (Rule("hook-over-tcp", Severity.ERROR, "The hook fails whenever it is run.", hook_over_tcp),)
