"""`publish` on the command line: what it refuses, leaving everything as it was, and what it does.

The refusals are those the project promises: one `error:` line, one `hint:` line, an exit code.
"""

import base64
import hashlib
import os
import random
import resource
import shutil
import socket
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from manifestgen.core.keyring import usable
from manifestgen.core.keys import Algorithm
from manifestgen.signers.create import create_capgo_key, create_signing_key
from tests.publish.project import (
    COMMAND,
    Project,
    build,
    changes,
    check_refusal,
    copy_project,
    ended,
    process,
    site_files,
    snapshot,
    web_server,
    without_overriding,
)

Spoil = Callable[[Project], object]
KEYS = ".manifestgen/keys"


# Builds that are none


def write(name: str, text: str = "x") -> Spoil:
    def spoil(project: Project) -> None:
        path = project.folder / "dist" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return spoil


def link(name: str, target: str) -> Spoil:
    return lambda project: (project.folder / "dist" / name).symlink_to(target)


def remove(name: str) -> Spoil:
    return lambda project: (project.folder / "dist" / name).unlink()


def both(*spoils: Spoil) -> Spoil:
    return lambda project: [spoil(project) for spoil in spoils]


def nothing(project: Project) -> None:
    """Leave the build as it is."""


def empty(project: Project) -> None:
    (project.folder / "void/assets").mkdir(parents=True)


BUILDS: dict[str, tuple[Spoil, str, str]] = {
    "no such folder": (nothing, "dost", "dost: no such folder"),
    "a file": (nothing, "dist/index.html", "dist/index.html is not a folder"),
    "empty": (empty, "void", "void is empty"),
    "no index.html": (remove("index.html"), "dist", "dist has no `index.html`"),
    "index.html further down": (nothing, ".", "no `index.html`"),
    "a link that leads outside": (link("key", "/etc/hosts"), "dist", "leads out of the folder"),
    "a link to a folder outside": (link("etc", "/etc"), "dist", "leads out of the folder"),
    "a link that leads nowhere": (link("gone", "nowhere"), "dist", "leads nowhere"),
    "a link to itself": (link("loop", "loop"), "dist", "dist/loop"),
    "a pipe": (
        lambda project: os.mkfifo(project.folder / "dist/pipe"),
        "dist",
        "a pipe, socket or device",
    ),
    "names that differ by case": (both(write("A.js"), write("a.js")), "dist", "A.js"),
    "names that differ by Unicode form": (
        both(*(write(unicodedata.normalize(form, "é.js")) for form in ("NFC", "NFD"))),
        "dist",
        "é.js",
    ),
    "a name reserved by Windows": (write("assets/con.js"), "dist", "con.js"),
    "a name that ends in a dot": (write("assets/end."), "dist", "end."),
    "a name that ends in a space": (write("assets/end "), "dist", "end "),
    "a folder that ends in a space": (write("dir /x.js"), "dist", "dir "),
    "a backslash in a name": (write("a\\b.js"), "dist", "b.js"),
    "a line end in a name": (write("a\nb.js"), "dist", "b.js"),
    "a repository": (write(".git/config"), "dist", "does not belong in a bundle"),
    "a private key": (
        write("server.pem", "-----BEGIN PRIVATE KEY-----\n"),
        "dist",
        "holds a private key",
    ),
}


@pytest.mark.parametrize("case", BUILDS)
def test_a_folder_that_is_no_build_is_refused(fresh: Project, case: str) -> None:
    spoil, folder, error = BUILDS[case]
    spoil(fresh)
    fresh.refuses("publish", folder, code=2, error=error)


@pytest.mark.parametrize("what", ["index.html", "assets"])
def test_what_cannot_be_read_is_refused(fresh: Project, what: str) -> None:
    path = fresh.folder / "dist" / what
    path.chmod(0)
    before = snapshot(fresh.folder)
    try:
        started = process(fresh.folder, "publish", "dist", first=without_overriding)
    except (subprocess.SubprocessError, AttributeError):
        pytest.skip("root's powers cannot be given up here")
    check_refusal(ended(started), code=2, error="cannot be read")
    assert changes(before, snapshot(fresh.folder)) == []


def test_a_file_that_changes_while_it_is_read_is_refused(project: Project) -> None:
    busy = project.folder / "dist2/assets/app.js"
    before = site_files(project.site)
    publishing = process(project.folder, "publish", "dist2")
    with busy.open("a") as file:
        while publishing.poll() is None:
            file.write("x")
            file.flush()
            time.sleep(0.0005)
    check_refusal(ended(publishing), code=1, error="app.js changed while it was read")
    assert site_files(project.site) == before


# Folders that must lie apart


def test_a_site_inside_the_build_is_refused(fresh: Project) -> None:
    fresh.refuses("publish", "dist", "--site", "dist/site", code=2, error="lies inside the build")
    fresh.refuses("publish", "dist", "--site", "dist", code=2, error="lies inside the build")


def test_the_site_is_no_build(project: Project) -> None:
    said = project.refuses("publish", "site", code=2, error="site is the site, and no build")
    assert "such as `dist` or `www`" in said.err


def test_a_build_inside_the_site_is_refused(fresh: Project) -> None:
    build(fresh.folder / "public/app")
    fresh.refuses(
        *("publish", "public/app", "--site", "public"), code=2, error="lies inside the site"
    )


def test_a_site_that_would_publish_the_keys_is_refused(fresh: Project) -> None:
    elsewhere = build(fresh.folder.parent / "dist")
    fresh.refuses("publish", elsewhere, "--site", ".", code=2, error="the key ")


def test_a_site_that_would_publish_keys_made_before_is_refused(project: Project) -> None:
    elsewhere = build(project.folder.parent / "dist")
    project.refuses("publish", elsewhere, "--site", ".", code=2, error="the key ")
    project.refuses(*("publish", elsewhere, "--site", KEYS), code=2, error="the key ")


def test_a_site_that_is_a_link_into_the_build_is_refused(fresh: Project) -> None:
    fresh.site.symlink_to("dist/public")
    fresh.refuses("publish", "dist", code=2, error="lies inside the build")


def test_a_site_that_is_a_file_is_refused(project: Project) -> None:
    (project.folder / "file").touch()
    project.refuses("publish", "dist", "--site", "file", code=2, error="is a file, not a site")


def test_a_site_that_can_only_be_read_is_refused(project: Project) -> None:
    project.refuses(
        *("publish", "dist", "--site", "https://cdn.example.com"), code=2, error="only be read"
    )


# Keys


def opened(name: str) -> Spoil:
    return lambda project: (project.folder / KEYS / name).chmod(0o644)


def lost(name: str) -> Spoil:
    return lambda project: (project.folder / KEYS / name).unlink()


def replaced(name: str) -> Spoil:
    def spoil(project: Project) -> None:
        path = project.folder / KEYS / name
        path.unlink()
        if name == "signing.pem":
            create_signing_key(path, Algorithm.ED25519, None)
        elif name == "capgo.pem":
            create_capgo_key(path, None)

    return spoil


def garbled(name: str, data: bytes) -> Spoil:
    return lambda project: (project.folder / KEYS / name).write_bytes(data)


BROKEN_KEYS: dict[str, tuple[Spoil, str]] = {
    "signing key readable by others": (opened("signing.pem"), "signing.pem can be read by others"),
    "Capgo key readable by others": (opened("capgo.pem"), "capgo.pem can be read by others"),
    "secret readable by others": (opened("content.key"), "content.key can be read by others"),
    "signing key missing": (lost("signing.pem"), "there is no key at"),
    "Capgo key missing": (lost("capgo.pem"), "there is no key at"),
    "secret missing": (lost("content.key"), "there is no key at"),
    "another project's signing key": (replaced("signing.pem"), "a release needs 1 of the keys"),
    "another project's Capgo key": (replaced("capgo.pem"), "but apps carry"),
    "a signing key that is none": (garbled("signing.pem", b"hello"), "no private key in PEM"),
    "an empty signing key": (garbled("signing.pem", b""), "no private key in PEM"),
    "a secret that is none": (garbled("content.key", b"hello"), "is no content secret"),
}


@pytest.mark.parametrize("case", BROKEN_KEYS)
def test_a_key_that_will_not_do_is_refused(project: Project, case: str) -> None:
    spoil, error = BROKEN_KEYS[case]
    spoil(project)
    project.refuses("publish", "dist2", code=4, error=error)


def test_a_lost_signing_key_is_not_made_again(project: Project) -> None:
    lost("signing.pem")(project)
    project("init")
    assert not (project.folder / KEYS / "signing.pem").exists()


def locked(project: Project, passphrase: bytes, *names: str) -> None:
    """Put a passphrase on keys, as other programs do."""
    for name in names or ("signing.pem", "capgo.pem"):
        path = project.folder / KEYS / name
        key = serialization.load_pem_private_key(path.read_bytes(), None)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(passphrase),
            )
        )


@pytest.mark.parametrize(
    ("given", "error"),
    [
        pytest.param({}, "needs a passphrase", id="none"),
        pytest.param({"MANIFESTGEN_PASSPHRASE": "wrong"}, "passphrase", id="wrong"),
        pytest.param({"MANIFESTGEN_PASSPHRASE_FILE": "nowhere"}, "no passphrase", id="no file"),
    ],
)
def test_a_passphrase_that_does_not_fit_is_refused(
    project: Project, given: dict[str, str], error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked(project, b"right")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    project.refuses("publish", "dist2", code=4, error=error)


def test_with_ci_nothing_is_asked_and_no_key_is_made(
    fresh: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    fresh.refuses("publish", "dist", code=4, error="CI makes no keys")
    fresh.refuses("init", code=4, error="CI makes no keys")


def test_with_ci_a_terminal_is_not_asked(project: Project) -> None:
    pty = pytest.importorskip("pty")
    locked(project, b"right")
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, "publish", "dist2"],
            cwd=project.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CI": "1"},
            stdin=theirs,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 4
    assert "needs a passphrase" in done.stderr


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("signing.pem", "MANIFESTGEN_KEY_ROOT"),
        ("capgo.pem", "MANIFESTGEN_KEY_CAPGO"),
        ("content.key", "MANIFESTGEN_KEY_CONTENT"),
    ],
)
def test_a_missing_key_names_the_variable_that_brings_it(
    project: Project, monkeypatch: pytest.MonkeyPatch, name: str, variable: str
) -> None:
    """As in a CI job whose secret was forgotten."""
    monkeypatch.setenv("CI", "true")
    path = project.folder / KEYS / name
    key = path.read_text()
    path.unlink()
    said = project.refuses("publish", "dist2", code=4, error=f"there is no key at {path}")
    assert f"or set {variable} to the key itself" in said.err
    monkeypatch.setenv(variable, key)
    project.does("publish", "dist2")


# Sites that are not this project's, or not as it left them


def site_of_another_project(project: Project) -> None:
    other = project.folder.parent / "other"
    build(other / "dist")
    assert ended(process(other, "publish", "dist")).code == 0
    shutil.rmtree(project.site)
    copy_project(other / "site", project.site)


def flipped(name: str, offset: int = 100) -> Spoil:
    def spoil(project: Project) -> None:
        path = project.site / name
        data = bytearray(path.read_bytes())
        data[offset] ^= 1
        path.write_bytes(data)

    return spoil


def overwritten(name: str, data: bytes) -> Spoil:
    return lambda project: (project.site / name).write_bytes(data)


def gone(name: str) -> Spoil:
    return lambda project: (project.site / name).unlink()


MANIFEST = "production/manifest.json"
TAMPERED: dict[str, tuple[Spoil, str]] = {
    "manifest, one bit": (flipped(MANIFEST), "production/manifest.json"),
    "manifest, a login page": (overwritten(MANIFEST, b"<html>"), "production/manifest.json"),
    "manifest, empty": (overwritten(MANIFEST, b""), "production/manifest.json"),
    "manifest, another kind": (
        lambda project: (project.site / MANIFEST).write_bytes(
            (project.site / "root.json").read_bytes()
        ),
        "production/manifest.json",
    ),
    "history, one bit": (flipped("production/history/000002.json"), "000002.json"),
    "history without the newest": (gone("production/history/000002.json"), "000002.json"),
    "an older manifest": (
        lambda project: (project.site / "production/history/000002.json").write_bytes(
            (project.site / "production/history/000001.json").read_bytes()
        ),
        "000002.json",
    ),
    "root, one bit": (flipped("root/1.json"), "root/1.json"),
    "another project's site": (site_of_another_project, "production/manifest.json"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_a_site_that_does_not_verify_is_never_extended(project: Project, case: str) -> None:
    project.publishes("dist2")
    build(project.folder / "dist3", version="1.2.0")
    spoil, name = TAMPERED[case]
    spoil(project)
    said = project.refuses("publish", "dist3", code=3, error=name)
    assert "Traceback" not in said.err


def test_a_release_that_was_tampered_with_is_not_offered_again(project: Project) -> None:
    flipped("releases/1.0.0.json")(project)
    project.refuses("publish", "dist", code=3, error="releases/1.0.0.json of the site")
    project.refuses(
        *("publish", "dist", "--channel", "beta"), code=3, error="releases/1.0.0.json of the site"
    )


def test_a_release_of_another_project_is_not_offered(project: Project) -> None:
    other = project.folder.parent / "other"
    build(other / "dist", version="1.1.0")
    assert ended(process(other, "publish", "dist")).code == 0
    name = "site/releases/1.1.0.json"
    (project.folder / name).write_bytes((other / name).read_bytes())
    project.refuses("publish", "dist2", code=3, error="releases/1.1.0.json of the site")


def test_a_root_chain_that_was_tampered_with_is_refused(project: Project) -> None:
    root = project.folder / ".manifestgen/root/1.json"
    root.write_bytes(root.read_bytes().replace(b"2026", b"2027").replace(b"2028", b"2099"))
    project.refuses("publish", "dist2", code=3, error="the root chain in")


# Versions


def test_a_version_never_gets_other_content(project: Project) -> None:
    (project.folder / "dist/assets/app.js").write_text("other")
    project.refuses("publish", "dist", code=2, error="1.0.0 is published already, with other")


def test_a_lower_version_is_refused(project: Project) -> None:
    project.publishes("dist2")
    build(project.folder / "old", version="0.9.0")
    project.refuses("publish", "old", code=2, error="production offers 1.1.0, and no device")
    project.refuses("publish", "old", code=2, error="production offers 1.1.0, and no device")


def test_a_withdrawn_version_is_refused(project: Project) -> None:
    project.publishes("dist2")
    project.does("channel", "withdraw", "1.1.0")
    project.refuses("publish", "dist2", code=2, error="1.1.0 was withdrawn from production")


def test_a_build_without_a_version_is_refused(fresh: Project) -> None:
    (fresh.folder / "dist/package.json").unlink()
    above = [folder for folder in fresh.folder.parents if (folder / "package.json").exists()]
    if above:
        pytest.skip(f"{above[0]} has a package.json")
    fresh.refuses("publish", "dist", code=2, error="no version")


@pytest.mark.parametrize(
    "text", ["1", "1.0", "v1.0.0", "1.0.0+5", "01.0.0", "1.0.0-", "", " 1.0.0", "1.0.0\n", "latest"]
)
def test_a_version_that_is_none_is_refused(fresh: Project, text: str) -> None:
    (fresh.folder / "dist/package.json").write_text(f'{{"version": {text!r}}}'.replace("'", '"'))
    error = "is no semantic version" if text.strip() else "no"
    if text:
        fresh.refuses("publish", "dist", code=2, error=error)
    fresh.refuses("publish", "dist", "--version", text, code=2, error="is no semantic version")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("v1.2.0", "1.2.0"),
        ("1.2", "1.2.0"),
        ("3", "3.0.0"),
        ("01.2.3", "1.2.3"),
        ("V1.2-beta.1", "1.2.0-beta.1"),
        ("1.2.3+build.7", "1.2.3"),
        ("1.2.3-01", "1.4.2 or 1.5.0-beta.1"),
        ("next", "1.4.2 or 1.5.0-beta.1"),
    ],
)
def test_the_version_that_was_meant_is_offered(fresh: Project, text: str, meant: str) -> None:
    said = fresh("publish", "dist", "--version", text)
    assert said.err.endswith(f"\nhint: write it as {meant}\n")


@pytest.mark.parametrize("text", ["{", '{"version": 1}', "\xff"])
def test_a_package_json_that_is_none_is_refused(fresh: Project, text: str) -> None:
    (fresh.folder / "dist/package.json").write_bytes(text.encode("latin-1"))
    fresh.refuses("publish", "dist", code=2, error="package.json")


# Flags and settings

FLAGS: dict[str, tuple[list[str], str]] = {
    "unknown flag": (["--roll-out", "10%"], "no such option: --roll-out"),
    "share above everyone": (["--rollout", "150%"], "'150%' is no share"),
    "negative share": (["--rollout", "-1%"], "'-1%' is no share"),
    "share without percent": (["--rollout", "0.5"], "'0.5' is no share"),
    "share too fine": (["--rollout", "0.001%"], "'0.001%' is no share"),
    "share that is no number": (["--rollout", "nan%"], "'nan%' is no share"),
    "endless share": (["--rollout", "inf%"], "'inf%' is no share"),
    "platform": (["--platform", "iOS 17"], "'iOS 17' is no platform"),
    "native range without a number": (["--native", "ios:>="], "--native"),
    "native range that is none": (["--native", "ios:new"], "--native"),
    "floor that is no version": (["--floor", "1"], "'1' is no semantic version"),
    "floor above the version": (["--floor", "2.0.0"], "the floor 2.0.0 is above 1.0.0"),
    "scheme": (["--scheme", "rot13"], "'rot13' is unknown"),
    "base URL": (["--base-url", "cdn.example.com"], "'cdn.example.com' is no URL"),
    "base URL with a query": (["--base-url", "https://example.com/?a"], "is no URL"),
    "channel": (["--channel", "Production"], "'Production' is no channel name"),
    "channel with a taken name": (["--channel", "blobs"], "'blobs' is no channel name"),
    "notes too long": (["--notes", "x" * 513], "the notes are 513 bytes long"),
    "notes too long in UTF-8": (["--notes", "é" * 257], "the notes are 514 bytes long"),
    "notes with control characters": (["--notes", "a\x1b[31mb"], "control characters"),
    "notes that are no file": (["--notes", "@nowhere"], "cannot read nowhere"),
    "a build and a Capgo zip": (["--capgo-zip", "x.zip"], "publish what?"),
    "no such configuration": (["--config", "nowhere.toml"], "there is no nowhere.toml"),
}


@pytest.mark.parametrize("case", FLAGS)
def test_a_wrong_flag_is_refused(fresh: Project, case: str) -> None:
    flags, error = FLAGS[case]
    fresh.refuses("publish", "dist", *flags, code=2, error=error)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        pytest.param([], "publish what?", id="nothing"),
        pytest.param(["--capgo-zip", "x.zip"], "needs --iv-session-key and --checksum", id="flags"),
        pytest.param(
            ["--capgo-zip", "x.zip", "--iv-session-key", "a:b", "--checksum", "c"],
            "x.zip: no such file",
            id="zip",
        ),
    ],
)
def test_nothing_to_publish_is_refused(fresh: Project, arguments: list[str], error: str) -> None:
    fresh.refuses("publish", *arguments, code=2, error=error)


TOML: dict[str, tuple[str, str, str]] = {
    "unknown key": ('chanel = "beta"', "unknown key `chanel`", "did you mean `channel`?"),
    "unknown key in a table": (
        '[keys]\nrelaese = "file:x"',
        "unknown key `keys.relaese`",
        "did you mean `keys.release`?",
    ),
    "not TOML": ("channel = ", "is no TOML", ""),
    "not UTF-8": ("channel = '\xff'", "cannot read", ""),
    "wrong type": ("channel = 3", "`channel`: want a string", ""),
    "scheme": ('scheme = "rot13"', "`scheme`: want one of capgo, none", ""),
    "expires": ('[channels.beta]\nexpires = "soon"', "'soon' is no duration", "30d"),
}


@pytest.mark.parametrize("case", TOML)
def test_a_wrong_setting_is_refused(fresh: Project, case: str) -> None:
    text, error, hint = TOML[case]
    (fresh.folder / "manifestgen.toml").write_bytes(text.encode("latin-1"))
    said = fresh.refuses("publish", "dist", code=2, error=error)
    assert hint in said.err


@pytest.mark.parametrize("epoch", ["soon", "-1", "1e9", "99999999999999", "253402300799"])
def test_a_time_that_is_none_is_refused(
    fresh: Project, epoch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    fresh.refuses("publish", "dist", code=2, error=f"SOURCE_DATE_EPOCH={epoch}")


# Disks


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount a file system of a few bytes."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def noise(path: Path, size: int) -> None:
    path.write_bytes(random.Random(7).randbytes(size))


def test_a_full_disk_is_said_and_changes_nothing(project: Project) -> None:
    noise(project.folder / "dist2/assets/noise.bin", 400_000)
    with small_disk(project.folder / "disk", 256 * 1024) as disk:
        copy_project(project.site, disk / "site")
        project.refuses(
            *("publish", "dist2", "--site", "disk/site"), code=6, error="o space left on device"
        )
        (project.folder / "dist2/assets/noise.bin").unlink()
        project.does("publish", "dist2", "--site", "disk/site")


@pytest.mark.parametrize("limit", [0, 500, 1500, 50_000, 200_000])
def test_a_file_that_may_not_grow_is_said_and_devices_see_nothing(
    project: Project, limit: int
) -> None:
    noise(project.folder / "dist2/assets/noise.bin", 200_000 if limit >= 50_000 else 1)
    before = (project.site / MANIFEST).read_bytes()

    def few_bytes() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    said = ended(process(project.folder, "publish", "dist2", first=few_bytes))
    check_refusal(said, code=6, error="cannot" if limit < 50_000 else "ann")
    assert (project.site / MANIFEST).read_bytes() == before
    assert project.publishes("dist2")["sequence"] == 2
    assert project.offered() == ["1.1.0"]


@pytest.mark.parametrize("where", ["site", "."])
def test_a_folder_that_cannot_be_written_is_said(fresh: Project, where: str) -> None:
    fresh.site.mkdir()
    if where == "site":
        fresh.does("init")
    folder = fresh.folder / where
    folder.chmod(0o555)
    before = snapshot(fresh.folder)
    try:
        started = process(fresh.folder, "publish", "dist", first=without_overriding)
    except (subprocess.SubprocessError, AttributeError):
        pytest.skip("root's powers cannot be given up here")
    said = ended(started)
    check_refusal(said, code=said.code, error="ermission denied")
    assert said.code in {4, 6}
    assert changes(before, snapshot(fresh.folder)) == []


# What it does


def test_the_first_publish_makes_a_project(fresh: Project) -> None:
    said = fresh.does("publish", "dist")
    assert "published local.shop 1.0.0 to production in" in said.out
    assert "  manifest  site/production/manifest.json, number 1\n" in said.out
    assert "back up .manifestgen/keys/" in said.err
    assert "note: capgo.json was not written" in said.err
    names = [name for name, what in snapshot(fresh.folder).items() if isinstance(what, tuple)]
    own = [name for name in names if not name.startswith(("site/", "dist/", ".manifestgen/cache/"))]
    assert own == [
        ".manifestgen/capgo.pub.pem",
        f"{KEYS}/.gitignore",
        f"{KEYS}/.manifestgen-lock",
        f"{KEYS}/capgo.pem",
        f"{KEYS}/content.key",
        f"{KEYS}/sequences.json",
        f"{KEYS}/signing.pem",
        ".manifestgen/root/1.json",
        "manifestgen.toml",
    ]
    files = site_files(fresh.site)
    [blob] = [name for name in files if name.startswith("blobs/")]
    assert sorted(files) == [
        blob,
        "index.html",
        "production/history/000001.json",
        "production/manifest.json",
        "releases/1.0.0.json",
        "root.json",
        "root/1.json",
    ]
    assert files["root.json"] == files["root/1.json"]
    assert files["production/manifest.json"] == files["production/history/000001.json"]
    assert fresh.offered() == ["1.0.0"]


def test_quiet_says_nothing_but_the_outcome(fresh: Project) -> None:
    assert fresh.does("publish", "dist", "-q").err == ""
    assert fresh.does("publish", "dist", "--json").err == ""


def test_json_has_every_field(project: Project) -> None:
    data = project.publishes("dist2")
    blobs = data["blobs"]
    assert list(data)[:10] == [
        *("app", "channel", "version", "sequence", "tree", "manifest", "release"),
        *("blobs", "patches", "changed"),
    ]
    assert (data["app"], data["channel"], data["version"]) == ("local.shop", "production", "1.1.0")
    assert (data["sequence"], data["changed"]) == (2, True)
    assert [one["from"] for one in data["patches"]] == ["1.0.0"]
    assert data["manifest"] == "production/history/000002.json"
    assert data["release"] == "releases/1.1.0.json"
    assert (blobs["written"], blobs["reused"]) == (1, 0)
    [release] = usable(project.manifest())
    assert release.bundle.size == blobs["bytes"]
    assert release.tree.digest == data["tree"]
    assert data["seconds"] >= 0


def test_publishing_again_changes_nothing(project: Project) -> None:
    before = snapshot(project.folder)
    said = project.does("publish", "dist")
    assert "local.shop 1.0.0 is already published to production, manifest 1" in said.out
    data = project.publishes("dist")
    assert (data["sequence"], data["changed"], data["blobs"]["written"]) == (1, False, 0)
    assert changes(before, snapshot(project.folder)) == []


def test_a_dry_run_writes_nothing(project: Project) -> None:
    before = snapshot(project.folder)
    said = project.does("publish", "dist2", "--dry-run")
    assert said.out.startswith("would publish local.shop 1.1.0 to production")
    assert project.publishes("dist2", "--dry-run")["sequence"] == 2
    assert changes(before, snapshot(project.folder)) == []
    assert project.publishes("dist2")["sequence"] == 2


def test_a_dry_run_makes_no_project(fresh: Project) -> None:
    fresh.refuses("publish", "dist", "--dry-run", code=2, error="there is no project here yet")


def test_the_same_input_gives_the_same_bytes(
    fresh: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1900000000")
    fresh.does("init")
    monkeypatch.setenv("CI", "1")  # no key is made on the way
    build(fresh.folder / "dist2", version="1.1.0", text="two")
    sites = []
    for name in ("one", "other"):
        copy = fresh.copied(name)
        copy.does("publish", "dist")
        url = ("--base-url", "https://cdn.example.com/app")
        copy.does("publish", "dist2", "--rollout", "10%", "--platform", "ios", *url)
        sites.append(site_files(copy.site))
    assert sites[0] == sites[1]
    assert b'"issued":"2030-03-17T17:46:40Z"' in sites[0]["production/manifest.json"]
    assert "production/capgo.json" in sites[0]


def pem_in_one_line(path: Path) -> str:
    return path.read_text().replace("\n", "\\n")


def pem_in_base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


@pytest.mark.parametrize("spell", [Path.read_text, pem_in_one_line, pem_in_base64])
def test_ci_has_its_keys_in_variables(
    project: Project, spell: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = project.folder.parent / "vault"
    (project.folder / KEYS).rename(keys)
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("MANIFESTGEN_KEY_ROOT", spell(keys / "signing.pem"))
    monkeypatch.setenv("MANIFESTGEN_KEY_CAPGO", spell(keys / "capgo.pem"))
    monkeypatch.setenv("MANIFESTGEN_KEY_CONTENT", (keys / "content.key").read_text())
    said = project.does("publish", "dist2", "-v")
    assert project.offered() == ["1.1.0"]
    assert not (project.folder / KEYS).exists()
    check_no_secret(keys, project, said.out + said.err)


@pytest.mark.parametrize("in_file", [False, True], ids=["variable", "file"])
def test_keys_may_have_a_passphrase(
    project: Project, in_file: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked(project, b"correct horse")
    if in_file:
        path = project.folder.parent / "passphrase"
        path.write_text("correct horse\n")
        path.chmod(0o600)
        monkeypatch.setenv("MANIFESTGEN_PASSPHRASE_FILE", str(path))
    else:
        monkeypatch.setenv("MANIFESTGEN_PASSPHRASE", "correct horse")
    said = project.does("publish", "dist2", "-v")
    assert project.offered() == ["1.1.0"]
    assert "correct horse" not in said.out + said.err
    assert all(b"correct horse" not in data for data in site_files(project.site).values())


def check_no_secret(keys: Path, project: Project, said: str) -> None:
    """Look for key material, spelled in any way, in the site, the roots and what was said."""
    needles = set()
    for path in (keys / "signing.pem", keys / "capgo.pem"):
        body = [line for line in path.read_text().splitlines() if not line.startswith("-----")]
        der = base64.b64decode("".join(body))
        needles |= {line.encode()[:40] for line in body}
        # The numbers at the end are private: the seed, or the RSA coefficient.
        needles |= {der[-32:], der[-32:].hex().encode(), base64.b64encode(der[-32:])[:40]}
    secret = (keys / "content.key").read_text().strip()
    needles |= {secret.encode(), bytes.fromhex(secret), base64.b64encode(bytes.fromhex(secret))}
    files = {**site_files(project.site), "output": said.encode()}
    files |= {
        f"root {path.name}": path.read_bytes()
        for path in (project.folder / ".manifestgen/root").iterdir()
    }
    for name, data in files.items():
        assert not [needle for needle in needles if needle in data], name


def test_no_secret_is_ever_shown(fresh: Project) -> None:
    said = [
        fresh.does("publish", "dist", "-v", "--base-url", "https://cdn.example.com"),
        fresh.does("publish", "dist", "--json", "-v"),
        fresh("publish", "dist", "--version", "0.1.0", "-v"),
    ]
    check_no_secret(fresh.folder / KEYS, fresh, "".join(one.out + one.err for one in said))


def test_a_key_pasted_where_its_place_belongs_is_not_repeated(project: Project) -> None:
    pem = (project.folder / KEYS / "signing.pem").read_text()
    config = project.folder / "manifestgen.toml"
    config.write_text(f'[keys]\nroot = """{pem}"""\n')
    said = project("publish", "dist2")
    check_refusal(said, code=2, error="`keys.root`")
    assert pem.splitlines()[1] not in said.err + said.out


# CI, which begins with an empty folder


def ci_job(project: Project, name: str) -> Project:
    """Check the project out where its site is not."""
    job = project.copied(name)
    shutil.rmtree(job.site)
    (job.folder / KEYS / "sequences.json").unlink()
    return job


def test_an_empty_folder_continues_the_live_site(project: Project) -> None:
    with web_server(project.site) as url:
        job = ci_job(project, "job")
        data = job.publishes("dist2", "--base-url", url)
    assert data["sequence"] == 2
    assert job.manifest().manifest.previous == project_digest(project)
    names = sorted(site_files(job.site))
    assert [name for name in names if not name.startswith("blobs/")] == [
        "index.html",
        "production/capgo.json",
        "production/history/000002.json",
        "production/manifest.json",
        "releases/1.1.0.json",
    ]


def project_digest(project: Project) -> str:
    return hashlib.sha256((project.site / MANIFEST).read_bytes()).hexdigest()


def test_a_job_that_is_run_again_continues_the_live_site_too(project: Project) -> None:
    with web_server(project.site) as url:
        job = ci_job(project, "job")
        job.publishes("dist2", "--base-url", url)
        # What an interrupted job leaves behind is no site of its own.
        for name in (MANIFEST, "production/history/000002.json", "releases/1.1.0.json"):
            (job.site / name).unlink()
        (job.folder / KEYS / "sequences.json").unlink()
        assert job.publishes("dist2", "--base-url", url)["sequence"] == 2


def test_a_live_site_that_is_not_there_yet_is_a_first_publish(project: Project) -> None:
    job = ci_job(project, "job")
    (project.folder.parent / "empty").mkdir()
    with web_server(project.folder.parent / "empty") as url:
        assert job.publishes("dist", "--base-url", url)["sequence"] == 1
    assert "root/1.json" in site_files(job.site)


def test_a_live_site_that_cannot_be_reached_starts_no_second_history(project: Project) -> None:
    job = ci_job(project, "job")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        job.refuses("publish", "dist2", "--base-url", url, code=6, error="127.0.0.1")


def test_a_live_site_of_another_project_is_refused(project: Project) -> None:
    other = project.folder.parent / "other"
    build(other / "dist")
    assert ended(process(other, "publish", "dist")).code == 0
    job = ci_job(project, "job")
    with web_server(other / "site") as url:
        job.refuses(*("publish", "dist2", "--base-url", url), code=3, error=MANIFEST)


def test_where_nothing_is_online_yet_publish_says_what_to_do(project: Project) -> None:
    with (project.folder / "manifestgen.toml").open("r+") as file:
        text = file.read()
        file.seek(0)
        file.write(f'base_url = "http://127.0.0.1:9/app"\n{text}')
    shutil.rmtree(project.site)
    said = project("publish", "dist2")
    assert said.code == 6
    assert "hint: publishing goes on from what is live there" in said.err
    assert "run this again when it answers; before the first publish, start the" in said.err
    assert "or take `base_url` out of manifestgen.toml until it runs" in said.err
    given = project("publish", "dist2", "--base-url", "http://127.0.0.1:9/other")
    assert "or leave --base-url out until it runs" in given.err
    assert not project.site.exists()


def test_a_live_site_that_is_not_well_is_not_called_new(project: Project) -> None:
    job = ci_job(project, "job")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Unwell) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        said = job.refuses("publish", "dist2", "--base-url", url, code=6, error="answered 503")
        server.shutdown()
        thread.join()
    assert said.err.endswith("\nhint: try again in a minute\n")


class _Unwell(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_error(503)

    def do_GET(self) -> None:
        self.send_error(503)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
