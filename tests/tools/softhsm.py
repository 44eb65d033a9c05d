"""A token of SoftHSM: a hardware key store without the hardware."""

from dataclasses import dataclass
from pathlib import Path

from tests.tools import parts
from tests.tools.process import run


@dataclass(frozen=True, slots=True)
class Token:
    """An initialised token; whoever loads `module` needs `SOFTHSM2_CONF` set to `config`."""

    module: Path
    config: Path
    label: str
    pin: str


def create(folder: Path) -> Token:
    """Make an empty token in a folder, or raise `Missing`."""
    token = Token(parts.locate("softhsm2"), folder / "softhsm2.conf", "manifestgen", "1234")
    tokens = folder / "tokens"
    tokens.mkdir()
    token.config.write_text(f"directories.tokendir = {tokens}\nlog.level = ERROR\n")
    initialise(token)
    return token


def initialise(token: Token) -> None:
    """Make one more empty token, of the same label, beside those that are there."""
    program = parts.locate("softhsm2-util")
    done = run(
        [
            *(program, "--init-token", "--free", "--label", token.label),
            *("--pin", token.pin, "--so-pin", "5678", "--module", token.module),
        ],
        env={"SOFTHSM2_CONF": str(token.config)},
    )
    if done.returncode:
        raise RuntimeError(f"softhsm2-util: {done.stdout}")
