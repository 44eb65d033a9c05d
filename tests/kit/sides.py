"""Two sides of an air gap, each a project folder driven through the command line.

Commands run in this process with `--json`; nothing but kits and receipts goes from side to side.
"""

import io
import json
import random
import shutil
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

from manifestgen.cli import main
from manifestgen.cli.report import Session
from manifestgen.config import Settings, load
from manifestgen.kit import Imported, Kit, Trust, receive
from manifestgen.publish.trust import load_roots
from manifestgen.stores import MemoryStore, Store
from tests.publish.project import site_files, snapshot

URL: Final = "https://cdn.example.com/app"
INSIDE_URL: Final = "https://updates.plant.example/app"


@dataclass(frozen=True, slots=True)
class Side:
    """One side: its folder, with the site in `site`."""

    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def settings(self) -> Settings:
        return load(self.folder / "manifestgen.toml", {})

    @property
    def fingerprint(self) -> str:
        """What a person reads out on the telephone."""
        return sha256((self.folder / ".manifestgen/root/1.json").read_bytes()).hexdigest()

    def files(self) -> dict[str, bytes]:
        return site_files(self.site)

    def everything(self) -> dict[str, object]:
        return snapshot(self.folder)

    def __call__(self, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
        """Run a command, whatever comes of it."""
        out, err = io.StringIO(), io.StringIO()
        self.folder.mkdir(parents=True, exist_ok=True)
        with chdir(self.folder), redirect_stdout(out), redirect_stderr(err):
            code = main([*map(str, arguments), "--json"])
        return code, json.loads(out.getvalue())

    def does(self, *arguments: str | Path) -> dict[str, Any]:
        """Run a command that works."""
        code, data = self(*arguments)
        assert code == 0, data
        return data

    def refuses(self, *arguments: str | Path, code: str, error: str, exit_code: int = 3) -> None:
        """Run a command that must refuse, with nothing changed."""
        before = self.everything()
        found, data = self(*arguments)
        assert (found, data["code"]) == (exit_code, code), data
        assert error in data["error"]
        assert data["hint"]
        assert self.everything() == before

    def publishes(self, version: str, *arguments: str, size: int = 60_000) -> None:
        """Publish a build of a page that changes and a file that does not compress."""
        dist = self.folder / "dist"
        shutil.rmtree(dist, ignore_errors=True)
        dist.mkdir(parents=True)
        (dist / "index.html").write_text(f"<!doctype html><title>{version}</title>")
        (dist / "photo.jpg").write_bytes(random.Random(1).randbytes(size))
        (dist / f"app-{version}.js").write_bytes(random.Random(version).randbytes(2_000))
        self.does("publish", "dist", "--version", version, *arguments)

    def exports(self, name: str, *arguments: str | Path) -> Path:
        path = self.folder.parent / name
        path.unlink(missing_ok=True)
        assert self.does("kit", "export", "--to", path, *arguments)["written"]
        return path

    def imports(self, kit: Path, *arguments: str | Path) -> dict[str, Any]:
        return self.does("kit", "import", kit, *arguments)

    def copied(self, name: str) -> Self:
        folder = self.folder.parent / name
        shutil.copytree(self.folder, folder, symlinks=True)
        return type(self)(folder)


def outside(folder: Path, *, delta: bool = False) -> Side:
    """Make the publishing side, with nothing published yet."""
    side = Side(folder)
    side.does("init", "--app", "com.example.app", "--base-url", URL)
    # A site without a root would be looked for at the URL.
    shutil.copytree(folder / ".manifestgen/root", folder / "site/root")
    if delta:
        with (folder / "manifestgen.toml").open("a") as file:
            file.write("\n[capgo]\ndelta = true\n")
    return side


def take(kit: Path, trust: Trust, settings: Settings, store: Store, receipt: Path) -> Imported:
    """Import by the library, into any store."""
    with Kit.open(kit) as opened:
        return receive(opened, trust, settings, store, now=Session().now(), receipt=receipt)


def project_trust(settings: Settings) -> Trust:
    """Trust what a project does."""
    return Trust(chain=load_roots(settings))


def contents(store: Store) -> dict[str, bytes]:
    """Return everything in a store."""
    found = {}
    for entry in store.names():
        file = store.open(entry.name)
        assert file is not None
        with file:
            found[entry.name] = file.read()
    return found


def filled(files: dict[str, bytes]) -> MemoryStore:
    """Make a store in memory."""
    store = MemoryStore()
    for name, data in files.items():
        store.create(name, data)
    return store


def rotates(side: Side, role: str = "manifest") -> None:
    """Put another key in the place of the first, in one role."""
    root = json.loads((side.folder / ".manifestgen/root/1.json").read_text())["signed"]
    old = root["keys"][0]["keyid"]
    side.does("keys", "create", "--only", "signing", "--out-dir", "new")
    to = "file:new/signing.pem"
    config = side.folder / "manifestgen.toml"
    text = config.read_text().replace("[keys]", f'[keys]\n{role} = ["{to}"]', 1)
    side.does("keys", "rotate", old[:12], "--to", to, "--role", role)
    config.write_text(text)
