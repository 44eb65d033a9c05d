"""A development site that is asked for what is still to be written, and waits."""

from collections.abc import Callable
from pathlib import Path

from manifestgen.serve import Site
from manifestgen.serve.answer import Answer, Render, Request


class WaitingSite(Site):
    """Answers for a folder once `wait_for`, told a name, returns."""

    def __init__(self, folder: Path, wait_for: Callable[[str], None], *, render: Render) -> None:
        super().__init__(folder, render=render)
        self._wait_for = wait_for

    def answer(self, request: Request) -> Answer:
        """Answer one request; the caller closes the answer."""
        self._wait_for(request.path.partition("?")[0].lstrip("/"))
        return super().answer(request)
