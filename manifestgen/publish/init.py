"""Make a project: `manifestgen.toml`, keys, and root number 1."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from manifestgen.config import FILE, Settings
from manifestgen.core import capgo
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.release import Scheme
from manifestgen.core.root import ANY_CHANNEL, Delegation, Role, Root
from manifestgen.errors import KeyUseError
from manifestgen.publish.keyfiles import (
    NewKeys,
    check_outside,
    create_keys,
    key_paths,
    named_paths,
    relative,
)
from manifestgen.publish.newconfig import new_config
from manifestgen.publish.trust import save_root, write_file
from manifestgen.signers import Ask, Signer, load_signer, load_wrapper
from manifestgen.signers.interface import sign

ROOT_LIFETIME: Final = timedelta(days=2 * 365)
MAX_DAYS: Final = 90


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
    paths = key_paths(settings)
    check_outside(settings, named_paths(settings))
    if (settings.root_folder / "1.json").exists():
        return Made((), ())
    if ci:
        raise KeyUseError(
            f"there is no root in {settings.root_folder}, and CI makes no keys",
            hint="run `manifestgen init` on your machine, commit .manifestgen/root, and give CI the"
            " keys as MANIFESTGEN_KEY_ROOT, MANIFESTGEN_KEY_CAPGO and MANIFESTGEN_KEY_CONTENT",
        )
    before = _present(settings, paths)
    create_keys(settings, NewKeys(), passphrase=None)
    if settings.scheme is Scheme.CAPGO and not settings.capgo_public.exists():
        wrapper = load_wrapper(settings.capgo_key, folder=settings.folder, ask=ask)
        write_file(settings.capgo_public, capgo.public_pem(wrapper.public).encode())
    signers = [load_signer(uri, folder=settings.folder, ask=ask) for uri in settings.root_keys]
    if not settings.exists:
        write_file(settings.folder / FILE, new_config(settings).encode())
    # Last: from here on the project exists, and nothing of it is made again.
    save_root(settings, 1, first_root(settings.app, signers, now).encode())
    made = [path for path in _present(settings, paths) if path not in before]
    secrets = {relative(settings, path) for path in paths}
    names = tuple(relative(settings, path) for path in made)
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


def _present(settings: Settings, keys: list[Path]) -> list[Path]:
    files = [
        settings.folder / FILE,
        settings.root_folder / "1.json",
        settings.capgo_public,
        *keys,
    ]
    return [path for path in files if path.exists()]
