"""What stock plugins are told has to be what the manifest says, as far as that can be known."""

import json
from dataclasses import replace

import pytest

from manifestgen.core.audience import Audience
from manifestgen.core.manifest import Manifest
from manifestgen.verify import Report
from tests.verify.project import BASE, Files, Project

CAPGO = "production/capgo.json"


def problems(report: Report) -> list[tuple[str, str]]:
    return [(problem.where, problem.code) for problem in report.problems]


def edited(files: Files, **changes: str) -> Files:
    answer = json.loads(files[CAPGO]) | changes
    return {**files, CAPGO: json.dumps(answer, indent=1, sort_keys=True).encode() + b"\n"}


def test_each_member_counts(project: Project, files: Files) -> None:
    for member in json.loads(files[CAPGO]):
        report = project.verify(edited(files, **{member: "other"}))
        assert problems(report) == [(CAPGO, "capgo")], member


def test_another_host(project: Project, files: Files) -> None:
    moved = files[CAPGO].replace(BASE.encode(), b"https://elsewhere.example.com")
    assert problems(project.verify({**files, CAPGO: moved})) == [(CAPGO, "capgo")]


def test_without_a_base_url_all_but_the_host_is_checked(project: Project, files: Files) -> None:
    unknown = replace(project.expected, base_url=None)
    report = project.verify(files, expected=unknown)
    assert report.ok
    assert [note.message for note in report.notes] == [
        f"points to {BASE}; whether that is right is not known here"
    ]
    for changed in (
        edited(files, version="1.0.0"),
        edited(files, url=f"{BASE}/blobs/00/{'0' * 64}.bin"),
        edited(files, url=json.loads(files[CAPGO])["url"].replace("https:", "file:")),
        {**files, CAPGO: b"[]"},
        {**files, CAPGO: b"[" * 100_000},
    ):
        assert problems(project.verify(changed, expected=unknown)) == [(CAPGO, "capgo")]
    none = {name: data for name, data in files.items() if name != CAPGO}
    assert project.verify(none, expected=unknown).ok


@pytest.mark.parametrize("paused", [True, False])
def test_the_answer_follows_the_manifest(project: Project, files: Files, paused: bool) -> None:
    report = project.verify(project.resign(files, lambda old: replace(old, paused=paused)))
    assert problems(report) == ([(CAPGO, "capgo")] if paused else [])


def test_platforms_that_differ_have_files_of_their_own(project: Project, files: Files) -> None:
    def only_ios(old: Manifest) -> Manifest:
        first = replace(old.offers[1], audience=Audience(("ios",)))
        return replace(old, offers=(first,))

    report = project.verify(project.resign(files, only_ios))
    assert problems(report) == [
        (CAPGO, "capgo"),
        ("production/capgo-android.json", "missing"),
        ("production/capgo-ios.json", "missing"),
    ]


def test_a_platforms_file_once_written_must_be_kept_up_to_date(
    project: Project, files: Files
) -> None:
    name = "production/capgo-ios.json"
    assert project.verify({**files, name: files[CAPGO]}).ok
    assert problems(project.verify({**files, name: b"{}"})) == [(name, "capgo")]
