"""Laws of the status pages of servers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podpatterns.formats import server_status
from podpatterns.formats.families import SUFFIXES, Family, is_metric_name

NGINX = """\
Active connections: 291
server accepts handled requests
 16630948 16630946 31070465
Reading: 6 Writing: 179 Waiting: 106
"""

APACHE = """\
localhost
ServerVersion: Apache/2.4.65 (Debian)
Total Accesses: 11
Total kBytes: 7
Total Duration: 2500
Uptime: 61
CPULoad: .5
BusyWorkers: 1
IdleWorkers: 49
Scoreboard: __W_K...
"""

REDIS = """\
# Server\r
redis_version:7.0.15\r
redis_mode:standalone\r
role:master\r
uptime_in_seconds:17\r
connected_clients:1\r
used_memory:1048576\r
keyspace_hits:5\r
# Commandstats\r
cmdstat_get:calls=3,usec=7000000,usec_per_call=2.33,rejected_calls=0,failed_calls=0\r
cmdstat_config|set:calls=1,usec=4\r
# Keyspace\r
db0:keys=2,expires=1,avg_ttl=0\r
db3:keys=9,expires=0,avg_ttl=0\r
"""


def samples(families: list[Family]) -> dict[str, float]:
    return {
        family.name + text: value
        for family in families
        for text, value in zip(family.blocks, family.values, strict=True)
    }


def test_nginx() -> None:
    """Each number of the page under its name."""
    assert samples(server_status.nginx(NGINX)) == {
        "nginx_connections_active": 291,
        "nginx_connections_accepted_total": 16630948,
        "nginx_connections_handled_total": 16630946,
        "nginx_http_requests_total": 31070465,
        "nginx_connections_reading": 6,
        "nginx_connections_writing": 179,
        "nginx_connections_waiting": 106,
    }


def test_apache() -> None:
    """Bytes, seconds and ratios instead of what the page has; workers by state."""
    found = samples(server_status.apache(APACHE))
    assert found["apache_sent_bytes_total"] == 7168
    assert found["apache_duration_seconds_total"] == 2.5
    assert found["apache_cpu_load_ratio"] == 0.005
    assert found['apache_workers{state="busy"}'] == 1
    assert found['apache_scoreboard{state="idle"}'] == 3
    assert found['apache_scoreboard{state="open_slot"}'] == 3
    assert found['apache_scoreboard{state="dns"}'] == 0


def test_redis() -> None:
    """Fields, databases and commands."""
    found = samples(server_status.redis(REDIS))
    assert found["redis_memory_used_bytes"] == 1048576
    assert found['redis_db_keys{db="db3"}'] == 9
    assert found['redis_db_keys_expiring{db="db0"}'] == 1
    assert found['redis_commands_total{cmd="get"}'] == 3
    assert found['redis_commands_total{cmd="config|set"}'] == 1
    assert found['redis_commands_duration_seconds_total{cmd="get"}'] == 7
    assert found['redis_instance_info{mode="standalone",role="master",version="7.0.15"}'] == 1


PARSERS = [server_status.nginx, server_status.apache, server_status.redis]


@pytest.mark.parametrize("parse", PARSERS)
def test_names_follow_the_conventions(parse: Callable[[str], list[Family]]) -> None:
    """Every name is valid, has its help, and ends in `_total` exactly if it counts; a page of another is refused."""
    page = {server_status.nginx: NGINX, server_status.apache: APACHE, server_status.redis: REDIS}[parse]
    for family in parse(page):
        assert is_metric_name(family.name)
        assert family.kind in SUFFIXES
        assert family.help
        assert family.name.endswith("_total") == (family.kind == "counter")
    for other in ("", "<html>404</html>", *({NGINX, APACHE, REDIS} - {page})):
        with pytest.raises(ValueError, match="this is not"):
            parse(other)


@given(st.sampled_from(PARSERS), st.sampled_from([NGINX, APACHE, REDIS]), st.data())
def test_a_damaged_page_is_read_or_refused(
    parse: Callable[[str], list[Family]], page: str, data: st.DataObject
) -> None:
    """Nothing but ValueError is raised, wherever a page is damaged."""
    at = data.draw(st.integers(0, len(page)))
    with contextlib.suppress(ValueError):
        parse(page[:at] + data.draw(st.text(max_size=5)) + page[at + data.draw(st.integers(0, 5)) :])
