"""What a pod has of its own: network, mounts, processes, host name. In e2e an ordinary user sees the same."""

import asyncio
import os
import socket
import subprocess
import sys
import urllib.request

import pytest

from podpatterns.errors import ConfigError, PodpatternsError
from podpatterns.pod import LocalPod, What
from tests.pod.documents import STAY, pod, shell

PYTHON = sys.executable


def namespaces():
    return subprocess.run(["unshare", "-Urnmpf", "true"], check=False, capture_output=True).returncode == 0


pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(not namespaces(), reason="this machine gives this user no namespaces"),
]


def web(name, port, address="0.0.0.0", **more):
    """A web server whose only page says its name, and which ends when it is told to."""
    script = (
        "import http.server, signal, sys\n"
        "class Page(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        f"        body = b'{name}'\n"
        "        self.send_response(200); self.send_header('Content-Length', len(body)); self.end_headers()\n"
        "        self.wfile.write(body)\n"
        "    def log_message(self, *a): print('asked by', self.client_address[0], flush=True)\n"
        "signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))\n"
        f"server = http.server.ThreadingHTTPServer(('{address}', {port}), Page)\n"
        "print('up', flush=True)\n"
        "server.serve_forever()\n"
    )
    return {"name": name, "command": [PYTHON, "-c", script], **more}


def service(name, *ports, **spec):
    spec = {"selector": {"app": name}, "ports": list(ports), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


GET = f'{PYTHON} -c "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode())"'


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


async def fetch(port):
    def get():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(get)


async def said(local, container, *texts):
    for text in texts:
        await local.wait_line(container, text)


# --- the network --------------------------------------------------------------------------------------------------


async def test_containers_share_localhost_with_each_other_and_with_nobody_else():
    """One reaches the other on 127.0.0.1; another pod with the same port does not, nor does this machine."""
    port = free_port()
    client = shell("client", f"until {GET} http://127.0.0.1:{port} 2> /dev/null; do sleep 0.1; done; {STAY}")
    alone = shell("alone", f"{GET} http://127.0.0.1:{port} 2> /dev/null || echo refused; {STAY}")
    documents = pod(web("server", port), client, name="one"), pod(alone, name="two")
    async with LocalPod(*documents, network="pod") as local:
        await said(local, "client", "server", "up")
        await said(local, "alone", "refused", "up")
        with pytest.raises(OSError, match="refused"):
            await fetch(port)


async def test_two_pods_can_have_one_port():
    """Each on a network of its own; on this machine's network they could not."""
    port = free_port()
    documents = [pod(web(name, port, ports=[{"containerPort": port}]), name=name) for name in ("one", "two")]
    async with LocalPod(*documents, network="pod") as local:
        await said(local, "one", "up")
        await said(local, "two", "up")
    with pytest.raises(ConfigError, match=f"port {port} of container two is pod one's, too"):
        async with LocalPod(*documents, network="host"):
            pass


async def test_a_privileged_port_can_be_had():
    """Port 80, by a process without rights, as in container runtimes."""
    async with LocalPod(pod(web("server", 80)), network="pod", publish=[f"{free_port()}:80"]) as local:
        await local.wait_line("server", "up")


async def test_a_probe_goes_to_the_pods_address_and_says_why_loopback_is_not_enough():
    """A server on 127.0.0.1 fails it as on a cluster, and the timeline says what to change."""
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    mains = web("hidden", 8080, "127.0.0.1", readinessProbe=probe)
    async with LocalPod(pod(mains), network="pod", speed=5) as local:
        entry = await local.wait(What.UNHEALTHY, "hidden", text="listens on 127.0.0.1 alone")
        assert "http://10.244.0.2:8080/: connection refused" in entry.detail
        assert not local.runners[0].pod.ready
    async with LocalPod(pod(web("seen", 8080, readinessProbe=probe)), network="pod", speed=5) as local:
        await local.wait_ready()
        await local.wait_line("seen", "asked by 10.244.0.1")


async def test_a_published_port_reaches_in():
    """`--publish` as `kubectl port-forward`: also to a server on the pod's localhost."""
    ports = [free_port() for _ in range(3)]
    documents = [
        pod(web("a", 8080, ports=[{"containerPort": 8080}]), web("b", 8081, "127.0.0.1"), name="one"),
        pod(web("c", 8082, ports=[{"containerPort": 8082, "hostPort": ports[2]}]), name="two"),
    ]
    publish = [f"{ports[0]}:8080", f"127.0.0.1:{ports[1]}:one/8081"]
    async with LocalPod(*documents, network="pod", publish=publish) as local:
        for name in "abc":
            await local.wait_line(name, "up")
        assert [await fetch(port) for port in ports] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("publish", "message"),
    [
        ("eighty", r"must be \[\[HOST:\]PORT:\]\[POD/\]PORT"),
        ("8080:nobody/80", 'there is no pod "nobody"; there are: one, two'),
        ("8080:80", "no pod declares port 80; say which pod is meant: one/80"),
        ("8080:70000", "a port is between 1 and 65535"),
    ],
)
async def test_what_cannot_be_published_is_named(publish, message):
    """Before anything is started."""
    with pytest.raises(ConfigError, match=message):
        async with LocalPod(pod(shell("a", STAY), name="one"), pod(shell("b", STAY), name="two"), publish=[publish]):
            pass


async def test_a_published_port_that_is_taken_is_refused():
    """With both ends of it in the message."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        with pytest.raises(
            ConfigError, match=f"port {number} of 127.0.0.1, which is to lead to 80 of pod test, is tak"
        ):
            async with LocalPod(pod(shell("main", STAY)), network="pod", publish=[f"{number}:80"]):
                pass


@pytest.mark.parametrize("network", ["pod", "host"])
async def test_a_service_leads_to_the_ready_pods_by_name_and_by_variable(network):
    """Its port may differ from theirs; nobody is asked who is not ready."""
    port, target, other = free_port(), free_port(), free_port()
    ready = {"exec": {"command": ["test", "-e", "/opt/nowhere/ready"]}, "periodSeconds": 1}
    volume = {"volumes": [{"name": "v", "emptyDir": {}}]}
    mount = [{"name": "v", "mountPath": "/opt/nowhere"}]
    named = [{"name": "http", "containerPort": target}]
    one = web("one", target, ports=named)
    two = web("two", other, ports=[{"name": "http", "containerPort": other}], readinessProbe=ready, volumeMounts=mount)
    by_name, by_variable = f"{GET} http://shop:{port}", f"{GET} http://$SHOP_SERVICE_HOST:$(SHOP_SERVICE_PORT)"
    asking = f"for n in 1 2 3 4; do {by_name}; {by_variable}; done; {STAY}"
    client = shell("client", f"until {GET} http://shop:{port} > /dev/null 2>&1; do sleep 0.1; done; {asking}")
    documents = (
        service("shop", {"port": port, "targetPort": "http"}),
        pod(one, name="one", labels={"app": "shop"}),
        pod(two, name="two", labels={"app": "shop"}, **volume),
        pod(client, name="client"),
    )
    async with LocalPod(*documents, network=network) as local:
        await local.wait_line("client", "up")
        assert local.output("client") == ["one"] * 8 + ["up"]


@pytest.mark.parametrize("taken", [False, True])
async def test_what_is_outside_can_be_reached_by_tcp(taken):
    """A pod connects to this machine's address and gets through, also at a port that a service in the run has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        address = probe.getsockname()[0]
    with socket.create_server((address, 0)) as outside:
        outside.settimeout(30)
        port = outside.getsockname()[1]
        script = f"import socket; print(socket.create_connection(('{address}', {port}), 10).recv(9).decode())"
        main = {"name": "main", "command": [PYTHON, "-c", script]}
        services = [service("shop", {"port": port})] if taken else []
        async with LocalPod(*services, pod(main, restartPolicy="Never"), network="pod") as local:
            connection, _ = await asyncio.to_thread(outside.accept)
            with connection:
                connection.sendall(b"through")
            await local.finished()
    assert local.output("main") == ["through"]


async def test_a_pod_that_asks_for_the_host_network_has_it():
    """`hostNetwork: true` beside a pod that has its own."""
    port = free_port()
    documents = pod(web("open", port), name="one", hostNetwork=True), pod(web("own", 8080), name="two")
    async with LocalPod(*documents, network="pod") as local:
        await local.wait_line("open", "up")
        await local.wait_line("own", "up")
        assert await fetch(port) == "open"


async def test_names_and_addresses_are_the_pods():
    """Host name, hosts file, aliases and the downward API agree."""
    env = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in (("IP", "status.podIP"), ("NODE", "status.hostIP"))
    ]
    script = "hostname; echo $IP $NODE; getent hosts shop | tr -s ' '; getent hosts db | tr -s ' '"
    aliases = [{"ip": "192.0.2.7", "hostnames": ["db", "database"]}]
    document = pod(shell("main", script, env=env), name="shop", restartPolicy="Never", hostAliases=aliases)
    async with LocalPod(document, network="pod") as local:
        await local.finished()
    assert local.output("main") == ["shop", "10.244.0.2 10.244.0.1", "10.244.0.2 shop", "192.0.2.7 db database"]


async def test_the_network_that_cannot_be_had_is_refused_in_words():
    """`--network pod` with paths that are rewritten: an error, not a guess."""
    with pytest.raises(PodpatternsError, match="try --network host"):
        async with LocalPod(pod(shell("main", STAY)), network="pod", mounts="rewrite"):
            pass


# --- processes ----------------------------------------------------------------------------------------------------


async def test_the_main_process_is_number_1_and_sees_its_own_alone():
    """Two containers, each with a PID namespace and a /proc."""
    script = "echo I am $$$$; ls /proc | grep -cE '^[0-9]+$'; " + STAY
    async with LocalPod(pod(shell("a", script), shell("b", script))) as local:
        await said(local, "a", "up")
        await said(local, "b", "up")
        for name in "ab":
            assert local.output(name)[0] == "I am 1"
            assert int(local.output(name)[1]) < 8


async def test_with_a_shared_process_namespace_containers_see_each_other():
    """`shareProcessNamespace`: number 1 is somebody else, who reaps."""
    script = "echo I am $$$$; until grep -l needle /proc/[0-9]*/cmdline | grep -v self; do sleep 0.05; done; " + STAY
    other = shell("b", "exec sh -c \"trap 'exit 0' TERM; : needle; sleep 100 & wait\"")
    async with LocalPod(pod(shell("a", script), other, shareProcessNamespace=True)) as local:
        await local.wait_line("a", "up")
        assert local.output("a")[0] != "I am 1"


async def test_a_signal_without_a_handler_is_lost_on_process_1_and_the_timeline_says_so():
    """As on a cluster: `sleep` hears no SIGTERM, and is killed when its grace is over."""
    document = pod({"name": "main", "command": ["sleep", "100"]}, terminationGracePeriodSeconds=1)
    async with LocalPod(document, speed=10) as local:
        await local.wait_ready()
    assert [verdict.exit_code for verdict in local.verdicts()] == [137]
    assert any("main does not handle SIGTERM" in entry.detail for entry in local.timeline.entries)


async def test_what_a_container_leaves_behind_ends_with_it():
    """A process in a session of its own, too: its namespace is gone, and it cannot hold the output open."""
    document = pod(shell("main", "setsid sleep 1000 & echo started; exit 0"), restartPolicy="Never")
    async with LocalPod(document) as local:
        await local.wait_line("main", "started")
        async with asyncio.timeout(5):
            await local.finished()


# --- mounts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/opt/nowhere", "/etc/nowhere", "/usr/lib/nowhere", "/var/run/nowhere"])
async def test_a_mount_is_at_its_path_in_the_container_and_nowhere_else(path):
    """Also below a directory of the machine that only root may write to."""
    document = pod(
        shell(
            "main",
            f"echo kept > {path}/f && cat {path}/f && ls /usr/bin/env",
            volumeMounts=[{"name": "v", "mountPath": path}],
        ),
        volumes=[{"name": "v", "emptyDir": {}}],
        restartPolicy="Never",
    )
    async with LocalPod(document) as local:
        await local.finished()
        assert not os.path.exists(path)  # noqa: ASYNC240, PTH110
    assert local.output("main") == ["kept", "/usr/bin/env"]


async def test_the_whole_machine_mounted_into_itself_is_no_cycle():
    """hostPath "/": it is seen once, without an end, and unmounted with the container."""
    document = pod(
        shell(
            "main",
            "ls /host/usr/bin/env; ls /host/host 2> /dev/null | wc -l",
            volumeMounts=[{"name": "v", "mountPath": "/host"}],
        ),
        volumes=[{"name": "v", "hostPath": {"path": "/"}}],
        restartPolicy="Never",
    )
    async with LocalPod(document) as local:
        await local.finished()
    assert local.output("main") == ["/host/usr/bin/env", "0"]
