"""`init`: what it makes, who may read it, and that it never makes anything twice."""

import json
import os
import shutil
import tomllib
from pathlib import Path

import pytest

from manifestgen.config import load
from manifestgen.core.keys import Algorithm
from manifestgen.signers.create import create_signing_key
from tests.publish.project import Project, changes, snapshot

KEYS = ".manifestgen/keys"


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_it_makes_a_project(fresh: Project) -> None:
    said = fresh.does("init", "--app", "com.example.shop", "--base-url", "https://example.com/a/")
    assert said.out.startswith("set up com.example.shop\n  made manifestgen.toml\n")
    assert "back up .manifestgen/keys/" in said.out
    settings = load(fresh.folder / "manifestgen.toml", {})
    assert (settings.app, settings.base_url) == ("com.example.shop", "https://example.com/a")
    assert fresh.keyring().root.app == "com.example.shop"
    assert not fresh.site.exists()


@pytest.mark.skipif(os.name == "nt", reason="modes of Unix")
def test_nobody_else_may_read_the_keys(fresh: Project) -> None:
    old = os.umask(0)
    try:
        fresh.does("init")
    finally:
        os.umask(old)
    keys = fresh.folder / KEYS
    assert mode(keys) == 0o700
    names = ("signing.pem", "capgo.pem", "content.key")
    assert [mode(keys / name) for name in names] == [0o600] * 3
    ignored = (keys / ".gitignore").read_text().splitlines()
    assert ignored[-1] == "*"


def test_a_second_init_changes_nothing(fresh: Project) -> None:
    fresh.does("init")
    before = snapshot(fresh.folder)
    assert fresh.does("init").out == "local.shop is set up already\n"
    assert fresh.does("init", "--json").json == {"app": "local.shop", "made": []}
    assert changes(before, snapshot(fresh.folder)) == []


def test_a_lost_key_is_not_made_again(fresh: Project) -> None:
    fresh.does("init")
    (fresh.folder / KEYS / "signing.pem").unlink()
    before = snapshot(fresh.folder)
    fresh("init")
    assert changes(before, snapshot(fresh.folder)) == []


def test_keys_that_exist_are_used(fresh: Project) -> None:
    (fresh.folder / KEYS).mkdir(parents=True)
    create_signing_key(fresh.folder / KEYS / "signing.pem", Algorithm.P256, None)
    pem = (fresh.folder / KEYS / "signing.pem").read_bytes()
    made = fresh.does("init", "--json").json["made"]
    assert f"{KEYS}/signing.pem" not in made
    assert (fresh.folder / KEYS / "signing.pem").read_bytes() == pem
    assert [key.algorithm for key in fresh.keyring().root.keys] == [Algorithm.P256]


def test_json_names_what_was_made(fresh: Project) -> None:
    assert fresh.does("init", "--json").json == {
        "app": "local.shop",
        "made": [
            "manifestgen.toml",
            ".manifestgen/root/1.json",
            ".manifestgen/capgo.pub.pem",
            f"{KEYS}/signing.pem",
            f"{KEYS}/capgo.pem",
            f"{KEYS}/content.key",
        ],
    }


def test_a_configuration_that_exists_is_kept(fresh: Project) -> None:
    text = '# mine\napp = "com.example.mine"\nscheme = "none"\n'
    (fresh.folder / "manifestgen.toml").write_text(text)
    fresh.does("init")
    assert (fresh.folder / "manifestgen.toml").read_text() == text
    assert fresh.keyring().root.app == "com.example.mine"
    assert not (fresh.folder / KEYS / "capgo.pem").exists()


def test_what_it_writes_can_be_read_whatever_the_names(fresh: Project) -> None:
    odd = fresh.folder / 'quo"te \\ back'
    fresh.does("publish", "dist", "--site", odd, "--channel", "beta-2")
    values = tomllib.loads((fresh.folder / "manifestgen.toml").read_text())
    assert values["site"] == str(odd)
    assert values["channel"] == "beta-2"
    assert list(values["channels"]) == ["beta-2"]
    assert (odd / "beta-2/manifest.json").is_file()


@pytest.mark.parametrize(
    ("flags", "code", "error"),
    [
        pytest.param(["--app", "my app"], 2, "'my app' is no app id", id="app"),
        pytest.param(["--app", ""], 2, "'' is no app id", id="empty app"),
        pytest.param(["--base-url", "ftp://x"], 2, "'ftp://x' is no URL", id="base URL"),
        pytest.param(["extra"], 2, "unexpected extra argument", id="argument"),
    ],
)
def test_wrong_flags_are_refused(fresh: Project, flags: list[str], code: int, error: str) -> None:
    fresh.refuses("init", *flags, code=code, error=error)


def test_another_app_is_refused(fresh: Project) -> None:
    fresh.does("init", "--app", "com.example.one")
    said = fresh.refuses(
        "init", "--app", "com.example.two", code=2, error="this project is for com.ex"
    )
    assert "delete manifestgen.toml, .manifestgen and the site" in said.err
    # What the hint says works.
    (fresh.folder / "manifestgen.toml").unlink()
    shutil.rmtree(fresh.folder / ".manifestgen")
    assert fresh.does("init", "--app", "com.example.two").out.startswith("set up com.example.two\n")


def test_an_app_that_is_not_the_roots_is_refused(project: Project) -> None:
    """What would be signed for it, no device would take, and no command could take back."""
    config = project.folder / "manifestgen.toml"
    text = config.read_text()
    config.write_text(text.replace('app = "local.shop"', 'app = "com.example.shop"'))
    said = project.refuses("publish", "dist2", code=2, error="the root is of local.shop")
    assert 'set `app = "local.shop"` in manifestgen.toml' in said.err
    config.write_text(text)
    project.does("publish", "dist2")
    project.does("verify")


def test_keys_inside_the_site_are_refused(fresh: Project) -> None:
    config = 'site = "public"\n[keys]\nroot = "file:public/signing.pem"\n'
    (fresh.folder / "manifestgen.toml").write_text(config)
    fresh.refuses("init", code=2, error="public/signing.pem")


def test_a_folder_in_the_way_is_said(fresh: Project) -> None:
    (fresh.folder / ".manifestgen").write_text("a file")
    said = fresh.refuses("init", code=fresh("init").code, error=".manifestgen")
    assert said.code in {4, 6}


def test_a_project_is_found_from_below(fresh: Project) -> None:
    fresh.does("init", "--app", "com.example.shop")
    below = Project(fresh.folder / "src/deep", fresh._monkeypatch, fresh._capsys)
    assert below.does("init", "--json").json == {"app": "com.example.shop", "made": []}


def test_the_root_is_good_for_two_years(fresh: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1900000000")
    fresh.does("init")
    signed = json.loads((fresh.folder / ".manifestgen/root/1.json").read_text())["signed"]
    assert signed["issued"] == "2030-03-17T17:46:40Z"
    assert signed["expires"] == "2032-03-16T17:46:40Z"
    assert (signed["number"], signed["max_days"]) == (1, 90)
