"""Writes a folder's files into a ConfigMap manifest, as `kubectl create configmap --from-file` does.

    python examples/embed.py NAME=FOLDER... > manifest.yaml

The example's manifests hold the programs that they run, so that they work on any cluster without building an
image for them; the programs' own files are where they are read, checked and changed.
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

HEAD = "# Written by `make examples` from the files beside it; change those.\n"


def configmap(name: str, folder: Path) -> str:
    """One ConfigMap with every file of the folder."""
    lines = ["apiVersion: v1", "kind: ConfigMap", f"metadata: {{name: {name}}}", "data:"]
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        lines.append(f"  {path.name}: |")
        lines.append(textwrap.indent(path.read_text("utf-8").rstrip("\n"), "    "))
    return "\n".join(lines) + "\n"


def manifest(maps: dict[str, Path]) -> str:
    """All of them in one multi-document manifest."""
    return HEAD + "---\n".join(configmap(name, folder) for name, folder in maps.items())


if __name__ == "__main__":
    named = (argument.partition("=") for argument in sys.argv[1:])
    sys.stdout.write(manifest({name: Path(folder) for name, _, folder in named}))
