"""Killed or cut off anywhere, a command leaves the old or the new state and can be run again."""

from pathlib import Path

import pytest

from tests.publish.crash import COMMANDS, World, cut_everywhere, killed_everywhere, make_worlds


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    return make_worlds(tmp_path_factory.mktemp("worlds"))


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_before_and_after_every_change(
    name: str, worlds: dict[str, World], tmp_path: Path
) -> None:
    command = COMMANDS[name]
    tried = killed_everywhere(worlds[command.world], command, tmp_path)
    assert tried.deaths == 2 * tried.operations > 0


# Those with the most steps of their own; the others share them.
CUT = ["publish", "channel withdraw", "prune", "keys apply", "site copy"]


@pytest.mark.parametrize("name", CUT)
def test_cut_off_at_every_operation(name: str, worlds: dict[str, World], tmp_path: Path) -> None:
    command = COMMANDS[name]
    tried = cut_everywhere(worlds[command.world], command, tmp_path, done=False)
    assert tried.deaths == tried.operations > 10


@pytest.mark.full
@pytest.mark.parametrize("blip", [False, True], ids=["for good", "once"])
@pytest.mark.parametrize("done", [False, True], ids=["asked", "answered"])
@pytest.mark.parametrize("name", COMMANDS)
def test_cut_off_in_every_way(
    name: str, done: bool, blip: bool, worlds: dict[str, World], tmp_path: Path
) -> None:
    command = COMMANDS[name]
    tried = cut_everywhere(worlds[command.world], command, tmp_path, done=done, blip=blip)
    assert tried.deaths > 10
