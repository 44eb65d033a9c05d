"""The key files of a project: make them, and know the Capgo key that installed apps carry.

A key file is made once. Where devices already trust a key, a second of its kind would only look
like the first, so none is made in its place; one made elsewhere (`folder`) is for `keys add`.
"""

import os
import shlex
import tomllib
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.capacitor import CapacitorConfig, find_config
from manifestgen.config import DEFAULT_CAPGO_KEY, DEFAULT_ROOT_KEYS, FILE, Settings
from manifestgen.core import capgo
from manifestgen.core.keys import Algorithm, KeyId, PublicKey
from manifestgen.core.release import Scheme
from manifestgen.errors import KeyUseError, UsageError
from manifestgen.publish.newconfig import new_config, toml_text
from manifestgen.publish.trust import write_file
from manifestgen.signers import Ask, is_elsewhere, load_signer, load_wrapper
from manifestgen.signers.create import (
    create_capgo_key,
    create_content_secret,
    create_signing_key,
    make_key_folder,
)

_RESTORE = "restore it from your backup"


class KeyKind(StrEnum):
    """What a key file is for."""

    SIGNING = "signing"
    CAPGO = "capgo"
    CONTENT = "content"


# What `init` names them, for keys that go elsewhere.
_NAMES = {
    KeyKind.SIGNING: "signing.pem",
    KeyKind.CAPGO: "capgo.pem",
    KeyKind.CONTENT: "content.key",
}
_PUBLIC_NAME = "capgo.pub.pem"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A private key in a file; `made` is false if it was there before."""

    kind: KeyKind
    path: Path
    made: bool


@dataclass(frozen=True, slots=True)
class NewKeys:
    """What to make: `passphrase` is for signing and Capgo keys; a content secret has none."""

    kinds: tuple[KeyKind, ...] = ()
    algorithm: Algorithm = Algorithm.ED25519
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of one place after `create_keys`, with their public halves."""

    files: tuple[KeyFile, ...]
    ignored: bool
    signing: tuple[PublicKey, ...] = ()
    capgo: RSAPublicKey | None = None
    capgo_file: Path | None = None


def create_keys(settings: Settings, wanted: NewKeys, *, passphrase: bytes | None) -> KeySet:
    """Make the key files that are not there yet, each 0600, none over another.

    Without `kinds`, those the scheme needs. Nothing is made unless all of it may be.

    Raises:
        KeyUseError: a key of a kind that was asked for exists, or devices trust one already.
        UsageError: the keys would lie in the site, or `[keys]` says that they are no files.
    """
    files = _planned(settings, wanted)
    if wanted.kinds:
        _refuse_existing([file for file in files if not file.made])
    missing = [file for file in files if file.made]
    check_outside(settings, [file.path for file in missing])
    if wanted.folder is None:
        _check_unused(settings, missing)
    ignored = [make_key_folder(folder) for folder in {file.path.parent for file in missing}]
    for file in missing:
        _create(file, wanted.algorithm, passphrase)
    return _with_public(settings, wanted, files, passphrase, ignored=all(ignored))


@dataclass(frozen=True, slots=True)
class TokenPair:
    """A pair made in a token: `uri` names it, one of `signing` and `capgo` is its public half.

    `entry` is what `[keys]` is to say of it, and `written` tells whether it says so now.
    """

    uri: str
    entry: str
    written: bool
    signing: PublicKey | None = None
    capgo: RSAPublicKey | None = None
    capgo_file: Path | None = None


def create_in_token(
    settings: Settings, uri: str, kind: KeyKind, algorithm: Algorithm, ask: Ask
) -> TokenPair:
    """Make a signing or Capgo key in a token, and name it in `[keys]` where nothing else is named.

    Where devices trust another key already, the project stays as it is: `keys rotate` is next, or
    a new native build.

    Raises:
        KeyUseError: the token refuses, or has such a key.
        UsageError: the content secret was asked for, or the URI is wrong.
    """
    # Here and below: the package behind this is an extra, and heavy.
    from manifestgen.signers import hsm

    if kind is KeyKind.CONTENT:
        raise UsageError(
            "the content secret cannot be in a token: it has to be read",
            hint="leave it a file: `manifestgen keys create --only content`",
        )
    signs = kind is KeyKind.SIGNING
    replaces = _names_no_key(settings, kind)
    made = hsm.create_in_token(uri, settings.folder, ask, algorithm if signs else None)
    entry = "root" if signs else "capgo"
    pair = TokenPair(made, f"{entry} = {toml_text(made)}", written=replaces)
    if signs:
        pair = replace(pair, signing=load_signer(made, folder=settings.folder, ask=ask).public)
    else:
        pair = replace(pair, capgo=load_wrapper(made, folder=settings.folder, ask=ask).public)
    if replaces:
        pair = replace(pair, written=_name_in_config(settings, entry, made, pair.entry))
    if pair.capgo and replaces:
        settings.state.mkdir(parents=True, exist_ok=True)
        write_file(settings.capgo_public, capgo.public_pem(pair.capgo).encode())
        pair = replace(pair, capgo_file=settings.capgo_public)
    return pair


def _names_no_key(settings: Settings, kind: KeyKind) -> bool:
    """Tell whether nothing but a default names a key of a kind, and none was ever made there."""
    if kind is KeyKind.SIGNING:
        trusted = (settings.root_folder / "1.json").exists()
        default = settings.root_keys == DEFAULT_ROOT_KEYS
    else:
        trusted = bool(installed_capgo_keys(settings))
        default = settings.capgo_key == DEFAULT_CAPGO_KEY
    return default and not trusted and not _paths(settings, NewKeys(), kind)[0].exists()


def _name_in_config(settings: Settings, entry: str, uri: str, line: str) -> bool:
    """Put an entry into `[keys]` of manifestgen.toml, in place of the default that it says now.

    `False` if the file is written in a way that this cannot follow: then it stays as it is.
    """
    path = settings.folder / FILE
    text = path.read_text("utf-8") if path.exists() else new_config(settings)
    lines = text.splitlines()
    heads = [at for at, one in enumerate(lines) if one.split("#")[0].strip() == "[keys]"]
    if not heads:
        lines += ["", "[keys]"]
        heads = [len(lines) - 1]
    at = heads[0] + 1
    end = next((n for n in range(at, len(lines)) if lines[n].startswith("[")), len(lines))
    there = [n for n in range(at, end) if lines[n].partition("=")[0].strip() == entry]
    if there:
        lines[there[0]] = line
    else:
        lines.insert(at, line)
    changed = "\n".join(lines) + "\n"
    with suppress(tomllib.TOMLDecodeError):
        if tomllib.loads(changed)["keys"][entry] == uri:
            write_file(path, changed.encode())
            return True
    return False


def capgo_public(settings: Settings, ask: Ask) -> RSAPublicKey:
    """Return the Capgo key's public half: the project's copy, else from the private key.

    No program is started for it, and no PIN asked for: where a private key stays elsewhere, `init`
    and `keys create` have left a copy.

    Raises:
        KeyUseError: there is none.
    """
    path = settings.capgo_public
    if path.exists():
        return _readable(path.read_bytes(), path)
    if is_elsewhere(settings.capgo_key):
        program = settings.capgo_key.startswith("command:")
        more = ", or save there what the key's program prints for `public`" if program else ""
        raise KeyUseError(
            f"there is no {path}, the public half of the Capgo key",
            hint=f"restore it from git{more}",
        )
    return load_wrapper(settings.capgo_key, folder=settings.folder, ask=ask).public


def installed_capgo_keys(settings: Settings) -> list[tuple[RSAPublicKey, Path]]:
    """Return the Capgo keys that the project says apps carry, each with the file that says so."""
    found = []
    if settings.capgo_public.exists():
        path = settings.capgo_public
        found.append((_readable(path.read_bytes(), path), path))
    if config := find_config(settings.folder):
        found += [(key, config.path) for key in _configured(config)]
    return found


def _configured(config: CapacitorConfig) -> list[RSAPublicKey]:
    keys = []
    for pem in config.public_keys():
        try:
            keys.append(_readable(pem.encode(), config.path))
        except KeyUseError:
            # What looks like a key in a program may be half of one.
            if config.is_json:
                raise
    return keys


def check_installed(settings: Settings, public: RSAPublicKey) -> None:
    """Raise `KeyUseError` if apps carry another Capgo key than this one, as far as is known."""
    by_file: dict[Path, list[RSAPublicKey]] = {}
    for key, path in installed_capgo_keys(settings):
        by_file.setdefault(path, []).append(key)
    for path, keys in by_file.items():
        # A program may name several, say one in a comment.
        if all(key.public_numbers() != public.public_numbers() for key in keys):
            raise KeyUseError(
                f"the Capgo key is {capgo.key_id(public)}, but apps carry"
                f" {capgo.key_id(keys[0])} ({path})",
                hint="use the private key those apps were built with; only a new native build"
                " changes it",
            )


def check_config(settings: Settings, config: CapacitorConfig, wanted: NewKeys, ask: Ask) -> None:
    """Raise, before anything is made, if the Capgo key cannot go into an app's configuration.

    Raises:
        KeyUseError: another key is in it: apps built with that one trust no other.
        UsageError: the file cannot be edited.
    """
    if config.is_json:
        config.with_public_key("")
    carried = _configured(config)
    ours = None if wanted.folder else _present_public(settings, wanted, ask)
    same = ours and any(key.public_numbers() == ours.public_numbers() for key in carried)
    if carried and not same:
        raise KeyUseError(
            f"{config.path} has the Capgo key {capgo.key_id(carried[0])} already, and apps built"
            " with it trust no other",
            hint="name its private key as `capgo` under [keys] in manifestgen.toml; if no app was"
            " shipped with it, take the line out",
        )


def _present_public(settings: Settings, wanted: NewKeys, ask: Ask) -> RSAPublicKey | None:
    """Return the Capgo key there is, or `None` where one is going to be made."""
    made_now = not wanted.kinds or KeyKind.CAPGO in wanted.kinds
    missing = [path for path in _paths(settings, wanted, KeyKind.CAPGO) if not path.exists()]
    if made_now and missing and not settings.capgo_public.exists():
        return None
    return capgo_public(settings, ask)


def _planned(settings: Settings, wanted: NewKeys) -> list[KeyFile]:
    kinds = wanted.kinds or _needed(settings)
    paths = [(kind, path) for kind in kinds for path in _paths(settings, wanted, kind)]
    # Two roles may share a file.
    return [KeyFile(kind, path, not path.exists()) for kind, path in dict.fromkeys(paths)]


def _needed(settings: Settings) -> tuple[KeyKind, ...]:
    return tuple(KeyKind) if settings.scheme is Scheme.CAPGO else (KeyKind.SIGNING,)


def _paths(settings: Settings, wanted: NewKeys, kind: KeyKind) -> list[Path]:
    if wanted.folder is not None:
        return [wanted.folder / _NAMES[kind]]
    uris = {
        KeyKind.SIGNING: settings.root_keys,
        KeyKind.CAPGO: (settings.capgo_key,),
        KeyKind.CONTENT: (settings.content_key,),
    }[kind]
    paths = [settings.folder / uri[5:] for uri in uris if uri.startswith("file:")]
    if not paths and wanted.kinds:
        raise UsageError(
            f"the {kind} key of this project is in {', '.join(uris)}, which is no file",
            hint="name a folder for the new one with `--out-dir`",
        )
    return paths


def _refuse_existing(existing: list[KeyFile]) -> None:
    if existing:
        raise KeyUseError(
            f"{existing[0].path} exists and is not overwritten",
            hint="name another folder with `--out-dir`",
        )


def key_paths(settings: Settings) -> list[Path]:
    """Return where the project keeps its keys, those that are files, whether made yet or not."""
    return [file.path for file in _planned(settings, NewKeys())]


def named_paths(settings: Settings) -> list[Path]:
    """Return the files that any setting names as a key, those of other roles and channels too."""
    uris = [*settings.root_keys, *settings.release_keys, *settings.manifest_keys]
    uris += [settings.capgo_key, settings.content_key]
    uris += [uri for channel in settings.channels.values() for uri in channel.keys]
    return [settings.folder / uri[5:] for uri in uris if uri.startswith("file:")]


def check_outside(settings: Settings, paths: list[Path]) -> None:
    """Raise `UsageError` if a key lies in the site, or would."""
    if "://" in settings.site:
        return
    site = (settings.folder / settings.site).resolve()
    for path in paths:
        if path.resolve().is_relative_to(site):
            raise UsageError(
                f"the key {path} lies inside the site, which is published",
                hint="keep keys elsewhere: change [keys] or `site` in manifestgen.toml, or name"
                " another folder with `--out-dir`",
            )


def _check_unused(settings: Settings, missing: list[KeyFile]) -> None:
    """Refuse to make what can only be a key that was lost."""
    for file in missing:
        if file.kind is KeyKind.SIGNING and (settings.root_folder / "1.json").exists():
            raise KeyUseError(
                f"{file.path} is not there, but this project has a root, and devices trust the"
                " keys in it alone",
                hint=f"{_RESTORE}; a further key goes elsewhere: `--only signing --out-dir DIR`",
            )
        if file.kind is KeyKind.CAPGO and (installed := installed_capgo_keys(settings)):
            key, path = installed[0]
            raise KeyUseError(
                f"{file.path} is not there, but apps carry the Capgo key {capgo.key_id(key)}"
                f" ({path})",
                hint=_their_key(path.parent, file.path)
                or f"{_RESTORE}; if no app was shipped with it, take it out of {path.name}",
            )


def _their_key(app: Path, path: Path) -> str | None:
    """Say how to take over what Capgo's CLI left beside the app's configuration, if it did."""
    theirs = app / ".capgo_key_v2"
    if not theirs.exists():
        return None
    key, ours, folder = (shlex.quote(str(one)) for one in (theirs, path, path.parent))
    taken = f"chmod 600 {key} && mkdir -p -m 700 {folder} && cp -p {key} {ours}"
    return f"`{taken}` takes over the one of Capgo's CLI; then run the same command again"


def _create(file: KeyFile, algorithm: Algorithm, passphrase: bytes | None) -> None:
    match file.kind:
        case KeyKind.SIGNING:
            create_signing_key(file.path, algorithm, passphrase)
        case KeyKind.CAPGO:
            create_capgo_key(file.path, passphrase)
        case KeyKind.CONTENT:
            create_content_secret(file.path)


def _with_public(
    settings: Settings,
    wanted: NewKeys,
    files: list[KeyFile],
    passphrase: bytes | None,
    *,
    ignored: bool,
) -> KeySet:
    """Read back what was made, which also proves that it can be read."""
    signing: list[PublicKey] = []
    public, public_file = None, None
    for file in files:
        if not file.made:
            continue
        uri = f"file:{file.path.absolute()}"
        if file.kind is KeyKind.SIGNING:
            signer = load_signer(uri, folder=file.path.parent, ask=lambda _: passphrase)
            signing.append(signer.public)
        if file.kind is KeyKind.CAPGO:
            wrapper = load_wrapper(uri, folder=file.path.parent, ask=lambda _: passphrase)
            public = wrapper.public
            folder = wanted.folder
            public_file = folder / _PUBLIC_NAME if folder else settings.capgo_public
            public_file.parent.mkdir(parents=True, exist_ok=True)
            write_file(public_file, capgo.public_pem(public).encode())
    return KeySet(tuple(files), ignored, tuple(signing), public, public_file)


def fingerprint(keyid: KeyId) -> str:
    """Spell a key id for people to compare: 128 bits of it, in groups of four."""
    return " ".join(keyid[n : n + 4] for n in range(0, 32, 4))


def relative(settings: Settings, path: Path) -> str:
    """Spell a path as a person in the project would."""
    return os.path.relpath(path, settings.folder)


def _readable(pem: bytes, path: Path) -> RSAPublicKey:
    try:
        return capgo.load_public(pem)
    except KeyUseError as error:
        raise KeyUseError(
            f"the Capgo public key in {path}: {error}", hint="restore the file from git"
        ) from None
