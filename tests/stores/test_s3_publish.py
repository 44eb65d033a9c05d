"""The commands, with a bucket for a site: whatever works on a folder works there."""

import os
import pty
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from tests.publish.project import COMMAND, Project, build, check_refusal, ended, process
from tests.stores.conftest import at, opened
from tests.stores.s3_proxy import Asked, Spoilt, healthy, proxied
from tests.tools import seaweedfs
from tests.tools.seaweedfs import S3Server


def numbers(server: S3Server, location: str) -> list[int]:
    """Return the sequences in history."""
    store = opened(server.endpoint, location)
    return [int(e.name[-11:-5]) for e in store.names("production/history/")]


def test_a_whole_life_in_a_bucket(
    fresh: Project, in_bucket: str, seaweed: S3Server, prefix: str, tmp_path: Path
) -> None:
    build(fresh.folder / "dist2", version="1.1.0", text="hello again")
    assert fresh.publishes("dist")["changed"]
    assert fresh.publishes("dist2")["sequence"] == 2
    assert not fresh.publishes("dist2")["changed"], "the same again is no news"
    state = tmp_path / "device"
    device = ("--site", seaweed.url(prefix), "--state", state, "--id", "one")
    root = fresh.folder / ".manifestgen/root/1.json"
    said = fresh.does("device", "install", *device, "--root", root)
    assert "1.1.0" in said.out
    fresh.does("channel", "rollout", "25%")
    fresh.does("channel", "rollback")
    fresh.does("channel", "withdraw", "1.1.0")
    assert "1.0.0" in fresh.does("channel", "show").out
    fresh.does("refresh")
    fresh.does("channel", "promote", "1.0.0", "--to", "beta")
    report = fresh.does("verify", "--json").json
    assert report["ok"], report
    notes = [note for note in report.get("notes", []) if "no part of a site" in str(note)]
    assert notes == []
    assert "beta" in fresh.does("channel", "list").out
    stray = opened(seaweed.endpoint, in_bucket)
    stray.add(f"blobs/00/{'00' * 32}.bin", b"stray")
    pruned = fresh.does("prune", "--grace", "0", "--json").json
    assert stray.size(f"blobs/00/{'00' * 32}.bin") is None, pruned
    fresh.does("verify")
    assert not (fresh.folder / "site").exists()


def test_a_bucket_that_shows_less_than_was_signed_is_not_carried_on(
    fresh: Project, in_bucket: str, seaweed: S3Server
) -> None:
    fresh.publishes("dist")
    store = opened(seaweed.endpoint, in_bucket)
    before = {entry.name: store.get(entry.name) for entry in store.names()}
    build(fresh.folder / "dist2", version="1.1.0", text="hello again")
    fresh.publishes("dist2")
    fresh.does("channel", "withdraw", "1.1.0")
    for name in [entry.name for entry in store.names()]:
        store.delete(name)
    for name, stored in before.items():
        assert stored
        store.create(name, stored.data)
    said = fresh("publish", "dist2", "--json")
    assert (said.code, said.json["code"]) == (3, "replay")
    assert "shows manifest 1 of production; 3 was signed here" in said.json["error"]
    assert fresh("refresh", "--check").code == 3, "and the alarm rings"
    assert numbers(seaweed, in_bucket) == [1], "nothing was signed"
    for line in re.findall("`(.+)`", said.json["hint"])[0].split(" && "):
        fresh.does(*shlex.split(line)[1:])
    assert numbers(seaweed, in_bucket) == [1, 4]
    fresh.publishes("dist2")
    fresh.does("verify")


def test_an_empty_bucket_is_a_new_place(fresh: Project, in_bucket: str, seaweed: S3Server) -> None:
    fresh.publishes("dist", "--site", "site")
    assert fresh.publishes("dist")["sequence"] == 2, "no number is used twice"
    assert numbers(seaweed, in_bucket) == [2]


def test_a_job_in_ci_needs_only_what_is_in_git(
    fresh: Project, in_bucket: str, seaweed: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh.publishes("dist")
    keys = fresh.folder / ".manifestgen/keys"
    secrets = {
        "MANIFESTGEN_KEY_ROOT": (keys / "signing.pem").read_text(),
        "MANIFESTGEN_KEY_CAPGO": (keys / "capgo.pem").read_text(),
        "MANIFESTGEN_KEY_CONTENT": (keys / "content.key").read_text(),
    }
    job = fresh.folder.with_name("job")
    ignored = shutil.ignore_patterns("keys", "cache", "dist")
    shutil.copytree(fresh.folder, job, ignore=ignored)
    build(job / "dist", version="1.1.0", text="from ci")
    said = ended(process(job, "publish", "dist", "--json", env={**secrets, "CI": "true"}))
    assert said.code == 0, said
    assert said.json["sequence"] == 2
    assert numbers(seaweed, in_bucket) == [1, 2]
    assert len(said.json["patches"]) == 1 if "patches" in said.json else True
    fresh.does("verify")


def test_a_dry_run_sends_nothing(fresh: Project, in_bucket: str, seaweed: S3Server) -> None:
    fresh.does("init")
    fresh.does("publish", "dist", "--dry-run")
    assert list(opened(seaweed.endpoint, in_bucket).names()) == []


def test_a_store_without_conditions_is_refused_until_it_is_said_that_nobody_else_publishes(
    fresh: Project,
    careless: S3Server,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    at(careless.endpoint, monkeypatch, tmp_path)
    build(fresh.folder / "dist2", version="1.1.0", text="hello again")
    fresh.does("init")
    site = ("--site", location)
    check_refusal(fresh("publish", "dist", *site), code=6, error="ignores conditions")
    assert list(opened(careless.endpoint, location).names()) == []
    fresh.does("publish", "dist", *site, "--single-publisher")
    check_refusal(fresh("channel", "pause", *site), code=6, error="ignores conditions")
    fresh.does("channel", "pause", *site, "--single-publisher")
    config = fresh.folder / "manifestgen.toml"
    config.write_text("single_publisher = true\n" + config.read_text())
    fresh.does("channel", "resume", *site)
    fresh.does("publish", "dist2", *site)
    monkeypatch.setenv("MANIFESTGEN_SITE", location)
    fresh.does("verify")


def test_said_with_the_first_publish_it_is_remembered(
    fresh: Project,
    careless: S3Server,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    at(careless.endpoint, monkeypatch, tmp_path)
    fresh.does("publish", "dist", "--site", location, "--single-publisher")
    fresh.does("channel", "pause")
    fresh.does("verify")


@pytest.mark.parametrize("after", [1, 4, 9, 12, 15, 18])
def test_a_publish_whose_network_goes_is_completed_by_the_next(
    fresh: Project,
    seaweed: S3Server,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    after: int,
) -> None:
    with proxied(seaweed.endpoint) as proxy:
        at(proxy.endpoint, monkeypatch, tmp_path)
        monkeypatch.setenv("MANIFESTGEN_SITE", location)
        fresh.does("init")
        proxy.fault = lambda asked: (
            Spoilt(status=403, code="AccessDenied") if asked.number > after else None
        )
        assert fresh("publish", "dist").code == 6
        proxy.fault = healthy
        fresh.publishes("dist")
        assert numbers(seaweed, location) == [1]
        fresh.does("verify")


def test_a_server_that_dies_and_comes_back_finds_the_publish_done_by_the_next(
    fresh: Project, location: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ports = seaweedfs.free_ports(5)
    data = tmp_path / "weed"
    with proxied(f"http://127.0.0.1:{ports[0]}") as proxy:
        at(proxy.endpoint, monkeypatch, tmp_path)
        monkeypatch.setenv("MANIFESTGEN_SITE", location)
        with seaweedfs.started(data, ports) as server:

            def kill(asked: Asked) -> Spoilt | None:
                if asked.method == "PUT" and "history" in asked.path:
                    seaweedfs.stop(server)
                return None

            proxy.fault = kill
            fresh.does("init")
            running = process(fresh.folder, "publish", "dist")
            try:
                server.wait(timeout=60)
            finally:
                running.kill()
                ended(running)
        proxy.fault = healthy
        with seaweedfs.started(data, ports):
            assert fresh.publishes("dist")["sequence"] == 1
            fresh.does("verify")


def test_publishers_at_the_same_time_lose_nothing(
    fresh: Project, in_bucket: str, seaweed: S3Server
) -> None:
    fresh.publishes("dist")
    channels = ["production"] * 4

    def renew(_: str) -> "subprocess.Popen[str]":
        return process(fresh.folder, "refresh", "--json")

    with ThreadPoolExecutor(len(channels)) as pool:
        said = list(pool.map(lambda one: ended(renew(one)), channels))
    assert [one.code for one in said] == [0] * len(channels), said
    found = numbers(seaweed, in_bucket)
    assert found == list(range(1, len(found) + 1))
    fresh.does("verify")


def test_the_extra_is_named_where_it_is_missing(
    fresh: Project, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("obstore", "manifestgen.stores.s3"):
        monkeypatch.delitem(__import__("sys").modules, name, raising=False)
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    fresh.does("init")
    said = fresh("publish", "dist", "--site", location)
    check_refusal(said, code=2, error="buckets need an extra package")
    assert "pip install 'manifestgen[s3]'" in said.err


@pytest.mark.parametrize(("hidden", "shown"), [("", True), ("1", False)])
def test_a_terminal_shows_what_is_sent(
    fresh: Project, in_bucket: str, hidden: str, shown: bool
) -> None:
    fresh.does("init")
    ours, theirs = pty.openpty()
    running = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "publish", "dist"],
        cwd=fresh.folder,
        env={**os.environ, "MANIFESTGEN_NO_PROGRESS": hidden, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    said = b""
    with suppress(OSError):  # how a terminal ends
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert out.startswith(b"published ")
    assert (b"uploading" in said) is shown, said


@pytest.mark.parametrize(
    ("method", "spoilt"),
    [
        ("GET", Spoilt(wait=90)),  # more than is waited for here, less than a store is given
        ("GET", Spoilt(keep=1, silent=90)),
        ("PUT", Spoilt(wait=90)),
    ],
)
def test_an_interruption_ends_a_command_that_waits_for_a_silent_store(
    fresh: Project,
    seaweed: S3Server,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    method: str,
    spoilt: Spoilt,
) -> None:
    silent = threading.Event()

    def fault(asked: Asked) -> Spoilt | None:
        if asked.method != method:
            return None
        silent.set()
        return spoilt

    at(seaweed.endpoint, monkeypatch, tmp_path)
    fresh.publishes("dist", "--site", location)
    with proxied(seaweed.endpoint, fault) as proxy:
        at(proxy.endpoint, monkeypatch, tmp_path)
        running = process(fresh.folder, "publish", "dist", "--site", location)
        assert silent.wait(30)
        running.send_signal(signal.SIGINT)
        try:
            running.communicate(timeout=20)
        finally:
            running.kill()
    assert running.returncode == 130
