"""Killed before every change to the state folder, then run again: it completes, never half."""

import random
import sys
from itertools import count
from pathlib import Path

import pytest

from manifestgen.core.manifest import Offer
from manifestgen.core.release import Scheme
from manifestgen.device.files import tree_of
from manifestgen.stores import DirectoryStore
from tests.device.publisher import Device, Publisher, page, pem
from tests.simulator import NOW
from tests.stores.kill_at import run_killed_at

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills with SIGKILL")

_NOISE = random.Random(3).randbytes(20_000)  # so that a bundle is much larger than a list

_RUN = f"""
import sys
from datetime import datetime
from pathlib import Path
from manifestgen.device import Updater
from manifestgen.stores import DirectoryStore
site, root, key, state, what = sys.argv[1:]
now = datetime.fromisoformat({NOW.isoformat()!r})
updater = Updater(
    DirectoryStore(site), Path(root).read_bytes(), Path(state),
    key=Path(key).read_bytes(), now=lambda: now,
)
getattr(updater, what)()
"""


class Kiosk:
    """A device whose runs are processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.publisher = Publisher(DirectoryStore(folder / "site"))
        self.device = Device(self.publisher, folder / "state")
        self.device.key = pem()
        (folder / "root.json").write_bytes(self.publisher.root)
        (folder / "key.pem").write_bytes(pem())
        self.folder = folder

    def publish(self, version: str, *, root: int = 1) -> None:
        release = self.publisher.bundle(version, scheme=Scheme.CAPGO)
        self.publisher.publish(Offer(self.publisher.sign(release)), root=root)

    def publish_listed(self, version: str) -> None:
        files = {**page(version), "noise.bin": _NOISE}
        release = self.publisher.bundle(version, files, scheme=Scheme.CAPGO)
        self.publisher.publish(Offer(self.publisher.sign(self.publisher.listed(release, files))))

    def killed_at(self, n: int, what: str) -> bool:
        names = ["site", "root.json", "key.pem", "state"]
        argv = ["-c", _RUN, *(str(self.folder / name) for name in names), what]
        (self.folder / "state").mkdir(exist_ok=True)
        run = run_killed_at(n, argv, under=self.folder / "state")
        assert run.killed or run.code == 0, run.stderr
        return run.killed

    def check_current(self) -> str | None:
        """Whatever `current` leads to is whole; return its version."""
        current = self.folder / "state" / "current"
        if not current.is_symlink():
            return None
        assert tree_of(current.resolve()).digest() == current.resolve().name
        return self.device.version


def test_a_first_run(tmp_path: Path) -> None:
    """What follows the first check is an update's, below."""
    for n in count(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        kiosk = Kiosk(folder)
        kiosk.publish("1.0.0")
        if not kiosk.killed_at(n, "check"):
            break
        assert kiosk.check_current() is None
        assert kiosk.device.install() == "installed"
        assert kiosk.check_current() == "1.0.0"
    assert n > 10


def test_an_update_with_a_new_root(tmp_path: Path) -> None:
    for n in count(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        kiosk = Kiosk(folder)
        kiosk.publish("1.0.0")
        kiosk.device.install()
        kiosk.device.updater.confirm()
        kiosk.publisher.rotate(2)
        kiosk.publish("1.1.0", root=2)
        if not kiosk.killed_at(n, "install"):
            break
        assert kiosk.check_current() in {"1.0.0", "1.1.0"}
        if kiosk.device.updater.status().confirmed:
            assert kiosk.device.install() == "installed"
        assert kiosk.check_current() == "1.1.0"
        kiosk.device.updater.confirm()
        found = kiosk.device.updater.status()
        assert (found.root, found.sequence, found.failed) == (2, 2, ())
        assert str(found.previous and found.previous.version) == "1.0.0"
    assert n > 15


def test_an_update_by_single_files(tmp_path: Path) -> None:
    for n in count(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        kiosk = Kiosk(folder)
        kiosk.publish_listed("1.0.0")
        kiosk.device.install()
        kiosk.device.updater.confirm()
        kiosk.publish_listed("1.1.0")
        if not kiosk.killed_at(n, "install"):
            break
        assert kiosk.check_current() in {"1.0.0", "1.1.0"}
        if kiosk.device.updater.status().confirmed:
            outcome = kiosk.device.updater.install()
            assert outcome.via in {"files", "kept"}
        assert kiosk.check_current() == "1.1.0"
    assert n > 15


def test_a_roll_back(tmp_path: Path) -> None:
    for n in count(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        kiosk = Kiosk(folder)
        kiosk.publish("1.0.0")
        kiosk.device.install()
        kiosk.device.updater.confirm()
        kiosk.publish("1.1.0")
        kiosk.device.install()
        if not kiosk.killed_at(n, "install"):
            break
        assert kiosk.check_current() in {"1.0.0", "1.1.0"}
        assert kiosk.device.install() == "none"
        assert kiosk.check_current() == "1.0.0"
        assert [str(one.version) for one in kiosk.device.updater.status().failed] == ["1.1.0"]
    assert n > 5


def test_a_reset(tmp_path: Path) -> None:
    for n in count(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        kiosk = Kiosk(folder)
        kiosk.publish("1.0.0")
        kiosk.device.install()
        kiosk.device.updater.confirm()
        kiosk.publisher.publish(withdrawn=["1.0.0"])
        if not kiosk.killed_at(n, "install"):
            break
        assert kiosk.check_current() in {"1.0.0", None}
        kiosk.device.install()
        assert kiosk.check_current() is None
        assert not kiosk.device.updater.status().failed
    assert n > 5


def test_a_confirmation(tmp_path: Path) -> None:
    for n in count(1):
        folder = tmp_path / str(n)
        folder.mkdir()
        kiosk = Kiosk(folder)
        kiosk.publish("1.0.0")
        kiosk.device.install()
        if not kiosk.killed_at(n, "confirm"):
            break
        assert kiosk.check_current() == "1.0.0"
        assert kiosk.device.updater.confirm().confirmed
    assert n > 3
