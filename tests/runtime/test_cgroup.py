"""The memory limit of a control group, from the text of the kernel's files."""

from __future__ import annotations

import pytest

from podpatterns.runtime.cgroup import memory_files, memory_limit

V2 = "0::/\n"
V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
V2_HOST = "0::/pods.slice/pod1.slice/cri-1.scope\n"
V1 = "5:devices:/x\n4:cpu,memory:/kubepods/pod1/abc\n0::/\n"
V1_MOUNT = (
    "31 30 0:27 /kubepods/pod1/abc /sys/fs/cgroup/cpu,memory ro - cgroup cgroup rw,cpu,memory\n"
    "32 30 0:28 /kubepods/pod1/abc /sys/fs/cgroup/pids ro - cgroup cgroup rw,pids\n"
)
V1_HOST = "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
TOP = "/sys/fs/cgroup"


@pytest.mark.parametrize(
    ("groups", "mounts", "files"),
    [
        (V2, V2_MOUNT, [f"{TOP}/memory.max", f"{TOP}/memory.high"]),
        (
            V2_HOST,
            V2_MOUNT,
            [
                f"{TOP}/{group}{name}"
                for group in ("pods.slice/pod1.slice/cri-1.scope/", "pods.slice/pod1.slice/", "pods.slice/", "")
                for name in ("memory.max", "memory.high")
            ],
        ),
        (V1, V1_MOUNT, [f"{TOP}/cpu,memory/memory.limit_in_bytes"]),
        (
            V1,
            V1_HOST,
            [
                f"{TOP}/memory/{group}memory.limit_in_bytes"
                for group in ("kubepods/pod1/abc/", "kubepods/pod1/", "kubepods/", "")
            ],
        ),
        # The group of another namespace: what is mounted is all that can be seen.
        ("4:memory:/../../x", V1_MOUNT.replace("cpu,memory", "memory"), [f"{TOP}/memory/memory.limit_in_bytes"]),
        ("", V2_MOUNT, []),
        (V2, "", []),
        ("nonsense\n1:memory:/a\n", "more of it - x\n\n - cgroup a b\n", []),
    ],
)  # fmt: skip
def test_where_limits_stand(groups: str, mounts: str, files: list[str]) -> None:
    """In the group's own directory and in those above it, as far as they are mounted here."""
    assert list(memory_files(groups, mounts)) == files


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ({"memory.max": "max\n", "memory.high": "max\n"}, None),
        ({"memory.max": "67108864\n", "memory.high": "max\n"}, 67_108_864),
        ({"memory.max": "67108864\n", "memory.high": "60000000\n"}, 60_000_000),
        ({"memory.max": "9223372036854771712\n"}, None),
        ({}, None),
    ],
)
def test_the_smallest_counts(limits: dict[str, str], limit: int | None) -> None:
    """`max` and the largest number of version 1 are no limit; a file that is missing says nothing."""
    texts = {"/proc/self/cgroup": V2, "/proc/self/mountinfo": V2_MOUNT}
    texts |= {f"{TOP}/{name}": text for name, text in limits.items()}

    def read(path: str) -> str:
        if path not in texts:
            raise FileNotFoundError(path)
        return texts[path]

    assert memory_limit(read) == limit


def test_without_proc_there_is_no_limit() -> None:
    """On another system than Linux."""

    def read(path: str) -> str:
        raise FileNotFoundError(path)

    assert memory_limit(read) is None
