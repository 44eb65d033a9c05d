"""Node: the packages the tests pin, and running scripts and `node --test`.

Standard library only. The packages lie outside the checkout, in a folder named by the hash of
tests/tools/node/package.json.
"""

import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.tools import cache, environment, parts
from tests.tools.process import reason, run

_PACKAGES = Path(__file__).with_name("node") / "package.json"
NAME = "Node packages"


def install() -> None:
    """Install the pinned packages if they are not there; raise `Missing` where npm cannot."""
    cache.once(_folder(), _install)


def modules() -> Path:
    """Return the `node_modules` with the pinned packages, or raise `Missing`."""
    parts.refuse_known(NAME)
    install()
    return _folder() / "node_modules"


def program() -> Path:
    """Return Node itself, or raise `Missing`."""
    return _which("node")


def start(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `node …` to its end, with nothing on standard input; output and errors stay apart."""
    return subprocess.run(
        [program(), *arguments],
        cwd=cwd,
        env={**environment.variables(), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def run_tests(*files: Path, env: Mapping[str, str] | None = None) -> None:
    """Run test files with `node --test`; a failure is an `AssertionError` with Node's report."""
    done = start("--test", "--test-reporter=spec", *files, env=env)
    assert done.returncode == 0, done.stdout + done.stderr


def npm(*arguments: str | Path, cwd: Path) -> None:
    """Run npm in `cwd`, or raise `Missing` with what it said."""
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1")
    done = run([_which("npm"), *arguments, *quiet], cwd=cwd, env=environment.variables())
    if done.returncode:
        raise parts.Missing(f"npm {arguments[0]}: {reason(done)}")


def _folder() -> Path:
    key = hashlib.sha256(_PACKAGES.read_bytes()).hexdigest()[:16]
    return cache.folder("node") / key


def _install(folder: Path) -> None:
    shutil.copy(_PACKAGES, folder)
    # The plugin asks for Capacitor beside it, which only an app would run.
    npm("install", "--no-package-lock", "--legacy-peer-deps", cwd=folder)


def _which(name: str) -> Path:
    if found := shutil.which(name, path=environment.variables()["PATH"]):
        return Path(found)
    raise parts.Missing(f"{name} is not installed")
