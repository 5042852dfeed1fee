"""The sidecar: ships what the primary container logs, losing nothing that it does not count."""
