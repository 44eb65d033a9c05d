"""Bundles on disk: a build folder becomes a zip, and a zip becomes a folder again.

`build` reads what a bundler wrote and refuses what no bundle should hold, `pack` makes the zip,
with the help of a `cache` of earlier ones, `unpack` writes one out, `patched` makes one folder out
of another, `contents` reads single files of a zip. What a zip is, and which names it may hold, is
`core.archive` and `core.paths`; encrypting and storing it is others' business.
"""

from manifestgen.bundle.build import Build, BuildFile, read_build, version_of
from manifestgen.bundle.cache import Cache
from manifestgen.bundle.contents import Contents
from manifestgen.bundle.pack import (
    PACKER,
    PACKER_LARGE,
    Packed,
    Squeezed,
    changed,
    content_of,
    is_compressed,
    pack,
    squeeze,
)
from manifestgen.bundle.patched import apply_patch
from manifestgen.bundle.unpack import unpack

__all__ = [
    "PACKER",
    "PACKER_LARGE",
    "Build",
    "BuildFile",
    "Cache",
    "Contents",
    "Packed",
    "Squeezed",
    "apply_patch",
    "changed",
    "content_of",
    "is_compressed",
    "pack",
    "read_build",
    "squeeze",
    "unpack",
    "version_of",
]
