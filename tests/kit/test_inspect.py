"""`kit inspect`: what it says of a kit, and what it finds wrong with one."""

import json
from pathlib import Path

import pytest

from manifestgen.core.reader import parse_time
from manifestgen.kit.archive import Archive
from tests.kit.conftest import Gap
from tests.kit.sides import Side


def test_a_kit_for_somebody_without_a_project(gap: Gap, tmp_path: Path) -> None:
    side = Side(tmp_path / "nowhere")
    said = side.does("kit", "inspect", gap.second)
    (channel,) = said.pop("channels")
    assert said == {
        "app": "com.example.app",
        "fingerprint": gap.outside.fingerprint,
        "roots": 1,
        "root_expires": said["root_expires"],
        "releases": 2,
        "blobs": said["blobs"],
        "bytes": gap.second.stat().st_size,
        "notes": [],
        "import": None,
    }
    assert said["blobs"]["absent"] == 1  # the photo, which is there since the first kit
    assert (channel["channel"], channel["first"], channel["last"]) == ("production", 3, 4)
    assert channel["versions"] == ["1.2.0"]
    assert parse_time(channel["issued"]) < parse_time(channel["expires"])
    assert side.does("kit", "inspect", gap.full)["blobs"]["absent"] == 0


def test_what_an_import_would_change(gap: Gap) -> None:
    def verdict(kit: Path) -> dict[str, object]:
        found: dict[str, object] = gap.inside.does("kit", "inspect", kit)["import"]
        return found

    before = gap.inside.everything()
    told = verdict(gap.second)
    assert told["channels"] == [{"channel": "production", "before": 2, "after": 4}]
    assert (told["refused"], told["changed"]) == (None, True)
    assert verdict(gap.first)["changed"] is False
    assert gap.inside.everything() == before
    gap.inside.imports(gap.second)
    told = verdict(gap.first)
    assert (told["code"], told["refused"]) == (
        "older",
        "the kit ends at production 2, this site is at 4 already",
    )


def test_a_receipt(gap: Gap, tmp_path: Path) -> None:
    said = Side(tmp_path / "nowhere").does("kit", "inspect", gap.receipt)
    assert said["channels"] == [{"channel": "production", "sequence": 2}]
    assert said["blobs"] == len(json.loads(gap.receipt.read_text())["blobs"])


def test_a_damaged_kit(gap: Gap, tmp_path: Path) -> None:
    data, side = bytearray(gap.full.read_bytes()), Side(tmp_path / "nowhere")
    with Archive(gap.full) as archive:
        # The full bundle: a list of files is read with the documents and has its own sentence.
        data[max(archive.members, key=lambda member: member.size).offset] ^= 1
    (tmp_path / "bad.kit").write_bytes(data)
    side.refuses(
        *("kit", "inspect", tmp_path / "bad.kit"),
        code="digest",
        error="holds other bytes than its name says",
    )


def test_what_has_expired_is_imported_with_a_note(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "4000000000")
    said = gap.inside.imports(gap.second)
    assert said["changed"]
    root, manifest = said["notes"]
    assert root.startswith("root 1 expired on ")
    assert manifest.startswith("the production manifest expired on ")
    assert gap.inside.does("kit", "inspect", gap.second)["notes"] == said["notes"]
