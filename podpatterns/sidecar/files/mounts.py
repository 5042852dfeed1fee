"""Which file system a directory is on, and whether this kernel hears of what is written there. Pure."""

from __future__ import annotations

import re

SILENT = re.compile(
    r"nfs\d?|cifs|smb\d?|9p|virtiofs|fuse(?:\..*)?|ceph|glusterfs|lustre|afs|gpfs|beegfs|ocfs2|gfs2|orangefs|"
    r"vboxsf|vmhgfs|prl_fs|drvfs|gofer"
)
"""File systems to which others write as well, on another machine or outside of a virtual one: no event comes of that.
FUSE is among them, since what is behind it may be anything."""

_OCTAL = re.compile(r"\\([0-7]{3})")


def file_system(path: str, mountinfo: str) -> str:
    """The type of the file system that an absolute path without symlinks is on; `?` if it is on none of them.

    Args:
        path: where.
        mountinfo: the text of `/proc/self/mountinfo` (proc(5)): the fifth field is where it is mounted, and the type
            stands behind a lone hyphen.
    """
    longest, kind = -1, "?"
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of two mounts at one place the later one hides the earlier one
            longest, kind = len(point), after.split(" ", 1)[0]
    return kind
