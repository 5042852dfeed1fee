"""Mounts, variables and files: what a container sees."""

from hypothesis import given
from hypothesis import strategies as st

from podpatterns.pod import LocalPod
from podpatterns.pod.environment import expand, quantity
from podpatterns.pod.mounts import Rewriter
from podpatterns.pod.volumes import publish


def run_once(script, mounts, volumes, *more):
    main = {"name": "main", "command": ["sh", "-c", script], "volumeMounts": mounts}
    return LocalPod(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "test", "labels": {"app": "x"}},
            "spec": {"containers": [main], "volumes": volumes, "restartPolicy": "Never"},
        },
        *more,
        mounts="namespace",
    )


async def test_a_mount_inside_another_one():
    """The inner volume covers its place in the outer one, whatever the order in the manifest."""
    mounts = [{"name": "in", "mountPath": "/opt/nowhere/deep/in"}, {"name": "out", "mountPath": "/opt/nowhere"}]
    script = "echo inner > /opt/nowhere/deep/in/f; echo outer > /opt/nowhere/f; find /opt/nowhere -type f | sort"
    async with run_once(script, mounts, [{"name": "in", "emptyDir": {}}, {"name": "out", "emptyDir": {}}]) as local:
        await local.finished()
        assert (local.volume("in") / "f").read_text() == "inner\n"
    assert local.output("main") == ["/opt/nowhere/deep/in/f", "/opt/nowhere/f"]


async def test_a_mount_over_a_directory_of_the_machine_hides_it_in_the_container_only():
    """The rest of the machine stays visible beside it."""
    script = "ls /usr/share; test -e /usr/bin/env && echo beside"
    mounts = [{"name": "v", "mountPath": "/usr/share"}]
    async with run_once(script, mounts, [{"name": "v", "emptyDir": {}}]) as local:
        await local.finished()
    assert local.output("main") == ["beside"]


async def test_sub_path_shows_a_part_of_the_volume_and_one_file_of_a_config_map():
    """A folder that is missing in an emptyDir is made; a key becomes a file at the path itself."""
    mounts = [
        {"name": "v", "mountPath": "/opt/nowhere/logs", "subPath": "a/b"},
        {"name": "c", "mountPath": "/etc/nowhere.conf", "subPath": "conf"},
    ]
    volumes = [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"conf": "text\n"}}
    async with run_once("touch /opt/nowhere/logs/f; cat /etc/nowhere.conf", mounts, volumes, config) as local:
        await local.finished()
        assert (local.volume("v") / "a/b/f").exists()
    assert local.output("main") == ["text"]


async def test_downward_api_and_secret_in_one_projected_volume():
    """Each source's files lie side by side; the mode is the item's."""
    sources = [
        {"secret": {"name": "s", "items": [{"key": "password", "path": "pw", "mode": 0o400}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": "p"}}
    script = "cat /opt/nowhere/pw; echo; stat -L -c %a /opt/nowhere/pw; cat /opt/nowhere/labels"
    mounts = [{"name": "v", "mountPath": "/opt/nowhere"}]
    async with run_once(script, mounts, [{"name": "v", "projected": {"sources": sources}}], secret) as local:
        await local.finished()
    assert local.output("main") == ["p", "400", 'app="x"']


def test_publish_swaps_everything_at_once(tmp_path):
    """`..data` points to a new folder, the old one and names that are gone vanish; equal contents change nothing."""
    assert publish(tmp_path, {"a": (b"1", 0o644), "deep/b": (b"2", 0o644)})
    assert not publish(tmp_path, {"a": (b"1", 0o644), "deep/b": (b"2", 0o644)})
    before = (tmp_path / "..data").readlink()
    assert publish(tmp_path, {"a": (b"3", 0o644)})
    assert (tmp_path / "..data").readlink() != before
    assert (tmp_path / "a").read_text() == "3"
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith("..")) == ["a"]
    assert not (tmp_path / before).exists()


@given(st.text(alphabet="ab $()"), st.dictionaries(st.text(alphabet="ab", min_size=1), st.text(alphabet="ab $()")))
def test_expanding_never_looks_at_what_it_has_put_in(text, variables):
    """Text without a dollar sign stays; values are put in once, and are not expanded again."""
    result = expand(text, variables)
    if "$" not in text:
        assert result == text
    for name, value in variables.items():
        assert expand(f"$({name})", variables) == value
        assert expand(f"$$({name})", variables) == f"$({name})"


def test_quantities():
    """Decimal and binary suffixes."""
    given_, expected = ["100m", "1.5", "64Mi", "2k", "1e3"], [0.1, 1.5, 64 * 1024**2, 2000, 1000]
    assert [float(quantity(text)) for text in given_] == expected


def test_rewriting_replaces_whole_path_components_only():
    """`/var/logs` is not below `/var/log`; the longest mount path counts; `--file=/var/log/x` is rewritten too."""
    rewriter = Rewriter({"/var/log": "/A", "/var/log/deep": "/B"})
    given_ = ["/var/log", "/var/log/x", "/var/logs", "/var/log/deep/y", "--file=/var/log/x", "x /var/log"]
    assert rewriter.words(given_) == ["/A", "/A/x", "/var/logs", "/B/y", "--file=/A/x", "x /var/log"]
