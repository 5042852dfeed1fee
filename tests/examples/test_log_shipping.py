"""The Job whose log is shipped: it completes, with either kind of sidecar, and every line is in the store."""

from __future__ import annotations

import json
import socket
import sqlite3
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples/04-log-shipping"

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(("name", "job"), [("native.yaml", "report"), ("classic.yaml", "report-classic")])
def test_the_job_completes_and_nothing_is_missing(name, job, tmp_path, pod_run):
    """Exit code 0 by itself; each line is there once, the trace is one record, and what is private is not there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = (EXAMPLE / name).read_text().replace("containerPort: 9801", f"containerPort: {port}")
    text = text.replace("runtime: {log_level: warning}", f"runtime: {{log_level: warning, admin: ':{port}'}}")
    (tmp_path / name).write_text(text)
    run = pod_run(tmp_path / name, "--keep", tmp_path / "kept")
    assert run.end(None) == 0, run.output
    assert "lines read = acknowledged: 405 = 405 + 0 dead + 0 filtered" in run.output
    database = sqlite3.connect(tmp_path / "kept" / job / "store" / "logs.sqlite")
    records = [json.loads(record) for (record,) in database.execute("SELECT record FROM logs ORDER BY rowid")]
    database.close()
    messages = [record["message"] for record in records]
    assert [text for text in messages if text.startswith("INFO order")] == [
        f"INFO order {number} checked" for number in range(1, 401)
    ]
    assert (messages[0], messages[-1]) == ("INFO report begins", "INFO report ends, [redacted] is told")
    (trace,) = [text for text in messages if text.startswith("Traceback")]
    assert trace.splitlines()[-1] == "KeyError: 150"
    assert len(messages) == 403
    assert {record["job"] for record in records} == {job}
