"""`type: git`: publish a revision of a repository as a folder that is always complete.

    root/current -> .worktrees/<commit>      what readers use; changes in one step
    root/.worktrees/<commit>/                a complete tree, once the link leads to it
    root/.repository/                        objects, without a tree of their own
    root/.lock                               held while working, also by a git that has outlived us

The layout is git-sync's: fetch, new worktree, atomic flip of a symlink whose target is named after the commit. A tree
that the link does not lead to is unfinished or stale by definition, and removed; nothing else has to be remembered.

A third of the file are the settings. How git is run, and what it is given to log in, stand in files of their own.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import msgspec

from podpatterns.init import publish
from podpatterns.init.git_credentials import CredentialConfig, Credentials, Username
from podpatterns.init.git_program import Broken, GitProgram, judged, redacted
from podpatterns.init.steps import Fatal, Step, StepConfig, StepContext, Transient
from podpatterns.runtime.schema import InvalidField, Items
from podpatterns.runtime.units import Duration, SecretFile, Url

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SCP = re.compile(r"[\w.-]+@[\w.-]+:[^:].*")
_SCHEMES = ("http", "https", "ssh", "git", "file")


class GitConfig(StepConfig, frozen=True, kw_only=True):
    """Publish a revision of a git repository; readers see a complete tree or none."""

    READS: ClassVar[frozenset[str]] = frozenset({"known_hosts"})
    WRITES: ClassVar[frozenset[str]] = frozenset({"root", "marker"})
    EXAMPLE: ClassVar[str] = """
type: git
repository: https://git.example.org/shop/content.git
ref: main
root: /srv/content
"""

    repository: Annotated[str, msgspec.Meta(min_length=1)]
    """Where to fetch from: an http, https, ssh, git or file URL, `user@host:path`, or an absolute path. Credentials do
    not belong in it: see `password` and `ssh_key`."""

    ref: Annotated[str, msgspec.Meta(min_length=1, pattern=r"^[^-\s:^~?*\[\\][^\s:^~?*\[\\]*$")] = "HEAD"
    """A branch, a tag, or a full commit hash. HEAD: the repository's default branch. A full hash that is published
    already is not asked for again, so a restart then needs no network."""

    root: Annotated[str, msgspec.Meta(pattern="^/.+")]
    """The folder to work in, usually an emptyDir: an absolute path, made if missing. Only `link` and the hidden names
    `.repository`, `.worktrees` and `.lock` in it are ever touched, unless `empty` says otherwise."""

    link: Annotated[str, msgspec.Meta(pattern=r"^[^/.][^/]*$")] = "current"
    """The name of the symlink in `root` that leads to the complete tree; what the primary container reads."""

    empty: bool = False
    """Whether what is foreign in `root` is removed first, such as what a plain `git clone` that was killed left there.
    False: it stays, and only something in the way of the link is an error."""

    depth: Annotated[int, msgspec.Meta(ge=0)] = 1
    """How many commits of history to fetch; 0: all. One by default, since readers want the files."""

    submodules: bool = False
    """Whether submodules are checked out too, all the way down."""

    sparse: Items[str] = ()
    """Directories to check out (with the files on the levels above them); empty: everything."""

    username: Username = "git"
    """The user for http and https when there is a `password`; what hosts expect with an access token differs."""

    password: SecretFile | None = None
    """A file with the password or access token for http and https, read anew at each use, so that it can be rotated.
    It is given to the repository's own host only, and never stands in arguments or the environment."""

    askpass: Url | None = None
    """In place of a password: a server that hands out credentials, asked anew for each fetch. It answers a GET with two
    lines, `username=…` and `password=…`, as git-sync's `--askpass-url` expects it."""

    credentials: Items[CredentialConfig] = ()
    """Who to be at further http and https hosts, such as those of submodules."""

    ssh_key: SecretFile | None = None
    """A file with the private key for ssh. None: what ssh finds by itself."""

    known_hosts: str | None = None
    """A file with the ssh host's public keys. None: ssh's own. A host that is not in it is refused."""

    marker: Annotated[str, msgspec.Meta(pattern="^/.+")] | None = None
    """A file that is written anew, with the commit's hash, when another commit has been published. As one of the
    `inputs` of a `run` step it makes that step a hook: it runs for each new commit, and is tried until it succeeds."""

    timeout: Duration = Duration("2m")
    """How long one run of git may take before it is ended and tried again."""

    def __post_init__(self) -> None:
        """Refuse what git would take for an option or another transport, and secrets in the open."""
        super().__post_init__()
        parts = urlsplit(self.repository)
        if "://" in self.repository:
            if parts.scheme not in _SCHEMES:
                raise InvalidField("repository", f"unknown scheme; the schemes are {', '.join(_SCHEMES)}")
            if parts.password is not None:
                raise InvalidField("repository", "a password does not belong in the URL; put it in a file: `password`")
        elif not (_SCP.fullmatch(self.repository) or self.repository.startswith("/")):
            raise InvalidField("repository", 'must be a URL, "user@host:path" or an absolute path')
        for field in ("password", "askpass"):
            if getattr(self, field) is not None and parts.scheme not in ("http", "https"):
                raise InvalidField(field, "is for http and https; for ssh there is `ssh_key`")
        if self.password is not None and self.askpass is not None:
            raise InvalidField("askpass", "stands in place of `password`; name one of the two")
        doubles = [host for host, count in Counter(each.host for each in self.hosts).items() if count > 1]
        if doubles:
            raise InvalidField("credentials", f"names {doubles[0]} twice")
        if any(item.startswith("-") for item in self.sparse):
            raise InvalidField("sparse", "a directory cannot begin with a dash")

    @property
    def hosts(self) -> tuple[CredentialConfig, ...]:
        """All hosts that there are credentials for, the repository's own first."""
        if self.password is None and self.askpass is None:
            return tuple(self.credentials)
        parts = urlsplit(self.repository)
        url = Url(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}")
        own = CredentialConfig(url=url, username=self.username, password=self.password, askpass=self.askpass)
        return (own, *self.credentials)

    def build(self, context: StepContext) -> Git:
        """The step at work."""
        return Git(self, context)

    def explain(self) -> list[str]:
        """What would be fetched and published, and what is published now."""
        where = Path(self.root, self.link)
        history = f"{self.depth} commit{'s' * (self.depth != 1)} deep" if self.depth else "with its whole history"
        now = where.readlink().name if where.is_symlink() else "nothing"
        return [f"fetch {self.ref} of {redacted(self.repository)}, {history}, and point {where} at it (now: {now})"]


_UNADVERTISED = re.compile(r"not our ref|unadvertised object|no such remote ref|couldn't find remote ref")


class Git(Step):
    """The step at work."""

    def __init__(self, config: GitConfig, context: StepContext) -> None:
        self.config, self._context = config, context
        self.root = Path(config.root)
        self.link = self.root / config.link
        self.repository = self.root / ".repository"
        self.worktrees = self.root / ".worktrees"
        self._program = GitProgram(
            self.repository,
            Credentials(config.hosts),
            ssh_key=config.ssh_key,
            known_hosts=config.known_hosts,
            timeout=config.timeout,
        )

    async def done(self) -> bool:
        """A full hash whose tree is published; what a branch or tag means has to be asked anew."""
        commit = self.config.ref
        if not _COMMIT.fullmatch(commit):
            return False
        tree = self._published()
        if tree is None or _commit_of(tree) != commit or not self._marked(commit):
            return False
        return await self._intact(tree, commit)

    async def apply(self) -> str | None:
        """Fetch, check out beside what is there, flip the link, remove what is stale."""
        with self._locked():
            await asyncio.to_thread(self._tidy)
            try:
                return await self._sync()
            except Broken as error:
                await self._discard("broken repository", self.repository)
                raise Transient(f"the local repository was damaged ({error}) and will be fetched anew") from None

    async def _sync(self) -> str | None:
        await self._ensure_repository()
        commit = await self._fetch()
        tree = self._published()
        if tree is not None and _commit_of(tree) == commit and await self._intact(tree, commit):
            did = None
        else:
            tree = await self._check_out(commit, taken=tree)
            await asyncio.to_thread(publish.flip, self.link, str(tree.relative_to(self.root)))
            did = f"published {commit[:12]} ({self.config.ref})"
        for stale in self.worktrees.iterdir():
            if stale != tree:
                await self._discard("stale worktree", stale)
        await self._program.local("worktree", "prune")
        if self.config.marker is not None and not self._marked(commit):
            await asyncio.to_thread(publish.write, Path(self.config.marker), f"{commit}\n".encode(), 0o644)
        return did

    def _marked(self, commit: str) -> bool:
        """Whether the marker says so; a kill after the flip may have left it behind."""
        marker = Path(self.config.marker) if self.config.marker is not None else None
        return marker is None or (marker.exists() and marker.read_text("ascii", "replace").strip() == commit)

    # --- the parts of a sync --------------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time; git inherits the lock, so that a git which has outlived its parent still holds it."""
        self.root.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Transient(f"{self.root} is in use by another process", after=0.2) from None
            self._program.lock = lock
            yield
        finally:
            self._program.lock = None
            os.close(lock)

    def _tidy(self) -> None:
        """Remove what a killed git leaves behind; nobody else is at work, since the lock is ours."""
        for pattern in ("*.lock", "worktrees/*/*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/tmp_*"):
            for leftover in self.repository.glob(pattern):
                publish.remove(leftover)
        if not self.config.empty:
            return
        ours = {".repository", ".worktrees", ".lock", self.config.link}
        for entry in self.root.iterdir():
            if entry.name not in ours or (entry == self.link and not entry.is_symlink()):
                publish.remove(entry)
                self._context.events.discarded(self._context.name, "foreign content", str(entry))

    async def _ensure_repository(self) -> None:
        self.worktrees.mkdir(exist_ok=True)
        if self.repository.exists():
            outcome = await self._program.run("rev-parse", "--is-bare-repository")
            if outcome.output.strip() == "true":
                return
            await self._discard("broken repository", self.repository)
        await self._program.local("init", "--quiet", "--bare", "--template=", str(self.repository))

    async def _fetch(self) -> str:
        ref, depth = self.config.ref, self.config.depth
        exact = _COMMIT.fullmatch(ref) is not None
        if exact and (await self._program.run("cat-file", "-e", f"{ref}^{{commit}}")).code == 0:
            return ref
        # A local path is copied by linking objects, which ignores --depth; a file URL goes through the protocol.
        source = (
            f"file://{self.config.repository}" if self.config.repository.startswith("/") else self.config.repository
        )
        command = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", *([f"--depth={depth}"] if depth else [])]
        if source.startswith("file://"):
            # The serving side refuses folders of other users, such as a mounted volume, unless it is told otherwise.
            command.append("--upload-pack=git -c safe.directory=* upload-pack")
        outcome = await self._program.remote(*command, source, ref)
        if exact and outcome.code and _UNADVERTISED.search(outcome.errors):
            # Some servers hand out only what a branch or tag leads to: take everything, and look for it there.
            outcome = await self._program.remote(
                "fetch", "--quiet", "--tags", source, "+refs/heads/*:refs/remotes/all/*"
            )
            if not outcome.code and (await self._program.run("cat-file", "-e", f"{ref}^{{commit}}")).code:
                raise Fatal(f"no branch or tag of the repository leads to {ref}", "check `ref`")
        if outcome.code:
            raise judged(outcome)
        return (
            await self._program.local("rev-parse", "--verify", f"{ref if exact else 'FETCH_HEAD'}^{{commit}}")
        ).strip()

    async def _check_out(self, commit: str, taken: Path | None) -> Path:
        tree = self.worktrees / commit
        if (
            tree == taken
        ):  # published, but no longer what was checked out: readers keep it until the new one is complete
            tree = self.worktrees / f"{commit}.1"
        if publish.remove(tree):
            self._context.events.discarded(self._context.name, "unfinished worktree", str(tree))
        await self._program.local("worktree", "prune")
        await self._program.local(
            "worktree", "add", "--quiet", "--force", "--detach", "--no-checkout", str(tree), commit
        )
        if self.config.sparse:
            await self._program.local("sparse-checkout", "set", "--cone", *self.config.sparse, inside=tree)
        await self._program.local("reset", "--quiet", "--hard", commit, inside=tree)
        if self.config.submodules:
            depth = [f"--depth={self.config.depth}"] if self.config.depth else []
            outcome = await self._program.remote(
                "submodule", "--quiet", "update", "--init", "--recursive", *depth, inside=tree
            )
            if outcome.code:
                raise judged(outcome)
        return tree

    async def _intact(self, tree: Path, commit: str) -> bool:
        """Whether the tree still is what was checked out: right commit, no tracked file changed or missing."""
        head = await self._program.run("rev-parse", "HEAD", inside=tree)
        if head.code or head.output.strip() != commit:
            return False
        status = await self._program.run(
            "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all", inside=tree
        )
        return not status.code and not status.output.strip()

    def _published(self) -> Path | None:
        """The tree that the link leads to; None if it leads nowhere, or to what is not ours."""
        if not self.link.is_symlink():
            return None
        tree = self.root / self.link.readlink()
        return tree if tree.parent == self.worktrees and tree.is_dir() else None

    async def _discard(self, reason: str, path: Path) -> None:
        if await asyncio.to_thread(publish.remove, path):
            self._context.events.discarded(self._context.name, reason, str(path))


def _commit_of(tree: Path) -> str:
    return tree.name.partition(".")[0]
