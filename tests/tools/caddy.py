"""A real Caddy on a free port of the loopback, for as long as a `with` lasts."""

import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.tools import parts
from tests.tools.process import free_port, stop

# Another process may take the port between our asking for a free one and Caddy's binding it.
_TRIES = 5
_SECONDS_TO_START = 60

_GLOBAL = "{\n\tadmin off\n\tpersist_config off\n\tauto_https off\n}\n\n"


@dataclass(frozen=True, slots=True)
class Caddy:
    """A running Caddy: the site's address, and the folder of its configuration and logs."""

    url: str
    folder: Path

    def errors(self) -> str:
        """Return Caddy's own log."""
        return (self.folder / "error.log").read_text()


@contextmanager
def serve(config_text: str) -> Iterator[Caddy]:
    """Run a Caddyfile whose one address becomes ours; may raise `Missing`."""
    program = parts.locate("caddy")
    with tempfile.TemporaryDirectory(prefix="caddy-") as name:
        folder = Path(name)
        port, process = _start(program, folder, config_text)
        try:
            yield Caddy(f"http://127.0.0.1:{port}", folder)
        finally:
            stop(process)


def _start(program: Path, folder: Path, text: str) -> tuple[int, "subprocess.Popen[bytes]"]:
    config = folder / "Caddyfile"
    for _ in range(_TRIES):
        port = free_port()
        ours, count = re.subn(r"(?m)^\S+ \{$", f"http://127.0.0.1:{port} {{", text, count=1)
        assert count, "the Caddyfile has no address"
        config.write_text(_GLOBAL + ours)
        with (folder / "error.log").open("wb") as log:
            process = subprocess.Popen(
                [program, "run", "--config", config, "--adapter", "caddyfile"],
                env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
            )
        if _answers(port, process):
            return port, process
        stop(process)
        if "address already in use" not in (folder / "error.log").read_text():
            break
    raise RuntimeError(f"Caddy did not start:\n{(folder / 'error.log').read_text()}")


def _answers(port: int, process: "subprocess.Popen[bytes]") -> bool:
    end = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process.poll() is None
        time.sleep(0.02)
    return False
