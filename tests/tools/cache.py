"""The folder outside the checkout where fetched things stay. Standard library only."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def folder(name: str) -> Path:
    """Return the cache's folder of that name, made if need be."""
    default = Path.home() / ".cache" / "manifestgen-tests"
    path = Path(os.environ.get("MANIFESTGEN_TEST_CACHE") or default) / name
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the cache's lock of that name: test runs on one machine wait for one another."""
    with (folder("locks") / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def once(path: Path, make: Callable[[Path], None]) -> Path:
    """Return the folder `path`, filled by `make` if it is not there yet, and never half filled."""
    if path.is_dir():
        return path
    with lock(path.name):
        if not path.is_dir():
            _fill(path, make)
    return path


def _fill(path: Path, make: Callable[[Path], None]) -> None:
    work = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    try:
        work.chmod(0o755)
        make(work)
        work.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
