"""Injection: adds what it says and nothing else, and can be taken back to the byte."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from podpatterns.cli import main
from podpatterns.errors import ConfigError
from podpatterns.pod.inject import markers
from podpatterns.pod.inject.injection import MARK, Options, part
from podpatterns.pod.inject.manifest import inject, uninject
from podpatterns.pod.inject.operations import Append, Prepend, Put, apply, json_patch
from podpatterns.pod.lint import Linter
from podpatterns.pod.workload import TEMPLATES

SIDECAR = """\
sidecar:
  inputs: [{type: tail, paths: [/var/log/app/*.log]}]
  outputs: [{type: sqlite, path: /var/lib/store/logs.sqlite}]
  fields: {pod: "${POD_NAME}", cost: "$(not a variable)"}
"""
AMBASSADOR = """\
ambassador:
  listeners: [{listen: "127.0.0.1:8000", routes: [{split: {stable: 90, test: 10}}]}]
  upstreams: {stable: "stable:80", test: "test:80"}
"""
INIT = """\
init:
  steps: [{type: wait, until: [{tcp: "db:5432"}]}]
"""
SOURCES = {"sidecar.yaml": SIDECAR, "ambassador.yaml": AMBASSADOR, "init.yaml": INIT}


def parts(**options):
    return [part(file, source, Options(**options)) for file, source in SOURCES.items()]


PARTS = parts()
CLASSIC = parts(classic=True)
POD = """\
    # the pod
    spec:
      containers:
      - name: web   # the primary
        image: nginx:1.27
        ports: [{containerPort: 80}]
        readinessProbe: {tcpSocket: {port: 80}}
        volumeMounts:
        - {name: logs, mountPath: /var/log/app}
      # what they share
      volumes:
      - name: logs
        emptyDir: {sizeLimit: 64Mi}
"""
SELECTOR = "  selector: {matchLabels: {app: shop}}\n"
HEADS = {
    "Pod": "apiVersion: v1\nkind: Pod\nmetadata: {name: shop, labels: {app: shop}}\n",
    "Deployment": f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n{SELECTOR}  template:\n",
    "StatefulSet": "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: shop}\n"
    f"spec:\n{SELECTOR}  serviceName: shop\n  template:\n",
    "DaemonSet": f"apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {{name: shop}}\nspec:\n{SELECTOR}  template:\n",
    "Job": "apiVersion: batch/v1\nkind: Job\nmetadata: {name: shop}\nspec:\n  template:\n",
}


def manifest(kind):
    """A workload of a kind, with comments, and with both styles of YAML."""
    if kind == "Pod":
        return HEADS[kind] + re.sub(r"(?m)^    ", "", POD)
    labels = "    metadata:\n      labels: {app: shop}\n"
    if kind == "CronJob":
        pod = re.sub(r"(?m)^", "    ", POD).replace("    spec:\n", "    spec:\n          restartPolicy: OnFailure\n", 1)
        return (
            'apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: shop}\nspec:\n  schedule: "0 * * * *"\n'
            f"  jobTemplate:\n    spec:\n      template:\n        metadata: {{}}\n{pod}"
        )
    restart = "      restartPolicy: Never\n" if kind == "Job" else ""
    return HEADS[kind] + labels + POD.replace("    spec:\n", f"    spec:\n{restart}", 1)


KINDS = ["Pod", "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"]


def pod_of(document):
    for key in TEMPLATES[document["kind"]].split(".") if TEMPLATES[document["kind"]] else ():
        document = document[key]
    return document


@pytest.mark.parametrize("config_map", [None, "settings"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_workload(kind, config_map):
    """The result fits Kubernetes' schema and our rules; text, patch and object say the same; and it can be undone."""
    source = manifest(kind)
    injected = inject(source, parts(config_map=config_map), file="shop.yaml")
    assert uninject(injected.source) == source
    assert [str(each) for each in Linter(kubernetes="latest").lint(injected.source)] == []
    before, after = yaml.safe_load(source), yaml.safe_load(injected.source)
    assert patched(before, injected.patches[f"{kind}/shop"]) == after
    spec = pod_of(after)["spec"]
    assert [each["name"] for each in spec["initContainers"]] == [
        "podpatterns-sidecar", "podpatterns-ambassador", "podpatterns-init",
    ]  # fmt: skip
    assert spec["containers"] == pod_of(before)["spec"]["containers"]
    assert pod_of(after)["metadata"]["annotations"][MARK].count("podpatterns-") == 3


def patched(document, patch):
    """RFC 6902, as far as `add` goes, in the standard's own words."""
    for operation in patch:
        assert operation["op"] == "add"
        *path, last = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]]
        target = document
        for key in path:
            target = target[int(key)] if isinstance(target, list) else target[key]
        if isinstance(target, list):
            target.insert(len(target) if last == "-" else int(last), operation["value"])
        else:
            target[last] = operation["value"]
    return document


def test_ours_are_restricted_containers():
    """The Pod Security Standard `restricted`, field by field; native sidecars, but for what ends by itself."""
    after = yaml.safe_load(inject(manifest("Pod"), PARTS).source)
    for each in after["spec"]["initContainers"]:
        context = each["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True
        assert {"requests", "limits"} <= each["resources"].keys()
        assert (each.get("restartPolicy") == "Always") == (each["name"] != "podpatterns-init")
        assert ("startupProbe" in each) == (each["name"] != "podpatterns-init")


def test_what_a_configuration_names_is_mounted():
    """A shared folder at its own path, read-only if it is only read; what is ours alone in a volume of its own."""
    after = yaml.safe_load(inject(manifest("Pod"), PARTS[:1]).source)
    mounts = {each["mountPath"]: each for each in after["spec"]["initContainers"][0]["volumeMounts"]}
    assert mounts.keys() == {"/var/log/app", "/var/lib/store", "/var/lib/podpatterns/sidecar"}
    assert mounts["/var/log/app"] == {"name": "logs", "mountPath": "/var/log/app", "readOnly": True}
    assert {each["name"] for each in after["spec"]["volumes"]} == {each["name"] for each in mounts.values()}


def test_the_configuration_arrives_as_it_is():
    """In a variable, with what the kubelet would expand escaped."""
    after = yaml.safe_load(inject(manifest("Pod"), PARTS[:1]).source)
    env = {each["name"]: each.get("value") for each in after["spec"]["initContainers"][0]["env"]}
    assert env["PODPATTERNS_CONFIG"].replace("$$(", "$(") == SIDECAR


def test_it_runs_as_whoever_writes_the_logs():
    """A file that is the application's alone can be read by its own user."""
    source = manifest("Pod").replace("spec:\n", "spec:\n  securityContext: {runAsUser: 101}\n", 1)
    after = yaml.safe_load(inject(source, PARTS[:1]).source)
    assert after["spec"]["initContainers"][0]["securityContext"]["runAsUser"] == 101


def test_classic_sidecars():
    """Regular containers, behind the primary ones, without a restart policy."""
    source = manifest("Deployment")
    injected = inject(source, parts(classic=True))
    spec = yaml.safe_load(injected.source)["spec"]["template"]["spec"]
    assert [each["name"] for each in spec["containers"]] == ["web", "podpatterns-sidecar", "podpatterns-ambassador"]
    assert [each["name"] for each in spec["initContainers"]] == ["podpatterns-init"]
    assert "restartPolicy" not in spec["containers"][1]
    assert uninject(injected.source) == source


# --- what is in the way ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "metadata: {name: shop",
            f"metadata: {{name: shop, annotations: {{{MARK}: x}}",
            r"shop.yaml:3:.* already \(x\)",
        ),
        ("metadata: {name: shop", "metadata: {name: shop, annotations: {sidecar.istio.io/status: x}", "by Istio"),
        ("name: web ", "name: linkerd-proxy ", r"shop.yaml:\d+:\d+: has been injected by linkerd"),
        ("spec:\n", "spec:\n  hostNetwork: true\n", "hostNetwork"),
        ("name: web ", "name: podpatterns-sidecar ", "needed for our container"),
        ("containerPort: 80}", "containerPort: 9801}", "port 9801 of container web is needed by podpatterns-sidecar"),
        ("containerPort: 80}", "containerPort: 8000}", r"ambassador.yaml: ambassador.listeners\[0\].listen"),
        ("- name: logs\n", "- name: podpatterns-sidecar-state\n", 'volume name "podpatterns-sidecar-state"'),
        ("/var/log/app", "/var/log/other", "sidecar.yaml: sidecar.inputs.* needs /var/log/app, where no container"),
        ("kind: Pod", "kind: Deploiment", "holds no workload"),
        ("kind: Pod", "kind: Pod\nkind: Pod", 'duplicate key "kind"'),
        ("spec:\n", "spec: [\n", "invalid YAML"),
        ("containers:", "container:", "has no containers to add to"),
    ],
)
def test_what_is_in_the_way(old, new, expected):
    """Place, cause and remedy; and nothing has been changed."""
    source = manifest("Pod")
    assert old in source
    with pytest.raises(ConfigError) as caught:
        inject(source.replace(old, new, 1), PARTS, file="shop.yaml")
    assert re.search(expected, str(caught.value)), str(caught.value)


def test_a_classic_sidecar_would_keep_a_job_alive():
    """So it is refused."""
    with pytest.raises(ConfigError, match="never ends"):
        inject(manifest("Job"), parts(classic=True))


def test_twice_is_refused():
    """What was injected is taken out first."""
    once = inject(manifest("Pod"), PARTS).source
    with pytest.raises(ConfigError, match="run uninject first"):
        inject(once, PARTS)
    again = inject(uninject(once), PARTS).source
    assert again == once


def test_two_configurations_of_one_pattern_are_refused():
    """They would be two containers of one name, on one port."""
    sidecar = PARTS[0]
    with pytest.raises(ConfigError) as caught:
        inject(manifest("Pod"), [sidecar, dataclasses.replace(sidecar, file="other.yaml")])
    assert str(caught.value).splitlines()[0] == (
        "other.yaml: makes a second container podpatterns-sidecar, beside that of sidecar.yaml; "
        "write both into one configuration"
    )


def test_one_of_several_workloads():
    """Which one has to be said."""
    source = manifest("Pod") + "---\n" + manifest("Deployment") + "---\nkind: Service\n"
    with pytest.raises(ConfigError, match=r"--only \(Pod/shop, Deployment/shop\)"):
        inject(source, PARTS)
    with pytest.raises(ConfigError, match='did you mean "Deployment/shop"'):
        inject(source, PARTS, only=["Deploymant/shop"])
    injected = inject(source, PARTS, only=["Deployment/shop"])
    assert list(injected.patches) == ["Deployment/shop"]
    assert injected.source.startswith(manifest("Pod"))
    assert uninject(injected.source) == source


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            '{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}}',
            "JSON",
        ),
        ("kind: Pod\nmetadata: &m {name: a}\nspec: &s\n  containers: [{name: a}]\n  volumes: *m\n", "is an alias"),
        ("kind: Pod\nbase: &b {volumes: []}\nspec:\n  <<: *b\n  containers: [{name: a}]\n", "merge key"),
        ("kind: Pod\nmetadata: {name: a}\nspec:\n  containers: [{name: a}]\n  initContainers:\n", "is empty"),
    ],
)
def test_places_that_cannot_be_added_to(source, expected):
    """Where an insertion would change something else, it is refused with the place."""
    configs = [part("s.yaml", SIDECAR.replace("/var/log/app/*.log", "/var/lib/store/*.log"))]
    if "JSON" not in expected:
        source = source.replace("{name: a}]", "{name: a, volumeMounts: [{name: v, mountPath: /var/lib/store}]}]")
    else:
        source = source.replace(
            '{"name": "a"}]', '{"name": "a", "volumeMounts": [{"name": "v", "mountPath": "/var/lib/store"}]}]'
        )
    with pytest.raises(ConfigError, match=expected):
        inject(source, configs, file="a.yaml")


# --- identity, as a property ----------------------------------------------------------------------------------------

COMMENTS = st.sampled_from(["", "# why\n", "\n", "    # deep\n", "\n\n"])


@st.composite
def documents(draw):
    """A Pod whose spelling is drawn: indentation of lists, styles, comments, anchors, block scalars at any end."""
    step = draw(st.sampled_from(["", "  ", "    "]))
    gap = " " * draw(st.integers(1, 3))
    lines = ["apiVersion: v1", "kind: Pod"]
    metadata = draw(
        st.sampled_from(
            ["metadata: {name: a}", "metadata: {}", "metadata:\n  name: a", "metadata: &m\n    name: a", ""]
        )
    )
    lines += [metadata] if metadata else []
    blocks = {
        "containers": [
            f"{step}-{gap}name: web",
            f"{step} {gap}volumeMounts: [{{name: v, mountPath: /var/log/app}}]",
            *draw(
                st.sampled_from(
                    [
                        [],
                        [
                            f"{step} {gap}args:",
                            f"{step} {gap}- |+",
                            f"{step} {gap}  # not a comment",
                            f"{step} {gap}  text",
                            "",
                        ],
                    ]
                )
            ),
        ],
    }
    if draw(st.booleans()):
        blocks["volumes"] = draw(
            st.sampled_from(
                [
                    ["VOLUMES: []"],
                    ["VOLUMES: [{name: v}]"],
                    [f"{step}-{gap}name: v", f"{step} {gap}emptyDir: &e {{}}"],
                    [f"{step}-{gap}{{name: v}}"],
                    [f"{step}-", f"{step}    name: v"],
                ]
            )
        )
    if draw(st.booleans()):
        blocks["initContainers"] = draw(
            st.sampled_from([["INIT: []"], [f"{step}-{gap}name: one", f"{step}-{gap}name: two   # second"]])
        )
    lines.append("spec:")
    for key in draw(st.permutations(sorted(blocks))):
        body = blocks[key]
        comment = draw(COMMENTS).rstrip("\n")
        lines += [comment] if comment else []
        if body[0].startswith(("VOLUMES", "INIT")):
            lines.append(f"  {key}:{body[0].partition(':')[2]}")
        else:
            lines += [f"  {key}:", *(f"  {line}" if line else "" for line in body)]
    text = "\n".join(lines) + draw(st.sampled_from(["\n", "", "\n\n# the end\n", "\n---\nkind: Service\n", "\n...\n"]))
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@settings(max_examples=100, deadline=None)
@given(documents(), st.booleans())
def test_inject_then_uninject_is_the_identity(source, classic):
    """However a manifest is spelt: the object has what was added and nothing else, and the bytes come back."""
    before = list(yaml.safe_load_all(source))
    try:
        injected = inject(source, CLASSIC if classic else PARTS)
    except ConfigError as error:
        pytest.fail(f"{error}\n{source}")
    assert uninject(injected.source) == source
    (patch,) = injected.patches.values()
    assert list(yaml.safe_load_all(injected.source)) == [patched(before[0], patch), *before[1:]]


@given(
    st.recursive(
        st.none() | st.integers() | st.text("ab/~"),
        lambda below: (
            st.lists(st.fixed_dictionaries({"name": below})) | st.dictionaries(st.text("ab/~", min_size=1), below)
        ),
    )
)
def test_a_patch_does_what_the_operations_do(value):
    """On any object: missing keys are made, lists and mappings that are there are added to."""
    document = {"there": value if isinstance(value, dict) else {"x": value}, "list": [{"name": 1}]}
    operations = [
        Put(("there",), {"new/key~": 1}),
        Put(("a", "b"), {"c": 2}),
        Prepend(("list",), ({"name": 2}, {"name": 3})),
        Append(("list",), ({"name": 4},)),
        Append(("a", "list"), ({"name": 5},)),
    ]
    expected = apply(document, operations)
    assert patched(json.loads(json.dumps(document)), json_patch(document, operations)) == expected
    assert [each["name"] for each in expected["list"]] == [2, 3, 1, 4]


@pytest.mark.parametrize("source", ["a: 1\n", "a: 1", "a: 1\r\n", "a: 1\r\nb: 2"])
def test_markers_at_any_end(source):
    """With and without a final line break, whatever it is."""
    for offset in {0, len(source)}:
        spliced = markers.insert(source, [markers.Splice(offset, ("b: 2",), "")])
        assert markers.marked(spliced)
        assert markers.remove(spliced) == source


def test_half_a_marker_is_said():
    """With its line."""
    with pytest.raises(ConfigError, match="line 2"):
        uninject(f"a: 1\n{markers.BEGIN}\nb: 2\n")
    with pytest.raises(ConfigError, match="was not injected"):
        uninject("a: 1\n")


# --- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "shop.yaml").write_text(manifest("Deployment"))
    (tmp_path / "sidecar.yaml").write_text(SIDECAR)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(main, ["pod", *map(str, arguments)])


def test_inject_and_uninject_in_place(folder):
    """The file itself, and back."""
    file = folder / "shop.yaml"
    assert run("inject", file, "--config", folder / "sidecar.yaml", "--in-place").exit_code == 0
    assert "podpatterns-sidecar" in file.read_text()
    assert run("uninject", file, "--in-place").exit_code == 0
    assert file.read_text() == manifest("Deployment")


@pytest.mark.parametrize("options", [(), ("--in-place",)])
def test_what_cannot_be_injected_is_left_as_it_is(folder, options):
    """Exit 2 with file, line and remedy; not a byte is changed."""
    file = folder / "shop.yaml"
    source = file.read_text().replace("    spec:\n", "    spec:\n      hostNetwork: true\n")
    file.write_text(source)
    command = [
        sys.executable,
        "-m",
        "podpatterns",
        "pod",
        "inject",
        file,
        "--config",
        folder / "sidecar.yaml",
        *options,
    ]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert re.search(r"shop\.yaml:\d+:\d+: with hostNetwork .*; remove it", done.stderr)
    assert file.read_text() == source


def test_a_patch_for_kubectl(folder):
    """As JSON, one list."""
    result = run("inject", folder / "shop.yaml", "--config", folder / "sidecar.yaml", "--output", "patch")
    assert {each["op"] for each in json.loads(result.stdout)} == {"add"}


def test_variables_of_a_configuration(folder):
    """What the pod will not know is asked for before anything is written."""
    (folder / "sidecar.yaml").write_text(SIDECAR.replace("${POD_NAME}", "${TEAM}"))
    arguments = ("inject", folder / "shop.yaml", "--config", folder / "sidecar.yaml")
    assert isinstance(run(*arguments).exception, (ConfigError, SystemExit))
    result = run(*arguments, "--env", "TEAM=shop")
    assert "name: TEAM" in result.stdout
    assert run(*arguments, "--env", "TEAM").exit_code == 2


EXAMPLES = sorted(Path("examples").glob("*/pod.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_the_examples_can_be_injected(path):
    """Whatever they hold already, and back to the byte."""
    source = path.read_bytes().decode()
    extra = (
        "ambassador:\n  listeners: [{listen: ':7999', routes: [{to: a}]}]\n  upstreams: {a: 'a:80'}\n"
        "runtime: {admin: ':7998'}\n"
    )
    injected = inject(source, [part("extra.yaml", extra)])
    assert uninject(injected.source) == source


def test_an_image_with_another_placeholder_is_refused(tmp_path):
    """Not written as it stands, and no traceback."""
    (tmp_path / "sidecar.yaml").write_text(SIDECAR)
    (tmp_path / "pod.yaml").write_text(POD)
    result = run("inject", tmp_path / "pod.yaml", "--config", tmp_path / "sidecar.yaml", "--image", "x/{name}:1")
    assert result.exit_code == 2
    assert '--image: "x/{name}:1" is no image; the one thing in braces that is replaced is {pattern}' in result.output
