"""Check a published site the way a device or an auditor would, all of it, writing nothing.

`verify` owns the order; `roots`, `manifests`, `releases`, `blobs`, `stock` and `leftovers` check
one part each; `audit` reads documents and collects what is found; `report` is the result.
"""

from manifestgen.verify.anchor import Anchor
from manifestgen.verify.report import Note, Part, Problem, Report
from manifestgen.verify.verify import Expected, verify

__all__ = ["Anchor", "Expected", "Note", "Part", "Problem", "Report", "verify"]
