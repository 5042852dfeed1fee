"""Lint: what is wrong with a manifest, what will go wrong with the pod, and what to do about it.

A rule looks at one workload and yields what it finds; it stands in a file of `rules/` with its neighbours, and in no
central list. Rules are pure: text goes in, findings come out.
"""

from podpatterns.pod.lint.finding import Finding, Severity
from podpatterns.pod.lint.linter import Linter, rules

__all__ = ["Finding", "Linter", "Severity", "rules"]
