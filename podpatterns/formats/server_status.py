"""What servers say about themselves on their status pages: nginx, Apache, Redis.

Each parser takes the text and returns families under the names that their usual exporters have made known, with
`_total` on every counter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from podpatterns.formats.families import Family, Kind

_NGINX = re.compile(
    r"Active connections: (\d+)\s+"
    r"server accepts handled requests(?: request_time)?\s+(\d+) (\d+) (\d+)(?: \d+)?\s+"
    r"Reading: (\d+) Writing: (\d+) Waiting: (\d+)\s*",
    re.ASCII,
)
_NGINX_METRICS: tuple[tuple[str, Kind, str], ...] = (
    ("nginx_connections_active", "gauge", "Client connections, waiting ones included."),
    ("nginx_connections_accepted_total", "counter", "Client connections accepted."),
    ("nginx_connections_handled_total", "counter", "Client connections handled; fewer than accepted by a limit."),
    ("nginx_http_requests_total", "counter", "Requests of clients."),
    ("nginx_connections_reading", "gauge", "Connections on which nginx reads the request's head."),
    ("nginx_connections_writing", "gauge", "Connections on which nginx writes the response."),
    ("nginx_connections_waiting", "gauge", "Idle connections that wait for a request."),
)


def nginx(text: str) -> list[Family]:
    """The page of nginx' `stub_status`.

    Raises:
        ValueError: it is no such page.
    """
    match = _NGINX.fullmatch(text.strip())
    if match is None:
        raise ValueError("this is not the page of stub_status; is the location right?")
    return [
        Family(name, kind, text_of, blocks=[""], values=[float(value)])
        for (name, kind, text_of), value in zip(_NGINX_METRICS, match.groups(), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What a field becomes: metric, kind, help, and what its value is multiplied with."""

    name: str
    kind: Kind
    help: str
    scale: float = 1.0

    def family(self, value: str) -> Family:
        """The family for a value. Raises ValueError if it is no number."""
        number = float(value.removesuffix("%"))
        return Family(self.name, self.kind, self.help, blocks=[""], values=[number * self.scale])


_APACHE = {
    "Total Accesses": _Meaning("apache_accesses_total", "counter", "Requests served."),
    "Total kBytes": _Meaning("apache_sent_bytes_total", "counter", "Bytes sent.", 1024.0),
    "Total Duration": _Meaning("apache_duration_seconds_total", "counter", "Time that requests took, in sum.", 0.001),
    "Uptime": _Meaning("apache_uptime_seconds", "gauge", "Time since the start."),
    "CPULoad": _Meaning("apache_cpu_load_ratio", "gauge", "CPU time over time since the start.", 0.01),
    "ConnsTotal": _Meaning("apache_connections", "gauge", "Open connections."),
    "Processes": _Meaning("apache_processes", "gauge", "Processes."),
}
_WORKERS = {"BusyWorkers": "busy", "IdleWorkers": "idle"}
_SCOREBOARD = {
    "_": "idle",
    "S": "startup",
    "R": "read",
    "W": "reply",
    "K": "keepalive",
    "D": "dns",
    "C": "closing",
    "L": "logging",
    "G": "graceful_stop",
    "I": "idle_cleanup",
    ".": "open_slot",
}


def apache(text: str) -> list[Family]:
    """The page of Apache's `server-status?auto` (mod_status).

    Raises:
        ValueError: it is no such page.
    """
    found = dict(_pairs(text, ": "))
    if "Scoreboard" not in found and "BusyWorkers" not in found:
        raise ValueError("this is not the page of mod_status; the URL must end in ?auto")
    families = [meaning.family(found[key]) for key, meaning in _APACHE.items() if key in found]
    workers = Family("apache_workers", "gauge", "Workers by state.")
    for key, state in _WORKERS.items():
        if key in found:
            workers.add(float(found[key]), [("state", state)])
    board = Family("apache_scoreboard", "gauge", "Slots for workers by what they do.")
    for mark, state in _SCOREBOARD.items() if "Scoreboard" in found else ():
        board.add(float(found["Scoreboard"].count(mark)), [("state", state)])
    return [*families, *(family for family in (workers, board) if family.values)]


_REDIS = {
    "uptime_in_seconds": _Meaning("redis_uptime_in_seconds", "gauge", "Time since the start."),
    "connected_clients": _Meaning("redis_connected_clients", "gauge", "Clients connected."),
    "blocked_clients": _Meaning("redis_blocked_clients", "gauge", "Clients that wait in a blocking command."),
    "maxclients": _Meaning("redis_config_maxclients", "gauge", "Clients that may be connected."),
    "used_memory": _Meaning("redis_memory_used_bytes", "gauge", "Memory that Redis has allocated."),
    "used_memory_rss": _Meaning("redis_memory_used_rss_bytes", "gauge", "Resident memory."),
    "used_memory_peak": _Meaning("redis_memory_used_peak_bytes", "gauge", "The most memory that was allocated."),
    "maxmemory": _Meaning("redis_memory_max_bytes", "gauge", "The bound on memory; 0 for none."),
    "mem_fragmentation_ratio": _Meaning("redis_mem_fragmentation_ratio", "gauge", "Resident over allocated memory."),
    "total_connections_received": _Meaning("redis_connections_received_total", "counter", "Connections accepted."),
    "rejected_connections": _Meaning("redis_rejected_connections_total", "counter", "Connections beyond maxclients."),
    "total_commands_processed": _Meaning("redis_commands_processed_total", "counter", "Commands processed."),
    "total_net_input_bytes": _Meaning("redis_net_input_bytes_total", "counter", "Bytes received."),
    "total_net_output_bytes": _Meaning("redis_net_output_bytes_total", "counter", "Bytes sent."),
    "keyspace_hits": _Meaning("redis_keyspace_hits_total", "counter", "Look-ups that found their key."),
    "keyspace_misses": _Meaning("redis_keyspace_misses_total", "counter", "Look-ups that did not."),
    "expired_keys": _Meaning("redis_expired_keys_total", "counter", "Keys that have expired."),
    "evicted_keys": _Meaning("redis_evicted_keys_total", "counter", "Keys evicted for maxmemory."),
    "loading": _Meaning("redis_loading_dump_file", "gauge", "Whether the data are being loaded."),
    "rdb_changes_since_last_save": _Meaning("redis_rdb_changes_since_last_save", "gauge", "Changes not yet saved."),
    "rdb_last_save_time": _Meaning("redis_rdb_last_save_timestamp_seconds", "gauge", "When it was saved last."),
    "connected_slaves": _Meaning("redis_connected_slaves", "gauge", "Replicas connected."),
    "master_repl_offset": _Meaning("redis_master_repl_offset", "gauge", "The replication offset."),
    "used_cpu_sys": _Meaning("redis_cpu_sys_seconds_total", "counter", "CPU time in the kernel."),
    "used_cpu_user": _Meaning("redis_cpu_user_seconds_total", "counter", "CPU time in Redis itself."),
}
_KEYSPACE = {
    "keys": ("redis_db_keys", "Keys by database."),
    "expires": ("redis_db_keys_expiring", "Keys that expire, by database."),
}
_COMMANDS = {
    "calls": ("redis_commands_total", "Calls by command.", 1.0),
    "usec": ("redis_commands_duration_seconds_total", "Time that commands took, in sum.", 1e-6),
}


def redis(text: str) -> list[Family]:
    """The answer to Redis' INFO, also with `all`.

    Raises:
        ValueError: it is no such answer.
    """
    found = dict(_pairs(text, ":"))
    if "redis_version" not in found:
        raise ValueError("this is not the answer to INFO")
    families = [meaning.family(found[key]) for key, meaning in _REDIS.items() if key in found]
    about = {key: found.get(f"redis_{key}", "") for key in ("version", "mode")}
    families.append(Family("redis_instance_info", "gauge", "The instance; always 1."))
    families[-1].add(1.0, [*about.items(), ("role", found.get("role", ""))])
    bases = {key: values for key, values in found.items() if re.fullmatch(r"db[0-9]+", key)}
    for part, (name, text_of) in _KEYSPACE.items():
        families.append(_parted(Family(name, "gauge", text_of), "db", bases, part))
    commands = {key.removeprefix("cmdstat_"): values for key, values in found.items() if key.startswith("cmdstat_")}
    for part, (name, text_of, scale) in _COMMANDS.items():
        families.append(_parted(Family(name, "counter", text_of), "cmd", commands, part, scale))
    return [family for family in families if family.values]


def _parted(family: Family, label: str, rows: Mapping[str, str], part: str, scale: float = 1.0) -> Family:
    """One of the parts of values such as `keys=3,expires=1`."""
    for key, values in rows.items():
        parts = dict(_pairs(values.replace(",", "\n"), "="))
        if part in parts:
            family.add(float(parts[part]) * scale, [(label, key)])
    return family


def _pairs(text: str, separator: str) -> Iterator[tuple[str, str]]:
    lines: Iterable[str] = text.splitlines()
    for line in lines:
        key, found, value = line.strip().partition(separator)
        if found and not key.startswith("#"):
            yield key, value.strip()
