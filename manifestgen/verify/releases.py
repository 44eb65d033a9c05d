"""Release documents: each verifies, is named after its version, and is the only one of it.

A version is signed once. So every manifest that ever offered it must embed the same signed part as
the file in `releases/`; signatures may differ, since keys are rotated.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import TrustedManifest, usable
from manifestgen.core.limits import LIMITS
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest
from manifestgen.errors import VerificationError
from manifestgen.stores.names import RELEASES, history_name, release_name
from manifestgen.verify.audit import Audit
from manifestgen.verify.manifests import Line
from manifestgen.verify.roots import Roots

_Said = dict[str, dict[Digest, str]]
"""By the name of a release: each signed part that manifests embed, and the newest that does."""


@dataclass(frozen=True, slots=True)
class Releases:
    """`offered` are those of today's manifests; `kept` all others that a document vouches for."""

    offered: tuple[Release, ...]
    kept: tuple[Release, ...]


def check_releases(audit: Audit, roots: Roots, lines: Sequence[Line]) -> Releases:
    """Check every release document that is listed, or that a manifest has ever offered."""
    offered = {
        release_name(str(release.version)): release
        for line in lines
        for release in usable(line.head)
    }
    said, kept = _said(roots, lines)
    names = sorted({*said, *(one for one in audit.listed(RELEASES) if one.endswith(".json"))})
    with audit.reading_ahead(names, LIMITS.release_bytes):
        for name in names:
            release = _checked(audit, roots, name, said.get(name, {}), offered)
            if release is not None:
                kept[name] = release
    past = (release for name, release in sorted(kept.items()) if name not in offered)
    return Releases(tuple(offered.values()), tuple(past))


def _checked(
    audit: Audit,
    roots: Roots,
    name: str,
    said: Mapping[Digest, str],
    offered: Mapping[str, Release],
) -> Release | None:
    data = audit.need(
        name, LIMITS.release_bytes, f"{next(iter(said.values()), 'a manifest')} offers it"
    )
    if data is None:
        return None
    with audit.judging(name):
        envelope = Envelope.decode(data, limit=LIMITS.release_bytes)
        release, revoked = _explained(roots, envelope)
        if release_name(str(release.version)) != name:
            raise VerificationError(f"holds release {release.version}", code="release")
        if revoked and name in offered:
            raise VerificationError("signed only by keys since revoked", code="signature")
        if revoked:
            audit.note(name, "signed only by keys since revoked; no channel offers it now")
        audit.check_every_signature(name, envelope, Kind.RELEASE, roots.keys)
        for digest, where in said.items():
            if digest != envelope.digest():
                audit.problem(name, "release", f"says something else than the copy in {where}")
        return release
    return None


def _said(roots: Roots, lines: Sequence[Line]) -> tuple[_Said, dict[str, Release]]:
    """Collect what manifests embed, and the newest copy of each release."""
    said: _Said = {}
    newest: dict[str, Release] = {}
    for line in lines:
        for trusted in (line.head, *line.past):
            for envelope, release in _embedded(roots, trusted):
                name = release_name(str(release.version))
                manifest = trusted.manifest
                where = history_name(manifest.channel, manifest.sequence)
                said.setdefault(name, {}).setdefault(envelope.digest(), where)
                newest.setdefault(name, release)
    return said, newest


def _embedded(roots: Roots, trusted: TrustedManifest) -> list[tuple[Envelope, Release]]:
    found = []
    for offer in trusted.manifest.offers:
        with suppress(VerificationError):  # of today's manifest it has been told; devices skip it
            found.append((offer.release, _explained(roots, offer.release)[0]))
    return found


def _explained(roots: Roots, envelope: Envelope) -> tuple[Release, bool]:
    """Verify a release by today's keys, else by those of earlier roots; tell whether the latter."""
    try:
        return roots.newest.release(envelope), False
    except VerificationError as error:
        if error.code != "signature":
            raise
        for keyring in reversed(roots.keyrings[:-1]):
            with suppress(VerificationError):
                return keyring.release(envelope), True
        raise
