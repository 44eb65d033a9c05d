"""Every file of a site is altered in turn, and each time `verify` names that very file.

Two files are left out, because nothing can vouch for them: `index.html` is a page for people that
no device reads, and hidden files such as the store's lock are never served. `client/` would be a
third: apps carry a client of their own.
"""

import pytest

from tests.verify.project import Files, Project

UNPROTECTED = {"index.html"}

PARTS = 4  # of what takes minutes, so that several processors can share it


@pytest.fixture(params=["project", "rotated"])
def site(request: pytest.FixtureRequest) -> Project:
    """A site of one root, and one whose keys were replaced."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Project)
    return found


def assert_named(project: Project, files: Files, name: str, what: str) -> None:
    report = project.verify(files)
    assert name in {problem.where for problem in report.problems}, (name, what, report)
    assert not report.ok


def protected(files: Files) -> list[str]:
    return [name for name in files if name not in UNPROTECTED]


def test_the_untouched_site_is_whole(site: Project) -> None:
    report = site.verify(site.files())
    assert report.ok
    assert report.notes == ()
    assert report.documents + report.blobs == len(protected(site.files()))
    assert report.bytes == sum(len(site.files()[name]) for name in protected(site.files()))


def test_one_byte_flipped_in_every_file(site: Project) -> None:
    files = site.files()
    for name in protected(files):
        size = len(files[name])
        for at in sorted({0, 1, size // 4, size // 3, size // 2, size - 17, size - 2, size - 1}):
            for bit in (0x01, 0x20, 0x80):
                data = bytearray(files[name])
                data[at] ^= bit
                assert_named(site, {**files, name: bytes(data)}, name, f"byte {at} ^ {bit:#x}")


@pytest.mark.full
@pytest.mark.parametrize("part", range(PARTS))
def test_every_third_byte_of_every_document_flipped(site: Project, part: int) -> None:
    files = site.files()
    for name in protected(files):
        size = len(files[name]) if not name.startswith("blobs/") else 0
        for at in range(3 * part, size, 3 * PARTS):
            data = bytearray(files[name])
            data[at] ^= 0x01
            assert_named(site, {**files, name: bytes(data)}, name, f"byte {at}")


def test_every_file_cut_extended_emptied_and_replaced(site: Project) -> None:
    files = site.files()
    for name in protected(files):
        data = files[name]
        for what, damaged in {
            "cut by one": data[:-1],
            "cut in half": data[: len(data) // 2],
            "extended by a newline": data + b"\n",
            "extended by a NUL": data + b"\0",
            "twice": data * 2,
            "empty": b"",
            "a login page": b"<!doctype html><title>Sign in</title>\n",
            "an empty object": b"{}",
            "five megabytes": bytes(5 * 1024 * 1024),
        }.items():
            assert_named(site, {**files, name: damaged}, name, what)


def test_every_file_deleted(site: Project) -> None:
    files = site.files()
    old = next(name for name in files if files[name] == _oldest_blob(site))
    for name in protected(files):
        rest = {other: files[other] for other in files if other != name}
        if name == old:
            # Pruning takes it away: nothing offers it any more.
            report = site.verify(rest)
            assert report.ok
            assert [note.where for note in report.notes] == [old]
        else:
            assert_named(site, rest, name, "deleted")


def test_every_two_files_swapped(site: Project) -> None:
    files = site.files()
    names = protected(files)
    for n, first in enumerate(names):
        for second in names[n + 1 :]:
            if files[first] == files[second]:
                continue  # `manifest.json` and the newest of history are one document, twice
            swapped = {**files, first: files[second], second: files[first]}
            report = site.verify(swapped)
            named = {problem.where for problem in report.problems}
            assert {first, second} <= named, (first, second, report)


def _oldest_blob(site: Project) -> bytes:
    import json

    files = site.files()
    digest = json.loads(files["releases/1.0.0.json"])["signed"]["bundle"]["blob"]
    return files[f"blobs/{digest[:2]}/{digest}.bin"]
