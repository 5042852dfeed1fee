"""The git step against the real git and real servers on loopback."""

from __future__ import annotations

import asyncio
import base64
import http.server
import os
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from podpatterns.init import git_credentials
from podpatterns.init.git_credentials import CredentialConfig
from podpatterns.init.steps import Fatal, Transient
from podpatterns.init.steps.git import Git, GitConfig
from podpatterns.runtime.schema import InvalidField
from podpatterns.runtime.units import SecretFile, Url

PASSWORD = "s3cret with spaces"


def tree(root: Path) -> dict[str, str]:
    """What a reader of the published link sees."""
    top = root / "current"
    return {
        str(path.relative_to(top)): path.read_text()
        for path in sorted(top.rglob("*"))
        if path.is_file() and path.name != ".git"
    }


def changed(path: Path) -> tuple[int, int, int]:
    """What differs once somebody has written to a path; reading it leaves this alone."""
    found = path.lstat()
    return found.st_ino, found.st_size, found.st_mtime_ns


@pytest.fixture
def site(repository: Any) -> Any:
    repository.commit(index="one", css__main="body {}")
    return repository


async def test_publish(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """The link leads to a complete tree whose name is the commit."""
    root = tmp_path / "root"
    config = GitConfig(repository=str(site.path), ref="main", root=str(root))
    git = step(config)
    assert not await git.done()
    assert "published" in await git.apply()
    assert tree(root) == {"css/main": "body {}", "index": "one"}
    assert str((root / "current").readlink()) == f".worktrees/{site.git('rev-parse', 'HEAD')}"


async def test_idempotent(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """A second run changes nothing."""
    root = tmp_path / "root"
    git = step(GitConfig(repository=str(site.path), root=str(root)))
    await git.apply()
    before = changed(root / "current"), changed(root / "current" / "index")
    assert await git.apply() is None
    assert (changed(root / "current"), changed(root / "current" / "index")) == before


async def test_update(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """A new commit is published, and the tree of the old one removed."""
    root = tmp_path / "root"
    git = step(GitConfig(repository=str(site.path), ref="main", root=str(root)))
    await git.apply()
    commit = site.commit(index="two")
    await git.apply()
    assert tree(root)["index"] == "two"
    assert [path.name for path in (root / ".worktrees").iterdir()] == [commit]


@pytest.mark.parametrize("kind", ["branch", "tag", "annotated", "hash", "hash of an older commit"])
async def test_refs(site: Any, tmp_path: Path, step: Callable[..., Git], kind: str) -> None:
    """A branch, a tag and a full hash all name a commit; a published hash needs no further work."""
    first = site.git("rev-parse", "HEAD")
    site.git("branch", "feature/x")
    site.git("tag", "v1")
    site.git("tag", "-a", "v2", "-m", "annotated")
    second = site.commit(index="two")
    ref, commit = {
        "branch": ("feature/x", first),
        "tag": ("v1", first),
        "annotated": ("v2", first),
        "hash": (second, second),
        "hash of an older commit": (first, first),
    }[kind]
    git = step(GitConfig(repository=str(site.path), ref=ref, root=str(tmp_path / "root")))
    await git.apply()
    assert str((tmp_path / "root" / "current").readlink()) == f".worktrees/{commit}"
    assert await git.done() == kind.startswith("hash")


async def test_depth(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """One commit of history by default, all of it with 0."""
    for number in range(4):
        site.commit(index=str(number))
    for depth, count in ((1, "1"), (3, "3"), (0, "5")):
        root = tmp_path / f"root{depth}"
        await step(GitConfig(repository=str(site.path), root=str(root), depth=depth)).apply()
        process = await asyncio.create_subprocess_exec(
            "git", "-C", str(root / "current"), "rev-list", "--count", "HEAD", stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert output.decode().strip() == count


async def test_sparse(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """Only the directories that are asked for are checked out, and a second run sees that nothing is missing."""
    site.commit(docs__a="a", src__b="b")
    root = tmp_path / "root"
    git = step(GitConfig(repository=str(site.path), root=str(root), sparse=("docs",)))
    await git.apply()
    assert set(tree(root)) == {"docs/a", "index"}
    assert await git.apply() is None


async def test_tampered_tree(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """A published tree that is no longer what was checked out is replaced by a new one."""
    root = tmp_path / "root"
    git = step(GitConfig(repository=str(site.path), root=str(root)))
    await git.apply()
    for damage in (lambda path: path.unlink(), lambda path: path.write_text("defaced")):
        damage(root / "current" / "index")
        await git.apply()
        assert tree(root)["index"] == "one"
        assert len(list((root / ".worktrees").iterdir())) == 1


@pytest.mark.parametrize("victim", ["HEAD", "objects", "config", "."])
async def test_broken_repository(site: Any, tmp_path: Path, step: Callable[..., Git], victim: str) -> None:
    """A damaged local repository is fetched anew; readers see a complete tree all the while."""
    root = tmp_path / "root"
    git = step(GitConfig(repository=str(site.path), root=str(root)))
    await git.apply()
    target = root / ".repository" / victim
    if victim == "objects":
        for pack in target.glob("pack/*.pack"):
            pack.chmod(0o600)
            pack.write_bytes(b"PACK" + bytes(20))
    elif victim == ".":
        target.joinpath("HEAD").unlink()
        target.joinpath("config").write_bytes(b"\0\1")
    else:
        target.write_bytes(b"\0garbage")
    site.commit(index="two")
    for _ in range(3):
        try:
            await git.apply()
            break
        except Transient:
            assert tree(root)["index"] in ("one", "two")
    assert tree(root)["index"] == "two"


async def test_dirty_root(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """What is foreign stays unless told otherwise; then the root is emptied, also of what is in the link's way."""
    root = tmp_path / "root"
    (root / "current").mkdir(parents=True)
    (root / "current" / "half").touch()
    (root / "lost+found").mkdir()
    with pytest.raises(Fatal, match="in the way"):
        await step(GitConfig(repository=str(site.path), root=str(root))).apply()
    await step(GitConfig(repository=str(site.path), root=str(root), empty=True)).apply()
    assert sorted(path.name for path in root.iterdir()) == [".lock", ".repository", ".worktrees", "current"]
    assert tree(root)["index"] == "one"


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"ref": "nowhere"}, "couldn't find remote ref"),
        ({"ref": "0" * 40}, "no branch or tag"),
        ({"repository": "/nonexistent"}, "does not appear"),
    ],
)
async def test_fatal(site: Any, tmp_path: Path, step: Callable[..., Git], change: dict[str, str], match: str) -> None:
    """What only a person can put right is fatal, and comes with a remedy."""
    values = {"repository": str(site.path), "root": str(tmp_path / "root"), **change}
    with pytest.raises(Fatal, match=match) as caught:
        await step(GitConfig(**values)).apply()  # type: ignore[arg-type]
    assert caught.value.remedy


async def test_unreachable(tmp_path: Path, step: Callable[..., Git], unused_tcp_port: int) -> None:
    """A server that is not there yet is waited for."""
    with pytest.raises(Transient, match="onnect"):
        await step(GitConfig(repository=f"http://127.0.0.1:{unused_tcp_port}/x.git", root=str(tmp_path / "r"))).apply()


async def test_locked(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """Two at once take turns."""
    config = GitConfig(repository=str(site.path), root=str(tmp_path / "root"))
    first, second = step(config), step(config)
    results = await asyncio.gather(first.apply(), second.apply(), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Transient", "str"]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"repository": "https://me:pw@example.org/x"}, "password does not belong"),
        ({"repository": "ext::sh -c id"}, "must be a URL"),
        ({"repository": "--upload-pack=id"}, "must be a URL"),
        ({"repository": "ftp://example.org/x"}, "unknown scheme"),
        ({"repository": "ssh://example.org/x", "password": SecretFile("/p")}, "http and https"),
        ({"repository": "/x", "askpass": Url("http://localhost:1/")}, "http and https"),
        (
            {"repository": "http://a/x", "password": SecretFile("/p"), "askpass": Url("http://localhost:1/")},
            "one of the two",
        ),
        (
            {
                "repository": "http://a/x",
                "password": SecretFile("/p"),
                "credentials": (CredentialConfig(url=Url("http://a/"), password=SecretFile("/q")),),
            },
            "twice",
        ),
    ],
)
def test_refused(values: dict[str, Any], match: str) -> None:
    """What git would take for an option or a command, and secrets in the open, are refused."""
    with pytest.raises(InvalidField, match=match):
        GitConfig(root="/r", **values)


async def test_marker(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """The marker holds the hash of what is published: written after the flip, and again only for another commit."""
    root, marker = tmp_path / "root", tmp_path / "marks" / "site"
    config = GitConfig(repository=str(site.path), ref="main", root=str(root), marker=str(marker))
    git = step(config)
    await git.apply()
    assert marker.read_text().strip() == site.git("rev-parse", "HEAD")
    before = changed(marker)
    assert await git.apply() is None
    assert changed(marker) == before
    commit = site.commit(index="two")
    await git.apply()
    assert marker.read_text().strip() == commit
    exact = step(GitConfig(repository=str(site.path), ref=commit, root=str(root), marker=str(marker)))
    assert await exact.done()
    marker.unlink()  # as a kill between the flip and the marker leaves it
    assert not await exact.done()
    await exact.apply()
    assert marker.read_text().strip() == commit


# --- over HTTP with credentials --------------------------------------------------------------------------------------


class Backend(http.server.BaseHTTPRequestHandler):
    """git's own HTTP backend behind basic authentication."""

    protocol_version = "HTTP/1.1"
    served: Path
    password = PASSWORD
    moved: str | None = None

    def do_GET(self) -> None:
        if type(self).moved is not None:
            self.send_response(302)
            self.send_header("Location", type(self).moved + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        expected = base64.b64encode(f"robot:{type(self).password}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {expected}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        env = {
            **os.environ, "GIT_PROJECT_ROOT": str(self.served), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "robot",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        fields = [line.decode().split(": ", 1) for line in head.split(b"\r\n")]
        status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
        self.send_response(status)
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET  # noqa: N815 - what http.server calls

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[str, type[Backend]]]]:
    servers = []

    def start(**attributes: Any) -> tuple[str, type[Backend]]:
        handler = type("Handler", (Backend,), {"served": tmp_path, **attributes})
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}", handler

    yield start
    for server, thread in servers:
        server.shutdown()
        server.server_close()
        thread.join()


def killing(repository: Any, tmp_path: Path, step: dict[str, Any], rounds: int = 14) -> None:
    """Syncs that are killed at random moments, and the law that holds all the while."""
    files = {f"f{number}": f"{number}" * 500 for number in range(60)}
    root = Path(step["root"])
    (tmp_path / "init.yaml").write_bytes(msgspec.json.encode({"init": {"steps": [step]}}))
    command = [sys.executable, "-m", "podpatterns", "run", str(tmp_path / "init.yaml")]
    known: dict[str, dict[str, str]] = {}
    dice = random.Random(7)
    killed = 0
    for number in range(rounds):
        content = {**files, "version": str(number)}
        known[repository.commit(**content)] = content
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert process.stderr is not None
        while b"init.step.started" not in process.stderr.readline():
            assert process.poll() is None
        try:
            process.wait(dice.random() * 0.1)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        process.stderr.close()
        if (root / "current").is_symlink():
            commit = (root / "current").readlink().name.partition(".")[0]
            assert tree(root) == known[commit]
    assert killed
    done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert tree(root) == content
    assert len(list((root / ".worktrees").iterdir())) == 1


def credentials(tmp_path: Path, password: str = PASSWORD) -> dict[str, Any]:
    file = tmp_path / "it's a password"
    file.write_text(f"{password}\n")
    return {"username": "robot", "password": SecretFile(str(file)), "root": str(tmp_path / "root")}


async def test_password(site: Any, tmp_path: Path, step: Callable[..., Git], serve: Any, monkeypatch: Any) -> None:
    """The password is read anew each time, so a rotated one is used, and stands in no argument and no variable."""
    url, handler = serve()
    spied: list[str] = []
    create = asyncio.create_subprocess_exec

    async def spy(*argv: str, **options: Any) -> Any:
        spied.append(repr((argv, options)))
        return await create(*argv, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)
    git = step(GitConfig(repository=f"{url}/origin/.git", ref="main", **credentials(tmp_path)))
    await git.apply()
    assert tree(tmp_path / "root")["index"] == "one"
    site.commit(index="two")
    handler.password = "rotated"
    credentials(tmp_path, "rotated")
    await git.apply()
    assert tree(tmp_path / "root")["index"] == "two"
    assert spied
    assert not any(PASSWORD in call or "rotated" in call for call in spied)


async def test_wrong_password(site: Any, tmp_path: Path, step: Callable[..., Git], serve: Any) -> None:
    """A wrong password is fatal, and is not shown."""
    url, _ = serve()
    git = step(GitConfig(repository=f"{url}/origin/.git", **credentials(tmp_path, "wr0ng")))
    with pytest.raises(Fatal, match="Authentication failed") as caught:
        await git.apply()
    assert "wr0ng" not in str(caught.value)


async def test_redirected(site: Any, tmp_path: Path, step: Callable[..., Git], serve: Any) -> None:
    """The password goes to the repository's own host only, wherever that redirects to."""
    elsewhere, _ = serve()
    url, _ = serve(moved=elsewhere)
    with pytest.raises(Fatal, match="Username"):
        await step(GitConfig(repository=f"{url}/origin/.git", **credentials(tmp_path))).apply()


@pytest.fixture
def askpass(serve: Any, tmp_path: Path) -> Callable[..., Url]:
    """A server of credentials that answers with a text."""

    def start(text: str) -> Url:
        class Answer(Backend):
            def do_GET(self) -> None:
                body = text.encode()
                self.send_response(200 if text else 503)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        url, _ = serve(do_GET=Answer.do_GET)
        return Url(url)

    return start


async def test_askpass(site: Any, tmp_path: Path, step: Callable[..., Git], serve: Any, askpass: Any) -> None:
    """A server hands out the credentials; they stand in no argument, and are asked for anew each time."""
    url, handler = serve()
    where = askpass(f"username=robot\npassword={PASSWORD}\n")
    config = GitConfig(repository=f"{url}/origin/.git", root=str(tmp_path / "root"), askpass=where)
    git = step(config)
    await git.apply()
    assert tree(tmp_path / "root")["index"] == "one"
    handler.password = "rotated"
    with pytest.raises(Fatal, match="Authentication failed") as caught:
        await git.apply()
    assert PASSWORD not in str(caught.value)


async def test_askpass_that_says_nothing(tmp_path: Path, step: Callable[..., Git], monkeypatch: Any) -> None:
    """A server that hangs is asked again, and does not use up the time of all steps."""
    monkeypatch.setattr(git_credentials, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = Url(f"http://127.0.0.1:{silent.getsockname()[1]}/")
        git = step(GitConfig(repository="http://127.0.0.1:1/x", root=str(tmp_path / "root"), askpass=where))
        with pytest.raises(Transient, match=r"askpass http://127.0.0.1:\d+/: no answer within 0.2 s"):
            await git.apply()


async def test_askpass_without_an_answer(tmp_path: Path, step: Callable[..., Git], serve: Any, askpass: Any) -> None:
    """A server that cannot answer now is asked again; one that answers something else is a person's to mend."""
    url, _ = serve()
    for text, kind, match in (("", Transient, "503"), ("hello", Fatal, "no credentials")):
        config = GitConfig(repository=f"{url}/origin/.git", root=str(tmp_path / "root"), askpass=askpass(text))
        with pytest.raises(kind, match=match):
            await step(config).apply()


async def test_submodule_elsewhere(site: Any, tmp_path: Path, step: Callable[..., Git], serve: Any) -> None:
    """Each host is given its own credentials, submodules' hosts too."""
    here, _ = serve()
    there, _ = serve(password="other")
    theme = type(site)(tmp_path / "theme")
    theme.commit(style="body {}")
    site.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(theme.path), "theme")
    site.git("config", "-f", ".gitmodules", "submodule.theme.url", f"{there}/theme/.git")
    site.commit(index="two")
    own = credentials(tmp_path)
    (tmp_path / "other").write_text("other\n")
    more = CredentialConfig(url=Url(there), username="robot", password=SecretFile(str(tmp_path / "other")))
    values = {"repository": f"{here}/origin/.git", "submodules": True, **own}
    with pytest.raises(Fatal, match="Username"):
        await step(GitConfig(**values)).apply()
    await step(GitConfig(**values, credentials=(more,))).apply()
    assert tree(tmp_path / "root")["theme/style"] == "body {}"


# --- killed at random ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "http"])
def test_killed_in_mid_sync(repository: Any, tmp_path: Path, serve: Any, way: str) -> None:
    """Kill -9 at random: the link leads to a complete tree or is not there yet, and the next run gets there."""
    step = {"type": "git", "repository": str(repository.path), "ref": "main", "root": str(tmp_path / "root")}
    if way == "http":
        url, _ = serve()
        step |= {key: str(value) for key, value in credentials(tmp_path).items()}
        step["repository"] = f"{url}/origin/.git"
    killing(repository, tmp_path, step)


async def test_cancelled(site: Any, tmp_path: Path, step: Callable[..., Git]) -> None:
    """A sync that is cancelled publishes nothing, leaves no git behind, and can begin anew at once."""
    git = step(GitConfig(repository=str(site.path), root=str(tmp_path / "root")))
    for turns in range(0, 200, 9):
        task = asyncio.ensure_future(git.apply())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if (tmp_path / "root" / "current").is_symlink():
            assert set(tree(tmp_path / "root")) == {"index", "css/main"}
    await git.apply()
    assert tree(tmp_path / "root")["index"] == "one"
