"""The node: a small process beside the runner, which stands for the machine that a kubelet runs on.

It holds the user namespace (for whoever is not root), the pods' networks, and becomes each container's process by
forking. The runner talks to it over a socket pair (`client`, `program`); it ends with the runner.
"""
