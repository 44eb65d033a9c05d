"""`keys list|export|add|rotate|revoke|renew|sign|apply`: who may sign what."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import Output, Session, Site, command, known_channels, table
from manifestgen.config import check_channel
from manifestgen.errors import FormatError, KeyUseError, UsageError, os_reason

if TYPE_CHECKING:
    from manifestgen.config import Settings
    from manifestgen.core.envelope import Envelope
    from manifestgen.core.keys import PublicKey
    from manifestgen.core.root import Root
    from manifestgen.publish.roots import Proposed
    from manifestgen.signers import Signer

RoleName = Annotated[str, typer.Option("--role", metavar="ROLE", help="root, release or manifest.")]
KeyName = Annotated[
    str, typer.Argument(metavar="KEY", help="How its id begins; see `manifestgen keys list`.")
]


def register(group: typer.Typer) -> None:
    """Add these commands to the `keys` group."""
    command(group, "list")(_list)
    command(group, "export")(_export)
    command(group, "add")(_add)
    command(group, "rotate")(_rotate)
    command(group, "revoke")(_revoke)
    command(group, "renew")(_renew)
    command(group, "sign")(_sign)
    command(group, "apply")(_apply)


def _list(session: Session) -> Output:
    """List the keys of the newest root and what each may sign.

    Examples:
        manifestgen keys list
        manifestgen keys list --json
    """
    from manifestgen.core.reader import format_time
    from manifestgen.publish.roots import roles_of, thresholds
    from manifestgen.publish.trust import load_roots

    settings = session.settings()
    root = load_roots(settings).keyring.root
    rows = [["key", "algorithm", "signs"]]
    keys = []
    for keyid, key in sorted(root.key_map().items()):
        roles = roles_of(root, keyid)
        rows.append([keyid[:12], key.algorithm.value, ", ".join(roles)])
        keys.append({"keyid": keyid, "algorithm": key.algorithm.value, "roles": roles})
    text = f"root {root.number} of {root.app}, valid until {root.expires:%Y-%m-%d}"
    data = {
        "app": root.app,
        "root": root.number,
        "expires": format_time(root.expires),
        "keys": keys,
        "thresholds": thresholds(root),
    }
    return Output(data, f"{text}\n{table(rows)}\n{_thresholds(root)}")


def _export(
    session: Session,
    key: Annotated[
        str,
        typer.Argument(
            metavar="KEY",
            help="How its id begins, see `manifestgen keys list`; or a private key's URI.",
        ),
    ],
) -> Output:
    """Print a key's public half, for whoever may let it sign.

    Examples:
        manifestgen keys export file:.manifestgen/keys/signing.pem
        manifestgen keys export env:CI_KEY
    """
    from cryptography.hazmat.primitives import serialization

    from manifestgen.publish.keyfiles import fingerprint

    found = _public_half(session, session.settings(), key)
    public = serialization.load_der_public_key(found.spki)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    pem = public.public_bytes(serialization.Encoding.PEM, form).decode()
    session.say(f"{found.algorithm} {fingerprint(found.keyid)}")
    return Output({"keyid": found.keyid, "pem": pem}, pem.rstrip())


def _add(
    session: Session,
    source: Annotated[
        str, typer.Argument(metavar="KEY", help="A public key in PEM, or a private key's URI.")
    ],
    *,
    role: RoleName,
    channel: Annotated[
        str | None,
        typer.Option(
            "--channel",
            metavar="C",
            help="Of role manifest: this channel.",
            autocompletion=known_channels,
        ),
    ] = None,
    threshold: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many keys of the role must sign.")
    ] = None,
    site: Site = None,
) -> Output:
    """Let a key sign: makes, signs and publishes the next root.

    Examples:
        manifestgen keys add ci.pub.pem --role manifest --channel beta
        manifestgen keys add ben.pub.pem --role root --threshold 2
    """
    from manifestgen.publish.roots import add_key

    settings = session.settings(site=site)
    name = check_channel(channel, "--channel") if channel else None
    _check_role(role, name)
    public, signers = _key_from(session, settings, source)
    return _change(
        session,
        settings,
        lambda root: add_key(root, public, role, channel=name, threshold=threshold),
        signers,
    )


def _rotate(
    session: Session,
    key: KeyName,
    *,
    to: Annotated[
        str,
        typer.Option("--to", metavar="NEW", help="A public key in PEM, or a private key's URI."),
    ],
    role: Annotated[
        str | None, typer.Option("--role", metavar="ROLE", help="Only in this role.")
    ] = None,
    site: Site = None,
) -> Output:
    """Put a new key in an old one's place.

    What the old one signed is signed again.

    Examples:
        manifestgen keys rotate 65cce0c4 --to file:.manifestgen/keys/new.pem
        manifestgen keys rotate 65cce0c4 --to 'pkcs11:token=release;object=signing'
    """
    from manifestgen.publish.roots import ROLES, find_key, replace_key, roles_of
    from manifestgen.publish.trust import load_roots

    settings = session.settings(site=site)
    if role is not None:
        _check_role(role, None)
    public, signers = _key_from(session, settings, to)

    root = load_roots(settings).keyring.root
    roles = [role] if role else ROLES
    held = [name for name in roles_of(root, find_key(root, key)) if name.split()[0] in roles]

    def change(root: "Root") -> "Root":
        return replace_key(root, find_key(root, key), public, roles)

    output = _change(
        session, _with_key(session, settings, to, roles) if signers else settings, change, signers
    )
    if signers:
        names = " and ".join(_entries(settings, held))
        session.say(f'next: in manifestgen.toml, set {names} to "{to}"')
    return output


def _revoke(session: Session, key: KeyName, *, site: Site = None) -> Output:
    """Take a key out of every role, and sign again what it alone signed.

    Examples:
        manifestgen keys revoke 65cce0c4
        manifestgen keys revoke 65cce0c4 --json
    """
    from manifestgen.publish.roots import find_key, remove_key

    settings = session.settings(site=site)
    return _change(session, settings, lambda root: remove_key(root, find_key(root, key)), ())


def _renew(session: Session, *, site: Site = None) -> Output:
    """Sign a new root with the same keys and a new expiry.

    Examples:
        manifestgen keys renew
        manifestgen keys renew --json
    """
    settings = session.settings(site=site)
    return _change(session, settings, lambda root: root, ())


def _sign(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A document that waits.")],
    *,
    key: Annotated[
        str | None, typer.Option("--key", metavar="URI", help="Sign with this key.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Sign nothing; only show what it says.")
    ] = False,
) -> Output:
    """Add your signature to what needs several people's.

    To a root or a release.

    Shows what it says first; with --dry-run, only that. The file is changed in place: carry it on.

    Examples:
        manifestgen keys sign .manifestgen/pending/root-2.json
        manifestgen keys sign /media/stick/root-2.json
    """
    from manifestgen.core.envelope import Kind
    from manifestgen.publish.pending import read_pending

    settings = session.settings()
    envelope = read_pending(file)
    kind = envelope.signed.get("type")
    if dry_run and kind in {Kind.ROOT, Kind.RELEASE}:
        lines = _shown(settings, file, envelope)
        return Output({"document": envelope.digest(), "lines": lines}, "\n".join(lines))
    if kind == Kind.ROOT:
        return _sign_root(session, settings, file, envelope, key)
    if kind == Kind.RELEASE:
        return _sign_release(session, settings, file, envelope, key)
    raise UsageError(f"{file} is neither a root nor a release")


def _apply(session: Session, *, site: Site = None) -> Output:
    """Bring the site in line with the newest root.

    What needs it is signed again.

    Examples:
        manifestgen keys apply
        manifestgen keys apply --site s3://updates/app
    """
    lines, data = _applied(session, session.settings(site=site))
    return Output(data, "\n".join(lines) or "the site follows the newest root")


def _change(
    session: Session,
    settings: "Settings",
    change: "Callable[[Root], Root]",
    more: "Sequence[Signer]",
) -> Output:
    from manifestgen.publish.roots import difference, propose
    from manifestgen.publish.trust import load_roots

    old = load_roots(settings).keyring.root
    signers = [*_signers(session, settings, settings.root_keys), *more]
    done = propose(settings, change, signers, now=session.now())
    lines = difference(old, done.root)
    return _told(session, settings, done, lines)


def _told(session: Session, settings: "Settings", done: "Proposed", lines: list[str]) -> Output:
    data: dict[str, object] = {
        "root": done.root.number,
        "accepted": done.pending is None,
        "pending": str(done.pending) if done.pending else None,
        "lacking": list(done.lacking),
    }
    if done.pending:
        lines += [f"not in force: {reason}" for reason in done.lacking]
        path = shlex.quote(str(done.pending))
        lines.append(f"carry it to the others: manifestgen keys sign {path}")
        return Output(data, "\n".join(lines))
    more, applied = _applied(session, settings)
    lines += ["in force; commit .manifestgen/root", *more]
    return Output({**data, **applied}, "\n".join(lines))


def _applied(session: Session, settings: "Settings") -> tuple[list[str], dict[str, object]]:
    from manifestgen.publish import open_site
    from manifestgen.publish.apply import apply_root
    from manifestgen.publish.channels import Desk

    desk = Desk.open(settings, open_site(settings), ask=session.ask, now=session.now())
    if not desk.site.channels():
        return [], {"releases": [], "channels": [], "left": []}
    done = apply_root(desk)
    lines = [f"signed again: release {version}" for version in done.releases]
    lines += [f"signed again: manifest of {channel}" for channel in done.channels]
    lines += [f"left: {one}" for one in done.left]
    return lines, {
        "releases": [str(version) for version in done.releases],
        "channels": list(done.channels),
        "left": list(done.left),
    }


def _shown(settings: "Settings", file: Path, envelope: "Envelope") -> list[str]:
    """Say what a document says that waits, for people to read before they sign."""
    from manifestgen.core.envelope import Kind
    from manifestgen.publish.pending import read_release
    from manifestgen.publish.roots import check_root, difference, first

    last = f"  document {envelope.digest()[:32]}"
    if envelope.signed.get("type") == Kind.ROOT:
        new, chain = check_root(settings, file, envelope)
        return [*(difference(chain.keyring.root, new) if chain else first(new)), last]
    release = read_release(settings, file, envelope)
    return [
        f"release {release.version} of {release.app}, tree {release.tree.digest[:32]}",
        f"  {release.scheme}, devices may go back to {release.floor or 'any version'}"
        f", on {', '.join(release.channels) or 'any channel'}"
        f", for {', '.join(release.audience.described()) or 'every device'}",
        last,
    ]


def _sign_root(
    session: Session, settings: "Settings", file: Path, envelope: "Envelope", key: str | None
) -> Output:
    from manifestgen.publish.roots import sign_pending

    session.say(*_shown(settings, file, envelope))
    uris = (key,) if key else settings.root_keys
    signers = _signers(session, settings, uris)
    return _told(session, settings, sign_pending(settings, file, envelope, signers), [])


def _sign_release(
    session: Session, settings: "Settings", file: Path, envelope: "Envelope", key: str | None
) -> Output:
    from manifestgen.core.envelope import Kind
    from manifestgen.core.release import Release
    from manifestgen.publish.pending import keep_pending
    from manifestgen.publish.trust import load_roots
    from manifestgen.signers import Keys
    from manifestgen.signers.interface import sign

    session.say(*_shown(settings, file, envelope))
    release = Release.from_json(envelope.signed)
    role = load_roots(settings).keyring.root.release
    uris = (key,) if key else settings.release_uris()
    signers = Keys(_signers(session, settings, uris)).some(role, "a release")
    signed = sign(envelope, Kind.RELEASE, signers)
    keep_pending(file, signed)
    have = len({one.keyid for one in signed.signatures} & set(role.keys))
    text = f"{have} of the {role.threshold} signatures it needs"
    if have >= role.threshold:
        text += "; run the publish command again where it was begun"
    return Output({"version": str(release.version), "signatures": have}, text)


def _signers(session: Session, settings: "Settings", uris: Sequence[str]) -> "Sequence[Signer]":
    from manifestgen.publish.publish import load_keys

    return load_keys(settings, tuple(uris), session.ask).signers


def _key_from(
    session: Session, settings: "Settings", source: str
) -> "tuple[PublicKey, Sequence[Signer]]":
    """Return a key from a public PEM file, or a private key from its URI with its signer."""
    from manifestgen.signers import is_elsewhere

    path = Path(source)
    if is_elsewhere(source) or not path.is_file():  # a command is too long for a file's name
        if ":" not in source and source != "stdin":
            raise UsageError(
                f"there is no {source}",
                hint="give a public key in PEM, or a private key's URI, such as file:keys/new.pem",
            )
        (signer,) = _signers(session, settings, [source])
        return signer.public, [signer]
    return read_public(path), []


def read_public(path: Path) -> "PublicKey":
    """Read a public key in PEM, as `keys export` prints it."""
    from cryptography.hazmat.primitives import serialization

    from manifestgen.core.keys import PublicKey

    try:
        key = serialization.load_pem_public_key(path.read_bytes())
        spki = key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return PublicKey.from_spki(spki)
    except OSError as error:
        reason = os_reason(error)
        raise UsageError(
            f"cannot read {path}: {reason}", hint="`manifestgen keys export` prints a public key"
        ) from None
    except (ValueError, FormatError):
        raise UsageError(
            f"{path} is no public key in PEM",
            hint="for a private key give its URI, such as file:keys/new.pem",
        ) from None


def _public_half(session: Session, settings: "Settings", key: str) -> "PublicKey":
    """Return a key by the beginning of its id, or the public half of one at hand by its URI."""
    from manifestgen.publish.roots import find_key
    from manifestgen.publish.trust import load_roots

    if ":" in key or key == "stdin":
        (signer,) = _signers(session, settings, [key])
        return signer.public
    root = load_roots(settings).keyring.root
    return root.key_map()[find_key(root, key)]


def _with_key(session: Session, settings: "Settings", uri: str, roles: Sequence[str]) -> "Settings":
    """Return settings in which a key is at hand for some roles, beside those that still are."""

    def beside(uris: tuple[str, ...], role: str) -> tuple[str, ...]:
        return (*_at_hand(session, settings, uris), uri) if role in roles else uris

    return replace(
        settings,
        root_keys=beside(settings.root_keys, "root"),
        release_keys=beside(settings.release_uris(), "release"),
        manifest_keys=beside(settings.manifest_keys or settings.root_keys, "manifest"),
        channels={
            name: replace(one, keys=beside(one.keys, "manifest") if one.keys else ())
            for name, one in settings.channels.items()
        },
    )


def _at_hand(session: Session, settings: "Settings", uris: Sequence[str]) -> tuple[str, ...]:
    """Leave out keys that are not there: the one that is replaced may be lost."""
    found = []
    for uri in uris:
        with suppress(KeyUseError):
            _signers(session, settings, [uri])
            found.append(uri)
    return tuple(found)


def _entries(settings: "Settings", held: Sequence[str]) -> list[str]:
    """Return the entries of manifestgen.toml that name the key of some roles."""
    entries = []
    for name in held:
        role, _, channel = name.partition(" of ")
        own = {"release": settings.release_keys, "manifest": settings.manifest_keys}
        if channel and settings.channel_settings(channel).keys:
            entries.append(f"`keys` under [channels.{channel}]")
        elif role == "root" or own[role] or "root" not in held:  # else it goes with `root`
            entries.append(f"`{role}` under [keys]")
    return list(dict.fromkeys(entries))


def _check_role(role: str, channel: str | None) -> None:
    from manifestgen.publish.roots import ROLES

    if role not in ROLES:
        raise UsageError(f"--role: {role!r} is none", hint=f"use {', '.join(ROLES)}")
    if channel and role != "manifest":
        raise UsageError(f"--channel goes with --role manifest, not {role}")


def _thresholds(root: "Root") -> str:
    parts = [f"root {root.root.threshold} of {len(root.root.keys)}"]
    parts.append(f"release {root.release.threshold} of {len(root.release.keys)}")
    for entry in root.manifest:
        names = "/".join(entry.channels).replace("*", "every other channel")
        parts.append(f"manifest of {names} {entry.role.threshold} of {len(entry.role.keys)}")
    return "needs: " + ", ".join(parts)
