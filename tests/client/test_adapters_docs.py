"""The guides to the adapters: their commands work, in their order, and their code is JavaScript."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from manifestgen.cli import main
from tests.tools import node
from tests.tools.nginx import StartNginx

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / name for name in ("capacitor.md", "web.md")]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_commands_work(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_nginx: StartNginx
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "server").mkdir()
    server = start_nginx(tmp_path / "server")
    (tmp_path / "src").mkdir()
    (tmp_path / "capacitor.config.json").write_text('{"appId": "com.example.fieldnotes"}')
    shutil.copytree(ROOT / "sample_site/v1", tmp_path / "dist")
    commands = [line for block in blocks(page, "shell") for line in block.splitlines()]
    assert len(commands) > 4
    for command in commands:
        program, *arguments = shlex.split(
            command.replace("https://cdn.example.com/app", server.url)
        )
        assert program == "manifestgen"
        assert main(arguments) == 0, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_code_is_javascript(page: Path, tmp_path: Path) -> None:
    for number, code in enumerate(blocks(page, "js")):
        script = tmp_path / f"{number}.mjs"
        script.write_text(code)
        done = node.start("--check", script)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_settings_and_links_are_real(page: Path) -> None:
    for code in blocks(page, "json"):
        json.loads(code)
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text("utf-8")):
        assert (page.parent / link).exists(), link


def test_the_settings_of_the_plugin_are_its_own() -> None:
    plugin = node.modules() / "@capgo/capacitor-updater/dist/esm/definitions.d.ts"
    known = plugin.read_text("utf-8")
    [settings] = blocks(PAGES[0], "json")
    for name in json.loads(settings)["plugins"]["CapacitorUpdater"]:
        assert re.search(rf"^\s+{name}\?:", known, re.MULTILINE), name
