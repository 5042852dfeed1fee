"""Benchmarks beside the peers: `make bench`. Each part is `python -m benchmarks.PART`."""
