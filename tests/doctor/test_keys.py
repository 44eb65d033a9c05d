"""Keys that others can read, keys in git or in the site, keys that no root names."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.publish.project import Project, snapshot

NOWHERE = "https://127.0.0.1:9"
"""A base URL at which nobody answers, and of which that is known at once."""


def found(project: Project, *flags: str | Path, area: str = "keys") -> dict[str, str]:
    """Return the sentences of one area by code; nothing may be changed by asking."""
    before = snapshot(project.folder)
    said = project("doctor", "--json", *flags)
    assert snapshot(project.folder) == before
    findings = said.json["findings"]
    problems = [one for one in findings if one["severity"] == "problem"]
    assert said.json["problems"] == len(problems)
    assert said.code == bool(problems)
    assert all(bool(one["fix"]) == (one["severity"] != "ok") for one in findings)
    return {one["code"]: one["sentence"] for one in findings if one["area"] == area}


def git(project: Project, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", *arguments],
        cwd=project.folder,
        check=True,
        capture_output=True,
    )


def key(project: Project, name: str = "signing.pem") -> Path:
    return project.folder / ".manifestgen/keys" / name


def readable(project: Project) -> None:
    key(project).chmod(0o640)


def public(project: Project) -> None:
    shutil.copy(project.folder / ".manifestgen/capgo.pub.pem", key(project, "capgo.pub.pem"))
    key(project, "capgo.pub.pem").chmod(0o644)


def folder_readable(project: Project) -> None:
    key(project).parent.chmod(0o755)


def tracked(project: Project) -> None:
    git(project, "init")
    git(project, "add", "-f", ".manifestgen/keys/signing.pem")


def in_history(project: Project) -> None:
    tracked(project)
    git(project, "commit", "-m", "oops")
    git(project, "rm", "--cached", ".manifestgen/keys/signing.pem")
    git(project, "commit", "-m", "gone")


def not_ignored(project: Project) -> None:
    git(project, "init")
    key(project, ".gitignore").unlink()


def in_site(project: Project) -> None:
    shutil.copy(key(project), project.site / "backup.pem")


def hidden_in_site(project: Project) -> None:
    (project.site / ".old").mkdir()
    shutil.copy(key(project, "capgo.pem"), project.site / ".old/.capgo_key_v2")


def linked_into_site(project: Project) -> None:
    target = project.site / "kept.pem"
    key(project).rename(target)
    key(project).symlink_to(target)


def stray(project: Project) -> None:
    project.does("keys", "create", "--only", "signing", "--out-dir", "other")
    made = next((project.folder / "other").glob("*.pem"))
    shutil.copy(made, key(project, "older.pem"))


def another(project: Project) -> None:
    stray(project)
    key(project, "older.pem").rename(key(project))


def lost(project: Project) -> None:
    key(project).unlink()


def capgo_lost(project: Project) -> None:
    key(project, "capgo.pem").unlink()


def capgo_another(project: Project) -> None:
    project.does("keys", "create", "--only", "capgo", "--out-dir", "other")
    shutil.copy(project.folder / "other/capgo.pem", key(project, "capgo.pem"))


def content_damaged(project: Project) -> None:
    key(project, "content.key").write_text("secret")


CASES: dict[str, tuple[Callable[[Project], None], set[str]]] = {
    "others may read a key": (readable, {"key_readable"}),
    "others may look into the folder": (folder_readable, {"key_folder_readable"}),
    "git tracks a key": (tracked, {"key_in_git"}),
    "a commit holds a key": (in_history, {"key_in_history"}),
    "git would take a key": (not_ignored, {"key_not_ignored"}),
    "a key in the site": (in_site, {"key_in_site"}),
    "a hidden key in the site": (hidden_in_site, {"key_in_site"}),
    "a link to a key in the site": (linked_into_site, {"key_in_site"}),
    "a key that was replaced": (stray, {"key_unknown"}),
    "a key of another project": (another, {"key_unknown", "role_without_key"}),
    "a lost key": (lost, {"role_without_key"}),
    "a lost Capgo key": (capgo_lost, {"key_missing"}),
    "another Capgo key": (capgo_another, {"capgo_key_differs"}),
    "a damaged content secret": (content_damaged, {"key_damaged"}),
    "a public key beside them": (public, {"keys"}),
    "all is well": (lambda _: None, {"keys"}),
}


@pytest.mark.parametrize("case", CASES)
def test_keys_are_examined(case: str, project: Project) -> None:
    breaks, codes = CASES[case]
    breaks(project)
    assert set(found(project)) == codes


@pytest.mark.parametrize(
    ("breaks", "code"),
    [
        (readable, "key_readable"),
        (folder_readable, "key_folder_readable"),
        (tracked, "key_in_git"),
        (not_ignored, "key_not_ignored"),
        (lambda project: git(project, "init"), "root_not_in_git"),
    ],
)
def test_what_it_says_to_type_can_be_pasted(
    breaks: Callable[[Project], None], code: str, project: Project
) -> None:
    shop = project.copied("my shop's")
    breaks(shop)
    fixes = [one["fix"] for one in shop("doctor", "--json").json["findings"] if one["code"] == code]
    assert fixes
    for fix in fixes:
        subprocess.run(["sh", "-c", fix.split("`")[1]], cwd=shop.folder, check=True)
    assert code not in {one["code"] for one in shop("doctor", "--json").json["findings"]}


def test_a_role_of_its_own_is_told_apart(project: Project) -> None:
    config = project.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace("[keys]", '[keys]\nrelease = "file:gone.pem"'))
    assert "sign as release" in found(project)["role_without_key"]


def test_a_key_behind_a_passphrase_is_left_alone(
    fresh: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("MANIFESTGEN_PASSPHRASE", "open sesame")
        fresh.does("keys", "create", "--passphrase")
        fresh.publishes("dist")
    assert set(found(fresh)) == {"keys"}


def test_an_empty_folder_has_nothing_to_examine(fresh: Project) -> None:
    said = fresh("doctor", "--json")
    assert (said.code, said.json) == (0, {"findings": [], "problems": 0, "warnings": 0})


def test_people_read_the_worst_first(project: Project) -> None:
    folder_readable(project)
    readable(project)
    said = project("doctor")
    lines = said.out.splitlines()
    assert lines[0] == "keys"
    assert lines[1].startswith("  problem  others may read ")
    assert lines[2] == f"           fix: `chmod 600 {key(project)}`"
    assert lines[3].startswith("  warning  others may look into ")
    assert lines[-1] == "1 problem, 1 warning"
    assert (said.code, said.err) == (1, "")


def test_nothing_found_is_obeyed_by_a_terminal(project: Project) -> None:
    (project.site / "a\x1b[2Jb.pem").write_bytes(key(project).read_bytes())
    said = project("doctor")
    assert "\x1b" not in said.out
    assert r"a\x1b[2Jb.pem" in said.out
    assert "\x1b" not in json.dumps(project("doctor", "--json").json)
