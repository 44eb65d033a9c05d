"""Make a project: `manifestgen.toml`, keys, and root number 1.

A root that is to take several people from the start waits for their signatures, as every later one
does: see `pending`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from manifestgen.config import FILE, Settings
from manifestgen.core import capgo
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keys import PublicKey
from manifestgen.core.release import Scheme
from manifestgen.core.root import ANY_CHANNEL, Delegation, Role, Root
from manifestgen.errors import KeyUseError, UsageError
from manifestgen.publish.keyfiles import (
    NewKeys,
    check_outside,
    create_keys,
    key_paths,
    named_paths,
    relative,
)
from manifestgen.publish.newconfig import new_config
from manifestgen.publish.pending import keep_pending, root_path
from manifestgen.publish.trust import save_root, write_file
from manifestgen.signers import Ask, Signer, load_signer, load_wrapper
from manifestgen.signers.interface import sign

ROOT_LIFETIME: Final = timedelta(days=2 * 365)
MAX_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class Made:
    """What `init` made: paths relative to the project.

    `waiting` is where root 1 gathers the signatures of the others, if it needs them.
    """

    files: tuple[str, ...]
    secrets: tuple[str, ...]
    waiting: Path | None = None


def init(
    settings: Settings,
    *,
    now: datetime,
    ask: Ask,
    ci: bool,
    others: Sequence[PublicKey] = (),
    threshold: int = 1,
) -> Made:
    """Make a project where there is none: keys that do not exist yet, root 1, `manifestgen.toml`.

    Where there is a root, nothing is made: a key that is missing then was lost, and a new one
    would not be in the root. `others` hold keys too; `threshold` of all must sign roots and
    releases, root 1 among them.

    Raises:
        KeyUseError: this is CI, where new keys would be lost.
        UsageError: the keys would lie inside the site; a root waits for signatures already; there
            are fewer keys than must sign.
    """
    paths = key_paths(settings)
    check_outside(settings, named_paths(settings))
    if (settings.root_folder / "1.json").exists():
        return Made((), ())
    waiting = root_path(settings, 1)
    if waiting.exists():
        raise UsageError(
            f"{waiting} waits for signatures",
            hint="have it signed with `manifestgen keys sign`, or delete it to begin again",
        )
    if ci:
        raise KeyUseError(
            f"there is no root in {settings.root_folder}, and CI makes no keys",
            hint="run `manifestgen init` on your machine, commit .manifestgen/root, and give CI the"
            " keys as MANIFESTGEN_KEY_ROOT, MANIFESTGEN_KEY_CAPGO and MANIFESTGEN_KEY_CONTENT",
        )
    text = new_config(settings)  # which refuses what cannot be written, before keys are made
    before = _present(settings, paths)
    create_keys(settings, NewKeys(), passphrase=None)
    if settings.scheme is Scheme.CAPGO and not settings.capgo_public.exists():
        wrapper = load_wrapper(settings.capgo_key, folder=settings.folder, ask=ask)
        write_file(settings.capgo_public, capgo.public_pem(wrapper.public).encode())
    signers = [load_signer(uri, folder=settings.folder, ask=ask) for uri in settings.root_keys]
    envelope = first_root(settings.app, signers, now, others, threshold)
    if not settings.exists:
        write_file(settings.folder / FILE, text.encode())
    # Last: from here on the project exists, and nothing of it is made again.
    if len(envelope.signatures) < threshold:
        keep_pending(waiting, envelope)
    else:
        save_root(settings, 1, envelope.encode())
    made = [path for path in _present(settings, paths) if path not in before]
    secrets = {relative(settings, path) for path in paths}
    names = tuple(relative(settings, path) for path in made)
    found = tuple(name for name in names if name in secrets)
    return Made(names, found, waiting if waiting.exists() else None)


def first_root(
    app: str,
    signers: Sequence[Signer],
    now: datetime,
    others: Sequence[PublicKey] = (),
    threshold: int = 1,
) -> Envelope:
    """Make root 1 and sign it with the keys at hand; whole once `threshold` have signed.

    All keys hold every role; any one of them suffices for manifests.
    """
    public = {key.keyid: key for key in (*(signer.public for signer in signers), *others)}
    keys = tuple(public[keyid] for keyid in sorted(public))
    if threshold > len(keys):
        raise UsageError(
            f"{len(keys)} keys cannot meet a threshold of {threshold}",
            hint="name the public keys of the others: `--with ben.pub.pem`",
        )
    one = Role(tuple(sorted(public)), 1)
    role = replace(one, threshold=threshold)
    root = Root(
        app=app,
        number=1,
        issued=now,
        expires=now + ROOT_LIFETIME,
        max_days=MAX_DAYS,
        keys=keys,
        root=role,
        release=role,
        manifest=(Delegation((ANY_CHANNEL,), one),),
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
