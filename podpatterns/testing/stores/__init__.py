"""Fakes of log stores that speak HTTP: they keep what is well-formed and refuse everything else.

Each is as strict as its protocol's documentation, and stricter where real stores forgive: what a fake accepts, the
store accepts. `records` is what has been stored, once each, in order; `refuse` is a function that says which records
are poison. What is scripted with `will` is answered instead of storing anything.
"""

from podpatterns.testing.stores.elasticsearch import FakeElasticsearch
from podpatterns.testing.stores.http import FakeHttp
from podpatterns.testing.stores.loki import FakeLoki
from podpatterns.testing.stores.otlp import FakeOtlp
from podpatterns.testing.stores.s3 import FakeS3
from podpatterns.testing.stores.splunk import FakeSplunk
from podpatterns.testing.stores.store import FakeStore

__all__ = ["FakeElasticsearch", "FakeHttp", "FakeLoki", "FakeOtlp", "FakeS3", "FakeSplunk", "FakeStore"]
