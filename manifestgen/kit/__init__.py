"""Carry a site's news across an air gap, in one file.

`export` makes a kit of what the other side lacks, `receive` imports it, `inspect` looks into it.
`archive` and `contents` are its form, `receipt` is what the other side answers; `documents` judges
what a kit says, and `compare` whether a site can take it.
"""

from manifestgen.kit.compare import Plan
from manifestgen.kit.contents import Kit
from manifestgen.kit.documents import Trust, grouped
from manifestgen.kit.export import Exported, export
from manifestgen.kit.inspect import Inspected, inspect, versions, would_import
from manifestgen.kit.receipt import Receipt, read_receipt
from manifestgen.kit.receive import Imported, receive

__all__ = [
    "Exported",
    "Imported",
    "Inspected",
    "Kit",
    "Plan",
    "Receipt",
    "Trust",
    "export",
    "grouped",
    "inspect",
    "read_receipt",
    "receive",
    "versions",
    "would_import",
]
