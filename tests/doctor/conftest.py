"""Projects to examine, and buckets for them."""

from tests.publish.project import fresh, project, published
from tests.stores.conftest import careless, in_bucket, location, prefix, seaweed

__all__ = [
    "careless",
    "fresh",
    "in_bucket",
    "location",
    "prefix",
    "project",
    "published",
    "seaweed",
]
