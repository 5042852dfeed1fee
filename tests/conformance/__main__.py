"""Writes `docs/conformance.md` from the tests' marks: `make conformance`."""

from tests.conformance.rules import ROOT, page

(ROOT / "docs" / "conformance.md").write_text(page(), "utf-8")
