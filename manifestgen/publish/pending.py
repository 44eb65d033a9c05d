"""Documents that gather signatures, in `.manifestgen/pending/`.

When a role needs more keys than one person has, the document is written here with the signatures
it has, carried to the others, who run `manifestgen keys sign FILE`, and taken up again by the
command that made it. Nothing of it is published before its threshold is met.
"""

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from manifestgen.config import Settings
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keys import PublicKey
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.root import Role
from manifestgen.core.version import Version
from manifestgen.errors import FormatError, KeyUseError, UsageError, VerificationError
from manifestgen.publish.trust import load_roots, write_file
from manifestgen.signers import Signer
from manifestgen.signers.interface import sign


def read_pending(path: Path) -> Envelope:
    """Read a document that gathers signatures."""
    try:
        with path.open("rb") as file:  # it may come from anywhere, and be endless
            return Envelope.decode(file.read(LIMITS.root_bytes + 1), limit=LIMITS.root_bytes)
    except FileNotFoundError:
        raise UsageError(
            f"there is no {path}", hint="documents that wait are in .manifestgen/pending/"
        ) from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}", code=error.code) from None


def check_gathered(path: Path, envelope: Envelope, kind: Kind, keys: Iterable[PublicKey]) -> None:
    """Raise `VerificationError` if a signature by a known key does not fit what it is said to sign.

    Then the document was changed on its way, and whoever signed it saw another one.
    """
    known = {key.keyid: key for key in keys}
    message = envelope.message(kind)
    for one in envelope.signatures:
        if one.keyid in known and not known[one.keyid].verifies(one.sig, message):
            raise VerificationError(
                f"{path} was changed after {one.keyid[:12]} signed it",
                code="signature",
                hint="do not sign it; ask where it was changed, and make it anew",
            )


def check_app(path: Path, app: str, ours: str) -> None:
    """Raise `VerificationError` unless a document that waits is of this project's app."""
    if app != ours:
        raise VerificationError(
            f"{path} is of {app}, and this project of {ours}",
            code="wrong_app",
            hint=f"nothing was signed; sign it where the manifestgen.toml of {app} is",
        )


def read_release(settings: Settings, path: Path, envelope: Envelope) -> Release:
    """Return a release that waits in a file, with nothing changed since others signed it.

    Raises:
        VerificationError: it was changed on its way, or is another app's.
    """
    release = Release.from_json(envelope.signed)
    root = load_roots(settings).keyring.root
    check_gathered(path, envelope, Kind.RELEASE, root.keys)
    check_app(path, release.app, root.app)
    return release


def keep_pending(path: Path, envelope: Envelope) -> None:
    """Write a document that still lacks signatures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, envelope.encode())


def gather(
    settings: Settings,
    release: Release,
    role: Role,
    signers: list[Signer],
    *,
    again: Envelope | None = None,
    dry_run: bool = False,
) -> Envelope:
    """Sign a release, with what others have signed of it already.

    `again` is the envelope of a release that is published and lacks signatures by newer keys.

    Raises:
        KeyUseError: signatures are still missing; the release waits in a file for them.
        UsageError: another build waits there under this version.
        VerificationError: what waits there was changed on its way.
    """
    path = release_path(settings, release.version)
    envelope = again or Envelope((), release.to_json())
    if path.exists():
        envelope = read_pending(path)
        check_gathered(path, envelope, Kind.RELEASE, load_roots(settings).keyring.root.keys)
        waiting = Release.from_json(envelope.signed)
        # All but the time: what came back from a journey is signed for no more than was sent.
        same = replace(waiting, issued=release.issued) == release
        if not same or (again and again.signed != envelope.signed):
            raise UsageError(
                f"{path} holds something else for {release.version}",
                hint="delete that file if it is not wanted any more",
            )
        # Devices that lost their state take a release's time for the earliest it can be.
        if waiting.issued > release.issued:
            raise VerificationError(
                f"{path} says it was issued on {waiting.issued:%Y-%m-%d %H:%M} UTC, still to come",
                code="future",
                hint="do not sign it; delete that file, and run the same command again",
            )
    signed = sign(envelope, Kind.RELEASE, signers)
    have = {one.keyid for one in signed.signatures} & set(role.keys)
    if len(have) >= role.threshold:
        return signed
    lacking = (
        f"release {release.version} has {len(have)} of the {role.threshold} signatures it needs"
    )
    if dry_run:
        raise KeyUseError(lacking, hint="without --dry-run it is kept for the others to sign")
    keep_pending(path, signed)
    raise KeyUseError(
        lacking,
        hint=f"have it signed with `manifestgen keys sign {shlex.quote(str(path))}`, then run the"
        " same command again",
    )


def forget_pending(settings: Settings, release: Release) -> None:
    """Drop a document that is published now."""
    release_path(settings, release.version).unlink(missing_ok=True)


def release_path(settings: Settings, version: Version) -> Path:
    """Return where a release waits."""
    return settings.state / "pending" / f"release-{version}.json"


def root_path(settings: Settings, number: int) -> Path:
    """Return where a root waits."""
    return settings.state / "pending" / f"root-{number}.json"
