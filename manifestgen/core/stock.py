"""What a stock Capgo plugin in automatic mode can be told of a manifest.

The plugin knows no signature, share, cohort or native range: its answer lies outside the
protocol's protection, except that it checks the bundle's RSA-wrapped checksum. So it is told of
nothing that is not meant for everybody: the first offer that admits every device, its ramp over.
The keys are those plugin 8.51.23 reads; `kind` is only ever `blocked`, which it takes silently.

Where a release has single files, they are listed under `manifest`, and the plugin fetches only
what it lacks. It binds no file to its name: who controls the host can mix files of releases.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from manifestgen.core.capgo import checksum_text, session_text, spell_checksum
from manifestgen.core.files import FileList
from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.manifest import FULL, Offer
from manifestgen.core.release import Release
from manifestgen.core.tree import Digest

PLATFORMS: Final = ("android", "ios")  # those the plugin runs on

Response: TypeAlias = Mapping[str, Any]
"""The members of the file: strings, and under `manifest` a list of objects of strings."""

Lists: TypeAlias = Callable[[Release], FileList | None]
"""Gives the list of single files that a release names, if it can be had."""


def blob_path(digest: Digest) -> str:
    """Return where a blob lies in a site."""
    # 256 folders: some file systems and every human slow down at 10,000 files in one.
    return f"blobs/{digest[:2]}/{digest}.bin"


def encode(response: Response) -> bytes:
    """Return the file's bytes, the same from every publisher and mirror."""
    return json.dumps(response, indent=1, sort_keys=True).encode() + b"\n"


def responses(
    trusted: TrustedManifest, base_url: str, lists: Lists = lambda _: None
) -> dict[str | None, Response]:
    """Return the answer for every device under `None`, and by platform where they differ."""
    render = _Rendering(trusted, base_url.rstrip("/"), lists)
    by_platform: dict[str | None, Response] = {name: render.answer(name) for name in PLATFORMS}
    if all(answer == by_platform[PLATFORMS[0]] for answer in by_platform.values()):
        return {None: by_platform[PLATFORMS[0]]}
    return {None: render.answer(None), **by_platform}


@dataclass(frozen=True, slots=True)
class _Rendering:
    trusted: TrustedManifest
    base: str
    lists: Lists

    def answer(self, platform: str | None) -> Response:
        manifest = self.trusted.manifest
        if manifest.paused:
            return _silent("updates are paused")
        for offer, release in zip(manifest.offers, self.trusted.releases, strict=True):
            if isinstance(release, Release) and _for_everyone(
                self.trusted, offer, release, platform
            ):
                return self._install(release)
        if manifest.withdrawn and not manifest.offers:
            return {"version": "builtin"}
        return _silent("nothing is offered to every device")

    def _install(self, release: Release) -> Response:
        answer: dict[str, Any] = {
            "version": str(release.version),
            "url": f"{self.base}/{blob_path(release.bundle.blob)}",
        }
        if release.capgo is None:
            answer["checksum"] = release.bundle.plain
        else:
            answer["session_key"] = session_text(release.capgo)
            answer["checksum"] = checksum_text(release.capgo)
        if files := self._files(release):
            answer["manifest"] = files
        return answer

    def _files(self, release: Release) -> list[dict[str, str]]:
        """Return what the plugin needs of each file; of none if the list cannot be had."""
        found = self.lists(release) if release.files else None
        form = release.capgo.form if release.capgo else ""
        return [
            {
                "file_name": one.name,
                # Digests in lowercase: iOS compares them letter by letter.
                "file_hash": spell_checksum(one.checksum, form)
                if one.checksum
                else one.file.sha256,
                "download_url": f"{self.base}/{blob_path(one.blob)}",
            }
            for one in (found.files if found else ())
        ]


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


def _silent(message: str) -> Response:
    return {"kind": "blocked", "error": "blocked", "message": message}
