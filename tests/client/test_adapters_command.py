"""`client`: what it puts into an app, and what it says to paste."""

import json
from pathlib import Path

import pytest

from manifestgen.cli import main
from manifestgen.core import capgo
from tests.tools import node

CLIENT = Path(__file__).parents[2] / "manifestgen/client"
CORE = {"manifestgen.js", "core.js", "updater.js", "follow.js"}
NEEDED = {
    "web": {*CORE, "bundle.js", "browser.js", "worker.js", "capgo.pub.pem"},
    "capacitor": {*CORE, "capgo.js"},
    "node": {*CORE, "bundle.js", "node.js", "capgo.pub.pem"},
}


@pytest.fixture
def app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--app", "com.example.app"]) == 0
    folder = tmp_path / "public"
    folder.mkdir()
    capsys.readouterr()
    return folder


@pytest.mark.parametrize(("kind", "names"), NEEDED.items())
def test_an_app_gets_what_it_needs(kind: str, names: set[str], app: Path) -> None:
    assert main(["client", str(app), "--for", kind]) == 0
    assert {path.name for path in app.iterdir()} == names | {"root.json"}
    for path in app.glob("*.js"):
        assert path.read_bytes() == (CLIENT / path.name).read_bytes()
    assert (app / "root.json").read_bytes() == Path(".manifestgen/root/1.json").read_bytes()


def test_without_a_kind_it_gets_everything(app: Path) -> None:
    assert main(["client", str(app)]) == 0
    assert {path.name for path in app.iterdir()} == set().union(*NEEDED.values()) | {"root.json"}
    capgo.load_public((app / "capgo.pub.pem").read_bytes())


def test_the_newest_root_is_the_one(app: Path) -> None:
    assert main(["keys", "renew"]) == 0
    assert main(["client", str(app)]) == 0
    assert json.loads((app / "root.json").read_text())["signed"]["number"] == 2


def test_it_says_what_it_did_to_each_file(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["client", str(app), "--for", "capacitor"]) == 0
    (app / "capgo.js").write_text("// patched\n")
    (app / "root.json").unlink()
    capsys.readouterr()
    assert main(["client", str(app), "--for", "capacitor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(app),
        "root": 1,
        "files": {
            **dict.fromkeys(CORE, "unchanged"),
            "capgo.js": "replaced",
            "root.json": "new",
        },
        "key": False,
    }


def test_without_encryption_there_is_no_key(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("manifestgen.toml").write_text('app = "com.example.app"\nscheme = "none"\n')
    assert main(["client", str(app), "--for", "web"]) == 0
    assert not (app / "capgo.pub.pem").exists()
    assert "capgo" not in capsys.readouterr().out


def test_a_project_without_a_root_has_nothing_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "public").mkdir()
    assert main(["client", "public"]) == 2
    assert list((tmp_path / "public").iterdir()) == []


def test_the_folder_is_made_but_none_above_it(app: Path) -> None:
    assert main(["client", "update"]) == 0
    assert Path("update/root.json").exists()
    assert main(["client", "some/where"]) == 2
    assert not Path("some").exists()


@pytest.mark.parametrize("kind", NEEDED)
def test_what_it_says_to_paste_is_javascript(
    kind: str, app: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = "https://cdn.example.com/it's"
    assert main(["client", str(app), "--for", kind, "--base-url", url]) == 0
    _, _, pasted = capsys.readouterr().out.partition("paste into your app:\n\n")
    script = app / "pasted.mjs"
    script.write_text(pasted.rpartition("\n\n")[0])
    done = node.start("--check", script)
    assert done.returncode == 0, done.stderr
    assert "site: 'https://cdn.example.com/it%27s'," in script.read_text()
