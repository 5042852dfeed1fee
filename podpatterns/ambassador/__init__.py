"""The ambassador: a proxy on localhost that routes an application's requests, a share of them to each version."""
