"""Each save, published: signed, encrypted and decided on as in production, on a site of its own.

`changes` notices and waits until it is quiet, `complete` tells whether a build is whole,
`workshop` is the project in `.manifestgen/dev/`, `press` publishes with everything in memory,
`loop` owns the order.
"""

from manifestgen.watch.changes import Changes
from manifestgen.watch.loop import Held, Loop, News
from manifestgen.watch.press import Press, Printed
from manifestgen.watch.workshop import Workshop, open_workshop

__all__ = ["Changes", "Held", "Loop", "News", "Press", "Printed", "Workshop", "open_workshop"]
