"""Places a private key can live, each named by a URI in `manifestgen.toml`.

    file:PATH      a PEM file, readable by its owner alone
    env:NAME       PEM in an environment variable, as CI systems deliver it
    stdin          PEM on standard input
    command:PROGRAM ARGS   a program that signs
    pkcs11:…       a token: smart card, USB key or HSM

Of the first three the bytes are read: `sources` reads them, `pem` makes sense of them, `create`
makes new ones. In the last two a key stays where it is: `command` and `hsm`. `interface` says what
a signer is.
"""

from manifestgen.signers.interface import Ask, Keys, Signer
from manifestgen.signers.load import (
    is_elsewhere,
    load_capgo_public,
    load_content_secret,
    load_signer,
    load_wrapper,
)

__all__ = [
    "Ask",
    "Keys",
    "Signer",
    "is_elsewhere",
    "load_capgo_public",
    "load_content_secret",
    "load_signer",
    "load_wrapper",
]
