"""Each rule that a pattern promises to keep has a test, and the page that says so is up to date."""

from tests.conformance.rules import ROOT, RULES, held, page


def test_every_rule_is_held():
    """A promise without a test is none, and a mark is the name of a rule."""
    rules = [rule for each in RULES.values() for rule in each]
    assert len(rules) == len(set(rules))
    assert sorted(held()) == sorted(rules)


def test_every_test_says_what_it_holds():
    """The page shows its docstring."""
    assert all(test.law.endswith(".") for tests in held().values() for test in tests)


def test_the_page_is_up_to_date():
    """`make conformance` writes it."""
    assert (ROOT / "docs" / "conformance.md").read_text("utf-8") == page()
