"""Copy a site from one store to another: a mirror, or a move.

`source` verifies what is to be copied, `compare` says what the other side lacks and refuses to take
it backwards, `transfer` writes, in the order of a publish. Nothing is signed: what arrives is what
was signed, byte for byte.
"""

from manifestgen.copy.compare import Change, Plan
from manifestgen.copy.source import Source, read_source
from manifestgen.copy.transfer import Copied, Progress, copy_site

__all__ = ["Change", "Copied", "Plan", "Progress", "Source", "copy_site", "read_source"]
