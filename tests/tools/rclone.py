"""`rclone serve s3`: an object store that takes conditions and ignores them."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.tools.seaweedfs import BUCKET, S3Server, free_ports, program, stop


@contextmanager
def serve(folder: Path) -> Iterator[S3Server]:
    """Run a server with one bucket, until it answers; killed afterwards."""
    (folder / BUCKET).mkdir(parents=True)
    (port,) = free_ports(1)
    log = folder.with_name(f"{folder.name}.log")
    with log.open("ab") as out:
        process = subprocess.Popen(
            [
                *(program("rclone"), "serve", "s3", folder, "--addr", f"127.0.0.1:{port}"),
                # Without a cache of its own it writes each file anew, and slowly.
                *("--vfs-cache-mode", "full", "--cache-dir", folder.with_name("cache")),
                *("--config", ""),
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/{BUCKET}", log)
        yield S3Server(f"http://127.0.0.1:{port}")
    finally:
        stop(process)


def _wait(process: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until and process.poll() is None:
        try:
            with urlopen(url, timeout=5):
                return
        except HTTPError:
            return  # it answers
        except (URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(f"rclone did not start: {log.read_text(errors='replace')[-2000:]}")
