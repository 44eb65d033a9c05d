"""Zip, encrypt and decrypt bundles as files, for people who know Capgo's command line.

The same formats and file names, and three things that it leaves out: a checksum must be the zip's,
what was decrypted is checked before it is there to be used, and no file is ever half written. The
zip is ours: the same build makes the same bytes, where theirs has the files' dates in it.
"""

import hashlib
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.bundle.build import Build
from manifestgen.bundle.chunks import chunks_of
from manifestgen.bundle.pack import Packed, Progress, pack
from manifestgen.bundle.replace import replacing
from manifestgen.core import capgo, cipher
from manifestgen.core.cipher import KEY_BYTES, ContentKey
from manifestgen.core.release import AES_BLOCK, V3, Wrapped
from manifestgen.core.tree import Digest
from manifestgen.errors import UsageError, VerificationError


def zip_name(app: str, version: str) -> str:
    """Return the name that Capgo's CLI gives a zip."""
    return f"{app}_{version}.zip"


def encrypted_name(source: str) -> str:
    """Return the name that Capgo's CLI gives an encrypted zip."""
    return f"{source}_encrypted.zip"


def decrypted_name(source: str) -> str:
    """Return the name that Capgo's CLI gives a decrypted zip."""
    return f"{source}_decrypted.zip"


def zip_build(build: Build, target: Path, *, progress: Progress | None = None) -> Packed:
    """Write the zip of a build, replacing what was at `target`.

    Raises:
        UsageError: `target` lies inside the build, whose next zip would hold this one.
    """
    if target.resolve().is_relative_to(build.folder.resolve()):
        raise UsageError(
            f"the zip {target} would lie inside the build, and be packed the next time",
            hint="run the command from another folder, or name a file elsewhere with `--name`",
        )
    with replacing(target) as out:
        return pack(build, out, progress=progress)


def encrypt_zip(
    source: Path, target: Path, *, checksum: Digest, wrapper: capgo.Wrapper, form: str = V3
) -> Wrapped:
    """Encrypt a zip under a new random key, replacing what was at `target`.

    A random key, because a zip from anywhere may hold anything: only the same bytes may ever meet
    the same key.

    Raises:
        VerificationError: `checksum` is not the SHA-256 of the zip; nothing was written.
    """
    key = ContentKey(secrets.token_bytes(KEY_BYTES), secrets.token_bytes(AES_BLOCK))
    wrapped = capgo.wrap(wrapper, key, checksum, form)
    plain = hashlib.sha256()
    with _reading(source) as file, replacing(target) as out:
        for chunk in cipher.encrypt(_digested(file, plain), key):
            out.write(chunk)
        if plain.hexdigest() != checksum:
            raise VerificationError(
                f"{source} has the SHA-256 {plain.hexdigest()}, not {checksum}",
                code="digest",
                hint="it changed after the checksum was made: make the zip again with"
                " `manifestgen bundle zip`",
            )
    return wrapped


def decrypt_zip(
    source: Path, target: Path, *, public: RSAPublicKey, session: str, checksum: str | None
) -> Digest:
    """Decrypt a zip, replacing what was at `target`; return its SHA-256.

    Without a `checksum`, any bytes that happen to decrypt are taken: CBC does not authenticate.

    Raises:
        VerificationError: the key is another, or the checksum another zip's; nothing was written.
    """
    try:
        return _decrypt_zip(source, target, public, session, checksum)
    except VerificationError as error:
        error.hint = (
            "compare the file, the IV and session key, the checksum and the public key with those"
            " of `bundle encrypt`"
        )
        raise


def _decrypt_zip(
    source: Path, target: Path, public: RSAPublicKey, session: str, checksum: str | None
) -> Digest:
    iv, session_key = capgo.parse_session(session)
    wrapped = Wrapped(iv, session_key, b"", V3, capgo.key_id(public))
    if checksum is not None:
        value, form = capgo.parse_checksum(checksum)
        wrapped = Wrapped(iv, session_key, value, form, wrapped.key_id)
    key = capgo.unwrap(public, wrapped)
    plain = hashlib.sha256()
    with _reading(source) as file, replacing(target) as out:
        for chunk in cipher.decrypt(chunks_of(file), key):
            plain.update(chunk)
            out.write(chunk)
        digest = Digest(plain.hexdigest())
        if checksum is not None:
            capgo.check_wrapped(public, wrapped, digest)
    return digest


@contextmanager
def _reading(source: Path) -> Iterator[BinaryIO]:
    try:
        file = source.open("rb")
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from None
    with file:
        yield file


def _digested(file: BinaryIO, digest: "hashlib._Hash") -> Iterable[bytes]:
    for chunk in chunks_of(file):
        digest.update(chunk)
        yield chunk
