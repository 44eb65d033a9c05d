"""What a shell is offered at Tab, asked as each shell's own script asks."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.publish.project import copy_project, ended, process

_PROGRAM = "import sys; from manifestgen.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def project(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a project with releases on two channels, and a third in its settings."""
    folder = copy_project(published, tmp_path_factory.mktemp("complete") / "shop")
    said = ended(process(folder, "publish", "dist2", "--version", "1.10.0", "--channel", "beta"))
    assert said.code == 0, said.err
    with (folder / "manifestgen.toml").open("a") as file:
        file.write('\n[channels.plant]\nexpires = "7d"\n')
    return folder


def offered(folder: Path, line: str, shell: str = "bash") -> list[str]:
    """Return what is offered for the last word of a line, and see that nothing else is said."""
    words = line.split(" ")
    environ = {
        **os.environ,
        "_MANIFESTGEN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words) if shell == "bash" else "",
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0
    return [one.partition("\t")[0] for one in done.stdout.splitlines() if one]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param("channel show --channel ", ["beta", "plant", "production"], id="channels"),
        pytest.param("channel show --channel p", ["plant", "production"], id="what was begun"),
        pytest.param("publish dist --channel b", ["beta"], id="of every command"),
        pytest.param("channel withdraw ", ["1.10.0", "1.0.0"], id="versions, newest first"),
        pytest.param("channel rollback 1.0", ["1.0.0"], id="a version begun"),
        pytest.param("bundle diff 1.0.0 1.1", ["1.10.0"], id="what to compare"),
        pytest.param("keys add ci.pem --channel b", ["beta"], id="whose key it is"),
        pytest.param("channel promote 1.10.0 --to b", ["beta"], id="where to"),
        pytest.param("channel withdraw --site nowhere ", [], id="of another site"),
        pytest.param("channel withdraw --site s3://bucket/app ", [], id="no network for it"),
        pytest.param("channel ro", ["rollout", "rollback"], id="commands of a group"),
        pytest.param("serve", ["serve", "server"], id="a command that begins another"),
    ],
)
def test_tab_offers_what_the_site_has(project: Path, line: str, expected: list[str]) -> None:
    assert offered(project, f"manifestgen {line}") == expected


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_offered_the_same(project: Path, shell: str) -> None:
    said = offered(project, "manifestgen channel withdraw ", shell)
    assert "1.10.0" in "".join(said)


_BASH = """\
eval "$(manifestgen --show-completion)"
COMP_WORDS=(manifestgen channel withdraw 1.1) COMP_CWORD=3
_manifestgen_completion manifestgen
printf '%s\\n' "${COMPREPLY[@]}"
"""


def test_bash_completes_with_the_script_it_is_shown(project: Path, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "manifestgen"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{_PROGRAM}" "$@"\n')
    program.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [bash, "--norc", "-c", _BASH],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("1.10.0\n", "")


def test_damage_is_passed_over_in_silence(project: Path, tmp_path: Path) -> None:
    folder = copy_project(project, tmp_path / "shop")
    (folder / "site/releases/latest.json").write_text("{")
    (folder / "site/releases/1.2.json").write_text("{")
    assert offered(folder, "manifestgen channel withdraw ") == ["1.10.0", "1.0.0"]
    (folder / "manifestgen.toml").write_text("nonsense")
    assert offered(folder, "manifestgen channel withdraw ") == []


def test_where_there_is_no_project_the_default_is_offered(tmp_path: Path) -> None:
    assert offered(tmp_path, "manifestgen channel show --channel ") == ["production"]


def test_nothing_of_completion_is_imported_by_a_command() -> None:
    code = (
        "import sys; from manifestgen.cli import main; main(['channel', '--help']);"
        "sys.exit('manifestgen.cli.complete' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
