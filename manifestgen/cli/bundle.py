"""`bundle`: zip, encrypt and decrypt bundles as Capgo's command line does.

Its command lines work with the name of the program changed, and `--json` has its fields and no
others. For people the output is ours, and so is `diff`.
"""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from manifestgen.cli.report import Output, Session, Site, command, known_versions, plural
from manifestgen.errors import KeyUseError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from manifestgen.config import Settings
    from manifestgen.core.capgo import Wrapper
    from manifestgen.core.tree import Digest
    from manifestgen.core.version import Version
    from manifestgen.publish.compare import Side

_SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_PLACE = re.compile(r"[a-z][a-z0-9]+:.+|stdin", re.ASCII)
# What a key looks like that was pasted where its file should be named; `LS0t` is `---` in base64.
_PASTED = re.compile(r"\n|PRIVATE KEY|^LS0t|[A-Za-z0-9+/=]{200}")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    group = typer.Typer(
        help="Zip, encrypt, decrypt bundles as Capgo's CLI does; compare them.",
        no_args_is_help=True,
    )
    command(group, "zip")(_zip)
    command(group, "encrypt")(_encrypt)
    command(group, "decrypt")(_decrypt)
    command(group, "diff")(_diff)
    app.add_typer(group, name="bundle")


def _zip(
    session: Session,
    folder: Annotated[
        str | None, typer.Argument(metavar="[DIR]", help="The build: a folder with index.html.")
    ] = None,
    *,
    name: Annotated[
        Path | None, typer.Option("--name", "-n", metavar="ZIP", help="What to call the zip.")
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(
            "--version", "--bundle", "-b", metavar="V", help="Its version, if no package.json's."
        ),
    ] = None,
    path: Annotated[
        Path | None,
        typer.Option("--path", "-p", metavar="DIR", help="The build; then [DIR] is the app id."),
    ] = None,
) -> Output:
    """Zip a build; the same build always makes the same zip.

    Without DIR it is `webDir` of capacitor.config.json. The zip is APP_VERSION.zip here.

    Examples:
        manifestgen bundle zip dist/ --version 1.4.2
        manifestgen bundle zip com.example.app --path dist --bundle 1.4.2 --json
    """
    from manifestgen.bundle.capgo import zip_build, zip_name
    from manifestgen.publish import read_build

    settings = session.settings()
    app, source = _app_and_build(settings, folder, path)
    build = read_build(settings, source)
    number = _version(source, version)
    target = name or Path(zip_name(app, str(number)))
    with session.progress("packing", build.size) as progress:
        packed = zip_build(build, target, progress=progress)
    data = {"bundle": str(number), "filename": str(target), "checksum": packed.sha256}
    files = plural(len(packed.tree.files), "file")
    text = [
        f"zipped {app} {number}: {files}, {packed.size:,} bytes",
        f"  zip       {target}",
        f"  checksum  {packed.sha256}",
        f"  tree      {packed.tree.digest()[:32]}",  # as `keys sign` shows it
        "",
        f"next: manifestgen bundle encrypt {shlex.quote(str(target))} {packed.sha256}",
    ]
    return Output(data, "\n".join(text))


def _encrypt(
    session: Session,
    source: Annotated[Path, typer.Argument(metavar="ZIP", help="The zip to encrypt.")],
    checksum: Annotated[str, typer.Argument(metavar="CHECKSUM", help="Its SHA-256 in hex.")],
    *,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Private Capgo key: a file, env:NAME or stdin."),
    ] = None,
    key_data: Annotated[str | None, typer.Option("--key-data", hidden=True)] = None,
) -> Output:
    """Encrypt a zip for the stock Capgo plugin, as ZIP_encrypted.zip.

    CHECKSUM must be the zip's; the key must be the one that installed apps carry.

    Examples:
        manifestgen bundle encrypt app_1.4.2.zip 1534f18c…f3ea --json
        manifestgen bundle encrypt app.zip 1534f18c…f3ea --key env:CAPGO_PRIVATE_KEY
    """
    from manifestgen.bundle.capgo import encrypt_zip, encrypted_name
    from manifestgen.core import capgo
    from manifestgen.publish.keyfiles import check_installed

    if key_data is not None:
        raise UsageError(
            "--key-data would show the key to everyone on this machine",
            hint="put it into an environment variable and name that: `--key env:CAPGO_KEY`",
        )
    digest = _checksum(checksum)
    settings = session.settings()
    wrapper = _wrapper(session, settings, key)
    check_installed(settings, wrapper.public)
    target = Path(encrypted_name(str(source)))
    wrapped = encrypt_zip(source, target, checksum=digest, wrapper=wrapper, form=settings.checksum)
    data = {
        "checksum": capgo.checksum_text(wrapped),
        "filename": str(target),
        "ivSessionKey": capgo.session_text(wrapped),
    }
    text = [
        f"encrypted {source} with the Capgo key {wrapped.key_id}",
        f"  file            {target}",
        f"  checksum        {data['checksum']}",
        f"  iv session key  {data['ivSessionKey']}",
        "",
        f"next: manifestgen publish --version V --capgo-zip {target} --iv-session-key …"
        " --checksum …",
    ]
    return Output(data, "\n".join(text))


def _decrypt(
    session: Session,
    source: Annotated[Path, typer.Argument(metavar="ENC", help="The encrypted zip.")],
    iv_session_key: Annotated[
        str, typer.Argument(metavar="IVSESSIONKEY", help="What `bundle encrypt` printed.")
    ],
    *,
    key: Annotated[
        str | None, typer.Option(metavar="PUB", help="Public Capgo key, if not the project's.")
    ] = None,
    checksum: Annotated[
        str | None, typer.Option(metavar="C", help="What `bundle encrypt` printed; is checked.")
    ] = None,
) -> Output:
    """Decrypt a zip as a device does, as ENC_decrypted.zip.

    With --checksum nothing is written unless it is the zip's.

    Examples:
        manifestgen bundle decrypt app_1.4.2.zip_encrypted.zip hQ…==:mN…== --checksum c7ed…
        manifestgen bundle decrypt app.zip_encrypted.zip hQ…==:mN…== --key app.pub.pem
    """
    from manifestgen.bundle.capgo import decrypt_zip, decrypted_name

    public = _public(session, session.settings(), key)
    target = Path(decrypted_name(str(source)))
    digest = decrypt_zip(source, target, public=public, session=iv_session_key, checksum=checksum)
    data = {"filename": str(target), "sha256": digest, "checked": checksum is not None}
    said = "checksum matches" if checksum else "checksum not checked: none was given"
    return Output(data, f"decrypted {source}\n  zip     {target}\n  sha256  {digest}\n  {said}")


def _diff(
    session: Session,
    old: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="What devices have: a folder or version.",
            autocompletion=known_versions,
        ),
    ],
    new: Annotated[
        str,
        typer.Argument(metavar="B", help="What they are to get.", autocompletion=known_versions),
    ],
    *,
    site: Site = None,
) -> Output:
    """Compare what devices would download from A to B.

    By each way: bundle, single files, patch.

    A and B are build folders, or versions of the site. Nothing is written.

    Examples:
        manifestgen bundle diff 1.4.2 dist/
        manifestgen bundle diff 1.3.0 1.4.2
    """
    import tempfile

    from manifestgen.publish.compare import compare

    settings = session.settings(site=site)
    with tempfile.TemporaryDirectory() as name:
        sides = [_side(session, settings, text, Path(name)) for text in (old, new)]
        found = compare(*sides)
    data = {
        "from": old,
        "to": new,
        "files": found.files,
        "same": found.same,
        "ways": [
            {"way": way.name, "bytes": way.bytes, "requests": way.requests} for way in found.ways
        ],
    }
    lines = [
        f"{old} → {new}: {found.same} of {plural(found.files, 'file')} are there already",
        f"  {'way':8}{'bytes':>14}{'requests':>10}",
        *(f"  {way.name:8}{way.bytes:>14,}{way.requests:>10,}" for way in found.ways),
    ]
    return Output(data, "\n".join(lines))


def _side(session: Session, settings: "Settings", text: str, scratch: Path) -> "Side":
    from manifestgen.publish import open_site, parse_version, read_build
    from manifestgen.publish.compare import open_folder, open_version
    from manifestgen.publish.keyfiles import capgo_public
    from manifestgen.publish.site import Site as Published
    from manifestgen.publish.trust import load_roots

    if Path(text).is_dir():
        return open_folder(read_build(settings, Path(text)), scratch)
    try:
        version = parse_version(text)
    except UsageError:
        raise UsageError(
            f"{text}: no such folder, and no version", hint="name a build folder or a version"
        ) from None
    published = Published(open_site(settings, dry_run=True), load_roots(settings), settings, True)
    return open_version(published, version, scratch, lambda: capgo_public(settings, session.ask))


def key_place(text: str) -> str:
    """Turn what a person named as a key, a file or a URI, into a URI."""
    if _PASTED.search(text):
        raise UsageError(
            "that looks like a key itself, not like the place of one",
            hint="put it into a file or an environment variable: `--key env:CAPGO_KEY`",
        )
    return text if _PLACE.fullmatch(text) else f"file:{text}"


def _app_and_build(
    settings: "Settings", argument: str | None, path: Path | None
) -> "tuple[str, Path]":
    """Read `[DIR]`, which is the app id where `--path` names the build, as in Capgo's CLI."""
    from manifestgen.capacitor import find_config
    from manifestgen.core.root import APP

    if path is not None:
        app = argument or settings.app
        if not APP.fullmatch(app):
            raise UsageError(f"{app!r} is no app id", hint="write it as com.example.app")
        return app, path
    if argument is not None:
        return settings.app, Path(argument)
    config = find_config(settings.folder)
    if config is None or config.web_dir is None:
        raise UsageError("zip what?", hint="name a build: `manifestgen bundle zip dist/`")
    return settings.app, settings.folder / config.web_dir


def _version(folder: Path, given: str | None) -> "Version":
    from manifestgen.publish import parse_version, version_beside

    return version_beside(folder) if given is None else parse_version(given)


def _checksum(text: str) -> "Digest":
    from manifestgen.core.tree import Digest

    if not _SHA256.fullmatch(text):
        raise UsageError(
            f"{text[:80]!r} is no SHA-256: want 64 hex digits",
            hint="take the `checksum` that `manifestgen bundle zip --json` prints",
        )
    return Digest(text.lower())


def _wrapper(session: Session, settings: "Settings", key: str | None) -> "Wrapper":
    from manifestgen.signers import load_wrapper

    if key is not None:
        # On the command line a path is relative to where the person stands.
        return load_wrapper(key_place(key), folder=Path.cwd(), ask=session.ask)
    return load_wrapper(settings.capgo_key, folder=settings.folder, ask=session.ask)


def _public(session: Session, settings: "Settings", key: str | None) -> "RSAPublicKey":
    from manifestgen.publish.keyfiles import capgo_public, installed_capgo_keys
    from manifestgen.signers import load_capgo_public

    if key is not None:
        return load_capgo_public(key_place(key), folder=Path.cwd())
    try:
        return capgo_public(settings, session.ask)
    except KeyUseError as error:
        if installed := installed_capgo_keys(settings):
            return installed[0][0]
        raise KeyUseError(
            str(error), hint="name the public key with `--key .capgo_key_v2.pub`"
        ) from None
