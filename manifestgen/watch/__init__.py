"""Each save, published: signed, encrypted and decided on as in production, on a site of its own.

`changes` notices and waits until it is quiet, `folder` looks at what changed, `complete` tells
whether a build is whole. `workshop` is the project in `.manifestgen/dev/`, `press` publishes into
it with everything in memory: the bundle (`rolling`), its encryption (`seal`) and patches to it
(`shortcuts`). `loop` owns the order.
"""

from manifestgen.watch.changes import Changes
from manifestgen.watch.loop import Held, Loop, News
from manifestgen.watch.press import Press, Printed
from manifestgen.watch.waiting import WaitingSite
from manifestgen.watch.workshop import Workshop, open_workshop

__all__ = [
    "Changes",
    "Held",
    "Loop",
    "News",
    "Press",
    "Printed",
    "WaitingSite",
    "Workshop",
    "open_workshop",
]
