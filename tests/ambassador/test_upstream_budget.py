"""The retry budget: a share of the traffic, and a few where there is little."""

from hypothesis import given
from hypothesis import strategies as st

from podpatterns.ambassador.endpoints.budget import RetryBudget


class Traffic:
    """A clock and a counter that a test moves."""

    def __init__(self, **options):
        self.now, self.count = 1000.0, 0
        self.budget = RetryBudget(lambda: self.now, lambda: self.count, **options)
        self.budget.tick()

    def allowed(self, wanted):
        return sum(self.budget.allows() for _ in range(wanted))


def test_without_traffic_there_is_the_floor():
    """Ten per second for the length of the window, and not one more."""
    assert Traffic().allowed(1000) == 100


def test_a_share_of_the_traffic():
    """20 % of the requests of the last ten seconds, on top of the floor."""
    traffic = Traffic()
    traffic.count = 5000
    assert traffic.allowed(5000) == 1100


def test_what_is_older_than_the_window_counts_no_more():
    """Neither requests nor retries: a burst gives nothing for ever, and takes nothing for ever."""
    traffic = Traffic()
    traffic.count = 5000
    assert traffic.allowed(5000) == 1100
    for _ in range(12):
        traffic.now += 1.0
        traffic.budget.tick()
    assert traffic.allowed(5000) == 100


@given(st.lists(st.tuples(st.floats(0.01, 3.0), st.integers(0, 200), st.integers(0, 100)), min_size=1, max_size=80))
def test_never_more_than_the_budget(steps):
    """Whatever comes when: in no window of ten seconds more than the floor and the share of the last eleven."""
    traffic = Traffic()
    log = []
    for pause, requests, wanted in steps:
        traffic.now += pause
        traffic.count += requests
        log.append((traffic.now, requests, traffic.allowed(wanted)))
    for end, _, _ in log:
        retries = sum(count for at, _, count in log if end - 10 < at <= end)
        # Counters are looked at once a second, or when somebody asks: up to one pause more counts as the window.
        recent = sum(count for at, count, _ in log if end - 24 < at <= end)
        assert retries <= 100 + 0.2 * recent + 1


@given(st.integers(1, 50), st.integers(10, 1000))
def test_steady_traffic_may_fail_in_the_share_of_the_budget(seconds, rate):
    """As long as no more than a fifth fails, every retry is allowed."""
    traffic = Traffic()
    for _ in range(seconds):
        traffic.now += 1.0
        traffic.budget.tick()  # as the sweep does, before most of the second's requests
        traffic.count += rate
        assert traffic.allowed(rate // 5) == rate // 5
