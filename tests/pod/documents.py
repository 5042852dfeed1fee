"""Manifests for tests, as documents: pods of shell scripts, and what they take their settings from."""

STAY = "trap 'exit 0' TERM; echo up; sleep 1000 & wait"


def shell(name, script=STAY, **more):
    return {"name": name, "command": ["sh", "-c", script], **more}


def sidecar(name, script=STAY, **more):
    return shell(name, script, restartPolicy="Always", **more)


def pod(*mains, name="test", inits=(), labels=None, annotations=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
        "spec": {"terminationGracePeriodSeconds": 5, **spec, "containers": [*mains], "initContainers": [*inits]},
    }


def source(kind, name, **data):
    field = "data" if kind == "ConfigMap" else "stringData"
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: data}
