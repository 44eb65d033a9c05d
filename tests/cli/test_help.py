"""Every command's help ends with two examples that its own parser takes."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from manifestgen.cli import build, main

# What an example leaves out of long values.
_CUT = "…"


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from _commands(one, (*path, name))


_TREE = typer.main.get_command(build())
_ALL = [pytest.param(*one, id=" ".join(one[0]) or "manifestgen") for one in _commands(_TREE)]


def _examples(said: str) -> list[str]:
    lines = [line.strip() for line in said.splitlines()]
    assert "Examples:" in lines, said
    after = lines[lines.index("Examples:") + 1 :]
    return [line for line in after if line.startswith("manifestgen ")]


def test_the_commands_are_found() -> None:
    assert len(_ALL) > 40


@pytest.mark.parametrize(("path", "command"), _ALL)
def test_help_has_two_examples_that_parse(
    path: tuple[str, ...], command: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--help"]) == 0
    said = capsys.readouterr().out
    assert not [line for line in said.splitlines() if line.endswith("...") and "Usage" not in line]
    found = _examples(said)
    assert len(found) >= 2
    assert len(set(found)) == len(found)
    for example in found:
        words = shlex.split(example)[1:]
        assert tuple(words[: len(path)]) == path, example
        _parse(words)


def _parse(words: list[str]) -> None:
    """Read a line as far as its command would be called, or raise the usage error."""
    command: Any = _TREE
    while hasattr(command, "commands") and words:
        command, *words = command.commands[words[0]], *words[1:]
    if "--help" not in words:
        command.make_context("manifestgen", list(words))


def _options(*path: str) -> dict[str, Any]:
    command: Any = _TREE
    for word in path:
        command = command.commands[word]
    return {name: one for one in command.params for name in one.opts}


def test_what_works_on_all_channels_says_so() -> None:
    assert _options("refresh")["--channel"].help == "Only this channel, not all of them."
    assert "all there are are checked" in _options("verify")["--channel"].help


def test_a_dry_run_promises_what_it_shows() -> None:
    assert "manifest" not in _options("prune")["--dry-run"].help
    assert "manifest" in _options("channel", "pause")["--dry-run"].help


def test_only_what_writes_to_a_site_speaks_of_other_publishers() -> None:
    speak = {
        " ".join(path)
        for path, command in _commands(_TREE)
        for one in command.params
        if "--single-publisher" in one.opts and not one.hidden
    }
    changing = {"pause", "resume", "rollout", "withdraw", "rollback", "promote"}
    assert speak == {
        *("publish", "refresh", "prune", "site copy", "kit export", "kit import"),
        *(f"channel {name}" for name in changing),
        *(f"keys {name}" for name in ("add", "rotate", "revoke", "renew", "apply")),
    }
