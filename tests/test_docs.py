"""Every `manifestgen` command of the README and the docs is run, in the order of its page.

Each page gets a project of its own with a build in `dist/` and the site served where the page says
it is. Stories check their output too and have a test of their own.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.tools.softhsm import Token

_ROOT = Path(__file__).resolve().parent.parent
_PAGES = [
    path
    for path in (_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md")))
    if path.name
    not in {
        "story.md",
        "air-gap.md",
        "ceremonies.md",
        "format.md",
        "keys.md",
        "migrating.md",
        "hosting.md",
    }
]
_FENCED = re.compile(r"^```(?:sh|console)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INLINE = re.compile(r"`(manifestgen [^`]+)`")
_COMMAND = re.compile(r"(?:[A-Z_]+=\S+ )*manifestgen ")
_PROGRAM = "import sys; from manifestgen.cli import main; sys.exit(main())"
_CDN = "https://cdn.example.com/app"


def commands(page: str) -> list[str]:
    """Return the command lines of a page: those in fenced blocks, then the whole inline ones."""
    found = []
    for block in _FENCED.findall(page):
        for line in block.replace("\\\n", " ").splitlines():
            text = line.removeprefix("$ ").partition("  #")[0].strip()
            if _COMMAND.match(text):
                found.append(text)
    # Inline mentions with a placeholder in capitals are talk, not commands to type.
    whole = [text for text in _INLINE.findall(page) if not re.search(r"\b[A-Z]{2,}\b", text)]
    return found + [text for text in whole if text not in found]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    handler = partial(_Quiet, directory=str(tmp_path / "site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_readme_has_commands() -> None:
    assert len(commands((_ROOT / "README.md").read_text())) > 10


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: path.name)
def test_every_command_of_a_page_works(page: Path, tmp_path: Path, served: str) -> None:
    _prepare(tmp_path)
    for number, command in enumerate(commands(page.read_text("utf-8"))):
        if command.startswith("manifestgen publish"):
            _build(tmp_path / "dist", f"1.5.{number}")
        done = _run(command.replace(_CDN, served), tmp_path)
        assert done.returncode == 0, f"{page.name}: {command}\n{done.stdout}{done.stderr}"


_JOB = re.compile(r"^```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE)
_SIGNS = re.compile(r"manifestgen (?:publish|refresh(?! --check))")


def test_every_job_that_signs_remembers_what_was_signed() -> None:
    """Or says in itself why not: without it, a host that goes back in time is believed."""
    pages = [page.read_text("utf-8") for page in (_ROOT / "docs").glob("*.md")]
    jobs = [job for page in pages for job in _JOB.findall(page) if _SIGNS.search(job)]
    assert len(jobs) == 7
    for job in jobs:
        assert "sequences.json" in job, job
        kept = re.search(r"path(?:: |s: \[)\.manifestgen/keys/sequences\.json", job)
        assert kept or "no `sequences.json` is kept" in job, job
        assert not kept or "mkdir -p -m 700 .manifestgen/keys" in job, job


_BLOCK = re.compile(r"^```(sh|bash|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_OP = """\
#!/bin/sh -eu
[ "$1 $2" = "read op://release/manifestgen/signing.pem" ]
cat "$HOME/project/.manifestgen/keys/signing.pem"
"""


def test_the_page_of_keys_works(tmp_path: Path, softhsm_token: Token) -> None:
    """Its blocks are run in order: programs are written, settings replaced, commands run."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    pytest.importorskip("pkcs11")
    folder = tmp_path / "project"
    folder.mkdir()
    _prepare(folder)
    key = _run("manifestgen keys list --json", folder)
    environ = _key_environment(tmp_path, softhsm_token)
    page = (_ROOT / "docs/keys.md").read_text("utf-8")
    page = page.replace("65cce0c4", json.loads(key.stdout)["keys"][0]["keyid"][:8])
    page = page.replace("/usr/lib/softhsm/libsofthsm2.so", str(softhsm_token.module))
    config = folder / "manifestgen.toml"
    for kind, block in _BLOCK.findall(page):
        if kind == "toml":
            config.write_text(config.read_text().partition("[keys]")[0] + block)
        elif kind == "bash":
            (folder / block.splitlines()[1].split()[1]).write_text(block)
        else:
            shell = ["sh", "-eu", "-c", block]
            done = subprocess.run(
                shell, cwd=folder, env=environ, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


# What stands in for Capgo's command line, which `tests/test_capgo_interop.py` runs for real.
_NPX = """\
#!/bin/sh -eu
case $1 in @capgo/cli@*) shift; exec manifestgen "$@" ;; esac
exit 1
"""
_JQ = """\
#!/usr/bin/env python3
import json, sys
print(json.load(open(sys.argv[3]))[sys.argv[2].removeprefix(".")])
"""


def test_the_page_of_migrating_works(tmp_path: Path, served: str) -> None:
    """An app of Capgo's is taken over with its key, and goes on from there."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    page = (_ROOT / "docs/migrating.md").read_text("utf-8").replace(_CDN, served)
    public = _capgo_app(tmp_path)
    refused = _run("manifestgen init", tmp_path)
    assert refused.returncode == 4
    hint = refused.stderr.rpartition("hint: ")[2]
    assert f"chmod 600 {tmp_path}/.capgo_key_v2" in hint
    subprocess.run(["sh", "-eu", "-c", hint.split("`")[1]], cwd=tmp_path, check=True)
    _must("manifestgen init", tmp_path)  # as the hint says; then as the page says
    shutil.rmtree(tmp_path / ".manifestgen")
    (tmp_path / "manifestgen.toml").unlink()
    programs = tmp_path / "programs"
    programs.mkdir()
    _write_programs(programs, {"npx": _NPX, "jq": _JQ})
    environ = {**os.environ, "PATH": os.pathsep.join([str(programs), os.environ["PATH"]])}
    for block in re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        if "1.5.2" in block:
            _build(tmp_path / "dist", "1.5.2")
        shell = ["sh", "-eu", "-c", block]
        done = subprocess.run(
            shell, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
    assert (tmp_path / ".manifestgen/capgo.pub.pem").read_text().strip() == public.strip()
    text = re.sub(r"^```.*?^```$", "", page, flags=re.DOTALL | re.MULTILINE)
    for number, command in enumerate(commands(text)):
        if command.startswith("manifestgen publish"):
            _build(tmp_path / "dist", f"1.6.{number}")
        if tested := re.search(r"promote (\S+) --to production", command):
            _build(tmp_path / "dist", tested[1])
            _must("manifestgen publish dist --channel staging", tmp_path)
        done = _run(command, tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


def _capgo_app(folder: Path) -> str:
    """Make an app as Capgo's command line leaves it; return the public key it carries."""
    key, public = folder / ".capgo_key_v2", folder / ".capgo_key_v2.pub"
    for arguments in (
        ["genrsa", "-traditional", "-out", str(key), "2048"],
        ["rsa", "-in", str(key), "-RSAPublicKey_out", "-out", str(public)],
    ):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    key.chmod(0o644)
    updater = {"autoUpdate": True, "publicKey": public.read_text()}
    config = {"appId": "com.example.app", "plugins": {"CapacitorUpdater": updater}}
    (folder / "capacitor.config.json").write_text(json.dumps(config))
    shutil.copytree(_ROOT / "sample_site" / "v1", folder / "dist")
    (folder / "site").mkdir()
    _build(folder / "dist", "1.5.0")
    return public.read_text()


def _write_programs(folder: Path, programs: dict[str, str]) -> None:
    own = f'#!/bin/sh\nexec "{sys.executable}" -c "{_PROGRAM}" "$@"\n'
    for name, text in {"manifestgen": own, **programs}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def _key_environment(home: Path, token: Token) -> dict[str, str]:
    """Give a shell the command, a PIN, a passphrase, and what reads a secret in its manager."""
    for name, text, mode in (
        ("op", _OP, 0o755),
        ("manifestgen", f'#!/bin/sh\nexec "{sys.executable}" -c "{_PROGRAM}" "$@"\n', 0o755),
        ("token.pin", token.pin, 0o600),
    ):
        (home / name).write_text(text)
        (home / name).chmod(mode)
    paths = os.pathsep.join([str(home), os.environ["PATH"]])
    return {
        **os.environ,
        "HOME": str(home),
        "PATH": paths,
        "MANIFESTGEN_PASSPHRASE": "correct horse",
    }


def _prepare(folder: Path) -> None:
    """Make a project that has published two releases, the second under way."""
    (folder / "site").mkdir()
    shutil.copytree(_ROOT / "sample_site" / "v1", folder / "dist")
    _must("manifestgen init --app com.example.app", folder)
    for version in ("1.3.0", "1.4.0"):
        _must(f"manifestgen publish dist --version {version}", folder)


def _build(dist: Path, version: str) -> None:
    (dist / "index.html").write_text(f"<!doctype html><title>{version}</title>")
    (dist / "package.json").write_text(json.dumps({"version": version}))


def _must(command: str, folder: Path) -> None:
    done = _run(command, folder)
    assert done.returncode == 0, done.stdout + done.stderr


def _run(command: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    words = shlex.split(command)
    first = words.index("manifestgen")
    environ = {**os.environ, **dict(word.split("=", 1) for word in words[:first])}
    arguments = [sys.executable, "-c", _PROGRAM, *words[first + 1 :]]
    if words[first + 1] in {"serve", "watch"}:
        return _run_until_it_talks([*arguments, "--port", "0"], folder)
    return subprocess.run(
        arguments,
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def _run_until_it_talks(arguments: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run what goes on until Ctrl-C, and press it."""
    with subprocess.Popen(
        arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        first = running.stderr.readline()
        published = folder / ".manifestgen/dev/site/production/manifest.json"
        while "watch" in arguments and running.poll() is None and not published.exists():
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, running.returncode, out, first + err)
