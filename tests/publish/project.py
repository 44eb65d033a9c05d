"""A project in a folder, driven through the command line as a person would."""

import ctypes
import json
import os
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from manifestgen.cli import main
from manifestgen.core.keyring import Keyring, TrustedManifest, usable

SAMPLE = Path(__file__).resolve().parents[2] / "sample_site"
COMMAND = "import sys; from manifestgen.cli import main; sys.exit(main())"


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one object on stdout."""
        return json.loads(self.out)


class Project:
    """A folder with a project, or one that may become one; commands run inside it."""

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.site = folder / "site"
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Said:
        """Run a command in this process, whatever comes of it."""
        self._monkeypatch.chdir(self.folder)
        self._capsys.readouterr()
        code = main([str(one) for one in arguments])
        said = self._capsys.readouterr()
        return Said(code, said.out, said.err)

    def does(self, *arguments: str | Path) -> Said:
        """Run a command that works."""
        said = self(*arguments)
        assert said.code == 0, said
        return said

    def publishes(self, *arguments: str | Path) -> dict[str, Any]:
        """Publish something, and return the fields of `--json`."""
        data: dict[str, Any] = self.does("publish", "--json", *arguments).json
        return data

    def refuses(self, *arguments: str | Path, code: int, error: str) -> Said:
        """Run a command that must refuse as this project refuses, with nothing changed."""
        before = snapshot(self.folder)
        said = self(*arguments)
        check_refusal(said, code=code, error=error)
        assert changes(before, snapshot(self.folder)) == []
        as_json = self(*arguments, "--json")
        fields = as_json.json
        assert sorted(fields) == ["code", "error", "exit", "hint"]
        assert as_json.code == fields["exit"] == code
        assert f"error: {fields['error']}\nhint: {fields['hint']}\n" == said.err
        assert as_json.err == ""
        assert changes(before, snapshot(self.folder)) == []
        return said

    def copied(self, name: str) -> "Project":
        """Return a copy of the whole folder, beside it."""
        folder = copy_project(self.folder, self.folder.with_name(name))
        return Project(folder, self._monkeypatch, self._capsys)

    def keyring(self) -> Keyring:
        """Return the keys of the project's newest root, for a site with one root."""
        return Keyring.trust((self.folder / ".manifestgen/root/1.json").read_bytes())

    def manifest(self, channel: str = "production") -> TrustedManifest:
        """Return what devices see, verified."""
        return self.keyring().manifest(
            (self.site / channel / "manifest.json").read_bytes(), channel
        )

    def offered(self, channel: str = "production") -> list[str]:
        """Return the versions that devices are offered, in order."""
        return [str(release.version) for release in usable(self.manifest(channel))]


def check_refusal(said: Said, *, code: int, error: str) -> None:
    """Check one `error:` line that says `error`, one `hint:` line, and nothing else."""
    lines = said.err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["error", "hint"], said
    assert error in lines[0]
    assert len(lines[1]) > len("hint: ")
    assert not lines[0].endswith(".")
    assert said.out == ""
    assert said.code == code, said


def snapshot(folder: Path) -> dict[str, object]:
    """Return everything in a folder: files with bytes and mode, links, and folders."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        mode = stat.S_IMODE(path.lstat().st_mode)
        if path.is_symlink():
            found[name] = str(path.readlink())
        elif path.is_file():
            found[name] = (mode, path.read_bytes())
        else:
            found[name] = mode
    return found


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Name what differs between two snapshots."""
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def site_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of what a web server serves of a site."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not any(part.startswith(".") for part in path.parts)
    }


def build(folder: Path, *, version: str | None = "1.0.0", text: str = "hello") -> Path:
    """Write a build of three files."""
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<!doctype html><script src="assets/app.js"></script>')
    (folder / "assets/app.js").write_text(f"document.body.append({text!r})")
    if version is not None:
        (folder / "package.json").write_text(json.dumps({"name": "app", "version": version}))
    return folder


def process(
    folder: Path,
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    first: Callable[[], None] | None = None,
) -> "subprocess.Popen[str]":
    """Start a command in a process of its own, which calls `first` first."""
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})},
        preexec_fn=first,  # noqa: PLW1509  # the child calls it before it has threads
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: "subprocess.Popen[str]") -> Said:
    """Wait for a command."""
    out, err = process.communicate(timeout=120)
    return Said(process.returncode, out, err)


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """Serve a folder over HTTP, and give its address."""
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def copy_project(source: Path, target: Path) -> Path:
    """Copy a project with the modes of its keys."""
    shutil.copytree(source, target, symlinks=True)
    return target


def without_overriding() -> None:
    """Give up root's power over other people's modes, before a program starts."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
            if libc.prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "prctl")


@pytest.fixture
def fresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Project:
    """Give a folder with a build in `dist`, and nothing else."""
    project = Project(tmp_path / "shop", monkeypatch, capsys)
    build(project.folder / "dist")
    return project


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one project that has published `dist` as 1.0.0; to be copied, never used."""
    folder = tmp_path_factory.mktemp("published") / "shop"
    folder.mkdir()
    build(folder / "dist")
    build(folder / "dist2", version="1.1.0", text="hello again")
    said = ended(process(folder, "publish", "dist"))
    assert said.code == 0, said.err
    return folder


@pytest.fixture
def project(
    published: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Project:
    """Give a project that has published `dist` as 1.0.0, with `dist2` as 1.1.0 beside it."""
    return Project(copy_project(published, tmp_path / "shop"), monkeypatch, capsys)
