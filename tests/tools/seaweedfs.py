"""SeaweedFS: a real server of the S3 protocol that honours conditions."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from tests.tools.parts import Missing

BUCKET: Final = "updates"
_WITHIN = 60.0  # seconds for a server to start on a busy machine; two as a rule


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running server with one bucket; `environment` is what a publisher needs to find it."""

    endpoint: str
    bucket: str = BUCKET

    @property
    def environment(self) -> Mapping[str, str]:
        return environment(self.endpoint)

    def url(self, prefix: str) -> str:
        """Return where the server serves a prefix of the bucket to anybody."""
        return f"{self.endpoint}/{self.bucket}/{prefix}"


def environment(endpoint: str) -> dict[str, str]:
    """Return the variables of AWS's tools for a server that knows no keys."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "anybody",
        "AWS_SECRET_ACCESS_KEY": "anything",
    }


def program(name: str) -> Path:
    """Return a program that pip brought into the environment, or raise `Missing`."""
    found = Path(sys.executable).parent / name
    if not found.is_file():
        raise Missing(f"{name} is not installed in {found.parent}")
    return found


def free_ports(count: int) -> list[int]:
    """Return ports that are free now, whose fellows 10000 above are, too.

    SeaweedFS opens those for its parts to talk to each other.
    """
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", (port + 10_000) % 65_536))
            except (OSError, OverflowError):
                continue
        if port + 10_000 < 65_536 and port not in found:
            found.append(port)
    return found


@contextmanager
def serve(folder: Path, *, ports: list[int] | None = None) -> Iterator[S3Server]:
    """Run a server over a folder, until it answers; killed afterwards."""
    ports = ports or free_ports(5)
    with started(folder, ports):
        yield S3Server(f"http://127.0.0.1:{ports[0]}")


@contextmanager
def started(folder: Path, ports: list[int]) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a server on given ports; the first is S3's."""
    folder.mkdir(parents=True, exist_ok=True)
    s3, master, volume, filer, admin = ports
    log = folder.with_name(f"{folder.name}.log")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [
                *(program("weed"), "mini", f"-dir={folder}", f"-bucket={BUCKET}"),
                *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-webdav=false", "-admin.ui=false"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.port={s3}"),
                *(f"-master.port={master}", f"-volume.port={volume}"),
                *(f"-filer.port={filer}", f"-admin.port={admin}"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            # It would take a publisher's keys for the only ones that it is to let in.
            env={name: value for name, value in os.environ.items() if not name.startswith("AWS_")},
        )
    try:
        _wait(process, f"http://127.0.0.1:{s3}/{BUCKET}/", log)
        yield process
    finally:
        stop(process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """Kill a server and whatever it started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    until = time.monotonic() + _WITHIN
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            # It lists a bucket before it knows where to write.
            for method in ("PUT", "DELETE"):
                urlopen(Request(f"{url}.ready", b"x", method=method), timeout=5).close()
            return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"no server at {url}: {log.read_text(errors='replace')[-2000:]}")
