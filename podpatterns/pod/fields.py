"""Every field of the manifests that are read, and what a local run does with it. One table, nothing dropped silently.

A path is written as in the manifest, with `[]` for each item of a list. `ENFORCED` has the effect that it has on a
cluster; `EMULATED` has it by other means, which the note names; `REPORTED` has none here: the note says what that
means, the timeline shows it, and `--strict` refuses it. A key that is not in the table is a mistake.

It is one file, however long, because it is one table. Source: the Kubernetes API reference, v1 (core), batch/v1 and
apps/v1.
"""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping
from dataclasses import dataclass


class How(enum.Enum):
    """What is done with a field."""

    ENFORCED = "enforced"
    EMULATED = "emulated"
    REPORTED = "reported"


class Shape(enum.Enum):
    """What a value must look like; the value is the word for it in a message."""

    MAPPING = "a mapping"
    OBJECTS = "a list of mappings"
    TEXT = "text"
    TEXTS = "a list of text"
    LABELS = "a mapping of text to text"
    INTEGER = "a whole number"
    INTEGERS = "a list of whole numbers"
    BOOLEAN = "true or false"
    PORT = "a port number or the name of a port"
    QUANTITY = "a quantity such as 64Mi or 500m"
    QUANTITIES = "a mapping of names to quantities"
    ANY = "any value"


@dataclass(frozen=True, slots=True)
class Field:
    """One line of the table."""

    shape: Shape
    how: How = How.ENFORCED
    note: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()


def _done(shape: Shape, *, required: bool = False, choices: tuple[str, ...] = ()) -> Field:
    return Field(shape, How.ENFORCED, "", required, choices)


def _emulated(shape: Shape, note: str) -> Field:
    return Field(shape, How.EMULATED, note)


def _reported(note: str, shape: Shape = Shape.ANY) -> Field:
    return Field(shape, How.REPORTED, note)


def _below(prefix: str, fields: Mapping[str, Field]) -> dict[str, Field]:
    return {f"{prefix}.{path}": field for path, field in fields.items()}


_MAPPING = _done(Shape.MAPPING)
_OBJECTS = _done(Shape.OBJECTS)
_TEXT = _done(Shape.TEXT)
_NAME = _done(Shape.TEXT, required=True)
_TEXTS = _done(Shape.TEXTS)
_INTEGER = _done(Shape.INTEGER)
_BOOLEAN = _done(Shape.BOOLEAN)
_QUANTITY = _done(Shape.QUANTITY)

_NO_CLUSTER = "there is no cluster here that would act on it"
_NO_IMAGE = "no image is pulled; the command is looked up on this machine"
_NO_LIMITS = "what a container uses is not limited here"
_NO_USERS = "every container runs as the user who started the pod, with that user's rights"
_NO_SCHEDULER = "the pod runs on this machine, wherever it asks to be"
_NO_PVC = "there is no storage to claim here; use an emptyDir or a hostPath"

METADATA: dict[str, Field] = {
    "name": _TEXT,
    "generateName": _emulated(Shape.TEXT, "the name ends in -local"),
    "namespace": _emulated(Shape.TEXT, "names the place of ConfigMaps and Secrets, and nothing else"),
    "labels": _emulated(Shape.LABELS, "for the downward API and selectors"),
    "annotations": _emulated(Shape.LABELS, "for the downward API; podpatterns.dev/look-… are shown, …/publish is done"),
    "uid": _emulated(Shape.TEXT, "a local one is made up"),
    "creationTimestamp": _emulated(Shape.ANY, "set by servers; has no meaning in a manifest"),
    "resourceVersion": _emulated(Shape.ANY, "set by servers; has no meaning in a manifest"),
    "generation": _emulated(Shape.ANY, "set by servers; has no meaning in a manifest"),
    "managedFields": _emulated(Shape.ANY, "set by servers; has no meaning in a manifest"),
    "selfLink": _emulated(Shape.ANY, "set by servers; has no meaning in a manifest"),
    "finalizers": _reported(_NO_CLUSTER),
    "ownerReferences": _reported(_NO_CLUSTER),
}

_HTTP_GET: dict[str, Field] = {
    "path": _TEXT,
    "port": _done(Shape.PORT, required=True),
    "host": _TEXT,
    "scheme": _done(Shape.TEXT, choices=("HTTP", "HTTPS")),
    "httpHeaders": _OBJECTS,
    "httpHeaders[].name": _NAME,
    "httpHeaders[].value": _TEXT,
    "protocol": _reported("asked over HTTP/1.1", Shape.TEXT),
}

_HANDLER: dict[str, Field] = {
    "exec": _MAPPING,
    "exec.command": _TEXTS,
    "httpGet": _MAPPING,
    **_below("httpGet", _HTTP_GET),
    "tcpSocket": _MAPPING,
    "tcpSocket.port": _done(Shape.PORT, required=True),
    "tcpSocket.host": _TEXT,
}

_PROBE: dict[str, Field] = {
    **_HANDLER,
    "grpc": _MAPPING,
    "grpc.port": _done(Shape.INTEGER, required=True),
    "grpc.service": _TEXT,
    "grpc.mode": _reported("asked without TLS", Shape.TEXT),
    "initialDelaySeconds": _INTEGER,
    "timeoutSeconds": _INTEGER,
    "periodSeconds": _INTEGER,
    "successThreshold": _INTEGER,
    "failureThreshold": _INTEGER,
    "terminationGracePeriodSeconds": _INTEGER,
}

_HOOK: dict[str, Field] = {
    **_HANDLER,
    "tcpSocket": _emulated(Shape.MAPPING, "fails, as on a cluster: Kubernetes accepts it, and can run no such hook"),
    "sleep": _MAPPING,
    "sleep.seconds": _done(Shape.INTEGER, required=True),
}

_KEY_REF: dict[str, Field] = {"name": _TEXT, "key": _NAME, "optional": _BOOLEAN}
_FIELD_REF: dict[str, Field] = {"fieldPath": _NAME, "apiVersion": _TEXT}
_RESOURCE_REF: dict[str, Field] = {"resource": _NAME, "containerName": _TEXT, "divisor": _QUANTITY}

CONTAINER: dict[str, Field] = {
    "name": _NAME,
    "image": _emulated(Shape.TEXT, "images of ours start the installed podpatterns; others need a command"),
    "imagePullPolicy": _reported(_NO_IMAGE, Shape.TEXT),
    "command": _TEXTS,
    "args": _TEXTS,
    "workingDir": _emulated(Shape.TEXT, "without one, the manifest's folder stands for the image's"),
    "restartPolicy": _done(Shape.TEXT, choices=("Always", "OnFailure", "Never")),
    "restartPolicyRules": _OBJECTS,
    "restartPolicyRules[].action": _done(Shape.TEXT, required=True, choices=("Restart",)),
    "restartPolicyRules[].exitCodes": _MAPPING,
    "restartPolicyRules[].exitCodes.operator": _done(Shape.TEXT, required=True, choices=("In", "NotIn")),
    "restartPolicyRules[].exitCodes.values": _done(Shape.INTEGERS),
    "resizePolicy": _reported(_NO_LIMITS),
    "ports": _OBJECTS,
    "ports[].containerPort": _done(Shape.INTEGER, required=True),
    "ports[].name": _TEXT,
    "ports[].protocol": _done(Shape.TEXT, choices=("TCP", "UDP", "SCTP")),
    "ports[].hostPort": _emulated(Shape.INTEGER, "TCP only; on this machine's network every port is a host's"),
    "ports[].hostIP": _emulated(Shape.TEXT, "for hostPort, where the pod has a network of its own"),
    "env": _OBJECTS,
    "env[].name": _NAME,
    "env[].value": _TEXT,
    "env[].valueFrom": _MAPPING,
    "env[].valueFrom.fieldRef": _MAPPING,
    **_below("env[].valueFrom.fieldRef", _FIELD_REF),
    "env[].valueFrom.resourceFieldRef": _MAPPING,
    **_below("env[].valueFrom.resourceFieldRef", _RESOURCE_REF),
    "env[].valueFrom.configMapKeyRef": _MAPPING,
    **_below("env[].valueFrom.configMapKeyRef", _KEY_REF),
    "env[].valueFrom.secretKeyRef": _MAPPING,
    **_below("env[].valueFrom.secretKeyRef", _KEY_REF),
    "env[].valueFrom.fileKeyRef": _reported("the variable is not set; read the file itself"),
    "envFrom": _OBJECTS,
    "envFrom[].prefix": _TEXT,
    "envFrom[].configMapRef": _MAPPING,
    "envFrom[].configMapRef.name": _NAME,
    "envFrom[].configMapRef.optional": _BOOLEAN,
    "envFrom[].secretRef": _MAPPING,
    "envFrom[].secretRef.name": _NAME,
    "envFrom[].secretRef.optional": _BOOLEAN,
    "volumeMounts": _OBJECTS,
    "volumeMounts[].name": _NAME,
    "volumeMounts[].mountPath": _NAME,
    "volumeMounts[].readOnly": _BOOLEAN,
    "volumeMounts[].recursiveReadOnly": _reported("mounts below a read-only one keep their own mode", Shape.TEXT),
    "volumeMounts[].subPath": _TEXT,
    "volumeMounts[].subPathExpr": _TEXT,
    "volumeMounts[].mountPropagation": _reported("mounts made inside a container stay inside", Shape.TEXT),
    "volumeMounts[].bindMountOptions": _reported("mounts have the options of their volume"),
    "volumeDevices": _reported("there are no block devices to attach here"),
    "resources": _MAPPING,
    "resources.limits": Field(Shape.QUANTITIES, How.REPORTED, _NO_LIMITS),
    "resources.requests": Field(Shape.QUANTITIES, How.REPORTED, "nothing is set aside for a container here"),
    "resources.claims": _reported("there are no resource claims here"),
    "livenessProbe": _MAPPING,
    **_below("livenessProbe", _PROBE),
    "readinessProbe": _MAPPING,
    **_below("readinessProbe", _PROBE),
    "startupProbe": _MAPPING,
    **_below("startupProbe", _PROBE),
    "lifecycle": _MAPPING,
    "lifecycle.postStart": _MAPPING,
    **_below("lifecycle.postStart", _HOOK),
    "lifecycle.preStop": _MAPPING,
    **_below("lifecycle.preStop", _HOOK),
    "lifecycle.stopSignal": _done(Shape.TEXT, choices=tuple(each.name for each in signal.Signals)),
    "terminationMessagePath": _TEXT,
    "terminationMessagePolicy": _done(Shape.TEXT, choices=("File", "FallbackToLogsOnError")),
    "securityContext": _reported(_NO_USERS, Shape.ANY),
    "stdin": _reported("a container's standard input is empty", Shape.BOOLEAN),
    "stdinOnce": _reported("a container's standard input is empty", Shape.BOOLEAN),
    "tty": _reported("a container has no terminal", Shape.BOOLEAN),
}

_ITEMS: dict[str, Field] = {
    "items": _OBJECTS,
    "items[].key": _NAME,
    "items[].path": _NAME,
    "items[].mode": _INTEGER,
    "items[].user": _reported(_NO_USERS, Shape.INTEGER),
    "optional": _BOOLEAN,
}
_DOWNWARD: dict[str, Field] = {
    "items": _OBJECTS,
    "items[].path": _NAME,
    "items[].mode": _INTEGER,
    "items[].user": _reported(_NO_USERS, Shape.INTEGER),
    "items[].fieldRef": _MAPPING,
    **_below("items[].fieldRef", _FIELD_REF),
    "items[].resourceFieldRef": _MAPPING,
    **_below("items[].resourceFieldRef", _RESOURCE_REF),
}
_VOLUME: dict[str, Field] = {
    "name": _NAME,
    "emptyDir": _MAPPING,
    "emptyDir.medium": _emulated(Shape.TEXT, "Memory: a tmpfs of its own with a sizeLimit, otherwise in /dev/shm"),
    "emptyDir.mode": _reported("every user may do everything in the volume, 0777", Shape.INTEGER),
    "emptyDir.sizeLimit": _emulated(
        Shape.QUANTITY, "in memory, the volume is full; on disk, it is looked at every 2 s, and the pod is evicted"
    ),
    "hostPath": _MAPPING,
    "hostPath.path": _NAME,
    "hostPath.type": _done(
        Shape.TEXT,
        choices=("", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket", "CharDevice", "BlockDevice"),
    ),
    "configMap": _MAPPING,
    "configMap.name": _NAME,
    "configMap.defaultMode": _INTEGER,
    "configMap.defaultUser": _reported(_NO_USERS, Shape.INTEGER),
    **_below("configMap", _ITEMS),
    "secret": _MAPPING,
    "secret.secretName": _NAME,
    "secret.defaultMode": _INTEGER,
    "secret.defaultUser": _reported(_NO_USERS, Shape.INTEGER),
    **_below("secret", _ITEMS),
    "downwardAPI": _MAPPING,
    "downwardAPI.defaultMode": _INTEGER,
    "downwardAPI.defaultUser": _reported(_NO_USERS, Shape.INTEGER),
    **_below("downwardAPI", _DOWNWARD),
    "projected": _MAPPING,
    "projected.defaultMode": _INTEGER,
    "projected.defaultUser": _reported(_NO_USERS, Shape.INTEGER),
    "projected.sources": _OBJECTS,
    "projected.sources[].configMap": _MAPPING,
    "projected.sources[].configMap.name": _NAME,
    **_below("projected.sources[].configMap", _ITEMS),
    "projected.sources[].secret": _MAPPING,
    "projected.sources[].secret.name": _NAME,
    **_below("projected.sources[].secret", _ITEMS),
    "projected.sources[].downwardAPI": _MAPPING,
    **_below("projected.sources[].downwardAPI", _DOWNWARD),
    "projected.sources[].serviceAccountToken": _reported("no API server gives out tokens; the file is missing"),
    "projected.sources[].clusterTrustBundle": _reported(_NO_CLUSTER),
    "projected.sources[].podCertificate": _reported("nobody signs certificates here; the file is missing"),
    "persistentVolumeClaim": _reported(_NO_PVC),
    "ephemeral": _reported(_NO_PVC),
    "image": _reported(_NO_IMAGE),
    **{
        kind: _reported("volumes of this kind need a cluster's storage; use an emptyDir or a hostPath")
        for kind in ("csi", "nfs", "iscsi", "cephfs", "rbd", "glusterfs", "fc", "gitRepo", "awsElasticBlockStore",
                     "azureDisk", "azureFile", "gcePersistentDisk", "flexVolume", "vsphereVolume", "cinder",
                     "flocker", "photonPersistentDisk", "portworxVolume", "quobyte", "scaleIO", "storageos")
    },
}  # fmt: skip

POD_SPEC: dict[str, Field] = {
    "containers": _done(Shape.OBJECTS, required=True),
    **_below("containers[]", CONTAINER),
    "initContainers": _OBJECTS,
    **_below("initContainers[]", CONTAINER),
    "ephemeralContainers": _reported("debugging containers are added to running pods only"),
    "restartPolicy": _done(Shape.TEXT, choices=("Always", "OnFailure", "Never")),
    "terminationGracePeriodSeconds": _INTEGER,
    "activeDeadlineSeconds": _INTEGER,
    "volumes": _OBJECTS,
    **_below("volumes[]", _VOLUME),
    "hostname": _emulated(Shape.TEXT, "on this machine's network, in the variable HOSTNAME alone"),
    "subdomain": _reported("there is no cluster DNS here", Shape.TEXT),
    "setHostnameAsFQDN": _reported("there is no cluster DNS here", Shape.BOOLEAN),
    "hostnameOverride": _emulated(Shape.TEXT, "instead of hostname"),
    "hostNetwork": _BOOLEAN,
    "hostPID": _BOOLEAN,
    "hostIPC": _emulated(Shape.BOOLEAN, "every container shares this machine's IPC"),
    "hostUsers": _reported(_NO_USERS, Shape.BOOLEAN),
    "shareProcessNamespace": _emulated(Shape.BOOLEAN, "without namespaces, every container sees all processes"),
    "serviceAccountName": _emulated(Shape.TEXT, "for the downward API; no token is mounted"),
    "serviceAccount": _emulated(Shape.TEXT, "for the downward API; no token is mounted"),
    "automountServiceAccountToken": _emulated(Shape.BOOLEAN, "no token is ever mounted"),
    "nodeName": _emulated(Shape.TEXT, "for the downward API"),
    "enableServiceLinks": _emulated(Shape.BOOLEAN, "NAME_SERVICE_HOST and _PORT; none for Docker links"),
    "securityContext": _reported(_NO_USERS),
    "hostAliases": _OBJECTS,
    "hostAliases[].ip": _NAME,
    "hostAliases[].hostnames": _TEXTS,
    "dnsPolicy": _reported("names are looked up as this machine does", Shape.TEXT),
    "dnsConfig": _reported("names are looked up as this machine does"),
    "imagePullSecrets": _reported(_NO_IMAGE),
    "overhead": _reported(_NO_LIMITS),
    "resources": _reported(_NO_LIMITS),
    "resourceClaims": _reported("there are no resource claims here"),
    "runtimeClassName": _reported("containers are processes of this machine", Shape.TEXT),
    "os": _reported("containers are processes of this machine"),
    "readinessGates": _reported(_NO_CLUSTER),
    "evictionResponders": _reported(_NO_CLUSTER),
    **{
        name: _reported(_NO_SCHEDULER)
        for name in ("nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "priority",
                     "schedulingGates", "schedulingGroup", "priorityClassName", "preemptionPolicy", "schedulerName")
    },
}  # fmt: skip

_ENVELOPE: dict[str, Field] = {
    "apiVersion": _NAME,
    "kind": _NAME,
    "metadata": _done(Shape.MAPPING, required=True),
    **_below("metadata", METADATA),
}
_WORKLOAD: dict[str, Field] = {
    **_ENVELOPE,
    "spec": _done(Shape.MAPPING, required=True),
    "status": _emulated(Shape.ANY, "set by servers"),
}
_TEMPLATE: dict[str, Field] = {
    "template": _done(Shape.MAPPING, required=True),
    "template.metadata": _MAPPING,
    **_below("template.metadata", METADATA),
    "template.spec": _done(Shape.MAPPING, required=True),
    **_below("template.spec", POD_SPEC),
}

KINDS: dict[str, tuple[str, dict[str, Field]]] = {
    "Pod": ("v1", {**_WORKLOAD, **_below("spec", POD_SPEC)}),
    "Job": (
        "batch/v1",
        {
            **_WORKLOAD,
            **_below("spec", _TEMPLATE),
            "spec.backoffLimit": _INTEGER,
            "spec.completions": _emulated(Shape.INTEGER, "pods are run one after the other"),
            "spec.activeDeadlineSeconds": _INTEGER,
            "spec.ttlSecondsAfterFinished": _emulated(Shape.INTEGER, "nothing is kept of a pod that has ended"),
            **{
                f"spec.{name}": _reported("its pods are run one after the other, until enough have succeeded")
                for name in ("parallelism", "completionMode", "backoffLimitPerIndex", "maxFailedIndexes",
                             "podFailurePolicy", "podReplacementPolicy", "successPolicy", "suspend", "selector",
                             "manualSelector", "managedBy", "scheduling")
            },
        },
    ),
    "Deployment": (
        "apps/v1",
        {
            **_WORKLOAD,
            **_below("spec", _TEMPLATE),
            "spec.selector": _done(Shape.MAPPING, required=True),
            "spec.selector.matchLabels": _done(Shape.LABELS),
            "spec.selector.matchExpressions": _reported("only matchLabels is compared with the template"),
            "spec.replicas": _reported("one pod is run", Shape.INTEGER),
            **{
                f"spec.{name}": _reported("there is no roll-out here: one pod is run")
                for name in ("strategy", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds", "paused")
            },
        },
    ),
    "ConfigMap": (
        "v1",
        {
            **_ENVELOPE,
            "data": _done(Shape.LABELS),
            "binaryData": _done(Shape.LABELS),
            "immutable": _emulated(Shape.BOOLEAN, "an edit of the file is taken up all the same"),
        },
    ),
    "Secret": (
        "v1",
        {
            **_ENVELOPE,
            "data": _done(Shape.LABELS),
            "stringData": _done(Shape.LABELS),
            "type": _emulated(Shape.TEXT, "keys are not checked against the type"),
            "immutable": _emulated(Shape.BOOLEAN, "an edit of the file is taken up all the same"),
        },
    ),
    "Service": (
        "v1",
        {
            **_WORKLOAD,
            "spec.selector": _done(Shape.LABELS),
            "spec.ports": _OBJECTS,
            "spec.ports[].name": _TEXT,
            "spec.ports[].port": _done(Shape.INTEGER, required=True),
            "spec.ports[].targetPort": _done(Shape.PORT),
            "spec.ports[].protocol": Field(
                Shape.TEXT, How.EMULATED, "a headless service for UDP and SCTP", choices=("TCP", "UDP", "SCTP")
            ),
            "spec.ports[].appProtocol": _emulated(Shape.TEXT, "a hint for others"),
            "spec.ports[].nodePort": _reported("use --publish", Shape.INTEGER),
            "spec.clusterIP": _emulated(Shape.TEXT, '"None" makes it headless; an address is ours to choose'),
            "spec.type": _emulated(Shape.TEXT, "every service is for the pods of this run; use --publish for others"),
            **{
                f"spec.{name}": _reported("a ready pod is chosen in turn; nothing else decides")
                for name in ("sessionAffinity", "sessionAffinityConfig", "externalTrafficPolicy", "trafficDistribution",
                             "internalTrafficPolicy", "publishNotReadyAddresses")
            },
            **{
                f"spec.{name}": _reported("there are no balancers and no other addresses here")
                for name in ("externalIPs", "externalName", "loadBalancerIP", "loadBalancerClass",
                             "loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "healthCheckNodePort",
                             "clusterIPs", "ipFamilies", "ipFamilyPolicy")
            },
        },
    ),
}  # fmt: skip
"""The kinds of documents that are read: their apiVersion and their fields."""

ELSEWHERE = (
    "Ingress", "NetworkPolicy", "Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRole",
    "ClusterRoleBinding", "PodDisruptionBudget", "HorizontalPodAutoscaler", "PersistentVolumeClaim", "ServiceMonitor",
    "PodMonitor", "Endpoints", "EndpointSlice",
)  # fmt: skip
"""Kinds that often stand beside a pod and only mean something to a cluster; they are reported."""

QUIET = {"spec.replicas": 1, "spec.parallelism": 1}
"""Fields that are reported only when their value asks for more than is done."""


def children(fields: Mapping[str, Field]) -> dict[str, dict[str, Field]]:
    """For each path, the fields directly below it, by name."""
    result: dict[str, dict[str, Field]] = {}
    for path, field in fields.items():
        above, _, name = path.rpartition(".")
        result.setdefault(above, {})[name] = field
    return result


def markdown() -> str:
    """The table for the documentation, one section per kind; shared parts stand in full where they first occur."""
    lines = []
    for kind, (version, fields) in KINDS.items():
        lines += [f"## {kind} ({version})", "", "| Field | Here | Note |", "|---|---|---|"]
        for path, field in fields.items():
            if kind in ("Job", "Deployment") and path.startswith(("spec.template.", "metadata.")):
                continue  # the same as a Pod's
            if kind == "Pod" and path.startswith("spec.initContainers[]."):
                continue  # the same as a container's
            lines.append(f"| `{path}` | {field.how.value} | {field.note} |")
        lines.append("")
    return "\n".join(lines)
