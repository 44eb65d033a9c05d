"""`watch` as a person starts and ends it."""

import json
import random
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.publish.project import Project, ended, process
from tests.serve.asking import ask
from tests.watch.watching import build, save


class Started:
    """A watch in a process of its own, and what it has said so far."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.process = process(folder, "watch", "built", *flags)
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def says(self, text: str) -> str:
        """Wait for a line that holds a text."""
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for line in self.lines:
                if text in line:
                    return line
            assert self.process.poll() is None, self.lines
            time.sleep(0.01)
        raise AssertionError((text, self.lines))

    def ends(self) -> str:
        """Press Ctrl-C, and return what is said at the end."""
        out = self.stops(signal.SIGINT)
        assert self.process.returncode == 0, self.lines
        return out

    def stops(self, number: signal.Signals) -> str:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        self.process.wait(60)
        self._thread.join()
        with self.process:  # closes the pipes
            assert self.process.stdout is not None
            return self.process.stdout.read()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    build(tmp_path / "shop/built")
    return tmp_path / "shop"


def verify(folder: Path) -> "subprocess.Popen[str]":
    return process(folder, "verify", "--config", ".manifestgen/dev/manifestgen.toml", "--json")


def test_a_device_follows_each_save(project: Project) -> None:
    built = build(project.folder / "built")
    watch = Started(project.folder, "--serve", "--port", "0")
    url = watch.says(" at http://").partition(" at ")[2].split()[0]
    assert "3 files" in watch.says("dev.1 ") or "index.html" in watch.says("dev.1 ")
    dev, state = project.folder / ".manifestgen/dev", project.folder.parent / "phone"
    flags = ("--site", url, "--root", dev / ".manifestgen/root/1.json", "--state", state)
    assert project.does("device", "install", *flags, "--json").json["via"] == "bundle"
    project.does("device", "confirm", "--state", state)
    watch.says("dev.1 is known to manifestgen at 127.0.0.1")
    body = json.dumps({"device_id": "pixel", "version_name": "builtin"}).encode()
    answer = json.loads(ask(url, "/production/capgo.json", "POST", body=body).body)
    assert answer["url"].startswith(url)
    watch.says("is known to pixel (builtin)")
    save(built / "assets/chunk-0.js", "// saved")
    assert "assets/chunk-0.js" in watch.says("dev.2 ")
    assert "2 devices had the last" in watch.says("dev.2 ")
    project.does("device", "install", *flags)
    assert (state / "current/assets/chunk-0.js").read_text() == "// saved"
    assert watch.ends().startswith("published 2 times; ")
    said = project("doctor", "--config", dev / "manifestgen.toml", "--json")
    assert said.json["problems"] == said.json["warnings"] == 0, said.out
    # Production heard nothing of it.
    assert project.offered() == ["1.0.0"]


def test_a_second_watch_says_so(shop: Path) -> None:
    watch = Started(shop)
    watch.says("dev.1 ")
    said = ended(process(shop, "watch", "built"))
    assert said.code == 5
    assert f"process {watch.process.pid} watches into" in said.err
    watch.ends()


@pytest.mark.parametrize("seed", range(6))
def test_ctrl_c_at_any_moment_leaves_a_valid_site(shop: Path, seed: int) -> None:
    chance = random.Random(seed)
    watch = Started(shop)
    watch.says("watching" if seed % 2 else "dev.1 ")
    end = time.monotonic() + chance.uniform(0, 0.6)
    number = 0
    while time.monotonic() < end:
        number += 1
        shutil.rmtree(shop / "built")
        build(shop / "built", f"n{number}")
        time.sleep(chance.uniform(0, 0.08))
    watch.ends()
    if (shop / ".manifestgen/dev/site/production/manifest.json").exists():
        said = ended(verify(shop))
        assert said.code == 0, said.out + said.err
        assert said.json["problems"] == []


def test_a_killed_watch_is_taken_up_again(shop: Path) -> None:
    for _ in range(3):
        watch = Started(shop)
        watch.says("watching")
        for number in range(5):
            build(shop / "built", f"n{time.time_ns()}-{number}")
            time.sleep(0.05)
        watch.stops(signal.SIGKILL)
    watch = Started(shop)
    watch.says("watching")
    build(shop / "built", "last")
    watch.says("dev.")
    watch.ends()
    assert ended(verify(shop)).json["problems"] == []


def test_as_json_it_says_one_object_at_its_end(shop: Path) -> None:
    running = process(shop, "watch", "built", "--json")
    manifest = shop / ".manifestgen/dev/site/production/manifest.json"
    end = time.monotonic() + 60
    while not manifest.exists() and time.monotonic() < end:
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    said = ended(running)
    assert (said.code, said.err) == (0, "")
    assert said.json["version"] == "0.0.1-dev.1"


WRONG = {
    "no parent": "nowhere/dist",
    "a file": "built/index.html",
    "the project itself": ".",
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_said(shop: Path, case: str) -> None:
    said = ended(process(shop, "watch", WRONG[case]))
    assert said.code == 2, said
