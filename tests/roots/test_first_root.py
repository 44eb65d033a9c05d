"""A project that takes several people from its first root on."""

from pathlib import Path

import pytest

from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring
from manifestgen.core.limits import LIMITS
from tests.channels.conftest import Publisher
from tests.publish.project import changes, snapshot

KEY = "file:.manifestgen/keys/signing.pem"
Team = tuple[Publisher, Publisher, Publisher]


def person(folder: Path) -> Publisher:
    """Give somebody a folder with a key in it, and its public half on a stick beside."""
    folder.mkdir()
    found = Publisher(folder)
    found.does("keys create --only signing")
    (folder.parent / f"{folder.name}.pem").write_text(found.does(f"keys export {KEY}").out)
    return found


@pytest.fixture
def team(tmp_path: Path) -> Team:
    """Give three people, of whom Anna has begun a project that takes two of them."""
    anna, ben, carla = (person(tmp_path / name) for name in ("anna", "ben", "carla"))
    anna.does("init --app com.example.shop --with ../ben.pem --with ../carla.pem --threshold 2")
    return anna, ben, carla


def carried(team: Team, stick: Path) -> Path:
    stick.write_bytes((team[0].folder / ".manifestgen/pending/root-1.json").read_bytes())
    return stick


def test_root_1_is_in_force_once_two_have_signed(team: Team, tmp_path: Path) -> None:
    anna, ben, carla = team
    stick = carried(team, tmp_path / "root-1.json")
    before = stick.read_bytes()
    shown = ben.does("keys sign --dry-run", stick).out
    assert shown.count("fingerprint") == 3
    assert "release: 2 of" in shown
    assert stick.read_bytes() == before
    assert not (ben.folder / ".manifestgen/root").exists()
    for one in (ben, carla, anna):
        assert one.data("keys sign", stick)["accepted"] is True
    first = {one.folder / ".manifestgen/root/1.json" for one in team}
    assert stick.read_bytes().count(b'"sig"') == 2
    assert {path.read_bytes() for path in first} == {stick.read_bytes()}
    root = Keyring.trust(stick.read_bytes()).root
    assert (root.app, root.root.threshold, root.release.threshold) == ("com.example.shop", 2, 2)
    assert root.manifest[0].role.threshold == 1
    assert len(root.keys) == 3
    assert not (anna.folder / ".manifestgen/pending/root-1.json").exists()
    build = tmp_path / "dist"
    build.mkdir()
    (build / "index.html").write_text("<!doctype html>")
    said = anna.run("publish", "--version", "1.0.0", build)
    assert (said.code, "1 of the 2 signatures" in said.err) == (4, True)


def test_until_then_there_is_no_project(team: Team, tmp_path: Path) -> None:
    anna, _, _ = team
    waits = "root-1.json waits for signatures"
    anna.refuses("init", code=2, error=waits)
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/index.html").write_text("<!doctype html>")
    anna.refuses("publish ../dist --version 1.0.0", code=2, error=waits)
    assert anna.data("keys sign .manifestgen/pending/root-1.json")["accepted"] is False
    anna.refuses("keys list", code=2, error="there is no root")


def test_a_root_that_was_changed_on_its_way_is_not_signed(team: Team, tmp_path: Path) -> None:
    _, ben, _ = team
    stick = carried(team, tmp_path / "root-1.json")
    found = Envelope.decode(stick.read_bytes(), limit=LIMITS.root_bytes)
    changed = {**found.signed, "max_days": 80}
    stick.write_bytes(Envelope(found.signatures, changed).encode())
    for line in ("keys sign ../root-1.json --dry-run", "keys sign ../root-1.json"):
        said = ben.run(*line.split())
        assert (said.code, "was changed after" in said.err) == (3, True)
    assert not (ben.folder / ".manifestgen/root").exists()


def test_a_stranger_cannot_sign_or_take_it(team: Team, tmp_path: Path) -> None:
    stranger = person(tmp_path / "stranger")
    stick = carried(team, tmp_path / "root-1.json")
    for state in ("waiting", "whole"):
        if state == "whole":
            team[1].does("keys sign", stick)
        before = snapshot(tmp_path)
        said = stranger.run("keys", "sign", stick)
        assert (said.code, "none of the keys at hand may sign root 1" in said.err) == (4, True)
        assert changes(before, snapshot(tmp_path)) == []


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("--threshold 2", "1 keys cannot meet a threshold of 2"),
        ("--with nowhere.pem --threshold 2", "cannot read nowhere.pem"),
        ("--with .manifestgen/keys/signing.pem", "is no public key in PEM"),
    ],
)
def test_init_refuses(tmp_path: Path, line: str, error: str) -> None:
    alone = person(tmp_path / "alone")
    said = alone.run("init", *line.split())
    assert (said.code, error in said.err) == (2, True), said
    assert not (alone.folder / ".manifestgen/root").exists()
    assert not (alone.folder / ".manifestgen/pending").exists()


def test_a_project_that_is_there_is_not_begun_again(shop: Publisher, tmp_path: Path) -> None:
    person(tmp_path / "ben")
    line = f"init --with {tmp_path}/ben.pem --threshold 2"
    said = shop.refuses(line, code=2, error="has a root already")
    assert "keys add" in said.err
