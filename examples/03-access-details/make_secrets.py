"""Makes an authority, certificates and secrets, and prints them as manifests of Secrets. Nothing of it is kept.

    python3 make_secrets.py > secrets.yaml

On a cluster that is the work of cert-manager, and of whoever runs the identity provider.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

EXTENSIONS = """
[req]
distinguished_name = subject
[subject]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = DNS:{name}.example.org
"""
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


def openssl(*arguments: object) -> None:
    """Run it; say what it says if it fails."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)


def authority(folder: Path) -> None:
    """A new one, which nobody else trusts."""
    (folder / "ca.cnf").write_text(EXTENSIONS.format(name="ca"))
    openssl(
        "req", "-x509", *NEW_KEY, "-days", 7, "-subj", "/CN=example authority", "-config", folder / "ca.cnf",
        "-extensions", "authority", "-keyout", folder / "ca.key", "-out", folder / "ca.crt",
    )  # fmt: skip


def certificate(folder: Path, name: str) -> dict[str, str]:
    """One that it has signed: the files of a Secret of the type kubernetes.io/tls, and the authority's."""
    request, signed, key, settings = (folder / f"{name}.{kind}" for kind in ("csr", "crt", "key", "cnf"))
    settings.write_text(EXTENSIONS.format(name=name))
    openssl("req", "-new", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
    openssl(
        "x509", "-req", "-in", request, "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key", "-CAcreateserial",
        "-days", 7, "-extfile", settings, "-extensions", "leaf", "-out", signed,
    )  # fmt: skip
    return {"tls.crt": signed.read_text(), "tls.key": key.read_text(), "ca.crt": (folder / "ca.crt").read_text()}


def secret(name: str, files: dict[str, str]) -> str:
    """The manifest of one Secret."""
    lines = ["apiVersion: v1", "kind: Secret", f"metadata: {{name: {name}}}", "stringData:"]
    for key, text in files.items():
        lines += [f"  {key}: |", textwrap.indent(text.rstrip("\n"), "    ")]
    return "\n".join(lines) + "\n"


with tempfile.TemporaryDirectory() as temporary:
    work = Path(temporary)
    authority(work)
    client_secret, signing_key = os.urandom(24).hex(), os.urandom(32).hex()
    documents = {
        "shop-access": {**certificate(work, "shop"), "client-secret": client_secret},
        "orders": {**certificate(work, "orders"), "signing-key": signing_key},
        "identity": {**certificate(work, "login"), "signing-key": signing_key, "client-secret": client_secret},
    }
    print("---\n".join(secret(name, files) for name, files in documents.items()), end="")
