"""Documents that go from hand to hand: only one's own are signed, and none is lost."""

import json
import os
import shutil
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest

from manifestgen.publish.trust import write_file
from tests.channels.conftest import Publisher
from tests.publish.project import COMMAND, snapshot
from tests.roots.conftest import ROOT, new_key, uses
from tests.stores.kill_at import run_killed_at


@pytest.fixture
def other(shop: Publisher, tmp_path: Path) -> Publisher:
    """Give another app's project that is signed by the same key."""
    made = Publisher(tmp_path / "other", shop.now)
    made.folder.mkdir()
    uses_as_other(made, ROOT)
    shutil.copytree(shop.folder / ".manifestgen/keys", made.folder / ".manifestgen/keys")
    made.does("init")
    return made


def uses_as_other(publisher: Publisher, root: str | Sequence[str]) -> None:
    """Name keys in the other app's manifestgen.toml."""
    uses(publisher, root=root)
    config = publisher.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace("com.example.shop", "com.example.other"))


def pending(publisher: Publisher, name: str) -> Path:
    return publisher.folder / ".manifestgen/pending" / name


@pytest.mark.parametrize("kind", ["root", "release"])
@pytest.mark.parametrize("flag", ["--dry-run", "--quiet"])
def test_a_document_of_another_app_is_not_signed(
    kind: str, flag: str, shop: Publisher, other: Publisher
) -> None:
    second = new_key(other, "second")
    other.does(f"keys add second.pub.pem --role {kind}")
    uses_as_other(other, [ROOT, second])
    other.does(f"keys add second.pub.pem --role {kind} --threshold 2")
    uses_as_other(other, ROOT)
    if kind == "root":
        other.does("keys renew")
        path = pending(other, "root-4.json")
    else:
        build = f"{shop.folder}/dist/1.0.0"
        assert other.run("publish", "--version", "1.2.0", build).code == 4
        path = pending(other, "release-1.2.0.json")
    before = snapshot(shop.folder), path.read_bytes()
    said = shop.run("keys", "sign", path, flag)
    assert said.code == 3, said
    assert "is of com.example.other, and this project of com.example.shop" in said.err
    assert "hint: nothing was signed" in said.err
    assert (snapshot(shop.folder), path.read_bytes()) == before


def test_another_root_of_the_same_number_is_refused(shop: Publisher, tmp_path: Path) -> None:
    twin = Publisher(tmp_path / "twin", shop.now)
    shutil.copytree(shop.folder, twin.folder)
    twin.later(hours=1)
    for one in (shop, twin):
        one.does("keys renew")
    theirs = twin.folder / ".manifestgen/root/2.json"
    said = shop.run("keys", "sign", theirs)
    assert said.code == 3
    assert "is another root 2 than the one that is in force here" in said.err


def test_whoever_is_behind_is_told_what_comes_first(shop: Publisher, tmp_path: Path) -> None:
    behind = Publisher(tmp_path / "behind", shop.now)
    shutil.copytree(shop.folder, behind.folder)
    for _ in range(2):
        shop.does("keys renew")
    root = shop.folder / ".manifestgen/root"
    said = behind.run("keys", "sign", root / "3.json")
    assert said.code == 2
    assert "is root 3; this project is at root 1" in said.err
    for number in (2, 3):  # as the hint says
        behind.does("keys sign", root / f"{number}.json")
    assert behind.data("keys list")["root"] == 3


def test_killed_anywhere_the_signature_is_given_by_the_next_try(
    shop: Publisher, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A root in force here, of which the stick never got the whole, would reach nobody else."""
    second = new_key(shop, "second")
    shop.does("keys add second.pub.pem --role root")
    uses(shop, root=[ROOT, second])
    shop.does("keys add second.pub.pem --role root --threshold 2")
    uses(shop, root=ROOT)
    shop.does("keys renew")
    # A file is written by three changes: one of them is before the next that is tried.
    for number in count(1, 1 if request.config.getoption("--full") else 3):
        desk = tmp_path / str(number)
        shutil.copytree(shop.folder, desk / "bea", symlinks=True)
        shutil.copy(pending(shop, "root-4.json"), desk)
        bea = Publisher(desk / "bea", shop.now)
        uses(bea, root=second)
        words = ["keys", "sign", str(desk / "root-4.json")]
        ran = run_killed_at(number, ["-c", COMMAND, *words], under=desk, cwd=bea.folder)
        again = bea.run(*words)
        whole = json.loads((desk / "root-4.json").read_bytes())
        assert len(whole["signatures"]) == 2, f"killed before change {number}"
        assert again.code == 0 or "is in force here already" in again.err, again
        assert bea.data("keys list")["root"] == 4
        if not ran.killed:
            assert number > 3
            return
        shutil.rmtree(desk)


def test_files_of_others_on_a_stick_stay(tmp_path: Path) -> None:
    theirs, ours = tmp_path / ".tmp-holiday.jpg", tmp_path / ".tmp-abcdefg1"
    for path in (theirs, ours):
        path.write_text("x")
        os.utime(path, (0, 0))
    write_file(tmp_path / "root-1.json", b"{}")
    assert theirs.exists()
    assert not ours.exists()


def test_a_memory_that_cannot_be_read_is_not_called_damaged(shop: Publisher) -> None:
    """Whoever may not read it would look for a backup, where `chown` is what helps."""
    marks = shop.folder / ".manifestgen/keys/sequences.json"
    marks.unlink()
    marks.mkdir()
    shop.refuses("refresh", code=6, error="sequences.json: is a directory")
