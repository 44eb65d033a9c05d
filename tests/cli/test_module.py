"""The package run as a module, as where its command is not on the path."""

import subprocess
import sys
from pathlib import Path

from manifestgen import __version__


def test_the_module_is_the_command() -> None:
    run = [sys.executable, "-m", "manifestgen", "--version"]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert done.stdout == f"manifestgen {__version__}\n"


def test_its_exit_code_is_the_command_s(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "manifestgen", "publish", "nowhere-at-all", "--version", "1.0.0"]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
