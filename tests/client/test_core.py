"""The JavaScript client: every vector, the same answers as Python's, its types, its package."""

import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.client.differential import CLIENT, disagreements
from tests.conformance import run_conformance
from tests.tools import node

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "manifestgen" / "client"
MODULE = PACKAGE / "manifestgen.js"
# What a publisher does, and what it writes for stock plugins.
WITHOUT = {"bundle_key", "stock"}


def noble() -> Path:
    """Return the verifier for browsers without Ed25519."""
    return node.modules() / "@noble" / "ed25519" / "index.js"


def test_every_vector() -> None:
    client = [str(node.program()), "--no-warnings", str(CLIENT)]
    assert [str(one) for one in run_conformance(client, without=WITHOUT)] == []


def test_every_vector_with_an_injected_verifier() -> None:
    client = [str(node.program()), "--no-warnings", str(CLIENT), "--noble", str(noble())]
    assert [str(one) for one in run_conformance(client, without=WITHOUT)] == []


def test_random_questions_have_one_answer() -> None:
    assert disagreements(1_000, seed=1) == []


@pytest.mark.full
def test_many_random_questions_have_one_answer() -> None:
    assert disagreements(10_000, seed=2) == []


def test_units() -> None:
    node.run_tests(HERE / "core.test.js", env={"NOBLE_ED25519": str(noble())})


def test_updater() -> None:
    node.run_tests(HERE / "updater.test.js")


def test_types_are_strict_and_the_declarations_current(tmp_path: Path) -> None:
    copy, out = tmp_path / "client", tmp_path / "out"
    copy.mkdir()
    for name in ("manifestgen.js", "types.d.ts"):
        shutil.copy(PACKAGE / name, copy)
    options = {
        "allowJs": True,
        "checkJs": True,
        "declaration": True,
        "emitDeclarationOnly": True,
        "lib": ["es2022", "dom", "dom.iterable"],
        "module": "esnext",
        "moduleResolution": "bundler",
        "noUnusedLocals": True,
        "outDir": str(out),
        "rootDir": str(copy),
        "strict": True,
        "target": "es2022",
        "types": [],
    }
    config = {"compilerOptions": options, "files": [str(copy / "manifestgen.js")]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    tsc = node.modules() / "typescript" / "bin" / "tsc"
    done = node.start(tsc, "-p", tmp_path / "tsconfig.json")
    assert done.returncode == 0, done.stdout
    made = (out / "manifestgen.d.ts").read_text("utf-8")
    assert made == (PACKAGE / "manifestgen.d.ts").read_text("utf-8")


def test_the_package_is_ready_for_npm(tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "package")
    done = node.start(
        node.modules() / "publint" / "src" / "cli.js", copy, "--strict", "--pack=false"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_client_is_small(tmp_path: Path) -> None:
    terser = node.modules() / "terser" / "bin" / "terser"
    small = tmp_path / "manifestgen.min.js"
    done = node.start(terser, "--module", "--compress", "--mangle", "-o", small, "--", MODULE)
    assert done.returncode == 0, done.stderr
    assert len(gzip.compress(small.read_bytes(), 9)) < 12 * 1024


def test_the_client_imports_nothing() -> None:
    code = [line for line in MODULE.read_text("utf-8").splitlines() if line.startswith("import")]
    assert code == []
