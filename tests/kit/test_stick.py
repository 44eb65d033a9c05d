"""What goes wrong around a stick: it is small, or gone; a wrong file is named; a clock is wrong."""

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from manifestgen.bundle.replace import replacing
from manifestgen.errors import Error, StoreError
from manifestgen.kit.archive import Archive
from manifestgen.stores import MemoryStore
from tests.kit.conftest import Gap
from tests.kit.sides import contents, project_trust, take
from tests.publish.project import check_refusal, ended, process

YEAR = 365 * 24 * 3600


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def test_a_file_that_the_disk_does_not_take_leaves_what_was_there(gap: Gap, tmp_path: Path) -> None:
    """As FAT does at 4 GiB."""
    resource = pytest.importorskip("resource")
    (tmp_path / "stick").mkdir()
    kit = tmp_path / "stick/a.kit"
    kit.write_bytes(b"the kit before")

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, 4_096))

    words = ("kit", "export", "--to", kit)
    said = ended(process(gap.outside.folder, *words, first=small))
    check_refusal(said, code=1, error="a.kit: file too large")
    assert "format that disk as exFAT" in said.err
    assert list(kit.parent.iterdir()) == [kit]
    assert kit.read_bytes() == b"the kit before"


def test_why_is_said_even_where_nothing_can_be_removed(tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    stick.mkdir()

    def pulled_out() -> None:
        with replacing(stick / "a.kit"):
            stick.rename(tmp_path / "pulled out")
            stick.write_bytes(b"")
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(Error, match="input/output error") as refused:
        pulled_out()
    assert refused.value.hint == "is that disk still plugged in?"


def test_a_kit_that_is_gone_while_it_is_read_is_one_error(gap: Gap) -> None:
    archive = Archive(gap.full)
    os.close(archive._file.fileno())
    with pytest.raises(StoreError, match=r"cannot read .*full\.kit") as refused, archive:
        archive.read(archive.members[0], 2**16)
    assert refused.value.hint == "is the stick still plugged in?"


def test_no_file_takes_the_place_of_the_other(gap: Gap) -> None:
    gap.inside.refuses(
        *("kit", "import", gap.second, "--receipt", gap.second),
        code="usage",
        error="is the kit itself",
        exit_code=2,
    )
    gap.outside.refuses(
        *("kit", "export", "--to", gap.receipt, "--since", gap.receipt),
        code="usage",
        error="is the receipt itself",
        exit_code=2,
    )


@pytest.mark.parametrize(
    ("receipt", "error"), [("nowhere/r.json", "a folder that is not there"), (".", "is a folder")]
)
def test_a_receipt_that_cannot_be_is_said_before_anything_is_imported(
    receipt: str, error: str, gap: Gap
) -> None:
    words = ("kit", "import", gap.second, "--receipt", receipt)
    gap.inside.refuses(*words, code="usage", error=error, exit_code=2)


def test_a_receipt_that_could_not_be_written_is_had_by_the_next_try(
    gap: Gap, tmp_path: Path
) -> None:
    settings, store = gap.inside.settings, MemoryStore()
    trust = project_trust(settings)
    with pytest.raises(Error, match="the kit is imported, but not its receipt") as refused:
        take(gap.full, trust, settings, store, tmp_path / "nowhere/receipt")
    assert "`--receipt FILE`" in (refused.value.hint or "")
    before = contents(store)
    assert before
    take(gap.full, trust, settings, store, tmp_path / "receipt")
    assert contents(store) == before


def test_a_receipt_is_no_kit(gap: Gap) -> None:
    gap.inside.refuses(
        *("kit", "import", gap.receipt), code="usage", error="looks like a receipt", exit_code=2
    )


def test_with_two_kits_on_it_the_other_comes_first(gap: Gap) -> None:
    gap.outside.publishes("1.3.0")
    ahead = gap.inside.copied("ahead")
    ahead.imports(gap.second)
    third = gap.outside.exports("third.kit", "--since", ahead.folder / "second.receipt.json")
    code, data = gap.inside("kit", "import", third)
    assert (code, data["code"]) == (3, "gap")
    assert data["hint"].startswith("import the kit with production 3 first; or export")
    gap.inside.imports(gap.second)
    assert gap.inside.imports(third)["changed"]


def test_a_clock_that_is_wrong_shows(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    for years, said in ((1, "the production manifest expired on "), (-1, " was issued on ")):
        then = now() + years * YEAR
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(then))
        (note,) = gap.inside.does("kit", "import", gap.second, "--dry-run")["notes"]
        assert said in note
        assert f"and here it is {datetime.fromtimestamp(then, UTC):%Y-%m-%d}" in note


def test_what_devices_refuse_is_said_before_it_is_carried(
    gap: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("kit", "export", "--to", gap.folder / "late.kit")
    assert gap.outside.does(*words)["notes"] == []
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(now() + YEAR))
    (note,) = gap.outside.does(*words)["notes"]
    assert note.startswith("the production manifest expired on ")


def test_signing_behind_a_time_that_is_still_to_come_is_warned_of(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gap.outside.does("refresh")
    assert "devices refuse it" not in caplog.text
    monkeypatch.setenv("SOURCE_DATE_EPOCH", str(now() + YEAR))
    gap.outside.does("refresh")
    assert "devices refuse it" not in caplog.text  # by this clock all is well
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    gap.outside.does("refresh")
    assert "production 7 is of" in caplog.text
    assert "devices refuse it until then" in caplog.text
