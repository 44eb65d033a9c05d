"""What expires, what is missing, what is left over, and clocks and numbers that disagree."""

import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from manifestgen.doctor.site import _bucket
from manifestgen.errors import StoreError
from tests.doctor.test_keys import NOWHERE, found, git
from tests.publish.project import Project, ended, process, without_overriding

Prepare = Callable[[Project, pytest.MonkeyPatch], None]


def at(**later: float) -> Prepare:
    """Let the clock be later, or earlier."""

    def prepare(project: Project, patch: pytest.MonkeyPatch) -> None:
        now = datetime.now(UTC) + timedelta(**later)
        patch.setenv("SOURCE_DATE_EPOCH", str(int(now.timestamp())))

    return prepare


def signed(**later: float) -> Prepare:
    """Let a manifest be signed by somebody whose clock is ahead."""

    def prepare(project: Project, patch: pytest.MonkeyPatch) -> None:
        with patch.context() as inner:
            at(**later)(project, inner)
            project.does("refresh")

    return prepare


def before_root_ends(days: int) -> Prepare:
    def prepare(project: Project, patch: pytest.MonkeyPatch) -> None:
        left = project.keyring().root.expires - datetime.now(UTC)
        at(days=left.days - days)(project, patch)

    return prepare


def config(old: str, new: str) -> Prepare:
    def prepare(project: Project, patch: pytest.MonkeyPatch) -> None:
        path = project.folder / "manifestgen.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return prepare


def doing(step: Callable[[Project], object]) -> Prepare:
    def prepare(project: Project, patch: pytest.MonkeyPatch) -> None:
        step(project)

    return prepare


def bundle(project: Project) -> Path:
    return next((project.site / "blobs").rglob("*.bin"))


def shorter(project: Project) -> None:
    bundle(project).write_bytes(b"short")


def orphan(project: Project, *, days: int) -> None:
    path = project.site / "blobs/ab" / f"{'ab' * 32}.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"x" * 2_000_000)
    then = datetime.now(UTC).timestamp() - days * 86_400
    os.utime(path, (then, then))


def marks(number: int) -> Prepare:
    def prepare(project: Project, patch: pytest.MonkeyPatch) -> None:
        path = project.folder / ".manifestgen/keys/sequences.json"
        path.write_text(json.dumps({"production": number}))
        path.chmod(0o600)

    return prepare


def pending(project: Project) -> None:
    folder = project.folder / ".manifestgen/pending"
    folder.mkdir()
    (folder / "release-1.1.0.json").write_text("{}")


def publish_with_url(project: Project, patch: pytest.MonkeyPatch) -> None:
    with patch.context() as inner:
        inner.setenv("MANIFESTGEN_BASE_URL", NOWHERE)
        project.publishes("dist2")


def old_stock_answer(project: Project, patch: pytest.MonkeyPatch) -> None:
    publish_with_url(project, patch)
    (project.site / "production/capgo.json").write_text('{"version":"builtin"}')


def in_git(project: Project) -> None:
    git(project, "init")
    git(project, "add", "manifestgen.toml")


CASES: dict[str, tuple[Prepare, set[str]]] = {
    "all is well": (at(), {"site"}),
    "half a month before the end": (at(days=15), {"site"}),
    "the last week": (at(days=24), {"manifest_expires"}),
    "over": (at(days=31), {"expired"}),
    "signed by a clock an hour ahead": (signed(hours=1), {"manifest_ahead"}),
    "signed in the future": (signed(days=2), {"future"}),
    "this clock is behind": (at(days=-2), {"clock_behind"}),
    "the root ends in a month": (before_root_ends(30), {"expired", "root_expires"}),
    "the root is over": (before_root_ends(-2), {"expired", "root_expired"}),
    "a blob is missing": (doing(lambda one: bundle(one).unlink()), {"blob_missing"}),
    "a blob is too short": (doing(shorter), {"blob_damaged"}),
    "an orphan": (doing(lambda one: orphan(one, days=20)), {"orphan_blobs"}),
    "a blob of somebody who publishes now": (doing(lambda one: orphan(one, days=1)), {"site"}),
    "something else": (
        doing(lambda one: (one.site / "notes.txt").write_text("x")),
        {"leftovers"},
    ),
    "a document changed": (
        doing(lambda one: (one.site / "releases/1.0.0.json").write_text("{}")),
        {"format"},
    ),
    "a backup was put back": (marks(7), {"site_behind"}),
    "somebody else publishes": (marks(0), {"mark_behind"}),
    "a release waits": (doing(pending), {"pending"}),
    "another app": (config('app = "local.shop"', 'app = "com.example.other"'), {"app_differs"}),
    "no root": (
        doing(lambda one: shutil.rmtree(one.folder / ".manifestgen/root")),
        {"no_root"},
    ),
    "a damaged root": (
        doing(lambda one: (one.folder / ".manifestgen/root/1.json").write_text("{}")),
        {"root_damaged"},
    ),
    "nothing published": (doing(lambda one: shutil.rmtree(one.site)), {"not_published"}),
    "the root is not in git": (doing(in_git), {"root_not_in_git"}),
    "stock answers, and no address": (publish_with_url, {"no_base_url"}),
}


@pytest.mark.parametrize("case", CASES)
def test_sites_are_examined(case: str, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare, codes = CASES[case]
    prepare(project, monkeypatch)
    assert set(found(project, area="site")) == codes


LOST = {
    "the newest root": ("root.json", "`manifestgen refresh`"),
    "a root": ("root/1.json", "`manifestgen refresh`"),
    "a manifest": ("production/manifest.json", "`manifestgen refresh`"),
    "what stock plugins are told": ("production/capgo.json", "`manifestgen refresh`"),
    "a bundle": ("blobs/*/*.bin", "publish that build again"),
}


@pytest.mark.parametrize("case", LOST)
def test_what_it_says_to_do_about_a_lost_file_brings_it_back(
    case: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost, fix = LOST[case]
    if "capgo" in lost:
        monkeypatch.setenv("MANIFESTGEN_BASE_URL", NOWHERE)
        project.does("refresh")
    [path] = project.site.glob(lost)
    path.unlink()
    [finding] = [one for one in problems(project) if one["area"] == "site"]
    assert finding["fix"].startswith(fix)
    project.does(*(["refresh"] if "refresh" in fix else ["publish", "dist"]))
    assert [one for one in problems(project) if one["area"] == "site"] == []


STOCK: dict[str, tuple[Prepare, set[str]]] = {
    "as published": (publish_with_url, {"site"}),
    "never rendered": (at(), {"missing"}),
    "an older answer": (old_stock_answer, {"capgo"}),
}


@pytest.mark.parametrize("case", STOCK)
def test_what_stock_plugins_are_told_is_examined(
    case: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, codes = STOCK[case]
    prepare(project, monkeypatch)
    monkeypatch.setenv("MANIFESTGEN_BASE_URL", NOWHERE)
    assert set(found(project, area="site")) == codes


def test_an_empty_site_is_no_problem_where_another_is_live(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(project.site)
    assert "not_published" in {one["code"] for one in problems(project)}
    monkeypatch.setenv("MANIFESTGEN_BASE_URL", NOWHERE)
    assert {one["code"] for one in problems(project)} == {"unreachable"}


def problems(project: Project) -> list[dict[str, str]]:
    findings = project("doctor", "--json").json["findings"]
    return [one for one in findings if one["severity"] == "problem"]


def test_a_site_that_cannot_be_written_is_said(project: Project) -> None:
    project.site.chmod(0o555)
    try:
        said = ended(process(project.folder, "doctor", "--json", first=without_overriding))
    finally:
        project.site.chmod(0o755)
    assert said.code == 0
    assert "not_writable" in {one["code"] for one in said.json["findings"]}


def honest() -> bool:
    return True


def careless() -> bool:
    return False


def refused() -> bool:
    raise StoreError("this store ignores conditions", hint="use another")


@pytest.mark.parametrize(
    ("check", "severities"), [(honest, []), (careless, ["warning"]), (refused, ["problem"])]
)
def test_what_a_bucket_promises_is_told(check: Callable[[], bool], severities: list[str]) -> None:
    assert [one.severity.value for one in _bucket(check)] == severities
