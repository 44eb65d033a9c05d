"""Real projects, published by the real command, and their sites as files to tamper with."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from manifestgen.cli import main
from manifestgen.config import Settings, load
from manifestgen.core import capgo
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.errors import StoreError
from manifestgen.publish.trust import load_roots
from manifestgen.signers import load_signer
from manifestgen.signers.interface import sign
from manifestgen.stores import Entry, MemoryStore, Store
from manifestgen.verify import Anchor, Expected, Report, verify

SAMPLE = Path(__file__).resolve().parents[2] / "sample_site"
BASE = "https://cdn.example.com/app"
START = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Project:
    """A project folder; each command runs a day after the one before unless told otherwise."""

    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def settings(self) -> Settings:
        return load(self.folder / "manifestgen.toml", {})

    @property
    def anchor(self) -> Anchor:
        return Anchor.of(*load_roots(self.settings).documents)

    @property
    def expected(self) -> Expected:
        public = capgo.load_public(self.settings.capgo_public.read_bytes())
        return Expected(possible=("production",), base_url=self.settings.base_url, capgo=public)

    def run(self, *arguments: str | Path, day: int = 0) -> int:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            patch.setenv("SOURCE_DATE_EPOCH", str(int((START + day * DAY).timestamp())))
            return main([str(argument) for argument in arguments])

    def publish(self, *arguments: str | Path, day: int) -> None:
        assert self.run("publish", *arguments, "-q", day=day) == 0

    def files(self) -> Files:
        """Read the site; hidden files are the store's own, and no part of it."""
        return {
            path.relative_to(self.site).as_posix(): path.read_bytes()
            for path in sorted(self.site.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }

    def verify(
        self,
        files: Mapping[str, bytes] | Store,
        *,
        day: int = 3,
        anchor: Anchor | None = None,
        expected: Expected | None = None,
    ) -> Report:
        store = store_of(files) if isinstance(files, Mapping) else files
        return verify(
            store,
            anchor or self.anchor,
            now=START + day * DAY,
            expected=expected or self.expected,
        )

    def sign(self, signed: Manifest | Release) -> bytes:
        """Sign anything with the project's own key, as whoever stole it could."""
        signer = load_signer(self.settings.root_keys[0], folder=self.folder, ask=lambda _: None)
        kind = Kind.MANIFEST if isinstance(signed, Manifest) else Kind.RELEASE
        return sign(Envelope((), signed.to_json()), kind, [signer]).encode()

    def resign(self, files: Files, change: Callable[[Manifest], Manifest]) -> Files:
        """Change what the newest manifest says, and sign it as if it had always been so."""
        old = manifest_of(files)
        data = self.sign(change(old))
        history = f"production/history/{old.sequence:06d}.json"
        return {**files, "production/manifest.json": data, history: data}

    def rerelease(self, files: Files, change: Callable[[Release], Release]) -> Files:
        """Change what the release that is offered first says, and sign everything anew."""
        offer = manifest_of(files).offers[0]
        release = change(Release.from_json(offer.release.signed))
        data = self.sign(release)
        envelope = Envelope.decode(data, limit=LIMITS.release_bytes)
        changed = {**files, f"releases/{release.version}.json": data}

        def embed(manifest: Manifest) -> Manifest:
            offers = (replace(offer, release=envelope), *manifest.offers[1:])
            return replace(manifest, offers=offers)

        return self.resign(changed, embed)


def manifest_of(files: Mapping[str, bytes], name: str = "production/manifest.json") -> Manifest:
    envelope = Envelope.decode(files[name], limit=LIMITS.manifest_bytes)
    return Manifest.from_json(envelope.signed)


def store_of(files: Mapping[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    for name, data in files.items():
        store.create(name, data)
    return store


def new_project(folder: Path, *arguments: str) -> Project:
    """Publish the sample at one version, then say where the site will be served."""
    folder.mkdir(parents=True)
    project = Project(folder)
    project.publish(SAMPLE / "v1", *arguments, day=0)
    config = folder / "manifestgen.toml"
    text = config.read_text("utf-8").replace("# base_url", "base_url")
    config.write_text(text, "utf-8")
    return project


class Unlisted(MemoryStore):
    """A site as behind a web server: it cannot be listed."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__()
        for name, data in files.items():
            self.create(name, data)

    @property
    def location(self) -> str:
        return "https://updates.example.com"

    def names(self, prefix: str = "") -> Iterator[Entry]:
        raise StoreError("a web server does not list its files")


def third_build(folder: Path) -> Path:
    """Make one more version of the sample."""
    shutil.copytree(SAMPLE / "v2", folder)
    (folder / "extra.txt").write_text("more\n", "utf-8")
    return folder
