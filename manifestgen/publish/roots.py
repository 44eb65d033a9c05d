"""Change the root: who may sign what. Each change is root N+1, signed by the old and the new.

A root that has not its signatures yet waits in `.manifestgen/pending/`, to be carried to the other
holders; nothing of it is published before both thresholds are met.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from manifestgen.config import Settings
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keyring import Keyring, check_signatures
from manifestgen.core.keys import KeyId, PublicKey
from manifestgen.core.limits import LIMITS
from manifestgen.core.root import ANY_CHANNEL, Delegation, Role, Root
from manifestgen.errors import Error, FormatError, KeyUseError, UsageError, VerificationError
from manifestgen.publish.init import ROOT_LIFETIME
from manifestgen.publish.keyfiles import fingerprint
from manifestgen.publish.pending import (
    check_app,
    check_gathered,
    keep_pending,
    read_pending,
    root_path,
)
from manifestgen.publish.trust import RootChain, load_roots, save_root
from manifestgen.signers import Signer
from manifestgen.signers.interface import sign

ROLES: Final = ("root", "release", "manifest")


@dataclass(frozen=True, slots=True)
class Proposed:
    """A next root: accepted into the project, or waiting at `pending` for what `lacking` says."""

    root: Root
    envelope: Envelope
    pending: Path | None
    lacking: tuple[str, ...]


def add_key(
    root: Root, key: PublicKey, role: str, *, channel: str | None, threshold: int | None
) -> Root:
    """Return a root in which a key has a role too; `channel` is for `manifest` alone.

    A channel that is named for the first time gets a role of its own, which takes it out of the
    hands of whoever signs for every other channel.
    """
    grown = replace(root, keys=_with(root.keys, key))
    if role == "root":
        return replace(grown, root=_grown(root.root, key.keyid, threshold))
    if role == "release":
        return replace(grown, release=_grown(root.release, key.keyid, threshold))
    name = channel or ANY_CHANNEL
    entries = list(root.manifest)
    at = next((n for n, entry in enumerate(entries) if name in entry.channels), None)
    if at is None:
        entries.append(Delegation((name,), Role((key.keyid,), threshold or 1)))
    else:
        role_there = _grown(entries[at].role, key.keyid, threshold)
        entries[at] = replace(entries[at], role=role_there)
    return replace(grown, manifest=tuple(entries))


def remove_key(root: Root, keyid: KeyId, roles: Sequence[str] = ROLES) -> Root:
    """Return a root in which a key has none of some roles; a key without any role is dropped.

    Raises:
        UsageError: a role would be left with fewer keys than it needs.
    """
    changed = replace(
        root,
        root=_shrunk(root.root, keyid, "root") if "root" in roles else root.root,
        release=_shrunk(root.release, keyid, "release") if "release" in roles else root.release,
        manifest=tuple(
            replace(entry, role=_shrunk(entry.role, keyid, f"manifest of {entry.channels[0]}"))
            if "manifest" in roles
            else entry
            for entry in root.manifest
        ),
    )
    used = {name for role in _roles(changed) for name in role.keys}
    return replace(changed, keys=tuple(key for key in root.keys if key.keyid in used))


def replace_key(root: Root, old: KeyId, new: PublicKey, roles: Sequence[str]) -> Root:
    """Return a root in which one key takes another's place in some roles."""
    grown = replace(root, keys=_with(root.keys, new))

    def swapped(role: Role, name: str) -> Role:
        if name not in roles:
            return role
        keys = tuple(dict.fromkeys(new.keyid if key == old else key for key in role.keys))
        return Role(keys, role.threshold)

    swapped_root = replace(
        grown,
        root=swapped(root.root, "root"),
        release=swapped(root.release, "release"),
        manifest=tuple(replace(e, role=swapped(e.role, "manifest")) for e in root.manifest),
    )
    return remove_key(swapped_root, old, ()) if old != new.keyid else swapped_root


def propose(
    settings: Settings,
    change: Callable[[Root], Root],
    signers: Sequence[Signer],
    *,
    now: datetime,
) -> Proposed:
    """Make and sign the next root, with the keys at hand; accept it once the signatures suffice."""
    chain = load_roots(settings)
    old = chain.keyring.root
    new = replace(change(old), number=old.number + 1, issued=now, expires=now + ROOT_LIFETIME)
    _check(new)
    _check_no_return(chain, new)
    path = root_path(settings, new.number)
    envelope = Envelope((), new.to_json())
    if path.exists():
        envelope = read_pending(path)
        waiting = Root.from_json(envelope.signed)
        # All but the times, as with releases.
        if replace(waiting, issued=new.issued, expires=new.expires) != new:
            raise UsageError(
                f"{path} holds another root {new.number}, and waits for signatures",
                hint="have it signed first, or delete that file if it is not wanted any more",
            )
        if waiting.issued > now or waiting.expires != waiting.issued + ROOT_LIFETIME:
            raise VerificationError(
                f"{path} is valid from {waiting.issued:%Y-%m-%d} to {waiting.expires:%Y-%m-%d},"
                " which is not what was asked for",
                code="future",
                hint="do not sign it; delete that file, and run the same command again",
            )
    return _accept_or_keep(settings, chain, path, _signed(path, envelope, old, signers))


def sign_pending(
    settings: Settings, path: Path, envelope: Envelope, signers: Sequence[Signer]
) -> Proposed:
    """Add signatures to a root that waits for them, in its file; accept it once they suffice.

    `envelope` is what was read there and shown: the file may lie where others write, and is not
    read again. Root 1 follows none: whoever holds one of its keys, and trusts no root yet, may
    sign it.
    """
    new, chain = check_root(settings, path, envelope)
    if chain is None:
        _holders(new, set(new.root.keys), signers)  # nobody else takes it on its own word
    old = chain.keyring.root if chain else new
    return _accept_or_keep(settings, chain, path, _signed(path, envelope, old, signers))


def check_root(settings: Settings, path: Path, envelope: Envelope) -> tuple[Root, RootChain | None]:
    """Return a root that waits in a file, and the chain that it follows: `None` for a first root.

    Raises:
        VerificationError: it was changed on its way, or is another app's or another line's.
        UsageError: it is in force already, or roots are missing here.
    """
    envelope.expect(Kind.ROOT)
    new = Root.from_json(envelope.signed)
    begins = new.number == 1 and not (settings.root_folder / "1.json").exists()
    chain = None if begins else load_roots(settings)
    keys = chain.keyring.root.keys if chain else ()
    check_gathered(path, envelope, Kind.ROOT, (*keys, *new.keys))
    if chain:
        check_app(path, new.app, chain.keyring.root.app)
    if chain and new.number != chain.keyring.root.number + 1:
        raise _not_next(path, envelope, new.number, chain)
    return new, chain


def _not_next(path: Path, envelope: Envelope, number: int, chain: RootChain) -> Error:
    newest = chain.keyring.root.number
    if number > newest:
        return UsageError(
            f"{path} is root {number}; this project is at root {newest}",
            hint=f"root {newest + 1} comes first: `git pull`, or `manifestgen keys sign` its file",
        )
    ours = Envelope.decode(chain.documents[number - 1], limit=LIMITS.root_bytes)
    if envelope.signed == ours.signed:
        return UsageError(
            f"root {number} of {path} is in force here already",
            hint=f"there is nothing to sign; who lacks it takes .manifestgen/root/{number}.json",
        )
    return VerificationError(
        f"{path} is another root {number} than the one that is in force here",
        code="root",
        hint="do not sign it; discard the file, and find out who made it",
    )


def first(new: Root) -> list[str]:
    """Say in lines what a first root says, for people to read before they sign."""
    lines = [
        f"root 1 of {new.app}, valid from {new.issued:%Y-%m-%d} until {new.expires:%Y-%m-%d}",
        *(
            f"  key {_short(key.keyid)} ({key.algorithm}), fingerprint {fingerprint(key.keyid)}"
            for key in new.keys
        ),
    ]
    return [*lines, *(f"  {name}: {_spelled(role)}" for name, role in _named_roles(new).items())]


def difference(old: Root, new: Root) -> list[str]:
    """Say in lines what a new root changes, for people to read before they sign."""
    valid = f"valid from {new.issued:%Y-%m-%d} until {new.expires:%Y-%m-%d}"
    lines = [f"root {old.number} → root {new.number}, {valid}"]
    before, after = set(old.key_map()), set(new.key_map())
    lines += [
        f"  + key {_short(key)} ({new.key_map()[key].algorithm}), fingerprint {fingerprint(key)}"
        for key in sorted(after - before)
    ]
    lines += [f"  - key {_short(key)}" for key in sorted(before - after)]
    for name, role in _named_roles(new).items():
        was = _named_roles(old).get(name)
        if was != role:
            lines.append(f"  {name}: {_spelled(was)} → {_spelled(role)}")
    gone = sorted(set(_named_roles(old)) - set(_named_roles(new)))
    lines += [f"  {name}: no keys any more" for name in gone]
    if old.max_days != new.max_days:
        lines.append(f"  manifests live at most {old.max_days} → {new.max_days} days")
    return lines


def _check_no_return(chain: RootChain, new: Root) -> None:
    """Refuse a key that an earlier root dropped: what it signed then would count again."""
    held = set(chain.keyring.root.key_map())
    dropped = {key for ring in chain.keyrings for key in ring.root.key_map()} - held
    if back := dropped & set(new.key_map()):
        raise UsageError(
            f"key {_short(min(back))} was taken out of an earlier root, and stays out",
            hint="make a new one: `manifestgen keys create --only signing --out-dir DIR`",
        )


def roles_of(root: Root, keyid: KeyId) -> list[str]:
    """Return the roles of a key, as people read them."""
    return [name for name, role in _named_roles(root).items() if keyid in role.keys]


def thresholds(root: Root) -> dict[str, int]:
    """Return how many keys each role needs, by its name in `roles_of`."""
    return {name: role.threshold for name, role in _named_roles(root).items()}


def find_key(root: Root, text: str) -> KeyId:
    """Return the one key of a root whose id begins with `text`, or raise `UsageError`."""
    wanted = text.replace(" ", "").lower()
    found = [keyid for keyid in root.key_map() if wanted and keyid.startswith(wanted)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found)} keys of root {root.number} begin with {text!r}",
            hint="see `manifestgen keys list`",
        )
    return found[0]


def _signed(path: Path, envelope: Envelope, old: Root, signers: Sequence[Signer]) -> Envelope:
    new = Root.from_json(envelope.signed)
    check_gathered(path, envelope, Kind.ROOT, (*old.keys, *new.keys))
    if _meets(envelope, old) and _meets(envelope, new):
        return envelope  # with one signature more it would be another file than the others have
    return sign(envelope, Kind.ROOT, _holders(new, {*old.root.keys, *new.root.keys}, signers))


def _holders(new: Root, allowed: set[KeyId], signers: Sequence[Signer]) -> list[Signer]:
    mine = [signer for signer in signers if signer.public.keyid in allowed]
    if not mine:
        raise KeyUseError(
            f"none of the keys at hand may sign root {new.number}:"
            f" it takes {', '.join(map(_short, sorted(allowed)))}",
            hint="name the key with `root` under [keys], or with MANIFESTGEN_KEY_ROOT",
        )
    return mine


def _meets(envelope: Envelope, root: Root) -> bool:
    return _lacks(envelope, root) is None


def _accept_or_keep(
    settings: Settings, chain: RootChain | None, path: Path, envelope: Envelope
) -> Proposed:
    new = Root.from_json(envelope.signed)
    lacking = tuple(
        f"root {signing.number} needs {signing.root.threshold} of"
        f" {', '.join(map(_short, signing.root.keys))}; {error}"
        for signing in ((chain.keyring.root, new) if chain else (new,))
        if (error := _lacks(envelope, signing))
    )
    if lacking:
        keep_pending(path, envelope)
        return Proposed(new, envelope, path, lacking)
    document = envelope.encode()
    # What devices will check, before it is ours.
    if chain:
        chain.extended(document)
    else:
        Keyring.trust(document)
    ours = root_path(settings, new.number)
    if path.resolve() != ours.resolve():
        # For those who sent it: it is whole now. First, since a root that is in force here is
        # signed no more, and the file may lie on a stick that is full or gone.
        keep_pending(path, envelope)
    save_root(settings, new.number, document)
    ours.unlink(missing_ok=True)
    return Proposed(new, envelope, None, ())


def _lacks(envelope: Envelope, root: Root) -> str | None:
    try:
        check_signatures(envelope, Kind.ROOT, root, root.root)
    except VerificationError as error:
        return str(error)
    return None


def _check(root: Root) -> None:
    try:
        Root.from_json(root.to_json())
    except FormatError as error:
        raise UsageError(f"that root would not be valid: {error}") from None


def _with(keys: tuple[PublicKey, ...], key: PublicKey) -> tuple[PublicKey, ...]:
    return keys if key in keys else (*keys, key)


def _grown(role: Role, keyid: KeyId, threshold: int | None) -> Role:
    keys = role.keys if keyid in role.keys else (*role.keys, keyid)
    if threshold is not None and not 1 <= threshold <= len(keys):
        raise UsageError(f"{len(keys)} keys cannot meet a threshold of {threshold}")
    return Role(keys, threshold or role.threshold)


def _shrunk(role: Role, keyid: KeyId, name: str) -> Role:
    keys = tuple(key for key in role.keys if key != keyid)
    if keyid in role.keys and len(keys) < role.threshold:
        raise UsageError(
            f"the {name} role needs {role.threshold}, and would have {len(keys)} keys",
            hint=f"put another key in its place: `manifestgen keys rotate {_short(keyid)}`",
        )
    return Role(keys, role.threshold)


def _roles(root: Root) -> list[Role]:
    return [root.root, root.release, *(entry.role for entry in root.manifest)]


def _named_roles(root: Root) -> dict[str, Role]:
    named = {"root": root.root, "release": root.release}
    for entry in root.manifest:
        for channel in entry.channels:
            named["manifest" if channel == ANY_CHANNEL else f"manifest of {channel}"] = entry.role
    return named


def _spelled(role: Role | None) -> str:
    if role is None:
        return "nobody of its own"
    return f"{role.threshold} of {', '.join(map(_short, role.keys))}"


def _short(keyid: KeyId) -> str:
    return keyid[:12]
