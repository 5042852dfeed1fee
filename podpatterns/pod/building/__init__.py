"""From the checked values of one document to a `PodSpec`: names, references inside the pod, defaults.

Rules are the API server's own (validation.go of Kubernetes' core group), as far as they concern what is run here.
"""

from __future__ import annotations

from podpatterns.pod.building.names import check_name
from podpatterns.pod.building.pods import PodBuilder
from podpatterns.pod.building.services import build_service

__all__ = ["PodBuilder", "build_service", "check_name"]
