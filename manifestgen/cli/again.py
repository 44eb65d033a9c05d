"""What a command in a hint needs so that it works as printed.

Whoever pastes a hint means the project, the site and the channel of the command that gave it.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any

_COMMAND = re.compile(r"`(manifestgen [a-z][^`]*)`")

# Where `--channel` means the channel that is worked on; `keys add` gives a key to one with it.
_ON_A_CHANNEL = {"publish", "channel", "explain"}

# `init` makes what `--config` would have to name, and devices have no project.
_WITHOUT_A_PROJECT = {"init", "device"}


def completed(text: str, used: Mapping[str, str]) -> str:
    """Complete each command in backticks with the options in use."""
    return _COMMAND.sub(lambda found: f"`{again(found[1], used)}`", text) if used else text


def again(line: str, used: Mapping[str, str]) -> str:
    """Return commands with those of the options in use that they take and do not name."""
    return " && ".join(_again(one, used) for one in line.split(" && "))


def _again(line: str, used: Mapping[str, str]) -> str:
    program, *words = line.split()
    if program != "manifestgen":
        return line
    taken = _options(words)
    added = []
    if "--site" in used and words == ["verify"]:
        added.append(shlex.quote(used["--site"]))
    for name, value in used.items():
        if name not in taken or name in words or not _means(name, words[0]):
            continue
        added.append(f"{name} {shlex.quote(value)}" if value else name)
    return " ".join([line, *added])


def _means(option: str, first: str) -> bool:
    if option == "--channel":
        return first in _ON_A_CHANNEL
    return first not in _WITHOUT_A_PROJECT


def _options(words: list[str]) -> set[str]:
    """Return the options of the command that the words begin with."""
    import typer

    from manifestgen.cli import build

    command: Any = typer.main.get_command(build(words[0]))
    for word in words:
        if not (groups := getattr(command, "commands", None)):
            break
        if word not in groups:
            return set()
        command = groups[word]
    shown = [one for one in command.params if not getattr(one, "hidden", False)]
    return {option for parameter in shown for option in parameter.opts}
