"""Endpoints: the addresses behind an upstream, their kept connections, and which of them is asked next."""
