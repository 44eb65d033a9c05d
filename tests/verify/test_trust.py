"""Whose word counts, and for how long."""

from dataclasses import replace

import pytest

from manifestgen.core.envelope import Envelope
from manifestgen.core.limits import LIMITS
from manifestgen.errors import UsageError, VerificationError
from manifestgen.verify import Anchor, Expected
from tests.verify.project import DAY, Files, Project, Unlisted, store_of

MANIFEST = "production/manifest.json"


def test_another_projects_root(project: Project, other: Project, files: Files) -> None:
    report = project.verify(files, anchor=other.anchor)
    wrong = {(problem.where, problem.code) for problem in report.problems}
    assert {("root/1.json", "root"), ("root.json", "root"), (MANIFEST, "signature")} <= wrong


def test_another_projects_site(project: Project, other: Project) -> None:
    assert not project.verify(other.files()).ok
    assert not project.verify(Unlisted(other.files())).ok


@pytest.mark.parametrize("number", [1, 2])
def test_any_root_of_the_chain_may_be_the_one_that_is_trusted(
    rotated: Project, number: int
) -> None:
    anchor = Anchor.of(rotated.files()[f"root/{number}.json"])
    assert rotated.verify(rotated.files(), anchor=anchor).ok
    assert rotated.verify(Unlisted(rotated.files()), anchor=anchor).ok


def test_later_roots_are_walked_from_an_old_one(rotated: Project) -> None:
    files = rotated.files()
    first = Anchor.of(files["root/1.json"])
    for name in ("root/2.json", "root.json"):
        for data in (files[name][:-1], b"<html>", files["root/1.json"]):
            report = rotated.verify({**files, name: data}, anchor=first)
            assert name in {problem.where for problem in report.problems}, (name, data)


def test_an_earlier_root_must_lead_to_the_one_that_is_trusted(
    rotated: Project, project: Project
) -> None:
    files = rotated.files()
    anchor = Anchor.of(files["root/2.json"])
    foreign = {**files, "root/1.json": project.files()["root/1.json"]}
    report = rotated.verify(foreign, anchor=anchor)
    assert {problem.where for problem in report.problems} == {"root/1.json"}


def test_a_root_that_nothing_leads_to(project: Project, files: Files) -> None:
    report = project.verify({**files, "root/3.json": files["root/1.json"]})
    assert [(one.where, one.code) for one in report.problems] == [
        ("root/2.json", "missing"),
        ("root/3.json", "root_gap"),
    ]


def test_a_root_that_only_the_new_site_has(rotated: Project) -> None:
    """`root.json` left behind: devices would hear of the new root one day late, or never."""
    files = rotated.files()
    first = Anchor.of(files["root/1.json"])
    stale = {**files, "root.json": files["root/1.json"]}
    for site in (store_of(stale), Unlisted(stale)):
        report = rotated.verify(site, anchor=first)
        assert [(one.where, one.code) for one in report.problems] == [("root.json", "root")]


def test_a_damaged_root_to_trust(files: Files) -> None:
    with pytest.raises(VerificationError):
        Anchor.of(files["root/1.json"].replace(b"root", b"toor"))


@pytest.mark.parametrize(
    ("day", "codes", "noted"),
    [
        pytest.param(0, [(MANIFEST, "future")], False, id="two days before it was issued"),
        pytest.param(3, [], False, id="fresh"),
        pytest.param(20, [], True, id="half its time is over"),
        pytest.param(31, [], True, id="the day before it expires"),
        pytest.param(32, [(MANIFEST, "expired")], False, id="expired to the second"),
        pytest.param(705, [(MANIFEST, "expired")], True, id="a root that expires soon"),
        pytest.param(
            730, [("root/1.json", "root_expired"), (MANIFEST, "expired")], False, id="root expired"
        ),
    ],
)
def test_freshness_at_a_time(
    project: Project, files: Files, day: int, codes: list[tuple[str, str]], noted: bool
) -> None:
    report = project.verify(files, day=day)
    assert [(problem.where, problem.code) for problem in report.problems] == codes
    assert bool(report.notes) is noted


def test_a_manifest_that_lives_longer_than_root_allows(project: Project, files: Files) -> None:
    long = project.resign(files, lambda old: replace(old, expires=old.expires + 300 * DAY))
    report = project.verify(long)
    assert (MANIFEST, "lifetime") in {(one.where, one.code) for one in report.problems}


def test_a_version_signed_twice_with_different_content(project: Project, files: Files) -> None:
    """History offered 1.0.0; today's file of that name is validly signed and says another thing."""
    from manifestgen.core.release import Release

    name = "releases/1.0.0.json"
    old = Release.from_json(Envelope.decode(files[name], limit=LIMITS.release_bytes).signed)
    report = project.verify({**files, name: project.sign(replace(old, notes="other"))})
    assert [(one.where, one.code) for one in report.problems] == [(name, "release")]


@pytest.mark.parametrize("keyid", ["known", "unknown"])
def test_a_needless_signature_that_is_wrong(project: Project, files: Files, keyid: str) -> None:
    """Devices ignore it; in a site it is damage."""
    from manifestgen.core.envelope import Signature
    from manifestgen.core.keys import KeyId

    name = "releases/1.0.0.json"
    envelope = Envelope.decode(files[name], limit=LIMITS.release_bytes)
    known = envelope.signatures[0].keyid
    added = Signature(known if keyid == "known" else KeyId("0" * 64), bytes(64))
    doubled = replace(envelope, signatures=(*envelope.signatures, added))
    report = project.verify({**files, name: doubled.encode()})
    assert [(one.where, one.code) for one in report.problems] == [(name, "signature")]


def test_nothing_is_published(project: Project) -> None:
    for store in (store_of({}), store_of({"readme.txt": b"hello"}), Unlisted({})):
        with pytest.raises(UsageError, match="nothing is published at"):
            project.verify(store)


def test_a_channel_that_was_asked_for_must_be_there(project: Project, files: Files) -> None:
    for store in (store_of(files), Unlisted(files)):
        report = project.verify(store, expected=replace(project.expected, channels=("beta",)))
        assert [(one.where, one.code) for one in report.problems] == [
            ("beta/manifest.json", "missing")
        ]


def test_a_web_site_without_a_known_channel(project: Project, files: Files) -> None:
    with pytest.raises(UsageError, match="no channel is known"):
        project.verify(Unlisted(files), expected=Expected())


def test_a_site_with_roots_alone(project: Project, files: Files) -> None:
    report = project.verify({name: files[name] for name in ("root.json", "root/1.json")})
    assert [(one.where, one.code) for one in report.problems] == [(MANIFEST, "missing")]
