"""What a press keeps in memory is what it would make afresh; what kills it does no lasting harm."""

import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random

import pytest

from manifestgen import bundle
from manifestgen.config import find
from manifestgen.core import capgo
from manifestgen.core.archive import tree_of
from manifestgen.core.release import Scheme
from manifestgen.device import Updater
from manifestgen.errors import UsageError
from manifestgen.publish.offers import pairs
from manifestgen.serve import Server
from manifestgen.stores import DirectoryStore, open_store
from manifestgen.stores.names import blob_name
from manifestgen.verify import Anchor, Expected, verify
from manifestgen.watch import Press, WaitingSite, Workshop, open_workshop
from manifestgen.watch.folder import Folder
from manifestgen.watch.quick import QuickStore
from manifestgen.watch.rolling import Rolling
from tests.simulator import NOW
from tests.watch.watching import build, tree


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return build(tmp_path / "shop/dist", files=9)


def edit(dist: Path, chance: Random) -> set[str]:
    """Change, add or delete some files; return which."""
    touched = set()
    for _ in range(chance.randrange(1, 4)):
        path = dist / f"assets/chunk-{chance.randrange(12)}.js"
        if path.exists() and chance.random() < 0.3:
            path.unlink()
        else:
            path.write_bytes(
                chance.randbytes(chance.randrange(2)) + b"// text" * chance.randrange(99)
            )
        touched.add(path.relative_to(dist).as_posix())
    return touched


def test_a_rolling_bundle_holds_what_the_folder_holds(dist: Path) -> None:
    rolling, chance = Rolling(), Random(1)
    for _ in range(40):
        rolled = rolling.roll(bundle.read_build(dist), thorough=True)
        with rolling.plain as plain:
            found = tree_of(io.BytesIO(plain))
        assert found.digest() == rolled.tree == tree(dist)
        assert found.size == rolled.size
        edit(dist, chance)


def test_what_was_changed_last_lies_last(dist: Path) -> None:
    rolling = Rolling()
    for number in range(3):
        (dist / "assets/chunk-0.js").write_text(f"// {number}")
        rolled = rolling.roll(bundle.read_build(dist), thorough=True)
        with rolling.plain as plain:
            last = max(bytes(plain).index(file.encode()) for file in rolled.paths)
        # Before a name there are the 30 bytes of a local header.
        assert number == 0 or rolled.same <= last - 30
        assert number < 2 or rolled.same == last - 30


def test_a_look_at_some_files_finds_what_a_look_at_all_does(dist: Path) -> None:
    folder, chance = Folder(dist), Random(2)
    folder.look()
    for _ in range(60):
        touched = edit(dist, chance)
        assert folder.look(touched) == bundle.read_build(dist)


STRANGE = {
    "a key": ("assets/signing.pem", "-----BEGIN PRIVATE KEY-----", "holds a private key"),
    "another case": ("assets/CHUNK-0.js", "", "the same file"),
    "a folder's name": ("ASSETS", "", "of one name"),
    "another folder": ("Assets/x.js", "", "the same folder"),
    "a device of Windows": ("assets/aux.js", "", "a device on Windows"),
    "a project's settings": ("manifestgen.toml", "", "does not belong"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_no_bundle_holds_is_refused_at_once(dist: Path, case: str) -> None:
    name, text, why = STRANGE[case]
    folder = Folder(dist)
    folder.look()
    (dist / name).parent.mkdir(exist_ok=True)
    (dist / name).write_text(text)
    with pytest.raises(UsageError, match=why):
        folder.look({name})


@contextmanager
def workshop(dist: Path) -> Iterator[Workshop]:
    with open_workshop(find(dist.parent), dist, now=NOW) as found:
        yield found


class Phone:
    """A device that follows a development site."""

    def __init__(self, shop: Workshop, folder: Path, url: str | None = None) -> None:
        settings = shop.settings
        self.updater = Updater(
            open_store(url or shop.site),
            (settings.root_folder / "1.json").read_bytes(),
            folder,
            key=settings.capgo_public.read_bytes() if settings.scheme is Scheme.CAPGO else None,
            now=lambda: NOW + timedelta(minutes=1),
        )
        self.folder = folder

    def follows(self) -> str | None:
        """Install what is offered, and confirm it; return how it came."""
        outcome = self.updater.install()
        self.updater.confirm()
        return outcome.via


@pytest.mark.parametrize("scheme", ["capgo", "none"])
def test_a_device_follows_by_patches(dist: Path, tmp_path: Path, scheme: str) -> None:
    (dist.parent / "manifestgen.toml").write_text(f'app = "com.example.app"\nscheme = "{scheme}"\n')
    chance = Random(3)
    (dist / "assets/large.js").write_bytes(chance.randbytes(9000))  # so that patches are worth it
    with workshop(dist) as shop:
        press, phone = Press(shop, now=NOW), Phone(shop, tmp_path / "phone")
        press.publish(bundle.read_build(dist), now=NOW)
        assert phone.follows() == "bundle"
        ways = set()
        for number in range(12):
            edit(dist, chance)
            if press.publish(bundle.read_build(dist), now=NOW) and number % 3:
                ways.add(phone.follows())
                assert tree(phone.folder / "current") == tree(dist)
        assert "patch" in ways


def test_a_large_bundle_follows_when_all_is_still(dist: Path, tmp_path: Path) -> None:
    (dist / "assets/large.js").write_bytes(Random(4).randbytes(9000))
    with workshop(dist) as shop:
        press = Press(shop, now=NOW, at_once=1000)
        blobs = shop.site / "blobs"
        press.publish(bundle.read_build(dist), now=NOW)
        first = Phone(shop, tmp_path / "first")
        assert first.follows() == "bundle"
        (dist / "assets/chunk-0.js").write_text("// another")
        press.publish(bundle.read_build(dist), now=NOW)
        assert first.follows() == "patch"
        assert max(path.stat().st_size for path in blobs.rglob("*.bin")) < 20_000
        assert press.head is not None
        late = Phone(shop, tmp_path / "late")
        press.tidy(lambda: True)  # something better to do
        assert offered_bundle(press, shop) is False
        press.tidy()
        assert offered_bundle(press, shop) is True
        assert late.follows() == "bundle"


def test_whoever_asks_for_a_bundle_that_is_to_follow_gets_it(dist: Path, tmp_path: Path) -> None:
    (dist / "assets/large.js").write_bytes(Random(4).randbytes(9000))
    asked = threading.Event()
    with workshop(dist) as shop:
        press = Press(shop, now=NOW, at_once=1000, hurry=asked.set)
        press.publish(bundle.read_build(dist), now=NOW)
        (dist / "assets/chunk-0.js").write_text("// another")
        press.publish(bundle.read_build(dist), now=NOW)
        site = WaitingSite(shop.site, press.wait_for, render=lambda _name, _host: None)
        with Server(site) as server, ThreadPoolExecutor() as pool:
            late = Phone(shop, tmp_path / "late", server.url)
            way = pool.submit(late.follows)
            assert asked.wait(30)
            press.tidy(lambda: True)  # who waits comes before what there is to do
            assert way.result(30) == "bundle"
    assert tree(tmp_path / "late/current") == tree(dist)


def offered_bundle(press: Press, shop: Workshop) -> bool:
    """Tell whether the bundle that is offered can be had."""
    [(_, release)] = pairs(press.head)
    return shop.store.size(blob_name(release.bundle.blob)) == release.bundle.size


class Killed(BaseException):
    """Ends a run where no code of it expects that."""


class Dying(QuickStore):
    """A store whose process is killed before its nth change."""

    def __init__(self, folder: Path, scratch: Path, changes: int) -> None:
        super().__init__(folder, scratch)
        self.left = changes

    def _put(self, name: str, source: Path | bytes) -> None:
        self._live()
        super()._put(name, source)

    def delete(self, name: str) -> None:
        self._live()
        super().delete(name)

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed


@pytest.mark.parametrize("at_once", [0, pytest.param(1_000_000, marks=pytest.mark.full)])
def test_a_kill_anywhere_in_a_change_of_chapter(dist: Path, tmp_path: Path, at_once: int) -> None:
    (dist / "assets/large.js").write_bytes(Random(5).randbytes(9000))
    with workshop(dist) as shop:
        phone = Phone(shop, tmp_path / "phone")
        for changes in count():
            (dist / "assets/chunk-0.js").write_text(f"// {changes}")
            if not killed(shop, dist, changes, at_once):
                break
            # The next run begins; devices on the site go on, by whatever way is left.
            press = Press(shop, now=NOW, chapter=3)
            if press.head:
                assert problems(shop) == [], "whole at once, not only after the next save"
            sequence = press.head.manifest.sequence if press.head else 0
            press.publish(bundle.read_build(dist), now=NOW)
            assert press.head is not None
            assert press.head.manifest.sequence >= sequence
            phone.follows()
            assert tree(phone.folder / "current") == tree(dist)
            assert problems(shop) == []
        assert changes > 20


def killed(shop: Workshop, dist: Path, changes: int, at_once: int) -> bool:
    """Fill a chapter of three and begin the next, until killed; tell whether it was."""
    store = Dying(shop.site, shop.settings.folder / ".tmp-dying", changes)
    dying = Workshop(shop.settings, shop.chain, store, shop.base)
    try:
        press = Press(dying, now=NOW, chapter=3, at_once=at_once)
        for number in range(4):
            (dist / "assets/chunk-1.js").write_text(f"// {changes} {number}")
            press.publish(bundle.read_build(dist), now=NOW)
    except Killed:
        return True
    return False


def problems(shop: Workshop) -> list[str]:
    """Verify the site as `verify` does."""
    public = capgo.load_public(shop.settings.capgo_public.read_bytes())
    report = verify(
        DirectoryStore(shop.site),
        Anchor.of(*shop.chain.documents),
        now=NOW,
        expected=Expected(capgo=public),
    )
    return [one.message for one in report.problems]
