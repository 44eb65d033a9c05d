"""`keys`: make keys, and show their public halves.

Private keys are created exclusively, 0600 from the first byte, never over another, never inside the
site, and never printed. A passphrase comes from the terminal or from where `report` says, never
from an argument.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli import roots
from manifestgen.cli.report import Output, Session, command, table
from manifestgen.core.keys import Algorithm
from manifestgen.core.release import Scheme
from manifestgen.errors import KeyUseError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from manifestgen.capacitor import CapacitorConfig
    from manifestgen.config import Settings
    from manifestgen.core.keys import PublicKey
    from manifestgen.core.root import Root
    from manifestgen.publish.keyfiles import KeyFile, KeyKind, KeySet, TokenPair

_PURPOSE = {
    "signing": "signs what devices trust",
    "capgo": "encrypts bundles for the stock Capgo plugin",
    "content": "makes the same build encrypt to the same bytes",
}
_LOSS = {
    "signing": "lost, devices take no update until a new native build; stolen, they take any",
    "capgo": "lost, stock Capgo devices take no update until a new native build",
    "content": "lost, nothing breaks: builds that did not change are stored again",
}

_FURTHER = "signs nothing until `manifestgen keys add` or `keys rotate` lets it"


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(help="Make keys, and say who may sign what.", no_args_is_help=True)
    command(group, "create")(_create)
    command(group, "show")(_show)
    roots.register(group)
    app.add_typer(group, name="keys")


def _create(
    session: Session,
    *,
    algorithm: Annotated[
        str, typer.Option(metavar="A", help="Of the signing key: ed25519, or p256.")
    ] = "ed25519",
    passphrase: Annotated[
        bool, typer.Option("--passphrase", help="Encrypt them; asks, or MANIFESTGEN_PASSPHRASE.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="KIND", help="Only signing, capgo or content; may be repeated."),
    ] = None,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out-dir", metavar="DIR", help="Put them there, not where [keys] says."),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--in", metavar="URI", help="Make one key in a token: pkcs11:token=…;object=…"
        ),
    ] = None,
    capacitor: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write the public Capgo key into that app's config."),
    ] = None,
) -> Output:
    """Make the keys that are not there yet.

    `init` and the first `publish` do it, too.

    Signing keys sign what devices trust. The Capgo key (RSA-2048) encrypts for the stock plugin.

    Examples:
        manifestgen keys create --passphrase --capacitor .
        manifestgen keys create --only signing --out-dir ci-key
    """
    if place is not None:
        if passphrase or out_dir or capacitor:
            raise UsageError(
                "--in makes a key in a token, which has no folder and no passphrase",
                hint="leave out --out-dir, --passphrase and --capacitor; for the last, run the"
                " command once more with it alone",
            )
        return _create_in(session, place, _kinds(only), _algorithm(algorithm))
    from manifestgen.publish.keyfiles import NewKeys, capgo_public, check_config, create_keys

    settings = session.settings()
    wanted = NewKeys(_kinds(only), _algorithm(algorithm), out_dir)
    config = None
    if capacitor is not None:
        # Whoever names an app that has the plugin wants its key, whatever the scheme is today.
        settings = replace(settings, scheme=Scheme.CAPGO)
        config = _config(capacitor)
        check_config(settings, config, wanted, session.ask)
    secret = _new_passphrase(session) if passphrase else None
    made = create_keys(settings, wanted, passphrase=secret)
    if config is None and not any(file.made for file in made.files):
        raise _nothing_to_make(made)
    data = _data(settings, made)
    text = _made_text(settings, made, encrypted=secret is not None)
    if config:
        public = made.capgo or capgo_public(settings, session.ask)
        data["capacitor"], lines = _into_config(config, public)
        text += ["", *lines]
    return Output(data, "\n".join(text).strip("\n"))


def _create_in(
    session: Session, uri: str, kinds: "tuple[KeyKind, ...]", algorithm: Algorithm
) -> Output:
    from manifestgen.core import capgo
    from manifestgen.publish.keyfiles import (
        KeyKind,
        create_in_token,
        fingerprint,
        relative,
    )

    if not uri.startswith("pkcs11:"):
        raise UsageError(
            "--in: no place to make a key", hint="use pkcs11:token=LABEL;object=LABEL, or --out-dir"
        )
    if len(kinds) > 1:
        raise UsageError("--in makes one key at a time", hint="name one kind with --only")
    kind = kinds[0] if kinds else KeyKind.SIGNING
    settings = session.settings()
    made = create_in_token(settings, uri, kind, algorithm, session.ask)
    data: dict[str, object] = {"uri": made.uri, "entry": made.entry, "written": made.written}
    text = [f"made a key that stays in its token: {_PURPOSE[kind]}"]
    if made.signing:
        data["keys"] = [_public_data(made.signing)]
        text.append(f"  {made.signing.algorithm} {fingerprint(made.signing.keyid)}")
    if made.capgo:
        pem = capgo.public_pem(made.capgo)
        data["capgo"] = {"key_id": capgo.key_id(made.capgo), "public": pem}
        where = relative(settings, made.capgo_file) if made.capgo_file else ""
        text.append(
            f"  capgo {capgo.key_id(made.capgo)}" + (f", public half in {where}" if where else "")
        )
        text += [] if where else pem.rstrip("\n").splitlines()
    text.append(f"  {_LOSS[kind]}")
    return Output(data, "\n".join([*text, "", *_in_token_next(settings, made)]))


def _in_token_next(settings: "Settings", made: "TokenPair") -> list[str]:
    if made.written:
        lines = [f"manifestgen.toml says so under [keys], for the app {settings.app}"]
        if not (settings.root_folder / "1.json").exists():
            lines.append("next: manifestgen init")
        return lines
    lines = ["nothing of the project was changed; under [keys] it is to be", f"  {made.entry}"]
    if made.signing and (settings.root_folder / "1.json").exists():
        lines.append(f"next: manifestgen keys rotate OLD --to '{made.uri}', or keys add")
    if made.capgo:
        lines.append("only a new native build with that public key makes devices trust it")
    return lines


def _show(session: Session) -> Output:
    """Show the project's public keys and fingerprints.

    No private key is read.

    Examples:
        manifestgen keys show
        manifestgen keys show --json
    """
    from manifestgen.core import capgo
    from manifestgen.publish.keyfiles import capgo_public, fingerprint
    from manifestgen.publish.trust import load_roots

    settings = session.settings()
    root = load_roots(settings).keyring.root
    keys = [(key, _roles(root, key)) for key in root.keys]
    data: dict[str, object] = {
        "root": root.number,
        "keys": [{**_public_data(key), "roles": roles} for key, roles in keys],
    }
    text = [f"{settings.app}, root {root.number}"]
    for key, roles in keys:
        text += [
            "",
            f"{key.algorithm} {fingerprint(key.keyid)}: {', '.join(roles)}",
            _spki_pem(key),
        ]
    if settings.capgo_public.exists():
        public = capgo_public(settings, session.ask)
        pem = capgo.public_pem(public)
        data["capgo"] = {"key_id": capgo.key_id(public), "public": pem}
        text += ["", f"capgo {capgo.key_id(public)}", pem.rstrip("\n")]
    return Output(data, "\n".join(text))


# --- what was asked for -------------------------------------------------------------------------


def _kinds(only: list[str] | None) -> "tuple[KeyKind, ...]":
    from manifestgen.publish.keyfiles import KeyKind

    try:
        return tuple(dict.fromkeys(KeyKind(one) for one in only or ()))
    except ValueError:
        raise UsageError("--only: unknown kind", hint="use signing, capgo or content") from None


def _algorithm(text: str) -> Algorithm:
    try:
        return Algorithm(text)
    except ValueError:
        raise UsageError(f"--algorithm: {text!r} is unknown", hint="use ed25519 or p256") from None


def _new_passphrase(session: Session) -> bytes:
    first = session.ask("the new keys")
    if not first:
        raise KeyUseError(
            "there is no passphrase",
            hint="set MANIFESTGEN_PASSPHRASE, or MANIFESTGEN_PASSPHRASE_FILE to a file",
        )
    # From the environment it is the same again; a person may have mistyped it.
    if session.ask("the new keys, once more") != first:
        raise KeyUseError("the two passphrases differ", hint="run the same command again")
    return first


def _config(folder: Path) -> "CapacitorConfig":
    from manifestgen.capacitor import find_config

    config = find_config(folder)
    if config is None:
        raise UsageError(
            f"there is no capacitor.config.json, .ts or .js in {folder}",
            hint="name the folder of the Capacitor app: `--capacitor .`",
        )
    return config


def _nothing_to_make(made: "KeySet") -> KeyUseError:
    if not made.files:
        return KeyUseError(
            "[keys] in manifestgen.toml names no key files",
            hint="name a folder for new ones with `--out-dir`",
        )
    return KeyUseError(
        f"{made.files[0].path} and the other keys exist and are not overwritten",
        hint="`manifestgen keys show` shows them; for further ones name `--out-dir`",
    )


# --- what was made ------------------------------------------------------------------------------


def _data(settings: "Settings", made: "KeySet") -> dict[str, object]:
    from manifestgen.core import capgo
    from manifestgen.publish.keyfiles import relative

    data: dict[str, object] = {
        "files": [
            {"kind": file.kind.value, "file": relative(settings, file.path), "made": file.made}
            for file in made.files
        ],
        "keys": [_public_data(key) for key in made.signing],
    }
    if made.capgo:
        data["capgo"] = {
            "key_id": capgo.key_id(made.capgo),
            "public": capgo.public_pem(made.capgo),
        }
    return data


def _made_text(settings: "Settings", made: "KeySet", *, encrypted: bool) -> list[str]:
    from manifestgen.publish.keyfiles import relative

    new = [file for file in made.files if file.made]
    rows = [
        (
            f"{'made' if file.made else 'kept'} {relative(settings, file.path)}",
            _PURPOSE[file.kind],
        )
        for file in made.files
    ]
    lines = [table(rows)] if rows else []
    lines += _fingerprints(settings, made)
    if new:
        loss = _LOSS | ({"signing": _FURTHER} if _has_root(settings) else {})
        lines += ["", "back up, where only you can read it:"]
        lines += [f"  {file.path.name}: {loss[file.kind]}" for file in new]
        lines += _passphrase_lines(new) if encrypted else []
    if not made.ignored:
        lines += ["", "git does not ignore that folder: add the keys to .gitignore"]
    if not _has_root(settings):
        lines += ["", "next: manifestgen init"]
    return lines


def _has_root(settings: "Settings") -> bool:
    return (settings.root_folder / "1.json").exists()


def _passphrase_lines(new: "list[KeyFile]") -> list[str]:
    lines = ["  and the passphrase, elsewhere: nobody can recover it"]
    if any(file.kind == "capgo" for file in new):
        lines.append("  (Capgo's own CLI cannot read a key with a passphrase)")
    return lines


def _fingerprints(settings: "Settings", made: "KeySet") -> list[str]:
    from manifestgen.core import capgo
    from manifestgen.publish.keyfiles import fingerprint, relative

    lines = [f"  {key.algorithm} {fingerprint(key.keyid)}" for key in made.signing]
    if made.capgo and made.capgo_file:
        where = relative(settings, made.capgo_file)
        lines.append(f"  capgo {capgo.key_id(made.capgo)}, public half in {where}")
    return lines


def _into_config(
    config: "CapacitorConfig", public: "RSAPublicKey"
) -> tuple[dict[str, object], list[str]]:
    """Write the key into JSON; of a program, only say what to write."""
    from manifestgen.capacitor import lines_to_paste
    from manifestgen.core import capgo

    pem = capgo.public_pem(public)
    build = "then sync and build the native app: only a new native build carries it to devices"
    if not config.is_json:
        lines = [f"put this into {config.path}, which is a program and stays as it is:", ""]
        lines += [*lines_to_paste(pem).splitlines(), "", build]
        return {"file": str(config.path), "written": False}, lines
    if not _same_key(config, public):
        config.with_public_key(pem).write()
    lines = [f"plugins.CapacitorUpdater.publicKey is set in {config.path}", build]
    return {"file": str(config.path), "written": True}, lines


def _same_key(config: "CapacitorConfig", public: "RSAPublicKey") -> bool:
    from manifestgen.core import capgo

    return config.public_keys() == [capgo.public_pem(public)]


def _public_data(key: "PublicKey") -> dict[str, object]:
    return {"keyid": key.keyid, "algorithm": key.algorithm.value, "public": _spki_pem(key)}


def _spki_pem(key: "PublicKey") -> str:
    import base64

    body = base64.b64encode(key.spki).decode()
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----"])


def _roles(root: "Root", key: "PublicKey") -> list[str]:
    roles = [("root", root.root), ("release", root.release)]
    roles += [(f"manifest of {' '.join(one.channels)}", one.role) for one in root.manifest]
    return [name for name, role in roles if key.keyid in role.keys]
