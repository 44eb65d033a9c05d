"""Publishing: pack, encrypt, hash, sign and write, against what people would use instead."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench.measure import Command, Contender, Result, compete
from tests.tools import builds, node
from tests.tools.capgo import CapgoCli

FIRST = {name: source.versions[0] for name, source in builds.SOURCES.items()}

_MAIN = "import sys; from manifestgen.cli import main; sys.exit(main())"


def table(names: Sequence[str], rounds: int, scratch: Path) -> str:
    """Measure every build and return the table."""
    lines = [
        "| build | ours | Capgo CLI zip + encrypt | times | zip -6 + openssl | naive Python |"
        " size ÷ Capgo's | peak MiB ours, Capgo's |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        results = _measure(name, rounds, scratch / name)
        lines.append(_row(f"{name} {FIRST[name]}", results))
    return "\n".join(lines)


def _measure(name: str, rounds: int, scratch: Path) -> dict[str, Result]:
    scratch.mkdir(parents=True)
    project = scratch / "project"
    project.mkdir()
    from manifestgen.cli import main

    # Keys are made beforehand: they are no part of a publish.
    if main(["init", "--config", str(_config(project)), "--json"]):
        raise RuntimeError("init failed")
    contenders = [
        Contender("ours", lambda build, folder: _ours(project, build, folder)),
        Contender("capgo", _capgo),
        Contender("openssl", _openssl),
        Contender("naive", _naive),
    ]
    return compete(contenders, builds.build(name, FIRST[name]), scratch, rounds)


def _config(project: Path) -> Path:
    path = project / "manifestgen.toml"
    path.write_text('app = "com.example.bench"\n')
    return path


_Start = tuple[Sequence[Command], Callable[[], int]]


def _ours(project: Path, build: Path, folder: Path) -> _Start:
    shutil.copytree(project, folder, dirs_exist_ok=True)
    arguments = [sys.executable, "-c", _MAIN, "publish", str(build), "--version", "1.0.0"]

    def size() -> int:
        return sum(blob.stat().st_size for blob in (folder / "site" / "blobs").rglob("*.bin"))

    return [Command(arguments, folder, {"CI": ""})], size


def _capgo(build: Path, folder: Path) -> _Start:
    cli = CapgoCli.create(folder / "app")
    keys = cli.key_create()
    script = str(node.modules() / "@capgo" / "cli" / "dist" / "index.js")
    environment = {"CI": "1", "CAPGO_DISABLE_TELEMETRY": "1", "HOME": str(cli.app)}
    zipped = cli.app / "com.example.fixture_1.0.0.zip"
    first = [
        "bundle",
        "zip",
        "--path",
        str(build),
        "--bundle",
        "1.0.0",
        "--no-code-check",
        "--json",
    ]
    # The CLI does not look whether the checksum is the zip's, so any will do for its speed.
    second = ["bundle", "encrypt", str(zipped), "0" * 64, "--key", str(keys.private), "--json"]
    commands = [
        Command([str(node.program()), script, *arguments], cli.app, environment)
        for arguments in (first, second)
    ]
    encrypted = zipped.with_name(f"{zipped.name}_encrypted.zip")
    return commands, lambda: encrypted.stat().st_size


def _openssl(build: Path, folder: Path) -> _Start:
    key = folder / "key.pem"
    make = Command(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], folder, {})
    from tests.bench.measure import measured

    measured(make)
    zero = "0" * 32
    script = (
        f"cd '{build}' && zip -6 -q -r '{folder}/b.zip' . && cd '{folder}' &&"
        f" openssl enc -aes-128-cbc -K {zero} -iv {zero} -in b.zip -out b.bin &&"
        " openssl dgst -sha256 -binary b.bin > b.sha &&"
        " openssl pkeyutl -sign -inkey key.pem -rawin -in b.sha -out b.sig"
    )
    return [Command(["sh", "-c", script], folder, {})], lambda: (folder / "b.bin").stat().st_size


def _naive(build: Path, folder: Path) -> _Start:
    script = Path(__file__).with_name("naive.py")
    arguments = [sys.executable, str(script), str(build), str(folder / "b.bin")]
    return [Command(arguments, folder, {})], lambda: (folder / "b.bin").stat().st_size


def _row(name: str, results: dict[str, Result]) -> str:
    ours, capgo = results["ours"], results["capgo"]
    cells = [
        name,
        f"{ours.seconds:.2f} s",
        f"{capgo.seconds:.2f} s",
        f"{capgo.seconds / ours.seconds:.1f}×",
        f"{results['openssl'].seconds / ours.seconds:.1f}×",
        f"{results['naive'].seconds / ours.seconds:.1f}×",
        f"{ours.size / capgo.size:.4f}",
        f"{ours.mebibytes:.0f}, {capgo.mebibytes:.0f}",
    ]
    return f"| {' | '.join(cells)} |"
