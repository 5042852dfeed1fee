"""The pod: Kubernetes manifests, and the kubelet's rules for running them on a laptop."""
