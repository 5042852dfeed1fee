"""Files named on the command line."""

from pathlib import Path

import click

FILE = click.Path(path_type=Path, readable=False)
"""A path that is not looked at by click: who reads the file says why it cannot be read, the same way everywhere."""
