"""A repository from elsewhere, whose own configuration names programs: none of them is started."""

import subprocess
from pathlib import Path

import pytest

from manifestgen import git

COMMIT = """\
tree {tree}
author a <a@example.com> 1 +0000
committer a <a@example.com> 1 +0000
gpgsig -----BEGIN PGP SIGNATURE-----
 \x20
 abcd
 -----END PGP SIGNATURE-----

said
"""
MISSING = "1" * 40


def run(folder: Path, *arguments: str, given: str = "") -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.strip()


def commit(folder: Path, tree: str) -> None:
    """Make a signed commit the newest, whether its tree is here or not."""
    made = run(
        folder, "hash-object", "-t", "commit", "-w", "--stdin", given=COMMIT.format(tree=tree)
    )
    head = folder / ".git" / run(folder, "symbolic-ref", "HEAD")
    head.write_text(f"{made}\n")


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A repository with a key in its past, where everything that can name a program does."""
    evil = tmp_path / "evil"
    evil.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/started"\nexit 1\n')
    evil.chmod(0o755)
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "signing.pem").write_text("key")
    run(folder, "init")
    run(folder, "add", "signing.pem")
    commit(folder, run(folder, "write-tree"))
    run(folder, "rm", "--cached", "signing.pem")
    for name in ("core.fsmonitor", "core.sshCommand", "core.pager", "diff.external"):
        run(folder, "config", name, str(evil))
    for name in ("gpg.program", "gpg.openpgp.program", "gpg.ssh.program"):
        run(folder, "config", name, str(evil))
    run(folder, "config", "log.showSignature", "true")
    return folder


def looked_at(folder: Path) -> tuple[bool, bool, bool]:
    path = folder / "signing.pem"
    return git.tracked(path), git.committed(path), git.ignored(path)


def test_no_program_that_a_repository_names_is_started(hostile: Path, tmp_path: Path) -> None:
    assert looked_at(hostile) == (False, True, False)
    assert not (tmp_path / "started").exists()
    run(hostile, "log")
    assert (tmp_path / "started").exists(), "git would start it, if it were asked as usual"


def test_nothing_is_fetched_for_a_repository_that_lacks_objects(
    hostile: Path, tmp_path: Path
) -> None:
    for name, value in {
        "core.repositoryformatversion": "1",
        "extensions.partialclone": "there",
        "remote.there.url": "ssh://127.0.0.1/x",
        "remote.there.promisor": "true",
        "remote.there.partialclonefilter": "tree:0",
        "log.showSignature": "false",
    }.items():
        run(hostile, "config", name, value)
    commit(hostile, MISSING)
    assert looked_at(hostile) == (False, False, False)
    assert not (tmp_path / "started").exists()
    run(hostile, "-c", "core.fsmonitor=false", "log", "--", "signing.pem")
    assert (tmp_path / "started").exists(), "git would fetch, if it were asked as usual"


def test_a_name_is_no_pattern(hostile: Path) -> None:
    run(hostile, "-c", "core.fsmonitor=false", "add", "-f", "signing.pem")
    assert git.tracked(hostile / "signing.pem")
    assert not git.tracked(hostile / "*.pem")
