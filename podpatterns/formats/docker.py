r"""The log format of Docker's json-file driver: `{"log":"text\n","stream":"stdout","time":"…"}` on each line.

Source: https://docs.docker.com/engine/logging/drivers/json-file/ and moby's daemon/logger/jsonfilelog. A line of more
than 16 KiB is cut into several, of which only the last one's text ends in a newline.
"""

from __future__ import annotations

import re
from typing import Any

from podpatterns.formats import jsonlines

PART = re.compile(rb'^\{"log":"(?:[^"\\]++|\\.)*+(?<!\\n)"', re.MULTILINE)
"""Found in a text that has a part of a line."""


def parse(line: bytes) -> dict[str, Any] | None:
    """`time`, `stream`, `message`, what else the driver adds and, for a part of a line, `partial: True`; or None."""
    record = jsonlines.parse(line)
    if record is None or not isinstance(text := record.pop("log", None), str):
        return None
    message = text.removesuffix("\n")
    record["message"] = message.removesuffix("\r")
    if message == text:
        record["partial"] = True
    return record
