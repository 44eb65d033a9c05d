"""Keys in a token reached through PKCS#11: a smart card, a USB key, an HSM, or SoftHSM.

A process logs in to a token once, and keeps the session until it ends: a publish signs several
times. A PIN that was wrong is not tried again, by this process or the next, where one more mistake
would lock the token. Needs the extra `hsm`.
"""

import atexit
import hashlib
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from manifestgen.core.keys import Algorithm, PublicKey
from manifestgen.core.release import RSA_BYTES
from manifestgen.errors import FormatError, KeyUseError, UsageError
from manifestgen.signers.interface import Ask, TokenName
from manifestgen.signers.pkcs11_uri import KeyUri, spelled
from manifestgen.signers.sources import read_typed

_EDWARDS25519: Final = bytes.fromhex("06032b6570")  # the object identifiers of RFC 8410
_P256: Final = bytes.fromhex("06082a8648ce3d030107")  # and RFC 5480, in DER
_ID_BYTES: Final = 8

# Modules are started for one thread at a time, and logging in holds for the whole process.
_lock = RLock()
_logins: dict[tuple[str, int], "_Login"] = {}
_refused: dict[tuple[str, int], KeyUseError] = {}


@dataclass(frozen=True, slots=True)
class _Login:
    """An open session; the PIN is kept for keys that ask for it each time."""

    session: Any
    token: Any
    pin: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenSigner:
    """An Ed25519 or P-256 private key in a token."""

    public: PublicKey
    _key: "_TokenKey"

    def sign(self, message: bytes) -> bytes:
        """Have it sign; the token gets the message (Ed25519), or its SHA-256."""
        if self.public.algorithm is Algorithm.ED25519:
            return self._key.sign(message, "EDDSA")
        return self._key.sign(hashlib.sha256(message).digest(), "ECDSA")


@dataclass(frozen=True, slots=True)
class TokenWrapper:
    """A Capgo RSA-2048 private key in a token."""

    public: RSAPublicKey
    _key: "_TokenKey"

    def wrap(self, payload: bytes) -> bytes:
        """`CKM_RSA_PKCS` signs what it is given as it is: type 1 padding, no DigestInfo."""
        return self._key.sign(payload, "RSA_PKCS")


@dataclass(frozen=True, slots=True)
class _TokenKey:
    """A private key in a token, looked up anew where a session was lost."""

    uri: KeyUri
    folder: Path
    ask: Ask = field(repr=False)

    def sign(self, data: bytes, mechanism: str) -> bytes:
        import pkcs11

        with _speaking(self.uri):
            login = _logged_in(self.uri, self.folder, self.ask)
            private = _one(login.session, self.uri, pkcs11.ObjectClass.PRIVATE_KEY)
            again = login.pin if _flag(private, pkcs11.Attribute.ALWAYS_AUTHENTICATE) else None
            made = private.sign(data, mechanism=pkcs11.Mechanism[mechanism], pin=again)
            return bytes(made)


def token_signer(uri: str, folder: Path, ask: Ask) -> TokenSigner:
    """Log in, and return the signing key that a URI names."""
    key, public = _opened(uri, folder, ask)
    if isinstance(public, RSAPublicKey):
        raise KeyUseError(f"{key.uri.name} is no signing key: want Ed25519 or P-256")
    return TokenSigner(public, key)


def token_wrapper(uri: str, folder: Path, ask: Ask) -> TokenWrapper:
    """Log in, and return the Capgo key that a URI names."""
    key, public = _opened(uri, folder, ask)
    if not isinstance(public, RSAPublicKey) or public.key_size != RSA_BYTES * 8:
        raise KeyUseError(f"{key.uri.name} is no RSA-2048 key; the Capgo plugin accepts no other")
    return TokenWrapper(public, key)


def create_in_token(uri: str, folder: Path, ask: Ask, algorithm: Algorithm | None) -> str:
    """Make a pair that never leaves its token, RSA-2048 without `algorithm`; return its URI.

    Raises:
        KeyUseError: there is such a key already, or the token cannot make one.
        UsageError: the URI names no label for it.
    """
    wanted = KeyUri.parse(uri)
    if wanted.object is None:
        raise UsageError("pkcs11: the new key has no label", hint="add ;object=LABEL to the URI")
    _library(wanted)
    import pkcs11

    with _speaking(wanted):
        login = _logged_in(wanted, folder, ask)
        for names in ({"LABEL": wanted.object}, {"ID": wanted.id}):
            template = {pkcs11.Attribute[name]: value for name, value in names.items() if value}
            if template and any(True for _ in login.session.get_objects(template)):
                raise KeyUseError(
                    f"{wanted.name} exists and is not overwritten",
                    hint="name another `object`, or delete it with the token's own tools",
                )
        identity = wanted.id or secrets.token_bytes(_ID_BYTES)
        # The session for reading stays: logging in holds for both.
        with login.token.open(rw=True) as session:
            _generate(session, wanted.object, identity, algorithm)
    return _shortest(uri, wanted, login.token)


def forget_tokens() -> None:
    """Log out everywhere, and forget which PINs were wrong."""
    with _lock:
        for login in _logins.values():
            with suppress(Exception):  # the token may be gone; nothing is left to save
                login.session.close()
        _logins.clear()
        _refused.clear()


atexit.register(forget_tokens)


# --- tokens -------------------------------------------------------------------------------------


def _opened(uri: str, folder: Path, ask: Ask) -> "tuple[_TokenKey, PublicKey | RSAPublicKey]":
    wanted = KeyUri.parse(uri)
    _library(wanted)
    with _speaking(wanted):
        session = _logged_in(wanted, folder, ask).session
        return _TokenKey(wanted, folder, ask), _public(session, wanted)


def _library(uri: KeyUri) -> Any:
    try:
        import pkcs11
    except ImportError:
        raise KeyUseError(
            "keys in tokens need an extra package", hint="pip install 'manifestgen[hsm]'"
        ) from None
    try:
        return pkcs11.lib(uri.module)
    except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
        raise KeyUseError(
            f"cannot load the PKCS#11 module {uri.module}{_reason(error)}",
            hint="install it, or correct `module-path` in the key's URI",
        ) from None


@contextmanager
def _speaking(uri: KeyUri) -> Iterator[None]:
    """Have the tokens to ourselves, and turn what they refuse into `KeyUseError`."""
    import pkcs11

    with _lock:
        try:
            yield
        except pkcs11.MechanismInvalid:
            raise KeyUseError(
                f"{uri.token_name} does not know the algorithm of {uri.name}",
                hint="P-256 is the most common: `keys create --algorithm p256`",
            ) from None
        except (pkcs11.PKCS11Error, RuntimeError) as error:
            # The session may be what is broken: whoever tries again logs in anew.
            for key in [key for key in _logins if key[0] == uri.module]:
                with suppress(Exception):
                    _logins[key].session.close()
                del _logins[key]
            raise KeyUseError(
                f"{uri.token_name} refused to use {uri.name}{_reason(error)}",
                hint="see that it is plugged in and reachable, then run the same command again",
            ) from None


def _logged_in(uri: KeyUri, folder: Path, ask: Ask) -> _Login:
    token = _token(uri)
    at = (uri.module, int(token.slot.slot_id))
    if at in _refused:
        raise _refused[at]
    if at not in _logins:
        try:
            _logins[at] = _login(uri, token, folder, ask)
        except _WrongPinError as wrong:
            _refused[at] = wrong
            raise
    return _logins[at]


class _WrongPinError(KeyUseError):
    """A PIN that is not tried again."""


def _login(uri: KeyUri, token: Any, folder: Path, ask: Ask) -> _Login:
    import pkcs11

    check_tries(uri, int(token.flags))
    pin: object = None
    if token.flags & pkcs11.TokenFlag.PROTECTED_AUTHENTICATION_PATH:
        pin = pkcs11.PROTECTED_AUTH  # typed into the token itself
    elif token.flags & pkcs11.TokenFlag.LOGIN_REQUIRED:
        pin = _pin(uri, folder, ask)
    try:
        return _Login(token.open(user_pin=pin), token, pin)
    except (pkcs11.PinIncorrect, pkcs11.PinInvalid, pkcs11.PinLenRange):
        check_tries(uri, int(_token(uri).flags), wrong=True)
        raise _WrongPinError(
            f"the PIN of {uri.token_name} is wrong",
            hint="correct it before the next try: after a few wrong ones a token locks itself",
        ) from None
    except pkcs11.PinLocked:
        raise _locked(uri) from None
    except (pkcs11.PinExpired, pkcs11.UserPinNotInitialized):
        raise _WrongPinError(
            f"{uri.token_name} wants its PIN set anew", hint="use the token's own tools"
        ) from None


def check_tries(uri: KeyUri, flags: int, *, wrong: bool = False) -> None:
    """Raise `KeyUseError` if a token's flags say that it is locked, or would be by one mistake."""
    import pkcs11

    if flags & pkcs11.TokenFlag.USER_PIN_LOCKED:
        raise _locked(uri)
    if flags & pkcs11.TokenFlag.USER_PIN_FINAL_TRY:
        said = "the PIN is wrong, and one" if wrong else "one"
        raise _WrongPinError(
            f"{said} more wrong PIN locks {uri.token_name}, so none is tried",
            hint="log in once with the token's own tools (`pkcs11-tool --login --list-objects`)",
        )


def _locked(uri: KeyUri) -> KeyUseError:
    return _WrongPinError(
        f"{uri.token_name} is locked after too many wrong PINs",
        hint="whoever has its security officer's PIN (PUK) can unlock it, with its own tools",
    )


def _pin(uri: KeyUri, folder: Path, ask: Ask) -> str:
    file = uri.pin_file(folder)
    named = "`pin-source` in the key's URI"
    found = read_typed(file, "PIN", named=named) if file else ask(TokenName(uri.token_name))
    if not found:
        raise KeyUseError(
            f"{uri.token_name} needs its PIN",
            hint="set MANIFESTGEN_PIN, or MANIFESTGEN_PIN_FILE to a file",
        )
    try:
        return found.decode()
    except UnicodeDecodeError:
        raise KeyUseError(
            f"the PIN of {uri.token_name} is no UTF-8", hint="is it the file that was meant?"
        ) from None


def _token(uri: KeyUri) -> Any:
    import pkcs11

    found = []
    for slot in _library(uri).get_slots(token_present=True):
        with suppress(pkcs11.TokenNotPresent, pkcs11.TokenNotRecognised):
            token = slot.get_token()
            if token.flags & pkcs11.TokenFlag.TOKEN_INITIALIZED and _fits(uri, token):
                found.append(token)
    if not found:
        raise KeyUseError(
            f"none of the tokens behind {uri.module} fits what the key's URI says of"
            f" {uri.token_name}",
            hint="plug it in, or correct the URI:"
            f" `pkcs11-tool --module {shlex.quote(uri.module)} --list-slots` shows what there is",
        )
    if len(found) > 1:
        each = " or ".join(map(_told_apart, found))
        raise KeyUseError(
            f"{len(found)} tokens behind {uri.module} fit what the key's URI says of"
            f" {uri.token_name}",
            hint=f"unplug the others, or name one in the URI: add {each}",
        )
    return found[0]


def _told_apart(token: Any) -> str:
    """Return what to add to a URI so that it fits this token alone."""
    serial = token.serial.decode("utf-8", "replace").strip()
    return f";serial={spelled(serial)}" if serial else f";slot-id={int(token.slot.slot_id)}"


def _fits(uri: KeyUri, token: Any) -> bool:
    serial = token.serial.decode("utf-8", "replace").strip()
    wanted = (
        (uri.token, token.label.strip()),
        (uri.serial, serial),
        (uri.manufacturer, token.manufacturer_id.strip()),
        (uri.model, token.model.strip()),
        (uri.slot, int(token.slot.slot_id)),
    )
    return all(value is None or value == there for value, there in wanted)


def _reason(error: BaseException) -> str:
    """Say what a module answered: exceptions of `pkcs11` are named for it, most have no text."""
    text = str(error) or type(error).__name__
    return f": {text.strip()}"


# --- keys ---------------------------------------------------------------------------------------


def _one(session: Any, uri: KeyUri, kind: Any) -> Any:
    import pkcs11

    template: dict[Any, Any] = {pkcs11.Attribute.CLASS: kind}
    if uri.object is not None:
        template[pkcs11.Attribute.LABEL] = uri.object
    if uri.id is not None:
        template[pkcs11.Attribute.ID] = uri.id
    found = list(session.get_objects(template))
    if len(found) != 1:
        raise KeyUseError(
            f"there {'are' if found else 'is'} {len(found) or 'no'}"
            f" {'private keys' if found else 'private key'} {uri.name}",
            hint="make one with `manifestgen keys create --in URI`"
            if not found
            else "add ;id=%… to the URI",
        )
    return found[0]


def _public(session: Any, uri: KeyUri) -> PublicKey | RSAPublicKey:
    import pkcs11

    private = _one(session, uri, pkcs11.ObjectClass.PRIVATE_KEY)
    attribute = pkcs11.Attribute
    if private.key_type is pkcs11.KeyType.RSA:
        exponent = private[attribute.PUBLIC_EXPONENT]
        numbers = int.from_bytes(exponent), int.from_bytes(private[attribute.MODULUS])
        return rsa.RSAPublicNumbers(*numbers).public_key()
    # Of other kinds a token need not tell the public half with the private one.
    half = {attribute.CLASS: pkcs11.ObjectClass.PUBLIC_KEY, attribute.ID: private[attribute.ID]}
    halves = [one for one in session.get_objects(half) if one.key_type is private.key_type]
    if len(halves) != 1:
        raise KeyUseError(
            f"the token has {len(halves) or 'no'} public halves of {uri.name}",
            hint="store the public key beside it, with the same id",
        )
    try:
        return PublicKey.from_spki(_spki(private.key_type, halves[0]))
    except (FormatError, ValueError):
        raise KeyUseError(f"{uri.name} is no signing key: want Ed25519 or P-256") from None


def _spki(kind: Any, public: Any) -> bytes:
    import pkcs11

    point = _unwrapped(bytes(public[pkcs11.Attribute.EC_POINT]))
    key: Ed25519PublicKey | ec.EllipticCurvePublicKey
    if kind is pkcs11.KeyType.EC_EDWARDS:
        key = Ed25519PublicKey.from_public_bytes(point)
    elif kind is pkcs11.KeyType.EC and public[pkcs11.Attribute.EC_PARAMS] == _P256:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    else:
        raise ValueError(kind)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.DER, form)


def _unwrapped(point: bytes) -> bytes:
    """Take a point out of its OCTET STRING, which some tokens leave away."""
    if len(point) in {34, 67} and point[0] == 4 and point[1] == len(point) - 2:
        return point[2:]
    return point


def _flag(key: Any, attribute: Any) -> bool:
    import pkcs11

    try:
        return bool(key[attribute])
    except pkcs11.PKCS11Error:
        return False  # older tokens do not know it


def _generate(session: Any, label: str, identity: bytes, algorithm: Algorithm | None) -> None:
    import pkcs11

    attribute, kinds = pkcs11.Attribute, pkcs11.KeyType
    closed = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False, attribute.PRIVATE: True}
    common: dict[str, Any] = {
        "store": True,
        "label": label,
        "id": identity,
        "capabilities": pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY,
        "private_template": closed,
    }
    make: Callable[..., object]
    if algorithm is None:
        make = session.generate_keypair
        make(kinds.RSA, RSA_BYTES * 8, **common)
        return
    kind, curve, mechanism = (
        (kinds.EC_EDWARDS, _EDWARDS25519, pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN)
        if algorithm is Algorithm.ED25519
        else (kinds.EC, _P256, pkcs11.Mechanism.EC_KEY_PAIR_GEN)
    )
    curves = session.create_domain_parameters(kind, {attribute.EC_PARAMS: curve}, local=True)
    make = curves.generate_keypair
    make(mechanism=mechanism, **common)


def _shortest(uri: str, wanted: KeyUri, token: Any) -> str:
    """Return the URI to keep: as it was given, with the token named by its label where it was not.

    What was given may be a URI that fits this token only by being the only one plugged in.
    """
    if wanted.token or wanted.serial or wanted.slot is not None or not token.label.strip():
        return uri
    return uri.replace("pkcs11:", f"pkcs11:token={spelled(token.label.strip())};", 1)
