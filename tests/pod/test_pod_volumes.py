"""Volumes while a pod runs: edits that are taken up, sizes that are kept, and what of it survives a restart."""

import asyncio
import errno
import json
import os

import pytest

from podpatterns.pod import LocalPod, What, volumes
from tests.pod.documents import STAY, pod, shell, source

MOUNT = [{"name": "v", "mountPath": "/opt/nowhere"}]

pytestmark = pytest.mark.timeout(60)


def write(path, *documents):
    """As an editor saves: a new file takes the old one's place."""
    new = path.with_suffix(".new")
    new.write_text("\n---\n".join(json.dumps(each) for each in documents))
    new.replace(path)


# --- edits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mounts", ["auto", "rewrite"])
@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
async def test_an_edit_of_the_file_is_seen_in_the_volume_and_not_in_sub_paths_or_variables(tmp_path, kind, mounts):
    """`..data` is swapped; what was mounted with subPath, and what is a variable, stays as it was."""
    if mounts == "rewrite":
        volume_at, part_at = "$V", "$P"
    else:
        volume_at, part_at = "/opt/nowhere", "/opt/part"
    script = (
        f"echo up; until grep -q new {volume_at}/key; do sleep 0.02; done; cat {volume_at}/key {part_at}; echo $KEY"
    )
    volume = {"configMap": {"name": "c"}} if kind == "ConfigMap" else {"secret": {"secretName": "c"}}
    reference = "configMapKeyRef" if kind == "ConfigMap" else "secretKeyRef"
    main = shell(
        "main",
        script,
        env=[
            {"name": "KEY", "valueFrom": {reference: {"name": "c", "key": "key"}}},
            {"name": "V", "value": "/opt/nowhere"},
            {"name": "P", "value": "/opt/part"},
        ],
        volumeMounts=[*MOUNT, {"name": "part", "mountPath": "/opt/part", "subPath": "key"}],
    )
    document = pod(main, volumes=[{"name": "v", **volume}, {"name": "part", **volume}], restartPolicy="Never")
    write(tmp_path / "pod.json", document)
    write(tmp_path / "with.json", source(kind, "c", key="old\n"))
    async with LocalPod(tmp_path / "pod.json", extra=[tmp_path / "with.json"], mounts=mounts) as local:
        await local.wait_line("main", "up")
        write(tmp_path / "with.json", source(kind, "c", key="new\n"))
        await local.finished()
        assert local.output("main")[:2] == ["up", "new"]
        if mounts == "auto":
            assert local.output("main")[2:4] == ["old", "old"]
        assert any('volume "v" has new contents' in entry.detail for entry in local.timeline.entries)


async def test_a_bad_edit_changes_nothing_and_is_said(tmp_path):
    """Invalid YAML, then a key that is missing: the last good contents stay, with the file and line of the mistake."""
    items = {"name": "c", "items": [{"key": "key", "path": "key"}]}
    document = pod(shell("main", STAY, volumeMounts=MOUNT), volumes=[{"name": "v", "configMap": items}])
    file = tmp_path / "with.json"
    write(tmp_path / "pod.json", document)
    write(file, source("ConfigMap", "c", key="good"))
    async with LocalPod(tmp_path / "pod.json", extra=[file]) as local:
        await local.wait_line("main", "up")
        file.write_text("a: [\n")
        await local.wait(What.NOTE, None, text="with.json:2:1")
        write(file, source("ConfigMap", "c", other="x"))
        await local.wait(What.NOTE, None, text='the ConfigMap "c" has no key "key"')
        assert (local.volume("v") / "key").read_text() == "good"
        write(file, source("ConfigMap", "c", key="better"))
        await local.wait(What.NOTE, None, text="has new contents")
        assert (local.volume("v") / "key").read_text() == "better"


async def test_an_edit_that_cannot_be_written_changes_nothing_and_is_said(tmp_path):
    """A key that turns up would become a file below another file: the pod goes on, and so does the next edit."""
    items = [{"key": "key", "path": "x"}, {"key": "late", "path": "x/y"}]
    volume = {"name": "v", "configMap": {"name": "c", "optional": True, "items": items}}
    documents = source("ConfigMap", "c", key="good"), pod(shell("main", STAY, volumeMounts=MOUNT), volumes=[volume])
    async with LocalPod(*documents) as local:
        await local.wait_line("main", "up")
        local.edit("ConfigMap", "c", {"late": "1"})
        await local.wait(What.NOTE, None, text='volume "v" stays as it is')
        assert (local.volume("v") / "x").read_text() == "good"
        local.edit("ConfigMap", "c", {"late": None, "key": "better"})
        await local.wait(What.NOTE, None, text="has new contents")
        assert [each.name for each in local.volume("v").iterdir() if each.is_dir() and not each.is_symlink()] == [
            (local.volume("v") / "..data").readlink().name
        ]


# --- emptyDir -----------------------------------------------------------------------------------------------------


async def test_an_empty_dir_survives_restarts_and_dies_with_the_pod():
    """The second run finds what the first has written; after the pod nothing is left."""
    script = "test -e /opt/nowhere/f && { trap 'exit 0' TERM; echo found; sleep 100 & wait; }; touch /opt/nowhere/f"
    document = pod(shell("main", script, volumeMounts=MOUNT), volumes=[{"name": "v", "emptyDir": {}}])
    async with LocalPod(document) as local:
        await local.wait_line("main", "found")
        folder = local.volume("v")
        assert (folder / "f").exists()
    assert not folder.exists()


async def test_a_volume_in_memory_is_full_at_its_size_limit():
    """No space left, and the pod goes on; it is a tmpfs, of which each container of the pod sees the same."""
    script = (
        "head -c 900K /dev/zero > /opt/nowhere/a && echo first; head -c 900K /dev/zero > /opt/nowhere/b || echo full; "
        "stat -f -c %T /opt/nowhere; " + STAY
    )
    other = shell("other", "until [ -e /opt/nowhere/b ]; do sleep 0.1; done; echo seen; " + STAY, volumeMounts=MOUNT)
    volume = {"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    async with LocalPod(pod(shell("main", script, volumeMounts=MOUNT), other, volumes=[volume])) as local:
        await local.wait_line("main", "up")
        await local.wait_line("other", "up")
        assert [line for line in local.output("main") if "head" not in line] == ["first", "full", "tmpfs", "up"]
        assert (local.volume("v") / "a").stat().st_size == 900 * 1024
    assert all(verdict.ok for verdict in local.verdicts())


async def test_a_volume_on_disk_that_outgrows_its_limit_evicts_the_pod():
    """As the kubelet does: the pod has failed, and the reason names the volume."""
    script = "head -c 3M /dev/zero > /opt/nowhere/a; " + STAY
    volume = {"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}
    async with LocalPod(pod(shell("main", script, volumeMounts=MOUNT), volumes=[volume]), speed=10) as local:
        await local.finished()
        assert local.runners[0].pod.failure.startswith('Evicted: Usage of EmptyDir volume "v" exceeds the limit')
    assert "Failed" in local.story()
    assert not all(verdict.ok for verdict in local.verdicts())


# --- sources ------------------------------------------------------------------------------------------------------


async def test_optional_sources_may_be_missing_and_modes_are_the_items():
    """An optional ConfigMap gives an empty volume; defaultMode counts where the item says nothing."""
    secret = {
        "secretName": "s",
        "defaultMode": 0o440,
        "items": [{"key": "a", "path": "x/a"}, {"key": "b", "path": "b", "mode": 0o400}],
    }
    script = "ls /opt/empty | wc -l; stat -L -c %a /opt/nowhere/x/a /opt/nowhere/b; readlink /opt/nowhere/b"
    main = shell("main", script, volumeMounts=[*MOUNT, {"name": "empty", "mountPath": "/opt/empty"}])
    volumes = [{"name": "v", "secret": secret}, {"name": "empty", "configMap": {"name": "none", "optional": True}}]
    async with LocalPod(
        pod(main, volumes=volumes, restartPolicy="Never"), source("Secret", "s", a="1", b="2")
    ) as local:
        await local.finished()
    assert local.output("main") == ["0", "440", "400", "..data/b"]


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        ("Directory", lambda path: path.touch(), "is not a Directory"),
        ("File", lambda path: path.mkdir(), "is not a File"),
        ("Socket", lambda path: path.touch(), "is not a Socket"),
        ("Directory", lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
    ids=["directory", "file", "socket", "cycle of links"],
)
async def test_a_host_path_of_another_kind_is_refused_by_name(tmp_path, kind, make, message):
    """The container waits, with the reason."""
    path = tmp_path / "there"
    make(path)
    volume = {"name": "v", "hostPath": {"path": str(path), "type": kind}}
    async with LocalPod(pod(shell("main", STAY, volumeMounts=MOUNT), volumes=[volume])) as local:
        entry = await local.wait(What.FAILED, "main", text=message)
        assert str(path) in entry.detail


async def test_mounts_that_contain_each_other_by_way_of_links_are_refused(tmp_path):
    """Two mounts at one place: no guess which of them is meant."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mounts = [{"name": "v", "mountPath": f"{tmp_path}/real/a"}, {"name": "w", "mountPath": f"{tmp_path}/link/a"}]
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}]
    async with LocalPod(pod(shell("main", STAY, volumeMounts=mounts), volumes=volumes), mounts="namespace") as local:
        await local.wait(What.FAILED, "main", text="is the path of two mounts, by way of a link")


async def test_a_volume_that_another_container_fills_up_while_it_is_measured_is_no_error(tmp_path):
    """Files that vanish while a folder is added up count nothing."""
    from podpatterns.pod.volumes import used

    async def churn():
        for number in range(300):
            (tmp_path / str(number)).mkdir()
            (tmp_path / str(number) / "f").write_text("x")
            os.rename(tmp_path / str(number), tmp_path / f"{number}-moved")  # noqa: PTH104
            if number % 10 == 0:
                await asyncio.sleep(0)

    churning = asyncio.create_task(churn())
    while not churning.done():
        assert used(tmp_path) >= 0
        await asyncio.sleep(0)
    await churning
    assert used(tmp_path) >= 300 * 512


@pytest.mark.parametrize("medium", ["", "Memory"])
async def test_a_volume_that_cannot_be_made_is_tried_again_by_who_wants_it(monkeypatch, medium):
    """Its limit is not looked at meanwhile: there is nothing to look at."""
    made, tries = volumes.prepare, iter([True, True])

    def prepare(*given):
        if next(tries, False):
            raise OSError(errno.ENOSPC, "No space left on device")
        return made(*given)

    monkeypatch.setattr(volumes, "prepare", prepare)
    volume = {"name": "v", "emptyDir": {"medium": medium, "sizeLimit": "1Mi"}}
    async with LocalPod(pod(shell("main", STAY, volumeMounts=MOUNT), volumes=[volume]), speed=10) as local:
        await local.wait(What.FAILED, "main", text="No space left on device")
        await local.wait_line("main", "up")
