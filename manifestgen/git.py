"""What git knows of a few files; nothing where there is no git, or no repository.

A repository's own configuration can name programs that git starts. Whoever looks over a folder from
elsewhere asks for none of them.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 20.0
_OPTIONS = (
    "-c",
    "core.fsmonitor=false",  # a program that watches the folder
    "-c",
    "log.showSignature=false",  # one that verifies the signatures of commits
)
# Objects that are not here stay there: fetching them starts `core.sshCommand` and its like.
_ENVIRONMENT = {"GIT_ALLOW_PROTOCOL": "none"}


def tracked(path: Path) -> bool:
    """Tell whether the next commit would still have this file."""
    return bool(_git(path, "ls-files", "--", _literal(path)))


def committed(path: Path) -> bool:
    """Tell whether any commit of any branch has this file."""
    return bool(_git(path, "log", "--all", "--max-count=1", "--format=%h", "--", _literal(path)))


def ignored(path: Path) -> bool:
    """Tell whether git would leave this file out of a commit; true where there is no repository."""
    if _git(path, "rev-parse", "--is-inside-work-tree") != "true":
        return True
    return bool(_git(path, "check-ignore", "--", path.name))


def _literal(path: Path) -> str:
    return f":(literal){path.name}"  # which may be `*`


def _git(path: Path, *arguments: str) -> str:
    command: Sequence[str] = ["git", *_OPTIONS, *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=path.parent,
            env={**os.environ, **_ENVIRONMENT},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
