"""The git program as the init steps run it: its settings, its environment, and what its failures mean."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from podpatterns.init.git_credentials import Credentials
from podpatterns.init.steps import Fatal, Transient
from podpatterns.runtime.command import NotRunnable, Outcome, TimedOut, execute

_USER_INFO = re.compile(r"://[^/@\s]*@")

_FATAL = (
    ("Authentication failed", "check `username`, and what `password` or `askpass` gives"),
    (
        "could not read Username",
        "the host asks for credentials: set `password`, or `credentials` for a submodule's host",
    ),
    ("could not read Password", "the repository asks for a password: set `password`"),
    ("Permission denied (", "check `ssh_key` and who may read the repository"),
    ("Host key verification failed", "put the host's public key into the file that `known_hosts` names"),
    ("couldn't find remote ref", "check `ref`: a branch, a tag or a full commit hash"),
    ("does not appear to be a git repository", "check `repository`"),
    ("' not found", "check `repository`, and that the credentials may see it"),
    ("repository not exported", "check `repository`"),
    ("The requested URL returned error: 403", "check that the credentials may read the repository"),
    ("dubious ownership", "make the repository belong to the user that this container runs as"),
    ("server certificate verification failed", "add the certificate authority to those that the image trusts"),
)
"""What git says, in order, when trying again cannot help, and the remedy. Its exit code is 128 for everything."""

_BROKEN = re.compile(
    r"corrupt|bad object|loose object|unable to read|object file .* is empty|missing (blob|tree|commit)"
)
"""What git says when the fault is in the local repository."""


class Broken(Exception):  # noqa: N818 - named after the repository
    """The local repository is damaged, as a kill at a bad moment can leave it."""


@dataclass(slots=True)
class GitProgram:
    """Runs git on one bare repository.

    `lock` is a descriptor that git inherits, so that one that has outlived its parent still holds the lock on it.
    """

    repository: Path
    credentials: Credentials
    ssh_key: str | None = None
    known_hosts: str | None = None
    timeout: float | None = None
    lock: int | None = None

    async def local(self, *arguments: str, inside: Path | None = None) -> str:
        """A command that touches nothing but the local repository, and succeeds unless that is broken.

        Raises:
            Broken: it is.
            Transient, Fatal: the disk is full, or git is not there.
        """
        outcome = await self.run(*arguments, inside=inside)
        if outcome.code:
            if "No space left" in outcome.errors or "Permission denied" in outcome.errors:
                raise judged(outcome)
            raise Broken(f"git {arguments[0]}: {redacted(outcome.last_line)}")
        return outcome.output

    async def remote(self, *arguments: str, inside: Path | None = None) -> Outcome:
        """A command that talks to other hosts, and may use the credentials."""
        async with self.credentials.given() as given:
            return await self.run(*arguments, inside=inside, settings=given.settings, descriptors=given.descriptors)

    async def run(
        self,
        *arguments: str,
        inside: Path | None = None,
        settings: tuple[tuple[str, str], ...] = (),
        descriptors: tuple[int, ...] = (),
    ) -> Outcome:
        """One run of git, whatever its exit code. Raises Transient and Fatal."""
        place = ["-C", str(inside)] if inside else [] if arguments[0] == "init" else ["--git-dir", str(self.repository)]
        options = [part for key, value in (*_SETTINGS, *settings) for part in ("-c", f"{key}={value}")]
        try:
            return await execute(
                ["git", "--no-optional-locks", *place, *options, *arguments],
                env=dict(self._environment()),
                limit=self.timeout,
                pass_fds=descriptors if self.lock is None else (self.lock, *descriptors),
            )
        except NotRunnable as error:
            raise Fatal(str(error), "the image must hold git, as containers/init does") from None
        except TimedOut as error:
            raise Transient(str(error), "raise `timeout` if the repository is that large") from None

    def _environment(self) -> Iterator[tuple[str, str]]:
        yield from ((name, value) for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT)
        ssh = ["ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"]
        if self.ssh_key is not None:
            ssh += ["-i", self.ssh_key, "-o", "IdentitiesOnly=yes"]
        if self.known_hosts is not None:
            ssh += ["-o", f"UserKnownHostsFile={self.known_hosts}"]
        yield "LC_ALL", "C"  # its messages are what tells a passing failure from a lasting one
        yield "GIT_TERMINAL_PROMPT", "0"
        yield "GIT_CONFIG_GLOBAL", "/dev/null"
        yield "GIT_SSH_COMMAND", shlex.join(ssh)
        yield "GIT_SSH_VARIANT", "ssh"


_SETTINGS = (
    ("advice.detachedHead", "false"),
    ("core.hooksPath", "/dev/null"),  # a repository's content must not run anything here
    ("fetch.unpackLimit", "1"),  # one pack, renamed into place when complete, instead of many loose objects
    ("gc.auto", "0"),  # no background process that outlives us
    ("maintenance.auto", "0"),
    ("http.lowSpeedLimit", "1000"),
    ("http.lowSpeedTime", "30"),
    ("safe.directory", "*"),  # the volume may belong to another user after a restart
)

_KEPT = frozenset({"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_EXEC_PATH", "GIT_TRACE", "GIT_CURL_VERBOSE"})
"""What git may still be told through the environment; GIT_DIR and its like would point it elsewhere."""


def judged(outcome: Outcome) -> Transient | Fatal | Broken:
    """What a failure of git means."""
    for words, remedy in _FATAL:
        for line in outcome.errors.splitlines():
            if words in line:
                return Fatal(redacted(f"git: {_plain(line)}"), remedy)
    reason = redacted(_reason(outcome))
    return Broken(reason) if _BROKEN.search(outcome.errors) else Transient(reason)


def _reason(outcome: Outcome) -> str:
    """The line that says why: git's last `fatal:` or `error:` line is often "Could not read from remote repository"."""
    lines = [_plain(line) for line in outcome.errors.splitlines() if line.startswith(_MARKS)]
    told = [line for line in lines if "Could not read from remote" not in line] or lines
    return f"git: {told[0]}" if told else f"git: {outcome.last_line} ({outcome.ending})"


_MARKS = ("fatal: ", "error: ", "ERR ")


def _plain(line: str) -> str:
    return next((line.removeprefix(mark) for mark in _MARKS if line.startswith(mark)), line).strip()


def redacted(text: str) -> str:
    """Without user information in URLs."""
    return _USER_INFO.sub("://***@", text)
