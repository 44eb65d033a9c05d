"""A publisher for devices under test: the simulator's documents, with real bundles behind them."""

import io
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from manifestgen.bundle import PACKER, pack, read_build
from manifestgen.core import capgo
from manifestgen.core.cipher import bundle_key, encrypt
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.files import Encoding, FileList, SingleFile, compress
from manifestgen.core.manifest import Offer
from manifestgen.core.release import V3, Payload, Release, Scheme, TreeRef
from manifestgen.core.tree import Digest, File, sha256
from manifestgen.core.version import Version
from manifestgen.device import Facts, Updater
from manifestgen.signers.pem import SoftwareWrapper
from manifestgen.stores import MemoryStore, Store
from manifestgen.stores.names import ROOT, blob_name, manifest_name, root_name
from tests.simulator import APP, CHANNEL, NOW, Simulator, TestKey, envelope

_SECRET = bytes(32)


@cache
def wrapper() -> SoftwareWrapper:
    """Return the app's Capgo key."""
    return SoftwareWrapper(rsa.generate_private_key(65537, 2048))


def pem() -> bytes:
    """Return its public half."""
    return capgo.public_pem(wrapper().public).encode()


def page(version: str) -> dict[str, bytes]:
    """Return the files of a small app that names its version."""
    return {
        "index.html": f"<!doctype html><title>{version}</title>\n".encode(),
        "assets/app.js": b"console.log('hello')\n" * 200,
    }


@cache
def _packed(files: tuple[tuple[str, bytes], ...]) -> tuple[bytes, TreeRef]:
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files:
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        out = io.BytesIO()
        tree = pack(read_build(Path(folder)), out, workers=1).tree
    return out.getvalue(), TreeRef(tree.digest(), len(tree.files), tree.size)


class Publisher:
    """Writes to `site` what a publisher would, one line each."""

    def __init__(self, site: Store | None = None, *, sim: Simulator | None = None) -> None:
        self.site: Store = site if site is not None else MemoryStore()
        self.sim = sim or Simulator()
        self.sequence = 0
        self.root = self.sim.root()

    def bundle(
        self,
        version: str,
        files: Mapping[str, bytes] | None = None,
        *,
        scheme: Scheme = Scheme.NONE,
        zipped: bytes | None = None,
        **changes: Any,
    ) -> Release:
        """Store a bundle and return its release, unsigned; `zipped` replaces the zip."""
        packed, tree = _packed(tuple((files or page(version)).items()))
        plain = packed if zipped is None else zipped
        release = Release(
            app=APP,
            version=Version.parse(version),
            issued=self.sim.root_value.issued,
            tree=tree,
            scheme=scheme,
            bundle=Payload(sha256(plain), len(plain), sha256(plain), len(plain)),
        )
        blob = plain
        if scheme is Scheme.CAPGO:
            key = bundle_key(
                _SECRET, scheme=scheme, app=APP, packer=PACKER, tree=release.tree.digest
            )
            blob = b"".join(encrypt([plain], key))
            release = replace(
                release,
                capgo=capgo.wrap(wrapper(), key, sha256(plain)),
                bundle=replace(release.bundle, blob=sha256(blob), size=len(blob)),
            )
        self.put(blob_name(sha256(blob)), blob)
        return replace(release, **changes)

    def listed(self, release: Release, files: Mapping[str, bytes]) -> Release:
        """List the single files of a release and store them; compressed are all but `.bin`."""
        key = capgo.unwrap(wrapper().public, release.capgo) if release.capgo else None
        entries = []
        for path, data in sorted(files.items()):
            file = File(path, sha256(data), len(data))
            plain = path.endswith(".bin")
            stored = data if plain else b"".join(compress([data]))
            stored = b"".join(encrypt([stored], key)) if key else stored
            checksum = capgo.wrap_digest(wrapper(), file.sha256, V3) if key else None
            encoding = Encoding.NONE if plain else Encoding.BROTLI
            self.put(blob_name(sha256(stored)), stored)
            entries.append(SingleFile(file, sha256(stored), len(stored), encoding, checksum))
        return self.naming(release, FileList(tuple(entries)))

    def naming(self, release: Release, listed: FileList) -> Release:
        """Store a list, whatever it says, and let a release name it."""
        data = listed.encode()
        self.put(blob_name(sha256(data)), data)
        return replace(release, files=Payload(sha256(data), len(data), sha256(data), len(data)))

    def sign(self, release: Release, *by: TestKey) -> Envelope:
        """Sign a release with the release key, or with others."""
        return envelope(release.to_json(), Kind.RELEASE, by or (self.sim.release_key,))

    def offer(self, version: str, **changes: Any) -> Offer:
        """Store a version and offer it to everybody."""
        return Offer(self.sign(self.bundle(version, **changes)))

    def publish(self, *offers: Offer | str, channel: str = CHANNEL, **changes: Any) -> bytes:
        """Publish the next manifest; a version stands for `offer(version)`."""
        self.sequence = changes.setdefault("sequence", self.sequence + 1)
        changes["withdrawn"] = tuple(map(Version.parse, changes.get("withdrawn", ())))
        made = [self.offer(one) if isinstance(one, str) else one for one in offers]
        data = self.sim.manifest(*made, channel=channel, **changes)
        self.put(manifest_name(channel), data)
        return data

    def rotate(self, number: int, **changes: Any) -> bytes:
        """Publish a root; `by` is who signs it."""
        data = self.sim.root(number=number, **changes)
        self.put(root_name(number), data)
        self.put(ROOT, data)
        return data

    def put(self, name: str, data: bytes) -> None:
        """Write an object, whatever was there."""
        self.site.delete(name)
        self.site.create(name, data)

    def blob(self, digest: Digest) -> bytes:
        """Return a blob's bytes."""
        stored = self.site.get(blob_name(digest))
        assert stored is not None
        return stored.data


class Device:
    """One device: its state folder, its clock, and an updater made anew for every run."""

    def __init__(self, publisher: Publisher, state: Path, site: Store | None = None) -> None:
        self.publisher = publisher
        self.site = site or publisher.site
        self.state = state
        self.root = publisher.root
        self.now: datetime = NOW
        self.key: bytes | None = None
        self.channel: str | None = None
        self.facts = Facts()

    @property
    def updater(self) -> Updater:
        """Return the client, as a new process would make it."""
        return Updater(
            self.site,
            self.root,
            self.state,
            channel=self.channel,
            facts=self.facts,
            key=self.key,
            now=lambda: self.now,
        )

    def install(self) -> str:
        """Run `install`; return its action."""
        return self.updater.install().action.value

    def confirmed(self, *offers: Offer | str, **changes: Any) -> None:
        """Publish, install and confirm."""
        self.publisher.publish(*offers, **changes)
        assert self.install() == "installed"
        self.updater.confirm()

    def later(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)

    @property
    def version(self) -> str | None:
        """The version whose page a browser would be shown; `None` is the built-in app."""
        if not (self.state / "current").is_symlink():
            return None
        text = (self.state / "current" / "index.html").read_text()
        return text.removeprefix("<!doctype html><title>").removesuffix("</title>\n")

    def snapshot(self) -> dict[str, bytes]:
        """Return every file and link of the state folder."""
        found = {}
        for path in sorted(self.state.rglob("*")):
            name = path.relative_to(self.state).as_posix()
            if path.is_symlink():
                found[name] = str(path.readlink()).encode()
            elif path.is_file():
                found[name] = path.read_bytes()
        return found
