"""What a stock Capgo plugin in automatic mode can be told of a manifest.

The plugin knows no signature, share, cohort or native range: its answer lies outside the
protocol's protection, except that it checks the bundle's RSA-wrapped checksum. So it is told of
nothing that is not meant for everybody: the first offer that admits every device, its ramp over.
The keys are those plugin 8.51.23 reads; `kind` is only ever `blocked`, which it takes silently.
"""

import json
from collections.abc import Mapping
from typing import Final, TypeAlias

from manifestgen.core.capgo import checksum_text, session_text
from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.manifest import FULL, Offer
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest

PLATFORMS: Final = ("android", "ios")  # those the plugin runs on

Response: TypeAlias = Mapping[str, str]


def blob_path(digest: Digest) -> str:
    """Return where a blob lies in a site."""
    # 256 folders: some file systems and every human slow down at 10,000 files in one.
    return f"blobs/{digest[:2]}/{digest}.bin"


def encode(response: Response) -> bytes:
    """Return the file's bytes, the same from every publisher and mirror."""
    return json.dumps(response, indent=1, sort_keys=True).encode() + b"\n"


def responses(trusted: TrustedManifest, base_url: str) -> dict[str | None, Response]:
    """Return the answer for every device under `None`, and by platform where they differ."""
    by_platform: dict[str | None, Response] = {
        name: _response(trusted, base_url, name) for name in PLATFORMS
    }
    if len({tuple(answer.items()) for answer in by_platform.values()}) == 1:
        return {None: by_platform[PLATFORMS[0]]}
    return {None: _response(trusted, base_url, None), **by_platform}


def _response(trusted: TrustedManifest, base_url: str, platform: str | None) -> Response:
    manifest = trusted.manifest
    if manifest.paused:
        return _silent("updates are paused")
    for offer, release in zip(manifest.offers, trusted.releases, strict=True):
        if isinstance(release, Release) and _for_everyone(trusted, offer, release, platform):
            return _install(release, base_url)
    if manifest.withdrawn and not manifest.offers:
        return {"version": "builtin"}
    return _silent("nothing is offered to every device")


def _for_everyone(
    trusted: TrustedManifest, offer: Offer, release: Release, platform: str | None
) -> bool:
    manifest = trusted.manifest
    # Judged at the manifest's own time, so that every mirror renders the same file.
    return (
        offer.rollout.share_at(manifest.issued) == FULL
        and release.version not in manifest.withdrawn
        and (not release.channels or manifest.channel in release.channels)
        and release.audience.everyone_on(platform)
        and offer.audience.everyone_on(platform)
    )


def _install(release: Release, base_url: str) -> Response:
    answer = {
        "version": str(release.version),
        "url": f"{base_url.rstrip('/')}/{blob_path(release.bundle.blob)}",
    }
    if release.capgo is None:
        return {**answer, "checksum": release.bundle.plain}
    return {
        **answer,
        "session_key": session_text(release.capgo),
        "checksum": checksum_text(release.capgo),
    }


def _silent(message: str) -> Response:
    return {"kind": "blocked", "error": "blocked", "message": message}
