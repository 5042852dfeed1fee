"""Running programs: what they start ends with them, and leaves no zombies where we are process 1."""

import subprocess
import sys
import textwrap

SCRIPT = textwrap.dedent("""
    import ctypes, uvloop
    from pathlib import Path
    from podpatterns.runtime.command import TimedOut, execute

    PR_SET_CHILD_SUBREAPER = 36  # orphans become ours, as they do where we are process 1
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

    async def main():
        ended = await execute(["sh", "-c", "sleep 60 & sleep 60 & exit 3"])
        assert ended.code == 3, ended
        try:
            await execute(["sh", "-c", "sleep 60 & sleep 60"], limit=0.2)
        except TimedOut as error:
            print(error)
        children = Path("/proc/self/task").glob("*/children")
        print("left:", *(file.read_text() for file in children))

    uvloop.run(main())
""")


def test_nothing_is_left_of_a_program_and_what_it_has_started():
    """Neither processes nor zombies, whether the program has ended by itself or its time was over."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, check=False)
    assert done.stderr == ""
    assert done.stdout.split() == ["sh", "was", "ended", "after", "0.2", "s", "left:"]
