"""Documents that gather signatures, in `.manifestgen/pending/`.

When a role needs more keys than one person has, the document is written here with the signatures
it has, carried to the others, who run `manifestgen keys sign FILE`, and taken up again by the
command that made it. Nothing of it is published before its threshold is met.
"""

from dataclasses import replace
from pathlib import Path

from manifestgen.config import Settings
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.root import Role
from manifestgen.errors import FormatError, KeyUseError, UsageError
from manifestgen.publish.trust import write_file
from manifestgen.signers import Signer
from manifestgen.signers.interface import sign


def read_pending(path: Path) -> Envelope:
    """Read a document that gathers signatures."""
    try:
        return Envelope.decode(path.read_bytes(), limit=LIMITS.root_bytes)
    except FileNotFoundError:
        raise UsageError(f"there is no {path}") from None
    except FormatError as error:
        raise FormatError(f"{path}: {error}", code=error.code) from None


def keep_pending(path: Path, envelope: Envelope) -> None:
    """Write a document that still lacks signatures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, envelope.encode())


def gather(settings: Settings, release: Release, role: Role, signers: list[Signer]) -> Envelope:
    """Sign a release, with what others have signed of it already.

    Raises:
        KeyUseError: signatures are still missing; the release waits in a file for them.
        UsageError: another build waits there under this version.
    """
    path = _path(settings, release)
    envelope = Envelope((), release.to_json())
    if path.exists():
        envelope = read_pending(path)
        waiting = Release.from_json(envelope.signed)
        # All but the time: what came back from a journey is signed for no more than was sent.
        if replace(waiting, issued=release.issued) != release:
            raise UsageError(
                f"{path} holds something else for {release.version}",
                hint="delete that file if it is not wanted any more",
            )
    signed = sign(envelope, Kind.RELEASE, signers)
    have = {one.keyid for one in signed.signatures} & set(role.keys)
    if len(have) >= role.threshold:
        return signed
    keep_pending(path, signed)
    raise KeyUseError(
        f"release {release.version} has {len(have)} of the {role.threshold} signatures it needs",
        hint=f"have it signed with `manifestgen keys sign {path}`, then run the same command again",
    )


def forget_pending(settings: Settings, release: Release) -> None:
    """Drop a document that is published now."""
    _path(settings, release).unlink(missing_ok=True)


def _path(settings: Settings, release: Release) -> Path:
    return settings.state / "pending" / f"release-{release.version}.json"
