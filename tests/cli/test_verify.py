"""`manifestgen verify`: what it prints, and with which exit code it ends."""

import json
import shutil
from pathlib import Path

import pytest

from manifestgen.cli import main
from tests.stores.web import serving
from tests.verify.project import SAMPLE, Project, new_project

AT = "2030-01-03T00:00:00Z"
MANIFEST = "production/manifest.json"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two releases; nobody may change this one."""
    project = new_project(tmp_path_factory.mktemp("cli-verify") / "project")
    project.publish(SAMPLE / "v2", day=1)
    return project


@pytest.fixture
def verified(published: Project, tmp_path: Path) -> Project:
    """A copy of it to tamper with."""
    shutil.copytree(published.folder, tmp_path / "project")
    return Project(tmp_path / "project")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_whole_site(verified: Project, capsys: pytest.CaptureFixture[str]) -> None:
    before = verified.files()
    assert verified.run("verify", day=2) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == [
        "root chain",
        "production",
        "releases",
        "blobs",
    ]
    assert all(line.endswith("  ok") for line in lines[:-1])
    assert lines[-1].startswith("verified: 8 documents, 3 blobs, ")
    assert err == ""
    assert verified.files() == before


def test_the_same_as_json(verified: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert verified.run("verify", "--json", day=2) == 0
    out = json.loads(capsys.readouterr().out)
    files = verified.files()
    size = sum(len(data) for name, data in files.items() if name != "index.html")
    assert out == {
        "ok": True,
        "documents": 8,
        "blobs": 3,
        "bytes": size,
        "problems": [],
        "notes": [],
    }


def test_one_byte_flipped_in_every_file(
    verified: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """All but the page for people, which nothing vouches for."""
    for name, data in verified.files().items():
        flip(verified.site / name)
        assert verified.run("verify", day=2) == (0 if name == "index.html" else 3)
        found = [
            line for line in capsys.readouterr().out.splitlines() if line.startswith("problem: ")
        ]
        assert [line.split(": ")[1] for line in found] == [name] * (name != "index.html")
        (verified.site / name).write_bytes(data)


def test_problems_as_json(verified: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (verified.site / MANIFEST).unlink()
    flip(verified.site / "releases/1.0.0.json")
    assert verified.run("verify", "--json", day=2) == 3
    out = json.loads(capsys.readouterr().out)
    assert out["ok"] is False
    assert out["problems"] == [
        {"where": MANIFEST, "code": "missing", "message": "missing: devices poll it"},
        {
            "where": "releases/1.0.0.json",
            "code": "signature",
            "message": "0 of 1 trusted keys signed this release",
        },
    ]


@pytest.mark.parametrize(
    ("at", "code", "said"),
    [
        pytest.param(AT, 0, "verified: ", id="fresh"),
        pytest.param("2030-02-01T00:00:00Z", 3, "manifest expired on 2030-02-01", id="expired"),
        pytest.param("2029-12-01T00:00:00Z", 0, "note: root/1.json: issued later", id="before"),
        pytest.param("2032-01-01T00:00:00Z", 3, "root 1 expired on", id="root expired"),
    ],
)
def test_judged_at_another_time(
    published: Project, capsys: pytest.CaptureFixture[str], at: str, code: int, said: str
) -> None:
    assert published.run("verify", "--at", at, day=2) == code
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("at", ["tomorrow", "2030-01-03", "2030-13-01T00:00:00Z"])
def test_a_time_that_is_none(
    published: Project, capsys: pytest.CaptureFixture[str], at: str
) -> None:
    assert published.run("verify", "--at", at) == 2
    assert f"error: --at: {at!r} is no time" in capsys.readouterr().err


def test_another_site_by_folder(published: Project, tmp_path: Path) -> None:
    shutil.copytree(published.site, tmp_path / "mirror")
    assert published.run("verify", tmp_path / "mirror", day=2) == 0
    flip(tmp_path / "mirror" / MANIFEST)
    assert published.run("verify", tmp_path / "mirror", day=2) == 3


def test_a_named_root_and_key_outside_any_project(
    published: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    root = str(published.folder / ".manifestgen/root/1.json")
    given = ["verify", str(published.site), "--root", root, "--at", AT]
    assert main(given) == 0
    assert "note: blobs/: decryption was not checked" in capsys.readouterr().out
    assert main([*given, "--key", str(published.settings.capgo_public)]) == 0
    assert "decryption" not in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_sites_own_root_is_never_trusted(
    published: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["verify", str(published.site), "--at", AT]) == 2
    err = capsys.readouterr().err
    assert "error: there is no root to trust" in err
    assert "with --root name the root" in err


_DEVICE = ["device", "check", "--site", "site", "--state", "state"]


@pytest.mark.parametrize(
    ("line", "says", "code"),
    [
        (["verify", "--root", "no.json"], "--root: cannot read no.json: no such file", 2),
        (["verify", "--root", "text"], "--root: text is no root: not JSON", 3),
        (["verify", "--root", "manifest.json"], "manifest.json is no root: a manifest.v1", 3),
        ([*_DEVICE, "--root", "no.json"], "--root: cannot read no.json: no such file", 2),
        ([*_DEVICE, "--root", "text"], "--root: text is no root: not JSON", 3),
        (["kit", "import", "a.kit", "--root", "text"], "--root: text is no root: not JSON", 3),
    ],
)
def test_what_is_no_root_is_named_and_where_one_is(
    published: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    line: list[str],
    says: str,
    code: int,
) -> None:
    shutil.copy(published.site / "production/manifest.json", tmp_path)
    (tmp_path / "text").write_text("hello")
    (tmp_path / "a.kit").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(line) == code
    error, hint = capsys.readouterr().err.splitlines()
    assert says in error
    assert ".manifestgen/root/1.json in the project that publishes" in hint


@pytest.mark.parametrize(("key", "code"), [("no.pem", 2), ("text", 4)])
def test_what_is_no_key_is_named_and_where_one_is(
    published: Project,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    key: str,
    code: int,
) -> None:
    (tmp_path / "text").write_text("hello")
    root = str(published.folder / ".manifestgen/root/1.json")
    path = str(tmp_path / key)
    assert main(["verify", str(published.site), "--root", root, "--key", path]) == code
    error, hint = capsys.readouterr().err.splitlines()
    assert path in error
    assert ".manifestgen/capgo.pub.pem" in hint


@pytest.mark.parametrize(
    ("root", "code"),
    [
        pytest.param("missing", 2, id="missing"),
        pytest.param("damaged", 3, id="damaged"),
        pytest.param("foreign", 3, id="another project's"),
    ],
)
def test_a_root_that_cannot_be_trusted(
    published: Project, tmp_path: Path, root: str, code: int
) -> None:
    path = tmp_path / "root.json"
    if root == "damaged":
        shutil.copy(published.folder / ".manifestgen/root/1.json", path)
        flip(path)
    elif root == "foreign":
        other = new_project(tmp_path / "foreign" / "project")
        shutil.copy(other.folder / ".manifestgen/root/1.json", path)
    assert published.run("verify", "--root", path, day=2) == code


def test_a_damaged_root_of_the_project(verified: Project) -> None:
    flip(verified.folder / ".manifestgen/root/1.json")
    assert verified.run("verify", day=2) == 3


def test_without_a_public_key_file_the_private_one_serves(
    verified: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    verified.settings.capgo_public.unlink()
    assert verified.run("verify", day=2) == 0
    assert "decryption" not in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_nothing_published(
    published: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "empty").mkdir()
    assert published.run("verify", tmp_path / name) == 2
    assert f"error: nothing is published at {tmp_path / name}" in capsys.readouterr().err


def test_a_site_over_http(published: Project) -> None:
    with serving() as web:
        web.files = published.files()
        assert published.run("verify", web.url, day=2) == 0
        assert published.run("verify", web.url, "--channel", "beta", day=2) == 3
        web.files[MANIFEST] = b"{}"
        assert published.run("verify", web.url, day=2) == 3
        web.files = {}
        assert published.run("verify", web.url, day=2) == 2


def test_an_unreachable_site(published: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with serving() as web:
        web.always = lambda request: request.reply(418, b"")
        assert published.run("verify", web.url, "--json", day=2) == 6
    assert json.loads(capsys.readouterr().out)["exit"] == 6
