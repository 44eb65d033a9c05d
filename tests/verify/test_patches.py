"""A patch that is offered makes the tree that was signed, or the site is not whole."""

from dataclasses import replace
from pathlib import Path

import pytest

from manifestgen.core.manifest import Manifest, Patch
from manifestgen.core.patch import HEADER, Header
from manifestgen.core.release import Payload, Release
from manifestgen.core.tree import Digest, sha256
from manifestgen.verify import Expected, Report
from tests.verify.project import SAMPLE, Files, Project, manifest_of, new_project

ZERO = Digest("0" * 64)


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Two releases that are not encrypted."""
    project = new_project(tmp_path_factory.mktemp("clear") / "project", "--scheme", "none")
    project.publish(SAMPLE / "v2", "--scheme", "none", day=1)
    return project


def check(project: Project, files: Files) -> Report:
    """Verify a site that has no Capgo key."""
    expected = Expected(possible=("production",), base_url=project.settings.base_url)
    return project.verify(files, day=1, expected=expected)


def blob(digest: Digest) -> str:
    return f"blobs/{digest[:2]}/{digest}.bin"


def only(files: Files) -> Patch:
    [patch] = manifest_of(files).offers[0].patches
    return patch


def with_patch(project: Project, data: bytes) -> Files:
    """Put other bytes in the place of the patch, and sign them."""
    files = project.files()
    old = only(files)
    payload = Payload(sha256(data), len(data), sha256(data), len(data))

    def change(manifest: Manifest) -> Manifest:
        offer = replace(manifest.offers[0], patches=(Patch(old.base, payload),))
        return replace(manifest, offers=(offer, *manifest.offers[1:]))

    files.pop(blob(old.payload.blob))
    return project.resign({**files, blob(payload.blob): data}, change)


def data_of(project: Project) -> bytes:
    files = project.files()
    return files[blob(only(files).payload.blob)]


def test_what_publish_makes_is_good(clear: Project, project: Project) -> None:
    assert check(clear, clear.files()).problems == ()
    assert project.verify(project.files()).problems == ()
    assert all(offer.patches for offer in manifest_of(project.files()).offers)


def _declared(data: bytes, *, base: Digest | None = None, target: Digest | None = None) -> bytes:
    header = Header.decode(data[: HEADER.size])
    changed = replace(header, base=base or header.base, target=target or header.target)
    return changed.encode() + data[HEADER.size :]


def _last_literal_changed(data: bytes) -> bytes:
    """Store the literals anew, with one letter changed."""
    import zlib

    header = Header.decode(data[: HEADER.size])
    start = len(data) - header.packed[4]
    plain = bytearray(zlib.decompress(data[start:], -15))
    plain[-1] ^= 1
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    literals = stream.compress(bytes(plain)) + stream.flush()
    packed = (*header.packed[:4], len(literals))
    return replace(header, packed=packed).encode() + data[HEADER.size : start] + literals


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        pytest.param(lambda data: b"no patch", "patch", id="no patch"),
        pytest.param(lambda data: data[:-1], "patch", id="cut short"),
        pytest.param(lambda data: _declared(data, base=ZERO), "patch", id="for another base"),
        pytest.param(lambda data: _declared(data, target=ZERO), "patch", id="to another tree"),
        pytest.param(_last_literal_changed, "tree", id="makes another tree"),
    ],
)
def test_a_patch_that_does_not_lead_there_is_a_problem(
    clear: Project, spoil: object, code: str
) -> None:
    assert callable(spoil)
    files = with_patch(clear, spoil(data_of(clear)))
    report = check(clear, files)
    found = [(problem.where, problem.code) for problem in report.problems]
    assert found == [(blob(only(files).payload.blob), code)]
    assert "the patch from 1.0.0 to 1.1.0: " in report.problems[0].message


def test_a_patch_signed_as_encrypted_that_is_not(clear: Project) -> None:
    files = clear.files()
    old = only(files)

    def change(manifest: Manifest) -> Manifest:
        patch = replace(old, payload=replace(old.payload, plain=ZERO))
        offer = replace(manifest.offers[0], patches=(patch,))
        return replace(manifest, offers=(offer, *manifest.offers[1:]))

    report = check(clear, clear.resign(files, change))
    assert [problem.code for problem in report.problems] == ["digest"]


def test_a_patch_from_a_pruned_base_is_not_tried(clear: Project) -> None:
    files = with_patch(clear, b"no patch")
    release = _release(files, "1.0.0")
    files.pop(blob(release.bundle.blob))
    assert check(clear, files).problems == ()


def test_a_patch_from_an_unknown_base_is_not_tried(clear: Project) -> None:
    files = clear.files()

    def change(manifest: Manifest) -> Manifest:
        patch = replace(only(files), base=ZERO)
        offer = replace(manifest.offers[0], patches=(patch,))
        return replace(manifest, offers=(offer, *manifest.offers[1:]))

    assert check(clear, clear.resign(files, change)).problems == ()


def test_damage_is_told_once(clear: Project) -> None:
    files = clear.files()
    name = blob(only(files).payload.blob)
    report = check(clear, {**files, name: files[name][:-1] + b"!"})
    assert [(problem.where, problem.code) for problem in report.problems] == [(name, "digest")]
    name = blob(_release(files, "1.0.0").bundle.blob)
    report = check(clear, {**files, name: files[name][:-1] + b"!"})
    assert [(problem.where, problem.code) for problem in report.problems] == [(name, "digest")]


def test_an_encrypted_patch_is_tried_with_the_key_alone(project: Project) -> None:
    """An offer's patches are the wrong way round: each decrypts to nothing for its base."""
    files = project.files()
    offer = next(one for one in manifest_of(files).offers if len(one.patches) > 1)
    first, second, *_ = offer.patches

    def change(manifest: Manifest) -> Manifest:
        patches = (replace(first, base=second.base), replace(second, base=first.base))
        offers = (replace(one, patches=patches) if one == offer else one for one in manifest.offers)
        return replace(manifest, offers=tuple(offers))

    spoilt = project.resign(files, change)
    codes = {problem.code for problem in project.verify(spoilt).problems}
    assert codes <= {"decrypt", "digest"}
    assert codes
    keyless = project.verify(spoilt, expected=Expected(("production",)))
    assert keyless.problems == ()


def test_a_blob_is_tried_for_each_base_that_it_is_offered_for(project: Project) -> None:
    files = project.files()
    offer = next(one for one in manifest_of(files).offers if len(one.patches) > 1)
    good, other, *_ = offer.patches

    def change(manifest: Manifest) -> Manifest:
        patches = (good, replace(good, base=other.base))
        offers = (replace(one, patches=patches) if one == offer else one for one in manifest.offers)
        return replace(manifest, offers=tuple(offers))

    [problem] = project.verify(project.resign(files, change)).problems
    assert problem.where == blob(good.payload.blob)
    assert problem.code in {"decrypt", "digest"}  # another key may leave what looks like padding


def _release(files: Files, version: str) -> Release:
    import json

    return Release.from_json(json.loads(files[f"releases/{version}.json"])["signed"])


def test_scratch_is_left_empty(
    clear: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    check(clear, with_patch(clear, b"no patch"))
    assert list(tmp_path.iterdir()) == []
