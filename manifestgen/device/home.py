"""The state folder of a device, and what lies where in it.

    lock                    held while a run changes anything
    root.json               the newest root, moved by the chain alone
    state.json              see `state`
    manifests/C.json        the manifest of channel C that was accepted last, whole
    capgo.pub.pem           the public key that opens bundles, if one was given
    bundles/TREE/           an unpacked release, complete and never changed
    bundles/TREE.json       its release envelope
    current                 a link to the bundle that runs; none means the built-in app
    staging/                what is being downloaded; may be removed at any time

`root.json`, `state.json` and manifests have a previous copy beside them, `….old`. `current` is
replaced by a rename, so whoever follows it sees one whole bundle or the other. Where links cannot
be made (Windows without the privilege), `current` is a file that holds the path instead.
"""

import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import Keyring, Seen, check_signatures
from manifestgen.core.limits import LIMITS
from manifestgen.core.manifest import Manifest
from manifestgen.core.release import Release
from manifestgen.core.select import Running
from manifestgen.core.tree import Digest
from manifestgen.device import files
from manifestgen.device.state import MAX_BYTES, State
from manifestgen.errors import FormatError, UsageError, VerificationError

_DIGEST_DIGITS: Final = 64
_PEM_BYTES: Final = 16 * 1024


class Home:
    """Reads and writes the state folder; decides nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.staging = self.folder / "staging"
        self._bundles = self.folder / "bundles"
        self._manifests = self.folder / "manifests"
        self._current = self.folder / "current"
        self._root = self.folder / "root.json"
        self._state = self.folder / "state.json"
        self._key = self.folder / "capgo.pub.pem"

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self._bundles, self._manifests, self.staging):
            folder.mkdir(parents=True, exist_ok=True)

    def lock(self) -> AbstractContextManager[None]:
        """Keep other runs out, or raise `Error` (`busy`)."""
        return files.locked(self.folder / "lock")

    # Trust

    def pin(self, given: bytes) -> Keyring:
        """Return the pinned root; where there is none, or only damage, pin `given`.

        Raises:
            VerificationError: `given` is damaged.
            UsageError: `given` is for another app than the pinned root.
        """
        keyring = self.keyring(given)
        if keyring is None or self._pinned() is None:
            keyring = Keyring.trust(given)
            files.save(self._root, given)
        return keyring

    def keyring(self, given: bytes | None) -> Keyring | None:
        """Return the pinned root, else `given`; changes nothing. Raises as `pin` does."""
        built_in = Keyring.trust(given) if given is not None else None
        pinned = self._pinned()
        if pinned and built_in:
            _check_app(pinned, built_in, self.folder)
        return pinned or built_in

    def save_root(self, data: bytes) -> None:
        """Write the next root of the chain."""
        files.save(self._root, data)

    def seen(self, keyring: Keyring, channel: str) -> Seen | None:
        """Return what is remembered of a channel, as far as this root still stands behind it."""
        for data in files.copies(self._manifest(channel), limit=LIMITS.manifest_bytes):
            try:
                return _seen(keyring, data, channel)
            except FormatError:
                continue  # damaged: the previous copy is better than nothing
            except VerificationError:
                return None
        return None

    def manifest(self, channel: str) -> Manifest | None:
        """Return the manifest accepted last, as far as it can be read."""
        for data in files.copies(self._manifest(channel), limit=LIMITS.manifest_bytes):
            with suppress(FormatError):
                return Manifest.from_json(Envelope.decode(data, limit=LIMITS.manifest_bytes).signed)
        return None

    def save_manifest(self, channel: str, data: bytes) -> None:
        """Remember an accepted manifest; the same again costs no write."""
        known = next(files.copies(self._manifest(channel), limit=LIMITS.manifest_bytes), None)
        if known != data:
            files.save(self._manifest(channel), data)

    def forget_manifests(self, keyring: Keyring) -> None:
        """Forget every remembered manifest that a new root does not stand behind."""
        for path in sorted(self._manifests.glob("*.json")):
            if self.seen(keyring, path.stem) is None:
                files.forget(path)

    # State

    def state(self) -> State:
        """Read the state, reconciled with what `current` says; damage leaves a fresh one."""
        state = State()
        for data in files.copies(self._state, limit=MAX_BYTES):
            with suppress(FormatError):
                state = State.decode(data)
                break
        current = self.current()
        return state.reconcile(current, self._described(current))

    def save_state(self, state: State) -> None:
        """Write the state."""
        files.save(self._state, state.encode())

    def key(self) -> bytes | None:
        """Return the public key that was given once, in PEM."""
        return next(files.copies(self._key, limit=_PEM_BYTES), None)

    def save_key(self, pem: bytes) -> None:
        """Keep the public key for runs that are not given one."""
        if self.key() != pem:
            files.save(self._key, pem)

    # Bundles

    def bundle(self, tree: Digest) -> Path:
        """Return where the bundle of a tree is, or would be."""
        return self._bundles / tree

    def release(self, tree: Digest) -> Envelope | None:
        """Return the release envelope beside a bundle; whether to believe it is not checked."""
        # It came inside a manifest, whose signer may have padded it with signatures of no worth.
        for data in files.copies(self._beside(tree), limit=LIMITS.manifest_bytes):
            with suppress(FormatError):
                return Envelope.decode(data, limit=LIMITS.manifest_bytes)
        return None

    def save_release(self, tree: Digest, release: Envelope) -> None:
        """Put a verified release envelope beside the bundle it describes."""
        if self.release(tree) != release:
            files.save(self._beside(tree), release.encode())

    def holds(self, tree: Digest) -> bool:
        """Tell whether the bundle of a tree is there with all its files as they should be."""
        folder = self.bundle(tree)
        if not folder.is_dir():
            return False
        try:
            return files.tree_of(folder).digest() == tree
        except FormatError:
            return False

    def settle(self, staged: Path, tree: Digest, release: Envelope) -> None:
        """Move a complete folder from staging to where bundles live."""
        self.save_release(tree, release)
        files.remove(self.bundle(tree))  # one that `holds` was not true of
        staged.replace(self.bundle(tree))
        files.sync_folder(self._bundles)

    def current(self) -> Digest | None:
        """Return the tree that `current` leads to."""
        try:
            target = str(self._current.readlink())
        except FileNotFoundError:
            return None
        except OSError:
            target = self._current.read_text("utf-8", "replace")[:4096]
        name = target.strip().replace("\\", "/").rpartition("/")[2]
        return Digest(name) if len(name) == _DIGEST_DIGITS else None

    def switch(self, tree: Digest | None) -> None:
        """Let `current` lead to another bundle, or to none; other programs see it from here on."""
        if tree is None:
            files.remove(self._current)
        else:
            new = self.folder / "current.new"
            files.remove(new)
            _link(new, Path("bundles", tree))
            new.replace(self._current)
        files.sync_folder(self.folder)

    def tidy(self, keep: set[Digest]) -> None:
        """Remove all bundles but some."""
        kept = {name for tree in keep for name in (tree, f"{tree}.json", f"{tree}.json.old")}
        for path in sorted(self._bundles.iterdir()):
            if path.name not in kept:
                files.remove(path)

    def tidy_staging(self, keep: Path | None = None) -> None:
        """Remove what earlier runs left in staging, but for one file."""
        for path in sorted(self.staging.iterdir()):
            if path != keep:
                files.remove(path)

    def _beside(self, tree: Digest) -> Path:
        return self._bundles / f"{tree}.json"

    def _manifest(self, channel: str) -> Path:
        return self._manifests / f"{channel}.json"

    def _pinned(self) -> Keyring | None:
        for data in files.copies(self._root, limit=LIMITS.root_bytes):
            with suppress(VerificationError):
                return Keyring.trust(data)
        return None

    def _described(self, tree: Digest | None) -> Running | None:
        """Return what runs by its own envelope, which was verified before it was put there."""
        envelope = self.release(tree) if tree is not None else None
        if envelope is None or tree is None:
            return None
        with suppress(VerificationError):
            envelope.expect(Kind.RELEASE)
            release = Release.from_json(envelope.signed)
            if release.tree.digest == tree:
                return Running(release.version, tree)
        return None


def _check_app(pinned: Keyring, given: Keyring, folder: Path) -> None:
    if given.root.app != pinned.root.app:
        raise UsageError(
            f"{folder} belongs to {pinned.root.app}, the root given is for {given.root.app}",
            hint="each app needs a state folder of its own",
            code="wrong_app",
        )


def _seen(keyring: Keyring, data: bytes, channel: str) -> Seen:
    """Read a remembered manifest; that it was good when it was accepted is not checked again."""
    envelope = Envelope.decode(data, limit=LIMITS.manifest_bytes)
    manifest = Manifest.from_json(envelope.signed)
    role = keyring.root.manifest_role(channel)
    if role is None or manifest.channel != channel:
        raise VerificationError(f"nobody may sign for {channel}", code="signature")
    check_signatures(envelope, Kind.MANIFEST, keyring.root, role)
    return Seen(manifest.sequence, envelope.digest(), manifest.issued)


def _link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=True)
    except (OSError, NotImplementedError):
        if os.name != "nt":
            raise
        path.write_text(target.as_posix() + "\n", "utf-8")  # pragma: no cover
