"""Names, by the rules of the API server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from podpatterns.pod.reading import Document

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def check_name(document: Document, metadata: Mapping[str, Any], *, generated: bool = False) -> str:
    """The document's name, checked; empty if there is none."""
    name = str(metadata.get("name", ""))
    if not name and generated and metadata.get("generateName"):
        name = f"{str(metadata['generateName']).rstrip('-')}-local"
    if not name:
        if "metadata" in document.value and "name" not in metadata:
            document.fail("metadata", 'needs the field "name"')
    elif len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        document.fail("metadata.name", bad_name(name, 253, "and dots"))
    return name


def bad_name(name: str, limit: int, more: str = "") -> str:
    """What is wrong with a name, and what may have been meant."""
    if len(name) > limit:
        return f"is longer than {limit} characters"
    better = re.sub(r"[^a-z0-9-]+", "-", name.lower()).strip("-")
    hint = f'; did you mean "{better}"?' if better and better != name else ""
    allowed = f"lower-case letters, digits and hyphens{' ' + more if more else ''}"
    return f'cannot be "{name}": a name has {allowed}, and begins and ends with a letter or digit{hint}'
