"""The rules that each pattern keeps to, and the tests that hold it to them; `make conformance` writes the page.

A test says which rules it holds with `@pytest.mark.holds(RULE, ...)`. The tests are read, not imported: what counts is
what stands in the file.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

RULES: dict[str, dict[str, str]] = {
    "Ambassador": {
        "RFC 9110 5.1": "Fields that are not known are forwarded.",
        "RFC 9110 5.3": "Fields of one name keep their order.",
        "RFC 9110 5.5": "CR, LF and NUL in a field are refused.",
        "RFC 9110 6.5": "Trailers are kept apart from the fields of the head.",
        "RFC 9110 7.6.1": "Fields that concern one connection are not forwarded, in heads and in trailers.",
        "RFC 9110 7.6.1, loops": "A request that comes round in a loop is not forwarded again.",
        "RFC 9110 7.6.2": "Max-Forwards is counted down, and answered at 0.",
        "RFC 9110 7.6.3": "A gateway adds itself to Via in each request.",
        "RFC 9110 7.7": "Path and query are not changed.",
        "RFC 9110 7.8": "Upgrade is for one connection, and needs `Connection: upgrade`.",
        "RFC 9110 8.6": "An invalid Content-Length, or one that is known to be wrong, is never forwarded.",
        "RFC 9110 9.2.2": "A request that is not idempotent is not sent again by itself.",
        "RFC 9110 9.3.2": "The response to HEAD has no body.",
        "RFC 9110 10.1.1": "Expect is forwarded, or answered with a final status.",
        "RFC 9110 15.2": "Interim responses are forwarded.",
        "RFC 9110 15.5.20": "A proxy never makes a 421 itself.",
        "RFC 9112 2.2": "A bare CR is invalid; a bare LF is not taken for a line's end.",
        "RFC 9112 2.3": "An intermediary sends its own version of the protocol.",
        "RFC 9112 3.2": "A request without Host, with several or with a bad one is answered 400.",
        "RFC 9112 3.2.2": "The host of an absolute target counts, whatever Host says.",
        "RFC 9112 5.1": "White space before a colon: 400 in a request, removed from a response.",
        "RFC 9112 5.2": "Folded lines: 400 in a request; in a response not forwarded as they are.",
        "RFC 9112 6.1": "Transfer-Encoding beside Content-Length, or in HTTP/1.0, is ambiguous; HTTP/1.0 gets none.",
        "RFC 9112 6.3": "How long a message is; a response whose length is invalid is a 502.",
        "RFC 9112 7.1": "Chunk sizes do not overflow, and extensions are bounded.",
        "RFC 9112 7.1.2": "Trailers are not merged into the head.",
        "RFC 9112 8": "A response that was cut off never looks complete.",
        "RFC 9112 9.2": "Data on an idle connection is not a response to anything.",
        "RFC 9112 9.3": "Which connections are kept.",
        "RFC 9112 9.3.2": "Pipelined requests are answered in their order.",
        "RFC 9112 9.5": "After an early response the rest of the request is not sent.",
        "RFC 9112 9.6": "A connection is closed in stages, so that the last response can be read.",
        "RFC 9112 11.1": "Response splitting: nothing that follows a response is taken for another one.",
        "RFC 9112 11.2": "Request smuggling: nobody sees another request in the same bytes.",
        "slow head": "A client cannot hold a connection by sending its head slowly.",
        "bounded heads": "What a peer can make us hold is bounded.",
        "bounded bodies": "What one side sends faster than the other reads is not held in memory.",
        "interim flood": "An upstream cannot hold a request by interim responses.",
        "peers": "No laxer than HAProxy and nginx: what both refuse is refused.",
    },
    "Adapter": {
        "OpenMetrics, grammar": "Lines, names, labels, escapes, blanks and numbers are as the grammar has them.",
        "OpenMetrics, metadata": "HELP, TYPE and UNIT stand once, before the samples; a unit ends the name.",
        "OpenMetrics, types": "Each type has its samples, labels and values.",
        "OpenMetrics, histograms": "Buckets ascend, end at +Inf and do not fall; count and sum stand together.",
        "OpenMetrics, order": "Families, series and times stand together and in order.",
        "OpenMetrics, exemplars": "At counters and buckets only, and short.",
        "OpenMetrics, end": "A page ends with # EOF, and with nothing else.",
        "text format": "What Prometheus reads is read, and what it refuses is refused.",
        "places": "A mistake is told with its line and column; the rest of a page is read all the same.",
        "round trip": "What is written is read as the same, in every format.",
        "protobuf": "Delimited messages, native histograms included.",
        "numbers": "A number is written as Go writes it.",
        "negotiation": "The form that a scraper prefers, by its Accept field.",
        "escaping": "Names in UTF-8 are escaped as prometheus/common does it.",
        "start times": "A series says since when it counts.",
        "deadline": "A page is there before the scraper gives up, without what was late.",
        "quarantine": "One bad family never spoils the page.",
        "promtool": "promtool finds nothing to say about the page.",
        "relabelling": "Each action does what Prometheus does.",
        "StatsD mapping": "Rules match, map and drop as in statsd_exporter.",
        "StatsD names": "Names are made fit as in statsd_exporter.",
        "StatsD lines": "Types, rates and the four styles of tags mean what their sources say; NaN is refused.",
        "DogStatsD 1.0 to 1.6": "Packed values, timestamps, origin, external data, cardinality, events and checks.",
        "DogStatsD transports": "UDP, unix datagrams, and unix streams with packets behind their lengths.",
        "OTLP encodings": "Protobuf and JSON say the same; 64-bit numbers are text in JSON.",
        "OTLP names": "Names, units and labels are those that Prometheus gives.",
        "OTLP temporality": "Changes are added up; one that is sent again does not count twice.",
        "OTLP partial success": "What was not taken is told with number and reason, and what others tell is counted.",
        "OTLP exponential histograms": "No count is lost in buckets at powers of two.",
        "remote write 1.0": "Labels are sorted; a series that ends gets a stale marker.",
        "remote write 2.0": "Messages are what the definition says; a receiver of 1.0 gets 1.0.",
        "remote write retries": "5xx and 429 are tried again in order, any other 4xx is not.",
        "Graphite pickles": "Lists, tuples, texts and numbers are read; anything else is refused and not run.",
        "embedded metric format": "At most 100 metrics to a directive and 30 labels.",
        "bounded expressions": "An expression cannot be made to run away by what is sent.",
    },
    "Pod": {
        "inits in sequence": "Three init containers run strictly one after the other, and before any main container.",
        "failed init": "An init container that fails under restartPolicy Never: no main container starts.",
        "failed init, again": "An init container that fails under another policy is tried again; the pod is Pending.",
        "init before postStart": "Init is over before postStart of a main container.",
        "postStart blocks": "The second container is not started before postStart of the first one has returned.",
        "postStart fails": "A postStart that fails kills its container.",
        "inits run once": "Init containers are not run again when a main container restarts.",
        "interleaving": "init1, sidecar1, init2, sidecar2, init3, main start exactly so; both sidecars overlap main.",
        "sidecar is started": "What stands after a sidecar waits for its postStart and startup probe, and no longer.",
        "sidecar loops": "A sidecar that ends, with 0 or 1, is restarted before and after main has started; "
        "the pod still succeeds.",
        "failed init before a sidecar": "An init container before a sidecar fails: the sidecar never starts.",
        "sidecar startup fails": "A sidecar whose startup fails: preStop, restart, pod Pending, main absent.",
        "back-off": "Restarts at once, then after 10, 20, 40, 80, 160, 300 s; afresh after a run of ten minutes.",
        "restart policies": "A script that exits with 1, with 0, then runs. Always: 2 restarts, Running; "
        "OnFailure: 1, Succeeded; Never: 0, Failed.",
        "container restart policy": "A container's own restartPolicy and restartPolicyRules beat the pod's.",
        "missing ConfigMap": "A container that cannot be created waits with its reason; that is no restart.",
        "startup probe first": "Liveness and readiness are not asked before the startup probe has passed.",
        "preStop when a probe fails": "preStop is called when a startup or liveness probe has the container stopped.",
        "no preStop after an exit": "preStop is not called when the container ends by itself.",
        "liveness": "A container that liveness has stopped is started again, alone, unless Never.",
        "readiness": "Readiness is lost and won without a restart.",
        "probes at the end": "Readiness is asked while preStop runs, liveness is not.",
        "grace": "The grace is respected, also with an endless preStop; SIGKILL is 137.",
        "endless preStops": "Three endless preStops: exit code 137, together, at the grace and 2 s.",
        "deleted during init": "A pod deleted during init with a grace of 3 s is gone in under 6 s.",
        "reverse order": "Sidecars end in reverse order, after all main containers.",
        "no restart at the end": "Nothing is started again while the pod ends.",
        "sidecar ends badly": "A sidecar that exits with 1, or overruns its grace, leaves the pod Succeeded.",
        "main overruns its grace": "A main container that overruns its grace leaves the pod Failed.",
        "Job completes": "A Job is complete when its main containers are; its sidecars are ended then.",
        "Job backoffLimit": "A Job has failed when its restarts are used up.",
        "Job tries": "With Never, a Job replaces pods that fail, after 10, 20, 40 … 600 s, up to backoffLimit; "
        "completions is how many have to succeed.",
        "Job deadline": "A Job has failed when it was active for longer than activeDeadlineSeconds.",
        "termination message": "From the file, on success and failure; from the log's end only with "
        "FallbackToLogsOnError, on failure, without a file; at another path.",
        "PodStatus": "The status fits the published schema, and has reasons and exit codes where kubectl shows them.",
    },
}
"""By pattern: a rule's name (what its source calls it), and what it asks for."""

HEAD = """# Conformance

What each pattern promises to those whose protocols it speaks, and the tests that hold it to that. The page is made from
the tests: a rule without a test, or a test for a rule that is not here, fails the test suite.
"""

FEET = {
    "Ambassador": """### Where the ambassador is stricter

Where an RFC leaves a choice between refusing and repairing, the ambassador refuses: two equal Content-Lengths, a list
of equal ones, `gzip, chunked`, a fragment in a target, several `Host` fields even with an absolute target. HTTP/1.2
and higher minor versions, which nobody speaks, are answered 505. `CONNECT` and `TRACE` are answered 501: it is a
gateway, not a tunnel. It does not add a `Date` to responses that lack one (RFC 9110 6.6.1).

Where it forwards, it forwards in the plainest form: `Content-Length: 0005` goes on as `5`, the framing of chunks is
checked, their extensions are dropped. In the end-to-end tests HAProxy and nginx get the same bytes, row by row: of none
of them the ambassador forwards more than both do, and what two of them forward is the same request. The same holds for
responses, with one exception: both answer 502 where a response has a space before a colon, which RFC 9112 5.1 asks a
proxy to remove.
""",
    "Pod": """### Where these rules come from

They are what the end-to-end tests of the kubelet assert (`test/e2e_node/container_lifecycle_test.go` and its
neighbours in Kubernetes). Each is tested on the state machine, in virtual time, where hours pass in milliseconds and
every time is exact; those whose test stands in `test_with_processes.py` with real processes as well, with `speed` above
1. Kubernetes' own tests are not run here: they need a cluster.
""",
    "Adapter": """### Where the adapter differs on purpose

Where its models have a defect, the adapter does not copy it. A name or label that would become the same as another one
when escaped is escaped by `values`. A sampled line counts by its whole weight: `@0.3` is 3⅓, not 3. Counters cannot
become NaN. A rule of a mapping that drops needs no name. Timers become histograms where nothing is said, not summaries:
those cannot be added up. A relabelling rule that would take the name off every sample is refused; Prometheus would fail
every scrape. A counter whose name does not end in `_total` is of unknown
type in OpenMetrics, so that a series has the same name in every form. In the text format a backslash before another
character stays, as Prometheus' own scraper has it; the parser in prometheus/common, which promtool uses, refuses it.
""",
}
"""What is told below a pattern's rules."""


class Held(NamedTuple):
    """A test that holds a rule."""

    place: str
    """The file, from the root of the repository, and the function."""
    law: str
    """The first paragraph of its docstring."""


def held() -> dict[str, list[Held]]:
    """For each rule the tests that are marked with it."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text("utf-8")
        if "mark.holds" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for rule in _marks(node):
                    law = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
                    found[rule].append(Held(f"{path.relative_to(ROOT)}::{node.name}", law))
    return dict(found)


def _marks(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    return [
        ast.literal_eval(argument)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.holds"
        for argument in decorator.args
    ]


def page() -> str:
    """The page, in Markdown."""
    tests = held()
    lines = [HEAD]
    for pattern, rules in RULES.items():
        lines.append(f"## {pattern}\n")
        for rule, text in rules.items():
            lines += [f"**{rule}**", f": {text}"]
            for test in tests.get(rule, ()):
                lines.append(f"\n  *{test.law}* `{test.place}`")
            lines.append("")
        lines.append(FEET[pattern])
    return "\n".join(lines)
