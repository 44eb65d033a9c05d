"""Projects to examine."""

from tests.publish.project import fresh, project, published

__all__ = ["fresh", "project", "published"]
