"""`python -m podpatterns` is the command line."""

from podpatterns.cli import main

main()
