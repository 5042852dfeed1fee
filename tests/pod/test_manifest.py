"""Reading manifests: every mistake at once, with its place and what was meant."""

import pytest

from podpatterns.errors import ConfigError
from podpatterns.pod.manifest import loads
from podpatterns.pod.model import Kind

GOOD = """\
apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  containers:
  - name: app
    command: [sleep, "1"]
"""


def problems(text):
    with pytest.raises(ConfigError) as caught:
        loads(text, "pod.yaml")
    return [str(problem) for problem in caught.value.problems]


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


CASES = {
    "sauce": (
        changed("metadata: {name: shop}", "metadata: sauce"),
        'pod.yaml:3:11: metadata must be a mapping; did you mean "metadata: {name: sauce}"?',
    ),
    "unknown-kind": (changed("kind: Pod", "kind: Podd"), 'pod.yaml:2:7: unknown kind "Podd"; did you mean "Pod"?'),
    "unknown-field": (
        GOOD + "    workngDir: /tmp\n",
        'unknown field "spec.containers[0].workngDir"; did you mean "workingDir"?',
    ),
    "bad-name": (changed("name: app", "name: My_App"), 'did you mean "my-app"?'),
    "policy": (changed("spec:\n", "spec:\n  restartPolicy: Sometimes\n"), 'cannot be "Sometimes"'),
    "no-command": (
        changed('command: [sleep, "1"]', "image: nginx"),
        'the image "nginx" does not say what to start on this machine',
    ),
    "no-command-no-image": (
        changed('    command: [sleep, "1"]\n', ""),
        'spec.containers[0] (container "app") has neither command nor image; add command: [...]',
    ),
    "number-in-command": (
        changed('command: [sleep, "1"]', "command: [sleep, 1]"),
        'spec.containers[0].command[1] must be text; quote it: "1"',
    ),
    "duplicate-container": (
        GOOD + '  - name: app\n    command: [sleep, "1"]\n',
        '"app" is the name of another container already',
    ),
    "undeclared-volume": (
        GOOD + "    volumeMounts: [{name: logs, mountPath: /logs}]\n",
        'names the volume "logs", which the pod does not have',
    ),
    "config-map": (
        GOOD + "    envFrom: [{configMapRef: {name: settings}}]\n",
        'no ConfigMap "settings" in these files',
    ),
    "duplicate-key": (changed("spec:\n", "kind: Pod\nspec:\n"), 'duplicate key "kind"; it stands in line 2 already'),
    "port-twice": (
        GOOD + "    ports: [{containerPort: 80}]\n  - {name: b, command: [x], ports: [{containerPort: 80}]}\n",
        "port 80/TCP of container b is container app's",
    ),
    "yaml": ("kind: [Pod\n", "invalid YAML"),
    "probe-of-init": (
        GOOD + "  initContainers: [{name: i, command: [x], livenessProbe: {tcpSocket: {port: 1}}}]\n",
        "cannot be set on an init container that runs to completion",
    ),
    "sleep-over-the-grace": (
        GOOD + "    lifecycle: {preStop: {sleep: {seconds: 31}}}\n",
        "preStop.sleep.seconds must be between 0 and the pod's terminationGracePeriodSeconds, 30, not 31",
    ),
    "sleep-backwards": (GOOD + "    lifecycle: {postStart: {sleep: {seconds: -1}}}\n", "must be between 0 and"),
    "grace-of-a-probe": (
        GOOD + "    livenessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 0}\n",
        "livenessProbe.terminationGracePeriodSeconds must be at least 1, not 0",
    ),
    "deadline": (
        changed("spec:\n", "spec:\n  activeDeadlineSeconds: 0\n"),
        "spec.activeDeadlineSeconds must be at least 1, not 0",
    ),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES.keys())
def test_a_mistake_is_named_with_its_place(text, expected):
    """One problem, which says where and what to do."""
    (found,) = problems(text)
    assert expected in found
    assert found.startswith("pod.yaml:")


def test_every_mistake_comes_at_once():
    """Three mistakes in one document are three problems, in the order of the lines."""
    text = changed("metadata: {name: shop}", "metadata: sauce").replace("    command:", "    comand:")
    assert len(problems(text + "    tty: perhaps\n")) >= 3


def test_a_field_without_effect_is_reported_with_its_line():
    """Nothing is dropped silently."""
    (notice,) = loads(GOOD + "    securityContext: {runAsUser: 1000}\n", "pod.yaml").notices
    assert "securityContext" in notice.what
    assert notice.marks[0].line == 8


@pytest.mark.parametrize(
    "image",
    ["podpatterns/sidecar", "registry.example:5000/x/podpatterns/sidecar:1.2", "podpatterns/sidecar@sha256:0"],
)
def test_our_images_need_no_command(image):
    """From any registry, with any tag: the entrypoint and the admin port are known."""
    text = changed('command: [sleep, "1"]', f'image: "{image}"')
    (container,) = loads(text).pods[0].mains
    assert container.command[1:] == ("-m", "podpatterns", "run", "/etc/podpatterns/sidecar.yaml")
    assert (container.pattern, container.admin_port) == ("sidecar", 9801)


def test_a_container_that_runs_something_else_from_our_image_is_not_asked_for_facts():
    """At our port in the same pod another container may listen, whose facts they would be."""
    assert loads(GOOD + "    image: podpatterns/sidecar\n").pods[0].mains[0].admin_port is None
    text = changed('command: [sleep, "1"]', "image: podpatterns/sidecar\n    command: [podpatterns, run, x.yaml]")
    assert loads(text).pods[0].mains[0].admin_port == 9801


def test_a_configuration_in_the_place_of_a_manifest_is_named_as_one():
    """With the verb that runs it."""
    with pytest.raises(ConfigError) as caught:
        loads("sidecar: {inputs: []}\n")
    assert 'is the configuration of a sidecar, not a manifest; "podpatterns run" runs it' in str(caught.value)


def test_the_images_agree_with_their_dockerfiles():
    """ENTRYPOINT and CMD in containers/ are what is started here."""
    from pathlib import Path

    from podpatterns.pod.images import KNOWN

    for pattern, image in KNOWN.items():
        text = (Path(__file__).parents[2] / "containers" / pattern / "Dockerfile").read_text()
        assert 'ENTRYPOINT ["podpatterns"]' in text
        assert "CMD [" + ", ".join(f'"{word}"' for word in image.command) + "]" in text


def test_the_storefront_is_read_as_it_is_meant():
    """A native sidecar is an init container that always restarts."""
    from pathlib import Path

    from podpatterns.pod.manifest import load

    folder = Path(__file__).parents[2] / "examples/01-storefront"
    (pod,) = load([folder / "pod.yaml"], [folder / "app.yaml"]).pods
    kinds = {container.name: container.kind for container in pod.containers}
    assert kinds["content"] is Kind.INIT
    assert kinds["log-shipper"] is Kind.SIDECAR
    assert kinds["storefront"] is Kind.MAIN
