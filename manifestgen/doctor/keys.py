"""Private keys: who can read them, where they lie, and whether the root still names them.

Keys in programs and tokens are left alone: nobody is asked for a passphrase or a PIN here.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from manifestgen import git
from manifestgen.config import Settings
from manifestgen.core import capgo
from manifestgen.core.keys import KeyId
from manifestgen.core.release import Scheme
from manifestgen.core.root import ANY_CHANNEL, Role, Root
from manifestgen.doctor.finding import Area, Finding, typed
from manifestgen.errors import Error, KeyUseError
from manifestgen.signers import load_signer, load_wrapper
from manifestgen.signers.load import load_content_secret

_AREA: Final = Area("keys")
_SMALL: Final = 64 * 1024  # bytes; a private key has 2,000
_ROTATE: Final = "`manifestgen keys rotate`: whoever has a copy can sign"
_REBUILD: Final = (
    "a new Capgo key and a new native build: whoever has a copy can encrypt for stock devices"
)
_REMAKE: Final = (
    "delete it and `manifestgen keys create --only content`: whoever has a copy can read bundles"
)
_SUFFIXES: Final = {".pem", ".key", ".p8", ".der"}


def check_keys(settings: Settings, root: Root | None) -> Iterator[Finding]:
    """Examine the keys that `[keys]` names, and what lies beside them."""
    files = _files(settings)
    found = [
        *_folder(settings),
        *(one for path in files for one in _file(settings, path)),
        *_in_site(settings, files),
        *_capgo(settings),
        *_content(settings),
        *(_roles(settings, root) if root else ()),
    ]
    yield from found
    if not found:
        yield _AREA.ok("keys", "keys are private, out of the site and out of git")


def private_keys_in(folder: Path) -> Iterator[Path]:
    """Find what looks like a private key in a folder, hidden files included."""
    for path in sorted(folder.rglob("*")):
        named = path.suffix in _SUFFIXES or path.name.startswith(".capgo_key")
        if named and path.is_file() and path.stat().st_size <= _SMALL:
            data = path.read_bytes()
            if b"PRIVATE KEY-----" in data:
                yield path


def _files(settings: Settings) -> list[Path]:
    """Return the key files there are: those named in `[keys]`, and those in the key folder."""
    named = [settings.folder / uri[5:] for uri in _uris(settings) if uri.startswith("file:")]
    if settings.key_folder.is_dir():
        named += private_keys_in(settings.key_folder)
    return sorted({path for path in named if path.is_file()})


def _uris(settings: Settings) -> list[str]:
    channels = [uri for one in settings.channels.values() for uri in one.keys]
    encrypted = settings.scheme is Scheme.CAPGO
    return [
        *(*settings.root_keys, *settings.release_keys, *settings.manifest_keys, *channels),
        *((settings.capgo_key, settings.content_key) if encrypted else ()),
    ]


def _folder(settings: Settings) -> Iterator[Finding]:
    folder = settings.key_folder
    if folder.is_dir() and _others_may(folder):
        yield _AREA.warning(
            "key_folder_readable", f"others may look into {folder}", typed("chmod 700", folder)
        )


def _replaced(settings: Settings, path: Path) -> str:
    """Say how a key that others may have is replaced."""
    for uri, fix in ((settings.capgo_key, _REBUILD), (settings.content_key, _REMAKE)):
        if uri.startswith("file:") and (settings.folder / uri[5:]).resolve() == path.resolve():
            return fix
    return _ROTATE


def _file(settings: Settings, path: Path) -> Iterator[Finding]:
    if _others_may(path):
        yield _AREA.problem("key_readable", f"others may read {path}", typed("chmod 600", path))
    if git.tracked(path):
        fix = f"{typed('git rm --cached', path)}, then {_replaced(settings, path)}"
        yield _AREA.problem("key_in_git", f"git tracks {path}", fix)
    elif git.committed(path):
        fix = f"{_replaced(settings, path)}, out of old commits too"
        yield _AREA.problem("key_in_history", f"a commit holds {path}", fix)
    elif not git.ignored(path):
        fix = typed("echo '*' >", path.with_name(".gitignore"))
        yield _AREA.warning("key_not_ignored", f"git does not ignore {path}", fix)


def _others_may(path: Path) -> bool:
    return os.name == "posix" and bool(stat.S_IMODE(path.stat().st_mode) & 0o077)


def _in_site(settings: Settings, files: list[Path]) -> Iterator[Finding]:
    if "://" in settings.site:
        return
    site = (settings.folder / settings.site).resolve()
    inside = {path for path in files if path.resolve().is_relative_to(site)}
    if site.is_dir():
        inside |= set(private_keys_in(site))
    for path in sorted(inside):
        fix = f"move it out of the site, then {_replaced(settings, path)}"
        yield _AREA.problem("key_in_site", f"{path} lies in the site, for anybody to fetch", fix)


def _capgo(settings: Settings) -> Iterator[Finding]:
    uri = settings.capgo_key
    if settings.scheme is not Scheme.CAPGO or not uri.startswith(("file:", "env:")):
        return
    try:
        private = load_wrapper(uri, folder=settings.folder, ask=_nobody).public
    except Error as error:
        yield from _unusable(settings, uri, error, "nothing can be encrypted here")
        return
    if not settings.capgo_public.exists():
        return
    public = capgo.load_public(settings.capgo_public.read_bytes())
    if public.public_numbers() != private.public_numbers():
        yield _AREA.problem(
            "capgo_key_differs",
            f"{uri} is {capgo.key_id(private)}, but {settings.capgo_public} is"
            f" {capgo.key_id(public)}",
            "restore the private key that apps were built with; only a new native build changes it",
        )


def _content(settings: Settings) -> Iterator[Finding]:
    uri = settings.content_key
    if settings.scheme is not Scheme.CAPGO or not uri.startswith(("file:", "env:")):
        return
    try:
        load_content_secret(uri, folder=settings.folder)
    except Error as error:
        yield from _unusable(settings, uri, error, "builds made again get other blobs")


# Roles


@dataclass(frozen=True, slots=True)
class _Held:
    """The keys at hand for a role; `unknown` ones are elsewhere, or locked."""

    keys: Mapping[KeyId, str]
    unknown: bool


def _roles(settings: Settings, root: Root) -> Iterator[Finding]:
    yield from _role(settings, "root", settings.root_keys, root, root.root)
    yield from _role(settings, "release", settings.release_uris(), root, root.release)
    for entry in root.manifest:
        for channel in entry.channels:
            name = settings.channel if channel == ANY_CHANNEL else channel
            what = "manifest" if channel == ANY_CHANNEL else f"manifest ({channel})"
            yield from _role(settings, what, settings.manifest_uris(name), root, entry.role)
    yield from _strays(settings, root)


def _role(
    settings: Settings, what: str, uris: tuple[str, ...], root: Root, role: Role
) -> Iterator[Finding]:
    held = _held(settings, uris)
    for keyid, uri in held.keys.items():
        if keyid not in role.keys:
            known = "names it for something else" if keyid in root.key_map() else "does not name it"
            yield _AREA.warning(
                "key_unknown",
                f"{uri} ({keyid[:12]}) is to sign as {what}, but root {root.number} {known}",
                "`manifestgen keys list` says which it names: correct [keys], or `keys add` it",
            )
    lacking = role.threshold - len(held.keys.keys() & set(role.keys))
    # Root keys belong in a drawer, and others may be wherever publishing happens.
    if lacking > 0 and what != "root" and not held.unknown:
        yield _AREA.warning(
            "role_without_key",
            f"{lacking} of the {role.threshold} keys that sign as {what} are not at hand",
            "restore them from your backup, or say in [keys] where they are; fine where"
            " somebody else publishes",
        )


def _held(settings: Settings, uris: tuple[str, ...]) -> _Held:
    keys, unknown = {}, False
    for uri in uris:
        if not uri.startswith(("file:", "env:")):
            unknown = True
            continue
        try:
            keys[load_signer(uri, folder=settings.folder, ask=_nobody).public.keyid] = uri
        except KeyUseError:
            unknown = unknown or not _is_missing(settings, uri)
    return _Held(keys, unknown)


def _strays(settings: Settings, root: Root) -> Iterator[Finding]:
    """Find signing keys in the key folder that no entry of `[keys]` names, and no root."""
    if not settings.key_folder.is_dir():
        return
    named = {(settings.folder / uri[5:]).resolve() for uri in _uris(settings)}
    for path in sorted(settings.key_folder.glob("*.pem")):
        if path.resolve() in named:
            continue
        try:
            keyid = load_signer(f"file:{path}", folder=path.parent, ask=_nobody).public.keyid
        except Error:
            continue
        if keyid not in root.key_map():
            yield _AREA.warning(
                "key_unknown",
                f"{path} ({keyid[:12]}) is no key that root {root.number} names",
                "delete it if it was replaced, or let it sign with `manifestgen keys add`",
            )


def _unusable(settings: Settings, uri: str, error: Error, so: str) -> Iterator[Finding]:
    if _is_missing(settings, uri):
        yield _AREA.warning(
            "key_missing",
            f"there is no key at {uri}: {so}",
            "restore it from your backup; fine where somebody else publishes",
        )
    elif not isinstance(error, KeyUseError) or error.hint is None:
        yield _AREA.problem("key_damaged", str(error), "restore it from your backup")


def _is_missing(settings: Settings, uri: str) -> bool:
    if uri.startswith("env:"):
        return not os.environ.get(uri[4:])
    return not (settings.folder / uri[5:]).exists()


def _nobody(_: str) -> bytes | None:
    return None
