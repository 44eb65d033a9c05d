"""`manifestgen device …` as a kiosk's unit calls it."""

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from manifestgen.cli.device import register
from manifestgen.core.manifest import Offer
from manifestgen.core.release import Scheme
from manifestgen.stores import DirectoryStore
from tests.device.publisher import Publisher, page, pem


class Kiosk:
    """The commands, with the options that all of them take."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.publisher = Publisher(DirectoryStore(folder / "site"))
        self.capsys = capsys
        project = folder / ".manifestgen" / "root"
        project.mkdir(parents=True)
        self.root = project / "1.json"
        self.key = project.parent / "capgo.pub.pem"
        self.key.write_bytes(pem())
        self.options = [
            *("--site", str(folder / "site")),
            *("--root", str(self.root)),
            *("--state", str(folder / "state")),
            *("--id", "kiosk-7"),
            *("--platform", "linux"),
            *("--native", "3.1"),
        ]

    def publish(self, version: str, files: Mapping[str, bytes] | None = None) -> None:
        # The command reads the machine's clock.
        now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
        later = now + timedelta(days=30)
        self.root.write_bytes(self.publisher.sim.root(issued=now, expires=later))
        release = self.publisher.bundle(version, files, scheme=Scheme.CAPGO, issued=now)
        release = self.publisher.listed(release, files) if files else release
        self.publisher.publish(Offer(self.publisher.sign(release)), issued=now, expires=later)

    def run(self, command: str, *more: str) -> tuple[int, str]:
        app = typer.Typer()
        register(app)
        group = typer.main.get_command(app)
        result = group.main(["device", command, *self.options, *more], standalone_mode=False)
        return result or 0, self.capsys.readouterr().out

    def json(self, command: str) -> dict[str, Any]:
        _, out = self.run(command, "--json")
        found = json.loads(out)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def kiosk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Kiosk:
    return Kiosk(tmp_path, capsys)


def test_a_kiosks_life(kiosk: Kiosk) -> None:
    kiosk.publish("1.0.0")
    assert kiosk.json("check")["action"] == "install"
    done = kiosk.json("install")
    assert {name: done[name] for name in ("action", "from", "to", "via", "rolled_back")} == {
        "action": "installed",
        "from": None,
        "to": "1.0.0",
        "via": "bundle",
        "rolled_back": None,
    }
    assert Path(done["path"], "index.html").is_file()
    assert kiosk.json("status")["confirmed"] is False
    assert kiosk.json("confirm")["confirmed"] is True
    kiosk.publish("1.1.0")
    kiosk.json("install")
    done = kiosk.json("install")
    assert (done["action"], done["to"], done["rolled_back"]) == ("none", "1.0.0", "1.1.0")
    assert done["reasons"] == [{"version": "1.1.0", "reason": "failed"}]
    found = kiosk.json("status")
    assert (found["version"], found["sequence"], found["root"]) == ("1.0.0", 2, 1)
    assert [one["version"] for one in found["failed"]] == ["1.1.0"]
    assert found["path"] == done["path"]


def test_for_people(kiosk: Kiosk) -> None:
    kiosk.publish("1.0.0")
    assert kiosk.run("check")[1].startswith("would install 1.0.0 (bundle, ")
    assert kiosk.run("install")[1].startswith("installed 1.0.0 (bundle, ")
    assert "1.0.0, not confirmed" in kiosk.run("status")[1]
    assert "1.0.0\n" in kiosk.run("confirm")[1]
    assert kiosk.run("install")[1].startswith("nothing to do: 1.0.0 runs (current)")


def test_by_single_files(kiosk: Kiosk) -> None:
    noise = {"noise.bin": random.Random(4).randbytes(20_000)}
    kiosk.publish("1.0.0", {**page("1.0.0"), **noise})
    kiosk.run("install")
    kiosk.run("confirm")
    kiosk.publish("1.1.0", {**page("1.1.0"), **noise})
    foreseen = kiosk.json("check")
    assert foreseen["via"] == "files"
    assert kiosk.run("install")[1].startswith(f"installed 1.1.0 (files, {foreseen['bytes']:,} byte")


def test_refusals_have_codes(kiosk: Kiosk) -> None:
    kiosk.publish("1.0.0")
    kiosk.publisher.put("production/manifest.json", b"<html>")
    code, out = kiosk.run("install", "--json")
    assert (code, json.loads(out)["code"]) == (3, "format")
    kiosk.publisher.site.delete("production/manifest.json")
    assert kiosk.run("install", "--json")[0] == 6
    kiosk.root.unlink()
    assert kiosk.run("install", "--json")[0] == 2


def test_a_missing_key(kiosk: Kiosk) -> None:
    kiosk.key.unlink()
    kiosk.publish("1.0.0")
    code, out = kiosk.run("install", "--json")
    assert (code, json.loads(out)["code"]) == (4, "key")
    elsewhere = kiosk.key.with_name("other.pem")
    elsewhere.write_bytes(pem())
    assert kiosk.run("install", "--key", str(elsewhere))[0] == 0
