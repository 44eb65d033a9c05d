"""Ten releases, four kits and two networks that have nothing but a stick in common."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from manifestgen.core.envelope import Envelope, Kind, Signature
from manifestgen.core.keys import PublicKey
from manifestgen.core.limits import LIMITS
from tests.e2e.test_readme import checkout, outside
from tests.pages import DOCS
from tests.publish.project import SAMPLE, Project
from tests.tools import netns
from tests.tools.netns import Machine
from tests.tools.nginx import serve
from tests.tools.parts import Missing
from tests.tools.process import reason

__all__ = ["checkout"]

_BATCH = """
import json, sys
from manifestgen.cli import main
for line in json.loads(sys.argv[1]):
    if code := main(line):
        sys.exit(code)
"""


@dataclass(frozen=True, slots=True)
class Side:
    """A project folder on a machine of one side."""

    folder: Path
    machine: Machine

    @property
    def site(self) -> Path:
        """What is served there."""
        return self.folder / "site"

    def run(self, *lines: str) -> tuple[int, str]:
        """Run commands in one process there, up to the first that fails."""
        words = json.dumps([line.split() for line in lines])
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = self.machine.run([sys.executable, "-c", _BATCH, words], cwd=self.folder, env=env)
        return done.returncode, done.stdout

    def does(self, *lines: str) -> str:
        """Run commands that work."""
        code, said = self.run(*lines)
        assert code == 0, said
        return said

    def refuses(self, line: str, code: int, error: str) -> None:
        """Run a command that must refuse."""
        found, said = self.run(line)
        assert found == code, said
        assert f"error: {error}" in said

    def publishes(self, *numbers: int, floor: str = "1.1.0") -> None:
        """Publish variants of the sample app, each with a page more."""
        for number in numbers:
            build = self.folder / f"dist-{number}"
            shutil.copytree(SAMPLE / f"v{1 + number % 2}", build)
            (build / f"page-{number}.html").write_text(f"<!doctype html><title>{number}</title>")
        self.does(*(f"publish dist-{n} --version 1.{n}.0 --floor {floor}" for n in numbers))


@dataclass(frozen=True, slots=True)
class Gap:
    """Both sides, and the stick."""

    out: Side
    into: Side
    stick: Path

    def crosses(self, number: int) -> str:
        """Carry the news in, and the receipt of them out; return what the import said."""
        since = f"--since {self.stick}/{number - 1}.receipt.json" if number > 1 else ""
        self.out.does(f"kit export --to {self.stick}/{number}.kit {since}")
        trust = f"--fingerprint {self.fingerprint}" if number == 1 else ""
        said = self.into.does(f"kit import {self.stick}/{number}.kit {trust}")
        shutil.copy(self.into.folder / f"{number}.receipt.json", self.stick)
        return said

    @property
    def fingerprint(self) -> str:
        """What a person reads out."""
        return sha256((self.out.folder / ".manifestgen/root/1.json").read_bytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class Device:
    """A device inside, which looks over HTTP."""

    side: Side
    url: str
    channel: str

    def runs(self) -> dict[str, Any]:
        """Install what is offered, and confirm it; return what `status` says."""
        state = self.side.folder.parent / f"{self.channel}.device"
        root = self.side.folder / ".manifestgen/root/1.json"
        said = self.side.does(
            f"device install --site {self.url} --root {root} --state {state}"
            f" --channel {self.channel} --quiet",
            f"device confirm --state {state} --quiet",
            f"device status --state {state} --json",
        )
        status: dict[str, Any] = json.loads(said[said.rindex("\n{") + 1 :])
        return status


@pytest.fixture
def gap(tmp_path: Path) -> Iterator[Gap]:
    """Give two networks; where there can be none, two folders."""
    with ExitStack() as stack:
        try:
            one, other = (stack.enter_context(netns.machine()) for _ in range(2))
        except Missing as missing:
            print(f"two folders instead of two networks: {missing}")
            one = other = Machine(None)
        for name in ("outside", "inside", "stick"):
            (tmp_path / name).mkdir()
        sides = Side(tmp_path / "outside", one), Side(tmp_path / "inside", other)
        yield Gap(*sides, tmp_path / "stick")


def test_ten_releases_cross_in_four_kits_and_devices_follow(gap: Gap) -> None:
    gap.out.does("init --app com.example.plant")
    gap.out.publishes(1)
    gap.crosses(1)
    shutil.copy(gap.out.folder / ".manifestgen/capgo.pub.pem", gap.into.folder / ".manifestgen")
    plant_key(gap)
    with (
        serve(gap.out.site, prefix=gap.out.machine.prefix()) as outer,
        serve(
            gap.into.site,
            gap.into.does("server nginx"),
            prefix=gap.into.machine.prefix(),
        ) as inner,
    ):
        if gap.into.machine.namespace:
            gap.into.refuses(f"verify {outer.url}", 6, outer.url)
        door, press = (Device(gap.into, inner.url, name) for name in ("production", "plant"))
        newest = "1.1.0"
        assert door.runs()["version"] == newest
        for kit, releases in {2: (2, 3, 4), 3: (5, 6, 7), 4: (8, 9, 10)}.items():
            before, newest = newest, f"1.{releases[-1]}.0"
            gap.out.publishes(*releases, floor=before)
            gap.crosses(kit)
            gap.into.does(f"channel promote {before} --to plant")
            assert door.runs()["version"] == newest
            assert press.runs()["version"] == before
        assert len(list(gap.into.site.glob("releases/*.json"))) == 10
        gap.into.does(f"channel promote {newest} --to plant", "refresh --channel plant")
        assert press.runs()["version"] == newest
        gap.into.refuses("channel rollback 1.9.0 --channel plant", 3, "the bundle of 1.9.0")
        gap.into.does("channel rollback 1.7.0 --channel plant", "verify")
        assert (door.runs()["version"], press.runs()["version"]) == (newest, "1.7.0")
        check_no_code_from_inside(gap, press)


def plant_key(gap: Gap) -> None:
    """Make a key inside, and have root let it sign for `plant`."""
    uri = "file:.manifestgen/keys/signing.pem"
    gap.into.does("keys create --only signing --out-dir .manifestgen/keys")
    public = re.search(r"-----BEGIN.*-----\n", gap.into.does(f"keys export {uri}"), re.DOTALL)
    assert public
    (gap.stick / "plant.pub.pem").write_text(public[0])
    gap.out.does(f"keys add {gap.stick}/plant.pub.pem --role manifest --channel plant")


def check_no_code_from_inside(gap: Gap, press: Device) -> None:
    """Try what somebody inside could who holds the plant key and the web server."""
    before = press.runs()
    gap.into.refuses("channel promote 6.6.6 --to plant", 2, "there is no release 6.6.6")
    shutil.copytree(SAMPLE / "v1", gap.into.folder / "evil")
    publish = "publish evil --version 6.6.6 --channel plant"
    gap.into.refuses(publish, 4, "a release needs 1 of the keys")
    rogue = Side(gap.into.folder.parent / "rogue", gap.into.machine)
    rogue.folder.mkdir()
    rogue.does("init --app com.example.plant", "publish ../inside/evil --version 6.6.6")
    for part in ("blobs", "releases"):
        shutil.copytree(rogue.site / part, gap.into.site / part, dirs_exist_ok=True)
    gap.into.refuses("channel promote 6.6.6 --to plant", 3, "releases/6.6.6.json")
    forged = offering(rogue.site / "production/manifest.json", gap.into)
    (gap.into.site / "plant/manifest.json").write_bytes(forged)
    after = press.runs()
    assert after["sequence"] == 1000  # it was signed by the right key
    assert after["version"] == before["version"]
    gap.into.does("verify site/../../outside/site --root .manifestgen/root/1.json")


def offering(path: Path, inside: Side) -> bytes:
    """Sign another project's manifest with the plant key."""
    pem = (inside.folder / ".manifestgen/keys/signing.pem").read_bytes()
    key = load_pem_private_key(pem, None)
    assert isinstance(key, Ed25519PrivateKey)
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    signed = Envelope.decode(path.read_bytes(), limit=LIMITS.manifest_bytes).signed
    new = Envelope((), {**signed, "channel": "plant", "sequence": 1000, "root": 2})
    signature = Signature(PublicKey.from_spki(spki).keyid, key.sign(new.message(Kind.MANIFEST)))
    return new.with_signatures([signature]).encode()


def test_manifestgen_gets_inside_in_a_wheelhouse(
    gap: Gap, checkout: Path, project: Project
) -> None:
    packed, checked = commands("How manifestgen gets inside")
    done = Machine(None).run(["sh", "-ec", packed], cwd=checkout, env=outside())
    if "No matching distribution" in done.stdout or "Connection" in done.stdout:
        raise Missing(f"pip wheel: {reason(done)}")
    assert done.returncode == 0, done.stdout
    read_out = done.stdout.splitlines()[-1]
    shutil.move(checkout / "wheelhouse", gap.into.folder)
    done = gap.into.machine.run(["sh", "-ec", checked], cwd=gap.into.folder, env=outside())
    assert done.returncode == 0, done.stdout
    assert read_out in done.stdout.splitlines()
    kit = gap.stick / "1.kit"
    project.does("kit", "export", "--to", kit)
    program = gap.into.folder / "manifestgen/bin/manifestgen"
    done = gap.into.machine.run([program, "kit", "inspect", kit], cwd=gap.stick, env=outside())
    assert done.returncode == 0, done.stdout
    assert "a whole kit of local.shop" in done.stdout
    wheel = next((gap.into.folder / "wheelhouse").glob("manifestgen-*.whl"))
    wheel.write_bytes(wheel.read_bytes()[:-1])
    done = gap.into.machine.run(["sh", "-ec", checked], cwd=gap.into.folder, env=outside())
    assert done.returncode != 0, "a damaged wheel was installed"


def commands(section: str) -> list[str]:
    """Return the shell commands of a section of the runbook, block by block."""
    text = (DOCS / "air-gap.md").read_text("utf-8").partition(f"## {section}\n")[2]
    return re.findall(r"^```sh\n(.*?)^```", text.partition("\n## ")[0], re.DOTALL | re.MULTILINE)
