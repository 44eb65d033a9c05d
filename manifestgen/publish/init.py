"""Make a project: `manifestgen.toml`, keys, and root number 1."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from manifestgen.config import FILE, Settings
from manifestgen.core import capgo
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keys import Algorithm, PublicKey
from manifestgen.core.release import Scheme
from manifestgen.core.root import ANY_CHANNEL, Delegation, Role, Root
from manifestgen.errors import KeyUseError, UsageError
from manifestgen.publish.trust import save_root, write_file
from manifestgen.signers import Ask, Signer, load_signer, load_wrapper
from manifestgen.signers.create import (
    create_capgo_key,
    create_content_secret,
    create_signing_key,
    make_key_folder,
)
from manifestgen.signers.interface import sign

ROOT_LIFETIME: Final = timedelta(days=2 * 365)
MAX_DAYS: Final = 90

_CONFIG: Final = """\
# manifestgen: https://pypi.org/project/manifestgen
app = "{app}"
site = "{site}"                  # a folder; copy it to any web server, bucket or stick
{base_url}
channel = "{channel}"
scheme = "{scheme}"                 # "none" leaves bundles readable to whoever hosts them
patches = 3                      # made from how many earlier releases
keep = 5                         # releases a channel keeps when pruned

[channels.{channel}]
expires = "30d"                  # devices take nothing new after this; `manifestgen refresh` renews

[keys]                           # MANIFESTGEN_KEY_<ROLE> overrides
root = "file:.manifestgen/keys/signing.pem"
capgo = "file:.manifestgen/keys/capgo.pem"
content = "file:.manifestgen/keys/content.key"
"""
_NO_URL: Final = '# base_url = "https://cdn.example.com/app"   # needed for the stock Capgo plugin'


@dataclass(frozen=True, slots=True)
class Made:
    """What `init` made: paths relative to the project."""

    files: tuple[str, ...]
    secrets: tuple[str, ...]


def init(settings: Settings, *, now: datetime, ask: Ask, ci: bool) -> Made:
    """Make a project where there is none: keys that do not exist yet, root 1, `manifestgen.toml`.

    Where there is a root, nothing is made: a key that is missing then was lost, and a new one
    would not be in the root.

    Raises:
        KeyUseError: this is CI, where new keys would be lost.
        UsageError: the keys would lie inside the site.
    """
    _check_folders(settings)
    if (settings.root_folder / "1.json").exists():
        return Made((), ())
    if ci:
        raise KeyUseError(
            f"there is no root in {settings.root_folder}, and CI makes no keys",
            hint="run `manifestgen init` on your machine, commit .manifestgen/root, and give CI the"
            " keys as MANIFESTGEN_KEY_ROOT, MANIFESTGEN_KEY_CAPGO and MANIFESTGEN_KEY_CONTENT",
        )
    before = _present(settings)
    _make_keys(settings)
    if settings.scheme is Scheme.CAPGO and not settings.capgo_public.exists():
        wrapper = load_wrapper(settings.capgo_key, folder=settings.folder, ask=ask)
        write_file(settings.capgo_public, capgo.public_pem(wrapper.public).encode())
    signers = [load_signer(uri, folder=settings.folder, ask=ask) for uri in settings.root_keys]
    if not settings.exists:
        write_file(settings.folder / FILE, _config_text(settings).encode())
    # Last: from here on the project exists, and nothing of it is made again.
    save_root(settings, 1, first_root(settings.app, signers, now).encode())
    made = [path for path in _present(settings) if path not in before]
    secrets = {_relative(settings, path) for path in _key_files(settings)}
    names = tuple(_relative(settings, path) for path in made)
    return Made(names, tuple(name for name in names if name in secrets))


def first_root(app: str, signers: Sequence[Signer], now: datetime) -> Envelope:
    """Sign root 1: the given keys hold every role, any one of them suffices."""
    keys = tuple(sorted((signer.public for signer in signers), key=lambda key: key.keyid))
    role = Role(tuple(key.keyid for key in keys), 1)
    root = Root(
        app=app,
        number=1,
        issued=now,
        expires=now + ROOT_LIFETIME,
        max_days=MAX_DAYS,
        keys=keys,
        root=role,
        release=role,
        manifest=(Delegation((ANY_CHANNEL,), role),),
    )
    return sign(Envelope((), root.to_json()), Kind.ROOT, signers)


def fingerprint(key: PublicKey) -> str:
    """Spell a key id for people to compare: groups of four."""
    return " ".join(key.keyid[n : n + 4] for n in range(0, 32, 4))


def _make_keys(settings: Settings) -> None:
    missing = [path for path in _key_files(settings) if not path.exists()]
    for folder in {path.parent for path in missing}:
        make_key_folder(folder)
    for path in missing:
        if path == _file_of(settings.capgo_key, settings):
            create_capgo_key(path, None)
        elif path == _file_of(settings.content_key, settings):
            create_content_secret(path)
        else:
            create_signing_key(path, Algorithm.ED25519, None)


def _key_files(settings: Settings) -> list[Path]:
    """Return the key files this project names; keys that live elsewhere are not ours to make."""
    uris = [*settings.root_keys]
    if settings.scheme is Scheme.CAPGO:
        uris += [settings.capgo_key, settings.content_key]
    return [path for uri in uris if (path := _file_of(uri, settings))]


def _file_of(uri: str, settings: Settings) -> Path | None:
    scheme, _, rest = uri.partition(":")
    return settings.folder / rest if scheme == "file" else None


def _present(settings: Settings) -> list[Path]:
    files = [
        settings.folder / FILE,
        settings.root_folder / "1.json",
        settings.capgo_public,
        *_key_files(settings),
    ]
    return [path for path in files if path.exists()]


def _check_folders(settings: Settings) -> None:
    if "://" in settings.site:
        return
    site = (settings.folder / settings.site).resolve()
    for path in _key_files(settings):
        if path.resolve().is_relative_to(site):
            raise UsageError(
                f"the key {path} lies inside the site, which is published",
                hint="move it out of the site and change [keys] in manifestgen.toml",
            )


def _config_text(settings: Settings) -> str:
    url = f'base_url = "{settings.base_url}"' if settings.base_url else _NO_URL
    return _CONFIG.format(
        app=settings.app,
        site=settings.site,
        base_url=url,
        channel=settings.channel,
        scheme=settings.scheme.value,
    )


def _relative(settings: Settings, path: Path) -> str:
    return os.path.relpath(path, settings.folder)
