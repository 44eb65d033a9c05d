"""Network namespaces: machines that share a disk and no network. Linux, and its `ip` and `unshare`.

`ip netns` takes root; where it is refused, tests fall back on folders that only kits cross between.
"""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools.parts import Missing
from tests.tools.process import reason, run


@dataclass(frozen=True, slots=True)
class Machine:
    """A place where programs run; `namespace` of `None` is the network of the test itself."""

    namespace: str | None

    def prefix(self) -> list[str]:
        """Return the words that put a program there."""
        if self.namespace is None:
            return []
        return ["ip", "netns", "exec", self.namespace]

    def run(
        self, command: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program there to its end."""
        return run([*self.prefix(), *command], cwd=cwd, env=env)

    def start(self, command: Sequence[str | Path], *, cwd: Path) -> "subprocess.Popen[bytes]":
        """Start a program there."""
        return subprocess.Popen(
            [*self.prefix(), *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def machine() -> Iterator[Machine]:
    """Give a network with nothing in it but a loopback of its own; may raise `Missing`."""
    if os.name != "posix" or not shutil.which("ip"):
        raise Missing("ip is not installed (Debian's package iproute2)")
    name = f"manifestgen-{uuid.uuid4().hex[:12]}"
    made = run(["ip", "netns", "add", name])
    if made.returncode:
        raise Missing(f"network namespaces are refused here: {reason(made)}")
    try:
        up = run(["ip", "netns", "exec", name, "ip", "link", "set", "lo", "up"])
        if up.returncode:
            raise Missing(f"network namespaces are refused here: {reason(up)}")
        yield Machine(name)
    finally:
        run(["ip", "netns", "delete", name])
