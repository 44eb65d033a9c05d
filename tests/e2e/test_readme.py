"""README's first command, run for real: a fresh copy of the checkout, and nothing but Python."""

import os
import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.tools.parts import Missing
from tests.tools.process import reason, run

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Copy what git knows of the checkout, as a clone has it, with what is not committed yet."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip(f"this is no git checkout: {listed.stderr.strip()}")
    folder = tmp_path / "manifestgen"
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def first_command() -> tuple[str, list[str]]:
    """Return the command that README begins with, and the output it shows."""
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"^```console\n\$ (.*?)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert block
    return block[1], block[2].splitlines()


def outside() -> dict[str, str]:
    """Return the environment of somebody who has just cloned the project."""
    inner = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CI"}
    return {name: value for name, value in os.environ.items() if name not in inner}


def plain(lines: list[str]) -> list[str]:
    """Return lines without what differs each time; talk and data may come in either order."""
    return sorted(re.sub(r"\d+\.\d\d s$", "N s", line) for line in lines if line)


def test_the_first_command_does_what_readme_shows(checkout: Path) -> None:
    command, shown = first_command()
    made, installed, published = command.split(" && ")
    for step in (made, f"{installed} --quiet --disable-pip-version-check"):
        done = run(["sh", "-c", step], cwd=checkout, env=outside(), minutes=10)
        if "No matching distribution" in done.stdout or "is not installed" in done.stdout:
            raise Missing(f"`{step}`: {reason(done)}")
        assert done.returncode == 0, done.stdout
    shutil.rmtree(checkout / "templates")  # the installed ones have to do
    done = run(["sh", "-c", published], cwd=checkout, env=outside())
    assert done.returncode == 0, done.stdout
    assert plain(done.stdout.splitlines()) == plain(shown)
    assert 'data-channel="production"' in (checkout / "site/index.html").read_text()
    assert [path.name for path in checkout.glob("site/releases/*")] == ["1.0.0.json"]
    program = checkout / ".venv/bin/manifestgen"
    nginx = run([program, "server", "nginx"], cwd=checkout, env=outside())
    assert f'root "{checkout}/site";' in nginx.stdout
    verified = run([program, "verify", "site"], cwd=checkout, env=outside())
    assert verified.returncode == 0, verified.stdout


def test_a_wheel_holds_every_template_and_no_tests(checkout: Path, tmp_path: Path) -> None:
    pip = ("python3", "-m", "pip", "wheel", "--no-deps", "--quiet")
    done = run([*pip, "--wheel-dir", tmp_path, "."], cwd=checkout, env=outside())
    if done.returncode and "No matching distribution" in done.stdout:
        raise Missing(f"pip wheel: {reason(done)}")
    assert done.returncode == 0, done.stdout
    [wheel] = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    templates = [path for path in (checkout / "templates").rglob("*") if path.is_file()]
    expected = {f"manifestgen/{path.relative_to(checkout).as_posix()}" for path in templates}
    assert expected <= set(names)
    assert len(expected) >= 2
    inside = {name.partition("/")[0] for name in names}
    assert {name for name in inside if not name.endswith(".dist-info")} == {"manifestgen"}
    assert "manifestgen/py.typed" in names
