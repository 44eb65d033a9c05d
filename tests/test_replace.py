"""A file that is replaced is never, not for a moment, open to more people than before."""

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from manifestgen.bundle.replace import replacing

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("before", [0o600, 0o400, 0o640, 0o644, 0o664, 0o755])
def test_permissions_stay_those_of_the_file_before(tmp_path: Path, before: int) -> None:
    target = tmp_path / "secret"
    target.write_bytes(b"old")
    target.chmod(before)
    with replacing(target) as file:
        [temporary] = [path for path in tmp_path.iterdir() if path != target]
        assert mode(temporary) & ~before == 0
        file.write(b"new")
        file.seek(0)
        assert file.read() == b"new"
    assert (mode(target), target.read_bytes()) == (before, b"new")
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_file_has_what_the_umask_allows(tmp_path: Path) -> None:
    with replacing(tmp_path / "new") as file:
        file.write(b"new")
    assert mode(tmp_path / "new") == 0o644


def test_nothing_is_left_of_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "secret"
    target.write_bytes(b"old")
    with suppress(ZeroDivisionError), replacing(target) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]
