"""What is stored is what was signed, and so is what a device gets out of it."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from manifestgen.core.manifest import Manifest, Patch
from manifestgen.core.release import Payload, Release
from manifestgen.core.tree import Digest, sha256
from manifestgen.verify import Expected, Report
from tests.verify.project import Files, Project, Unlisted, manifest_of, new_project

ZERO = Digest("0" * 64)


def blob(data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f"blobs/{digest[:2]}/{digest}.bin"


def codes(report: Report) -> set[str]:
    return {problem.code for problem in report.problems}


def newest(files: Files) -> Release:
    return Release.from_json(manifest_of(files).offers[0].release.signed)


def bundle_name(files: Files) -> str:
    digest = newest(files).bundle.blob
    return f"blobs/{digest[:2]}/{digest}.bin"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(
            lambda old: replace(old, bundle=replace(old.bundle, plain=ZERO)), "digest", id="plain"
        ),
        pytest.param(
            lambda old: replace(old, bundle=replace(old.bundle, plain_size=1)),
            "digest",
            id="plain size",
        ),
        pytest.param(
            lambda old: replace(old, bundle=replace(old.bundle, size=old.bundle.size + 1)),
            "digest",
            id="size",
        ),
        pytest.param(
            lambda old: replace(old, tree=replace(old.tree, digest=ZERO)), "tree", id="tree"
        ),
        pytest.param(
            lambda old: replace(old, tree=replace(old.tree, files=1)), "tree", id="tree's files"
        ),
        pytest.param(
            lambda old: replace(old, tree=replace(old.tree, size=old.tree.size + 1)),
            "tree",
            id="tree's size",
        ),
        pytest.param(
            lambda old: replace(old, tree=replace(old.tree, size=1)),
            "archive",
            id="unpacks to more than was signed",
        ),
        pytest.param(
            lambda old: replace(old, capgo=replace(old.capgo, checksum=bytes(256))),
            "decrypt",
            id="wrapped checksum",
        ),
        pytest.param(
            lambda old: replace(old, capgo=replace(old.capgo, session_key=bytes(256))),
            "decrypt",
            id="session key",
        ),
        pytest.param(
            lambda old: replace(old, capgo=replace(old.capgo, iv=bytes(16))), "digest", id="IV"
        ),
        pytest.param(
            lambda old: replace(old, capgo=replace(old.capgo, form="v2")), "digest", id="form"
        ),
    ],
)
def test_a_release_that_says_otherwise_than_its_bundle(
    project: Project, files: Files, change: object, code: str
) -> None:
    """Signed by the right key, and still not what a device would get."""
    assert callable(change)
    report = project.verify(project.rerelease(files, change))
    assert [(one.where, one.code) for one in report.problems] == [(bundle_name(files), code)]


def test_a_checksum_of_another_bundle(project: Project, files: Files) -> None:
    second = Release.from_json(manifest_of(files).offers[1].release.signed)
    assert second.capgo is not None
    checksum = second.capgo.checksum

    def swap(old: Release) -> Release:
        assert old.capgo is not None
        return replace(old, capgo=replace(old.capgo, checksum=checksum))

    report = project.verify(project.rerelease(files, swap))
    assert [(one.where, one.code) for one in report.problems] == [(bundle_name(files), "digest")]


def test_without_a_capgo_key_blobs_are_digested_and_it_says_so(
    project: Project, files: Files
) -> None:
    keyless = replace(project.expected, capgo=None)
    report = project.verify(files, expected=keyless)
    assert report.ok
    assert ["decryption was not checked" in note.message for note in report.notes] == [True]
    for name in (name for name in files if name.startswith("blobs/")):
        cut = project.verify({**files, name: files[name][:-1]}, expected=keyless)
        assert [(one.where, one.code) for one in cut.problems] == [(name, "digest")]


def test_with_another_capgo_key(project: Project, files: Files) -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    report = project.verify(files, expected=replace(project.expected, capgo=public))
    assert codes(report) == {"decrypt"}
    assert len(report.problems) == 2  # both releases that are offered
    assert ["another Capgo key" in note.message for note in report.notes] == [True]


def test_damage_is_told_before_a_key_that_does_not_fit(project: Project, files: Files) -> None:
    public = rsa.generate_private_key(65537, 2048).public_key()
    name = bundle_name(files)
    damaged = {**files, name: files[name][:-1] + bytes([files[name][-1] ^ 1])}
    report = project.verify(damaged, expected=replace(project.expected, capgo=public))
    assert (name, "digest") in {(one.where, one.code) for one in report.problems}


def test_a_bundle_in_the_clear(tmp_path: Path) -> None:
    project = new_project(tmp_path / "clear", "--scheme", "none")
    files = project.files()
    expected = Expected(possible=("production",))
    assert project.verify(files, day=0, expected=expected).ok
    (name,) = (name for name in files if name.startswith("blobs/"))
    for at in (0, 100, len(files[name]) - 1):
        data = bytearray(files[name])
        data[at] ^= 1
        report = project.verify({**files, name: bytes(data)}, day=0, expected=expected)
        assert (name, "digest") in {(one.where, one.code) for one in report.problems}


def test_a_blob_nothing_refers_to_is_noted(project: Project, files: Files) -> None:
    left = blob(b"left over")
    report = project.verify({**files, left: b"left over"})
    assert report.ok
    assert [note.where for note in report.notes] == [left]
    assert report.blobs == 1 + sum(name.startswith("blobs/") for name in files)


def test_a_blob_that_is_not_what_its_name_says(project: Project, files: Files) -> None:
    left = blob(b"left over")
    report = project.verify({**files, left: b"something else"})
    assert [(one.where, one.code) for one in report.problems] == [(left, "digest")]


def test_files_that_are_no_part_of_a_site_are_noted(project: Project, files: Files) -> None:
    strange = ["blobs/ab/notes.txt", "production/readme.md", "robots.txt", "root/02.json"]
    report = project.verify({**files, **dict.fromkeys(strange, b"x"), "client/a.js": b"x"})
    assert report.ok
    assert [note.where for note in report.notes] == [*strange, "client/"]


def test_many_strange_files_do_not_flood(project: Project, files: Files) -> None:
    report = project.verify({**files, **{f"x/{n}.txt": b"" for n in range(500)}})
    assert len(report.notes) == 11
    assert report.notes[-1].where == "and 490 more"


def test_hidden_files_and_a_missing_page(project: Project, files: Files) -> None:
    (project.site / ".manifestgen-lock").touch()
    from manifestgen.stores import DirectoryStore

    assert project.verify(DirectoryStore(project.site)).notes == ()
    rest = {name: data for name, data in files.items() if name != "index.html"}
    assert [note.where for note in project.verify(rest).notes] == ["index.html"]


@pytest.mark.parametrize("listed", [True, False], ids=["folder", "web"])
def test_patches_are_checked_as_stored(project: Project, files: Files, listed: bool) -> None:
    data = b"a patch" * 100
    payload = Payload(sha256(data), len(data), ZERO, 1000)

    def add(old: Manifest) -> Manifest:
        patched = replace(old.offers[0], patches=(Patch(ZERO, payload),))
        return replace(old, offers=(patched, *old.offers[1:]))

    def found(site: Files) -> list[tuple[str, str]]:
        report = project.verify(site if listed else Unlisted(site))
        return [(one.where, one.code) for one in report.problems]

    patched = {**project.resign(files, add), blob(data): data}
    assert found(patched) == []
    assert found({**patched, blob(data): data[:-1]}) == [(blob(data), "digest")]
    assert found({**patched, blob(data): data + b"x"}) == [(blob(data), "digest")]
    assert found({name: patched[name] for name in patched if name != blob(data)}) == [
        (blob(data), "missing")
    ]
