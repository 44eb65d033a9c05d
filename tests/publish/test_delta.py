"""`[capgo] delta`: what a stock plugin makes of the single files, and what stays from one release
to the next.
"""

import base64
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import brotli
import pytest

from manifestgen.core import capgo, cipher
from manifestgen.core.cipher import ContentKey
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest, sha256
from tests.publish.project import Project, changes, snapshot

BASE = "https://cdn.example.com/app"
NOISE = random.Random(5)


def words(size: int) -> str:
    return "".join(NOISE.choice(("let ", "const ", " = ", ";\n", "abc", "0")) for _ in range(size))


def delta_build(folder: Path) -> Path:
    """Write a build with everything that plugins stumble over, large enough for a list to pay."""
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html>" + words(50))
    (folder / "assets/app.js").write_text(words(60_000))
    (folder / "assets/twin.js").write_bytes((folder / "assets/app.js").read_bytes())
    (folder / "assets/logo.png").write_bytes(NOISE.randbytes(150_000))
    (folder / "assets/noise.bin").write_bytes(NOISE.randbytes(5_000))
    (folder / "empty.txt").write_bytes(b"")
    (folder / "x.js").write_text("x")
    (folder / "x.js.br").write_bytes(b"not brotli at all")
    (folder / "Ünïcode and space.txt").write_text("é" * 100)
    return folder


@pytest.fixture
def delta(fresh: Project) -> Project:
    """Give a project whose first release, of `one`, lists single files."""
    configured(fresh)
    delta_build(fresh.folder / "one")
    fresh.publishes("one", "--version", "1.0.0")
    return fresh


def configured(project: Project, *, more: str = "", capgo: str = "delta = true") -> None:
    (project.folder / "manifestgen.toml").write_text(
        f'app = "com.example.app"\nbase_url = "{BASE}"\npatches = 0\n{more}\n[capgo]\n{capgo}\n'
    )


def second(project: Project) -> Path:
    """Write `two`: one file changed, one renamed, one gone."""
    two = Path(shutil.copytree(project.folder / "one", project.folder / "two"))
    (two / "index.html").write_text("<!doctype html> changed " + words(60))
    (two / "assets/noise.bin").rename(two / "assets/renamed.bin")
    (two / "x.js").unlink()
    return two


def release(project: Project) -> Release:
    found = project.manifest().releases[0]
    assert isinstance(found, Release)
    return found


def answer(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((project.site / "production/capgo.json").read_bytes())
    return found


def blob(project: Project, url: str) -> bytes:
    assert url.startswith(f"{BASE}/blobs/")
    return (project.site / url.removeprefix(f"{BASE}/")).read_bytes()


def content_key(project: Project, found: dict[str, Any]) -> ContentKey | None:
    if "session_key" not in found:
        return None
    iv, key = (base64.b64decode(part) for part in found["session_key"].split(":"))
    return ContentKey(capgo.recover(public(project), key), iv)


def public(project: Project) -> Any:
    return capgo.load_public((project.folder / ".manifestgen/capgo.pub.pem").read_bytes())


def as_the_plugin(project: Project) -> dict[str, bytes]:
    """Do what plugin 8.51.23 does with a `manifest`, step by step, refusals included."""
    found = answer(project)
    key = content_key(project, found)
    files: dict[str, bytes] = {}
    for entry in found["manifest"]:
        assert all(isinstance(entry[name], str) for name in entry)
        data = blob(project, entry["download_url"])
        if key:
            data = b"".join(cipher.decrypt([data], key))
            assert data, "Empty decrypted data"
        name, digest = entry["file_name"], entry["file_hash"]
        if name.endswith(".br"):
            name, data = name.removesuffix(".br"), brotli.decompress(data)
        if key:
            assert digest == digest.lower()
            assert len(digest) == 512
            digest = capgo.recover(public(project), bytes.fromhex(digest)).hex()
        assert digest == sha256(data)
        assert name not in files, "Duplicate manifest target path"
        files[name] = data
    return files


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_plugin_gets_every_file_whatever_it_is_called(delta: Project) -> None:
    assert as_the_plugin(delta) == contents(delta.folder / "one")
    names = {entry["file_name"] for entry in answer(delta)["manifest"]}
    assert {"empty.txt.br", "x.js.br.br", "assets/logo.png"} <= names


def test_in_the_clear_too(fresh: Project) -> None:
    configured(fresh, more='scheme = "none"')
    delta_build(fresh.folder / "one")
    fresh.publishes("one", "--version", "1.0.0")
    assert "session_key" not in answer(fresh)
    assert as_the_plugin(fresh) == contents(fresh.folder / "one")
    fresh.does("verify")


def test_old_plugins_get_their_spelling(fresh: Project) -> None:
    configured(fresh, capgo='delta = true\nchecksum = "v2"')
    delta_build(fresh.folder / "one")
    fresh.publishes("one", "--version", "1.0.0")
    entry = answer(fresh)["manifest"][0]
    plain = capgo.recover(public(fresh), base64.b64decode(entry["file_hash"], validate=True))
    assert len(plain) == 48
    fresh.does("verify")


def test_one_key_opens_the_bundle_and_the_files(delta: Project) -> None:
    found = answer(delta)
    key = content_key(delta, found)
    assert key
    assert b"".join(cipher.decrypt([blob(delta, found["url"])], key)).startswith(b"PK\3\4")


def test_unchanged_files_stay_the_same_blobs(delta: Project) -> None:
    before = {one["file_name"]: one for one in answer(delta)["manifest"]}
    second(delta)
    said = delta.publishes("two", "--version", "1.1.0")
    assert said["files"] == {"listed": 8, "written": 1}
    assert as_the_plugin(delta) == contents(delta.folder / "two")
    after = {one["file_name"]: one for one in answer(delta)["manifest"]}
    assert after["assets/app.js.br"] == before["assets/app.js.br"]
    renamed, old = after["assets/renamed.bin"], before["assets/noise.bin"]
    assert {**renamed, "file_name": ""} == {**old, "file_name": ""}
    assert after["index.html.br"] != before["index.html.br"]
    delta.does("verify")


def test_a_site_is_the_same_whatever_was_kept(delta: Project) -> None:
    """What an earlier list gave is what would have been made."""
    second(delta)
    again = delta.copied("again")
    delta.publishes("two", "--version", "1.1.0")
    for kept in (again.site, again.folder / ".manifestgen/cache"):
        shutil.rmtree(kept)
    (again.folder / ".manifestgen/keys/sequences.json").unlink()
    # Without `base_url`: nothing is live there that an empty site could continue.
    (again.folder / "manifestgen.toml").write_text(
        'app = "com.example.app"\npatches = 0\n[capgo]\ndelta = true\n'
    )
    again.publishes("two", "--version", "1.1.0")
    assert release(again).files == release(delta).files
    assert _list(again).read_bytes() == _list(delta).read_bytes()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.unlink(), id="gone"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), id="cut short"),
    ],
)
def test_a_blob_that_an_earlier_list_names_in_vain_is_made_again(
    delta: Project, damage: Callable[[Path], object]
) -> None:
    entry = next(e for e in answer(delta)["manifest"] if e["file_name"] == "assets/app.js.br")
    path = delta.site / entry["download_url"].removeprefix(f"{BASE}/")
    data = path.read_bytes()
    damage(path)
    second(delta)
    delta.publishes("two", "--version", "1.1.0")
    assert path.read_bytes() == data


def test_an_earlier_list_that_is_damaged_is_not_used(delta: Project) -> None:
    files = release(delta).files
    assert files
    path = delta.site / f"blobs/{files.blob[:2]}/{files.blob}.bin"
    path.write_bytes(path.read_bytes().replace(b"none", b"nane"))
    second(delta)
    assert delta.publishes("two", "--version", "1.1.0")["files"]["listed"] == 8
    assert as_the_plugin(delta) == contents(delta.folder / "two")


def test_publishing_the_same_again_changes_nothing(delta: Project) -> None:
    before = snapshot(delta.folder)
    assert delta.publishes("one", "--version", "1.0.0")["changed"] is False
    assert changes(before, snapshot(delta.folder)) == []


def test_a_dry_run_writes_nothing(delta: Project) -> None:
    second(delta)
    before = snapshot(delta.folder)
    delta.does("publish", "two", "--version", "1.1.0", "--dry-run")
    assert changes(before, snapshot(delta.folder)) == []


def test_another_capgo_key_is_another_content_key(delta: Project) -> None:
    one = cipher.delta_key(bytes(32), scheme=release(delta).scheme, app="a", key_id="A" * 20)
    two = cipher.delta_key(bytes(32), scheme=release(delta).scheme, app="a", key_id="B" * 20)
    assert (one.key, one.iv) != (two.key, two.iv)


def test_without_being_asked_there_is_no_list(fresh: Project) -> None:
    configured(fresh, capgo="delta = false")
    delta_build(fresh.folder / "one")
    assert fresh.publishes("one", "--version", "1.0.0")["files"] == {"listed": 0, "written": 0}
    assert "manifest" not in answer(fresh)
    assert release(fresh).files is None


def test_where_it_does_not_pay_there_is_none_and_that_is_said(fresh: Project) -> None:
    configured(fresh)
    said = fresh.does("publish", "dist")
    assert "note: capgo.json lists no single files: listing 3 files" in said.err
    assert "manifest" not in answer(fresh)


def test_pruning_keeps_the_files_of_what_is_kept(
    delta: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    second(delta)
    delta.publishes("two", "--version", "1.1.0")
    delta.does("prune", "--keep", "1", "--grace", "0")
    assert as_the_plugin(delta) == contents(delta.folder / "two")
    delta.does("verify")


def test_a_channel_renders_the_list_from_the_manifest_alone(delta: Project) -> None:
    wanted = (delta.site / "production/capgo.json").read_bytes()
    (delta.site / "production/capgo.json").unlink()
    delta.does("channel", "pause")
    assert "manifest" not in answer(delta)
    delta.does("channel", "resume")
    assert (delta.site / "production/capgo.json").read_bytes() == wanted


def single(project: Project, name: str) -> Path:
    entry = next(one for one in answer(project)["manifest"] if one["file_name"] == name)
    path: Path = project.site / entry["download_url"].removeprefix(f"{BASE}/")
    return path


def flip(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        pytest.param(lambda p: flip(single(p, "assets/logo.png")), "digest", id="altered"),
        pytest.param(lambda p: single(p, "empty.txt.br").unlink(), "missing", id="missing"),
        pytest.param(lambda p: flip(_list(p)), "digest", id="the list altered"),
        pytest.param(lambda p: _list(p).unlink(), "missing", id="the list missing"),
        pytest.param(
            lambda p: (p.site / "production/capgo.json").write_text(
                (p.site / "production/capgo.json").read_text().replace("x.js.br.br", "x.js.br")
            ),
            "capgo",
            id="told otherwise",
        ),
    ],
)
def test_verify_finds(delta: Project, damage: Callable[[Project], object], code: str) -> None:
    delta.does("verify")
    damage(delta)
    said = delta("verify", "--json")
    assert said.code == 3
    assert code in {problem["code"] for problem in said.json["problems"]}


def _list(project: Project) -> Path:
    files = release(project).files
    assert files
    digest: Digest = files.blob
    return project.site / f"blobs/{digest[:2]}/{digest}.bin"


def test_verify_knows_the_list_without_knowing_the_address(delta: Project) -> None:
    text = (delta.folder / "manifestgen.toml").read_text()
    (delta.folder / "manifestgen.toml").write_text(text.replace("base_url", "# base_url"))
    said = delta.does("verify")
    assert f"points to {BASE}" in said.out + said.err
