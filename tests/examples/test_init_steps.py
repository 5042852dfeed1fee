"""An example for each init step: it does what its README says, with the injected container of others as well."""

from pathlib import Path

import pytest

from podpatterns.pod import LocalPod

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.timeout(120)

LINES = {
    "10-init-git": ("site/reader", ["I read: edition 1", "I read: edition 2"]),
    "11-init-fetch": ("scorer/scorer", ["scoring with: 0.25 0.50 0.25"]),
    "12-init-wait": ("ledger/ledger", ["The database is ready, and so am I."]),
    "13-init-render": (
        "mailer/mailer",
        ["sender = mailer@shop.example.org", "relay = localhost:25", "and a password, which stays where it is"],
    ),
    "14-init-run": ("shop/shop", ["articles: apple pear"]),
    "15-init-permissions": ("gallery/gallery", ["2025 2775", "2025/one.txt 664", "2026 2775"]),
}
"""The application of each example, and what it says."""


@pytest.mark.parametrize("name", LINES)
async def test_the_application_finds_what_it_needs(name, network):
    """It starts when the steps are done, and says so; nothing has failed at the end."""
    container, lines = LINES[name]
    async with LocalPod(EXAMPLES / name / "pod.yaml", network=network) as pod:
        for line in lines:
            await pod.wait_line(container, line)
    assert all(verdict.ok for verdict in pod.verdicts()), pod.story()


async def test_the_hook_has_run_for_each_commit(network):
    """A line in the history for each commit that was published, and none twice."""
    async with LocalPod(EXAMPLES / "10-init-git" / "pod.yaml", network=network) as pod:
        await pod.wait_line("site/reader", "edition 2")
        history = (pod.volume("site") / "history").read_text().splitlines()
        assert (pod.volume("site") / "current" / "index.html").read_text() == "edition 2\n"
    assert len(history) == len(set(history)) >= 1


async def test_the_waiting_says_for_what(network):
    """Each condition with its reason, until it holds."""
    async with LocalPod(EXAMPLES / "12-init-wait" / "pod.yaml", network=network) as pod:
        await pod.wait_line("ledger/wait-for-database", "tcp 127.0.0.1:8812 (connection refused)")
        await pod.wait_line("ledger/wait-for-database", "still waiting for file /data/schema (not there)")
