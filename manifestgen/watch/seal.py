"""Encrypt and digest a bundle that rolls on, from where it differs from last time.

All bundles of a development site are encrypted under one key and IV, as those are that come with
single files (`core.cipher.delta_key`): then what begins alike is alike when it is encrypted, too.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from manifestgen.config import Settings
from manifestgen.core import capgo, cipher
from manifestgen.core.release import AES_BLOCK, Payload, Scheme, Wrapped
from manifestgen.core.tree import Digest, sha256
from manifestgen.signers import load_content_secret, load_wrapper

_EACH: Final = 256 * 1024  # bytes between two states that are kept of a digest
_PIECE: Final = 16 * 1024  # bytes; from 64 KB on, Linux may spend 5 times as long on a new file


class _Hash(Protocol):
    def update(self, data: memoryview, /) -> None: ...
    def copy(self) -> "_Hash": ...
    def hexdigest(self) -> str: ...


class Seal:
    """Encrypts bundles and patches, and says what releases say of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wrapper: capgo.Wrapper | None = None
        self._key: cipher.ContentKey | None = None
        self._wrapped: Wrapped | None = None
        self._buffer = bytearray()
        self._plain, self._stored = _Digested(), _Digested()
        self._same = 0  # bytes of the bundle that buffer and digests know
        self._used = 0  # bytes of the bundle as it is stored
        self._pool = ThreadPoolExecutor(2, "seal")
        if settings.scheme is Scheme.CAPGO:
            self._start(settings)

    def _start(self, settings: Settings) -> None:
        folder = settings.folder
        self._wrapper = wrapper = load_wrapper(settings.capgo_key, folder=folder, ask=_nobody)
        self._key = key = cipher.delta_key(
            load_content_secret(settings.content_key, folder=folder),
            scheme=settings.scheme,
            app=settings.app,
            key_id=capgo.key_id(wrapper.public),
        )
        self._wrapped = capgo.wrap(wrapper, key, sha256(b""), settings.checksum)

    def keep(self, same: int) -> None:
        """Take note that no more than `same` bytes of the bundle are as they were."""
        self._same = min(self._same, same)

    def bundle(self, plain: memoryview) -> tuple[Payload, Wrapped | None]:
        """Encrypt a bundle, and return what a release says of it; `write` is to follow."""
        same, size = self._same // AES_BLOCK * AES_BLOCK, len(plain)
        self._same = 0
        if self._key is None or self._wrapper is None or self._wrapped is None:
            digest = self._plain.digest(plain, same)
            self._same = self._used = size
            return Payload(digest, size, digest, size), None
        if len(self._buffer) < size + 2 * AES_BLOCK:
            self._buffer += bytes(size * 9 // 8 + 2 * AES_BLOCK - len(self._buffer))
        digesting = self._pool.submit(self._plain.digest, plain, same)
        self._used = cipher.encrypt_into(plain, self._key, self._buffer, start=same)
        digest = digesting.result()
        # RSA takes as long as a megabyte of the rest.
        wrapping = self._pool.submit(
            capgo.wrap_digest, self._wrapper, digest, self._settings.checksum
        )
        with memoryview(self._buffer)[: self._used] as stored:
            blob = self._stored.digest(stored, same)
        wrapped = replace(self._wrapped, checksum=wrapping.result())
        self._same = size
        return Payload(blob, self._used, digest, size), wrapped

    def write(self, plain: memoryview, path: Path, stop: Callable[[], bool]) -> bool:
        """Write the bundle as it is stored; `False` if it was to `stop` before the end."""
        data = memoryview(self._buffer)[: self._used] if self._key else plain
        with path.open("wb", buffering=0) as file:
            for at in range(0, len(data), _PIECE):
                if stop():
                    return False
                piece = data[at : at + _PIECE]
                while piece:
                    piece = piece[file.write(piece) :]
        return True

    def patch(self, plain: bytes, base: Digest) -> tuple[Payload, bytes]:
        """Return what an offer says of a patch from `base`, and the patch as it is stored."""
        stored = plain
        if self._key is not None:
            key = cipher.payload_key(self._key, kind="patch", base=base)
            stored = b"".join(cipher.encrypt([plain], key))
        return Payload(sha256(stored), len(stored), sha256(plain), len(plain)), stored


class _Digested:
    """The SHA-256 of bytes that begin as those of last time did."""

    def __init__(self) -> None:
        self._states: list[_Hash] = [hashlib.sha256()]  # after so many times `_EACH` bytes

    def digest(self, data: memoryview, same: int) -> Digest:
        """Return the digest of all of it, of which `same` bytes are known."""
        del self._states[same // _EACH + 1 :]
        state = self._states[-1].copy()
        for at in range((len(self._states) - 1) * _EACH, len(data), _EACH):
            piece = data[at : at + _EACH]
            state.update(piece)
            if len(piece) == _EACH:
                self._states.append(state.copy())
        return Digest(state.hexdigest())


def _nobody(_name: str) -> None:
    return None
