"""Coverage-guided fuzzing: `python -m tests.fuzz [TARGET] [SECONDS]`; `make fuzz` runs every target for a minute each.

Starts from the rows of the tables. A finding is printed as the bytes to add to a table, and kept in a file that
libFuzzer names; the exit code is not 0 then.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = (
    "request", "response", "chunked", "connection", "answer",
    "statsd", "graphite", "influx", "pickle", "logs", "otlp", "messages", "pages", "status",
)  # fmt: skip
"""The targets; not imported from there, because what is fuzzed must be imported under atheris' eyes."""


def one(name: str, seconds: int) -> None:
    """Fuzz one target in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["podpatterns.ambassador", "podpatterns.adapter", "podpatterns.formats"]):
        from tests.fuzz.targets import TARGETS, WORDS

    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.seeds):
        (corpus / f"{number:04}").write_bytes(seed)
    words = folder / "words"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in WORDS))

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except Exception:
            print(f"\n{name} breaks a law with:\n{data!r}\n", file=sys.stderr, flush=True)
            raise

    atheris.Setup(
        [sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", f"-dict={words}",
         f"-artifact_prefix={folder}/", "-print_final_stats=1", "-verbosity=0", str(corpus)],
        run,
    )  # fmt: skip
    atheris.Fuzz()


def main() -> int:
    names = [name for name in sys.argv[1:] if not name.isdigit()] or list(NAMES)
    seconds = next((int(word) for word in sys.argv[1:] if word.isdigit()), 60)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"no such target: {unknown[0]}; there are: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    if len(names) == 1:
        one(names[0], seconds)
        return 0
    failed = 0
    for name in names:
        print(f"{name}: {seconds} s", flush=True)
        # A process each: libFuzzer ends the one that it runs in.
        done = subprocess.run([sys.executable, "-m", "tests.fuzz", name, str(seconds)], check=False)
        failed = failed or done.returncode
    return failed


sys.exit(main())
