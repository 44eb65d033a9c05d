"""Places a private key can live, each named by a URI in `manifestgen.toml`.

    file:PATH      a PEM file, readable by its owner alone
    env:NAME       PEM in an environment variable, as CI systems deliver it
    stdin          PEM on standard input

`interface` says what a signer is, `sources` reads the bytes, `pem` makes sense of them, `create`
makes new ones.
"""

from manifestgen.signers.interface import Ask, Keys, Signer
from manifestgen.signers.load import (
    load_capgo_public,
    load_content_secret,
    load_signer,
    load_wrapper,
)

__all__ = [
    "Ask",
    "Keys",
    "Signer",
    "load_capgo_public",
    "load_content_secret",
    "load_signer",
    "load_wrapper",
]
