"""Real processes killed at random moments: devices see a whole site, the same command finishes."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from manifestgen.publish.trust import write_file
from tests.publish.project import Said, copy_project, ended, process
from tests.publish.test_crash import check_whole

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of Unix")

COMMANDS = {
    "publish": ("publish", "dist2"),
    "pause": ("channel", "pause"),
    "refresh": ("refresh",),
    "prune": ("prune", "--grace", "0"),
    "renew": ("keys", "renew"),
    "copy": ("site", "copy", "site", "mirror"),
}


def killed_at_random(published: Path, folder: Path, name: str, chance: random.Random) -> bool:
    """Kill one run of a command; tell whether it was still running."""
    copy_project(published, folder)
    began = time.monotonic()
    whole = ended(process(copy_project(published, folder.with_name("whole")), *COMMANDS[name]))
    assert whole.code == 0, whole
    takes = time.monotonic() - began
    running = process(folder, *COMMANDS[name])
    # Most of a run is starting Python; what may break something is in its last part.
    time.sleep(chance.uniform(0.4, 1.0) * takes)
    running.send_signal(signal.SIGKILL)
    was = ended(running)
    _check(folder, ended(process(folder, *COMMANDS[name])))
    shutil.rmtree(folder)
    shutil.rmtree(folder.with_name("whole"))
    return was.code == -signal.SIGKILL


def _check(folder: Path, again: Said) -> None:
    assert again.code == 0, again
    said = ended(process(folder, "verify"))
    assert said.code == 0, said.out
    root = max(folder.glob("site/root/*.json"))
    if root.name == "1.json":
        check_whole(folder, ["1.0.0", "1.1.0"])
    if "already" in again.out:  # then it wrote nothing, and left sweeping to who does
        assert ended(process(folder, "refresh")).code == 0
    left = list(folder.rglob(".manifestgen-tmp"))
    assert left == [], "what a killed process left is swept by the next that writes"


def test_what_was_left_beside_a_file_of_the_project_is_swept(tmp_path: Path) -> None:
    old, new = tmp_path / ".tmp-old_left", tmp_path / ".tmp-new_left"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 3600,) * 2)
    write_file(tmp_path / "2.json", b"whole")
    # The younger one may be another process's, which is writing it now.
    assert sorted(path.name for path in tmp_path.iterdir()) == [new.name, "2.json"]


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_a_random_moment(name: str, published: Path, tmp_path: Path) -> None:
    killed_at_random(published, tmp_path / "shop", name, random.Random())


@pytest.mark.full
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_many_random_moments(name: str, published: Path, tmp_path: Path) -> None:
    chance = random.Random()
    runs = [killed_at_random(published, tmp_path / "shop", name, chance) for _ in range(40)]
    print(f"{name}: {sum(runs)} of {len(runs)} runs were killed")
    assert any(runs)
