"""The use cases of a publisher; this package owns their order.

`publish` is the way from a folder to the signed file; `init` makes a project, `trust` holds its
root chain, `site` is what was published so far, `release` makes blobs, `commit` makes manifests.
"""

from manifestgen.publish.init import Made, init
from manifestgen.publish.publish import (
    CapgoZip,
    Published,
    Request,
    parse_share,
    parse_version,
    publish,
    read_build,
    version_beside,
)
from manifestgen.publish.start import open_site

__all__ = [
    "CapgoZip",
    "Made",
    "Published",
    "Request",
    "init",
    "open_site",
    "parse_share",
    "parse_version",
    "publish",
    "read_build",
    "version_beside",
]
