"""A short, repeatable run of what `make fuzz` does for longer, and with coverage to guide it."""

import subprocess
import sys
from random import Random

import pytest

from tests.fuzz.targets import TARGETS, WORDS

RUNS = 300
"""Of each target: about a second together; `make fuzz` does many more."""


def mutated(random, seeds):
    """A seed with a few pieces taken out, put in, repeated, or taken from another one."""
    data = random.choice(seeds)
    for _ in range(random.randrange(4)):
        at, end = sorted(random.randrange(len(data) + 1) for _ in range(2))
        match random.randrange(4):
            case 0:
                data = data[:at] + data[at + random.randrange(4) :]
            case 1:
                data = data[:at] + random.choice(WORDS) + data[at:]
            case 2:
                data = data[:end] + data[at:]
            case 3:
                data = data[:at] + random.choice(seeds)[at:]
    return data[:4096]


def test_every_target_is_fuzzed():
    """`make fuzz` knows them all."""
    listed = subprocess.run([sys.executable, "-m", "tests.fuzz", "?"], capture_output=True, text=True, check=False)
    assert listed.returncode == 2
    assert listed.stderr.endswith(f"there are: {', '.join(TARGETS)}\n")


@pytest.mark.parametrize("name", TARGETS)
def test_every_seed(name):
    """No row of a table breaks a law."""
    for seed in TARGETS[name].seeds:
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_mutations(name):
    """Nor does anything near to it; the same ones in each run."""
    random = Random(name)
    for _ in range(RUNS):
        TARGETS[name].run(mutated(random, TARGETS[name].seeds))
