"""What holds for every test."""

from hypothesis import HealthCheck, settings

# How long one example takes says more of the machine than of the code: a busy one would fail tests by chance. What
# hangs is found by pytest's timeout, and what must be quick has a test that says so.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
