"""The shippers under test: how each is configured to do the same.

All follow one file, remember on disk how far they have come, wait for the far side when it is slow, and have what they
do by default beyond that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sidecar.workloads import FIELDS, PATTERN, Workload

UNPACKED = Path(sys.prefix) / "shippers"
"""Where benchmarks/sidecar/peers.sh unpacks the peers, which cannot be installed beside each other."""
MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Site:
    """What a shipper is to be configured for."""

    folder: Path
    port: int
    """Where the receiver listens."""
    admin: int
    log: str = "app.log"
    linger: str = "1s"

    def file(self, name: str, text: str) -> str:
        """A configuration file."""
        path = self.folder / name
        path.write_text(text, "utf-8")
        return str(path)


@dataclass(frozen=True, slots=True)
class Command:
    """How a shipper is started."""

    arguments: list[str]
    environment: dict[str, str]


# --- ours -------------------------------------------------------------------------------------------------------------

TRANSFORMS = {
    "lines": "",
    "json": """
  - {{type: parse, format: json}}
  - {{type: enrich, environment: {{pod: POD_NAME, node: NODE_NAME}}, volume: {folder}/podinfo}}""",
    "regex": """
  - {{type: parse, format: regex, pattern: '{pattern}'}}""",
    "cri": """
  - {{type: parse, format: cri}}""",
}


def podpatterns(site: Site, workload: Workload) -> Command:
    """As `podpatterns run` does it, with its defaults: admin endpoint, metrics, ledger, checkpoint."""
    transforms = TRANSFORMS[workload.work].format(folder=site.folder, pattern=PATTERN)
    (site.folder / "podinfo").mkdir(exist_ok=True)
    (site.folder / "podinfo" / "labels").write_text('app="storefront"\npod-template-hash="7d9c"\n')
    output = (
        f"{{type: http, url: 'http://127.0.0.1:{site.port}/'}}"
        if workload.protocol == "http"
        else f"{{type: syslog, address: '127.0.0.1:{site.port}', hostname: storefront-7d9c, app_name: shop, "
        f"message: {'record' if workload.work == 'json' else 'message'}}}"
    )
    file = site.file(
        "sidecar.yaml",
        f"""
sidecar:
  inputs:
  - {{type: tail, paths: ["{site.folder}/{site.log}"]}}
  transforms: {transforms or "[]"}
  outputs:
  - {output}
  fields: {{pod: storefront-7d9c, namespace: shop}}
  linger: {site.linger}
  checkpoint: {site.folder}/state/checkpoint.json
runtime: {{admin: 127.0.0.1:{site.admin}, log_level: warning}}
""",
    )
    return Command(
        [sys.executable, "-m", "podpatterns", "run", file], {"POD_NAME": "storefront-7d9c", "NODE_NAME": "node-1"}
    )


# --- rsyslog ----------------------------------------------------------------------------------------------------------


def unpacked(name: str) -> tuple[str, dict[str, str]]:
    """A peer's program, and the environment in which it finds its libraries."""
    folders = [UNPACKED / "usr/lib/syslog-ng", *UNPACKED.glob("usr/lib/*-linux-gnu"), *UNPACKED.glob("lib/*-linux-gnu")]
    return str(UNPACKED / "usr/sbin" / name), {"LD_LIBRARY_PATH": ":".join(map(str, folders))}


def rsyslog(site: Site, workload: Workload) -> Command:
    """Its imfile with inotify, a queue in memory, omfwd."""
    path, environment = unpacked("rsyslogd")
    header = "<134>1 %timestamp:::date-rfc3339% storefront-7d9c shop - - - "
    work, text = "", "%msg%"
    if workload.work == "json":
        work = (
            'action(type="mmjsonparse" cookie="")\n'
            '  set $!kubernetes!pod = "storefront-7d9c";\n  set $!kubernetes!node = "node-1";\n'
            '  set $!kubernetes!labels!app = "storefront";'
        )
        text = "%$!all-json%"
    file = site.file(
        "rsyslog.conf",
        f"""
global(workDirectory="{site.folder}" maxMessageSize="256k")
module(load="imfile" mode="inotify")
module(load="mmjsonparse")
template(name="out" type="string" string="{header}{text}")
ruleset(name="ship" queue.type="LinkedList" queue.size="50000" queue.dequeueBatchSize="2048") {{
  {work}
  action(type="omfwd" target="127.0.0.1" port="{site.port}" protocol="tcp" TCP_Framing="octet-counted"
         template="out" action.resumeRetryCount="-1")
}}
input(type="imfile" File="{site.folder}/{site.log}" Tag="shop" ruleset="ship")
""",
    )
    modules = [f"-M{folder}" for folder in UNPACKED.glob("usr/lib/*/rsyslog")]
    return Command([path, "-n", f"-f{file}", f"-i{site.folder}/rsyslog.pid", *modules], environment)


# --- syslog-ng --------------------------------------------------------------------------------------------------------


PARSERS = {
    "lines": "",
    "json": 'parser { json-parser(prefix("app.")); };',
    "regex": f"parser {{ regexp-parser(patterns('{PATTERN}')); }};",
    "cri": r"parser { regexp-parser(patterns('^(?P<when>\S+) (?P<stream>std\w+) (?P<tag>[PF]) (?P<text>.*)$')); };",
}
POD = "pod=storefront-7d9c namespace=shop"
JSON = {
    "lines": f"message=$MSG {POD}",
    "json": "app.* kubernetes.pod=storefront-7d9c kubernetes.node=node-1 kubernetes.labels.app=storefront",
    "regex": f"{' '.join(f'{name}=${{{name}}}' for name in FIELDS)} {POD}",
    "cri": f"time=${{when}} stream=${{stream}} message=${{text}} {POD}",
}
"""What its `format-json` makes of them."""


def syslog_ng(site: Site, workload: Workload) -> Command:
    """The file source with flow control, large queues, and its HTTP or syslog destination."""
    path, environment = unpacked("syslog-ng")
    parser, template = PARSERS[workload.work], f"$(format-json {JSON[workload.work]})"
    if workload.protocol == "http":
        destination = (
            f'http(url("http://127.0.0.1:{site.port}/") method("POST") body("{template}\\n") delimiter("") workers(1) '
            f"batch-lines(10000) batch-bytes({MEGABYTE}) batch-timeout(1000) "
            'headers("Content-Type: application/x-ndjson"))'
        )
    else:
        text = template if workload.work == "json" else "$MSG"
        destination = f'syslog("127.0.0.1" port({site.port}) transport("tcp") template("{text}"))'
    file = site.file(
        "syslog-ng.conf",
        f"""@version: 3.38
options {{ log-msg-size(262144); stats-freq(0); log-fifo-size(200000); }};
source app {{
  file("{site.folder}/{site.log}" follow-freq(0.1) flags(no-parse) log-fetch-limit(1000) log-iw-size(100000));
}};
destination store {{ {destination}; }};
log {{ source(app); {parser} destination(store); flags(flow-control); }};
""",
    )
    modules = [f"--module-path={folder}" for folder in UNPACKED.glob("usr/lib/syslog-ng/3.*")]
    names = ("persist-file", "control", "pidfile")
    files = [f"--{name}={site.folder}/syslog-ng.{name}" for name in names]
    return Command([path, "--foreground", "--no-caps", f"--cfgfile={file}", *files, *modules], environment)


SHIPPERS: dict[str, Callable[[Site, Workload], Command]] = {
    "podpatterns": podpatterns,
    "rsyslog": rsyslog,
    "syslog-ng": syslog_ng,
}
PROGRAMS = {"rsyslog": "rsyslogd", "syslog-ng": "syslog-ng"}


def missing(names: list[str]) -> list[str]:
    """What has to be unpacked first."""
    return [name for name in names if name in PROGRAMS and not os.access(unpacked(PROGRAMS[name])[0], os.X_OK)]
