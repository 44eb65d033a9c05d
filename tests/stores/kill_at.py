"""Kill a Python program, with SIGKILL, just before its n-th change to a folder.

The interpreter announces every open, rename, link, mkdir and removal to audit hooks, so the program
itself need not be prepared for this in any way:

    for n in count(1):
        run = run_killed_at(n, ["-m", "manifestgen", "publish", "dist"], under=site)
        if not run.killed:
            break  # it made fewer changes, and ended by itself

Writing and syncing the bytes of an open file is not announced; the changes around it are.
"""

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_CHANGES = {
    "os.chmod",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.truncate",
    "os.utime",
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass(frozen=True, slots=True)
class Run:
    """How the program ended."""

    killed: bool
    code: int
    stdout: str
    stderr: str


def run_killed_at(
    n: int,
    argv: Sequence[str],
    *,
    under: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run `python *argv` and kill it before its n-th change below `under`; the first is 1."""
    done = subprocess.run(
        [sys.executable, "-B", str(Path(__file__)), str(n), str(under), *argv],
        cwd=cwd,
        env={**(os.environ if env is None else env), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    killed = done.returncode == -signal.SIGKILL
    return Run(killed, done.returncode, done.stdout, done.stderr)


def _changed(event: str, args: tuple[object, ...]) -> list[str]:
    """Return the absolute paths that an announced event is about to change."""
    if event == "open":
        path, _, flags = args
        return _absolute(path) if isinstance(flags, int) and flags & _WRITING else []
    if event in {"os.rename", "os.link"}:
        return _absolute(args[0]) + _absolute(args[1])
    if event in _CHANGES:
        folder = args[-1] if event in {"os.mkdir", "os.remove", "os.rmdir"} else -1
        return _absolute(args[0], folder)
    return []


def _absolute(path: object, folder: object = -1) -> list[str]:
    if not isinstance(path, str | bytes | os.PathLike):
        return []
    text = os.fsdecode(path)
    if isinstance(folder, int) and folder >= 0:
        text = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), text)  # noqa: PTH115, PTH118
    return [os.path.abspath(text)]  # noqa: PTH100  # unlike resolve, it reads nothing


def _main() -> None:
    n, under, argv = int(sys.argv[1]), os.path.abspath(sys.argv[2]), sys.argv[3:]  # noqa: PTH100
    left = n

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal left
        if not any(f"{path}/".startswith(f"{under}/") for path in _changed(event, args)):
            return
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    match argv:
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(compile(code, "<killed>", "exec"), {"__name__": "__main__"})
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [script, *rest]:
            sys.argv = [script, *rest]
            runpy.run_path(script, run_name="__main__")
        case _:
            sys.exit("usage: kill_at.py N FOLDER (-c CODE | -m MODULE | SCRIPT) [ARG]…")


if __name__ == "__main__":
    # The folder of this file is no place for the program's own imports.
    sys.path.pop(0)
    _main()
