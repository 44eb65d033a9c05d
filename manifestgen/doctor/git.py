"""What git knows of a few files; nothing where there is no git, or no repository."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

_SECONDS = 20.0


def tracked(path: Path) -> bool:
    """Tell whether the next commit would still have this file."""
    return bool(_git(path, "ls-files", "--", path.name))


def committed(path: Path) -> bool:
    """Tell whether any commit of any branch has this file."""
    return bool(_git(path, "log", "--all", "--max-count=1", "--format=%h", "--", path.name))


def ignored(path: Path) -> bool:
    """Tell whether git would leave this file out of a commit; true where there is no repository."""
    if _git(path, "rev-parse", "--is-inside-work-tree") != "true":
        return True
    return bool(_git(path, "check-ignore", "--", path.name))


def _git(path: Path, *arguments: str) -> str:
    # The program that may watch the folder for git is not ours to start.
    command: Sequence[str] = ["git", "-c", "core.fsmonitor=false", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""
