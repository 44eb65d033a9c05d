"""What a site's past has to look like, and which oddities of honest publishers are fine."""

from dataclasses import replace
from pathlib import Path

import pytest

from manifestgen.core.tree import Digest, sha256
from manifestgen.stores.interface import SMALL, Stored
from manifestgen.verify import Report
from tests.verify.project import (
    SAMPLE,
    Files,
    Project,
    Unlisted,
    manifest_of,
    new_project,
    third_build,
)

MANIFEST = "production/manifest.json"


def past(number: int) -> str:
    return f"production/history/{number:06d}.json"


def problems(report: Report) -> list[tuple[str, str]]:
    return [(problem.where, problem.code) for problem in report.problems]


def test_an_old_manifest_put_back(project: Project, files: Files) -> None:
    report = project.verify({**files, MANIFEST: files[past(2)]})
    assert (MANIFEST, "history") in problems(report)
    assert "is number 2, but history goes on to 3" in report.problems[0].message


def test_a_commit_that_was_killed_before_devices_saw_it(project: Project, files: Files) -> None:
    """History is ahead, and only that: the next publish finishes it."""
    report = project.verify({**files, MANIFEST: files[past(2)]})
    assert problems(report) == [(MANIFEST, "history")]


def test_manifests_from_two_copies(project: Project, files: Files, tmp_path: Path) -> None:
    """The same project published on from one backup twice: two second manifests, both signed."""
    first = manifest_of(files, past(1))
    other = replace(first, sequence=2, previous=sha256(files[past(1)]), paused=True)
    report = project.verify({**files, past(2): project.sign(other)})
    assert problems(report) == [(past(2), "history")]


def test_a_branch_that_nothing_leads_to(project: Project, files: Files) -> None:
    head = manifest_of(files)
    stray = project.sign(replace(head, sequence=9, previous=sha256(b"")))
    assert problems(project.verify({**files, past(9): stray})) == [(MANIFEST, "history")]
    shown = project.verify({**files, past(9): stray, MANIFEST: stray})
    assert (past(8), "missing") in problems(shown)


def test_a_number_that_its_name_contradicts(project: Project, files: Files) -> None:
    head = manifest_of(files)
    renumbered = project.sign(replace(head, sequence=head.sequence + 1))
    report = project.verify({**files, MANIFEST: renumbered, past(3): renumbered})
    assert (past(4), "missing") in problems(report)


def test_time_that_runs_backwards(project: Project, files: Files) -> None:
    early = manifest_of(files, past(1)).issued

    report = project.verify(
        project.resign(files, lambda old: replace(old, issued=early - (old.expires - old.issued)))
    )
    assert (past(2), "history") in problems(report)


@pytest.mark.parametrize("listed", [True, False], ids=["folder", "web"])
def test_numbers_skipped_after_a_restore_are_noted(tmp_path: Path, listed: bool) -> None:
    project = new_project(tmp_path / "project")
    backup = project.files()
    project.publish(SAMPLE / "v2", day=1)
    for name in project.files().keys() - backup.keys():
        (project.site / name).unlink()
    for name, data in backup.items():
        (project.site / name).write_bytes(data)
    project.publish(third_build(tmp_path / "v3"), "--version", "1.2.0", day=2)
    files = project.files()
    assert past(2) not in files
    report = project.verify(files if listed else Unlisted(files))
    assert report.ok
    assert [(note.where, note.message) for note in report.notes if "follows" in note.message] == [
        (past(3), "follows number 1: those between do not count")
    ]


def test_a_channel_begun_anew_is_noted(project: Project, files: Files) -> None:
    """The site was lost, and with it all history; the publisher remembers the number."""
    anew = project.resign(files, lambda old: replace(old, previous=None))
    kept = {name: data for name, data in anew.items() if name not in {past(1), past(2)}}
    report = project.verify(kept)
    assert report.ok
    assert "begun anew" in next(note.message for note in report.notes if note.where == past(3))


def test_an_old_copy_of_history_beside_a_new_beginning(project: Project, files: Files) -> None:
    report = project.verify(project.resign(files, lambda old: replace(old, previous=None)))
    assert problems(report) == [(past(1), "history"), (past(2), "history")]


def test_two_damaged_files_are_both_named(project: Project, files: Files) -> None:
    report = project.verify({**files, past(1): b"{}", past(2): b"{}"})
    assert {where for where, _ in problems(report)} == {past(1), past(2)}


def test_a_host_cannot_keep_a_verifier_for_ever(project: Project, files: Files) -> None:
    """A stolen key signed a far number, and the host has something under every name."""

    class Endless(Unlisted):
        asked = 0

        def get(self, name: str, *, limit: int = SMALL) -> Stored | None:
            self.asked += 1
            assert self.asked < 1000
            found = super().get(name, limit=limit)
            return Stored(b"{}", "tag") if found is None and "/history/" in name else found

    far = replace(manifest_of(files), sequence=10**12, previous=Digest("0" * 64))
    report = project.verify(Endless({**files, MANIFEST: project.sign(far)}))
    assert (past(10**12 - 1), "history") in problems(report)


def test_a_channel_with_nothing_left_but_its_history(project: Project, files: Files) -> None:
    rest = {name: data for name, data in files.items() if name != MANIFEST}
    assert problems(project.verify({**rest, past(2): b"{}"})) == [
        (MANIFEST, "missing"),
        (past(2), "history"),
    ]


def test_manifests_of_a_revoked_key_are_believed_by_their_link(rotated: Project) -> None:
    assert rotated.verify(rotated.files()).ok


def test_what_a_revoked_key_signed_in_between_is_noted(rotated: Project) -> None:
    """What a stolen key signed stays in history once it is disowned, and nothing leads there."""
    files = rotated.files()
    stray = {**files, past(7): _by_the_old_key(rotated)}
    report = rotated.verify(stray)
    assert report.ok
    assert [note.where for note in report.notes] == [past(7)]
    assert not rotated.verify({**stray, past(7): stray[past(7)][:-1]}).ok


def _by_the_old_key(rotated: Project) -> bytes:
    from manifestgen.core.envelope import Envelope, Kind
    from manifestgen.signers import load_signer
    from manifestgen.signers.interface import sign

    first = manifest_of(rotated.files(), past(1))
    signer = load_signer(
        "file:.manifestgen/keys/signing.pem", folder=rotated.folder, ask=lambda _: None
    )
    stray = replace(first, sequence=7, previous=sha256(b"somewhere"))
    return sign(Envelope((), stray.to_json()), Kind.MANIFEST, [signer]).encode()
