"""The JavaScript client: every vector, the same answers as Python's, its package."""

import gzip
import re
import shutil
from pathlib import Path

import pytest

from tests.client.differential import CLIENT, disagreements
from tests.conformance import run_conformance
from tests.tools import node

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "manifestgen" / "client"
MODULES = [PACKAGE / f"{name}.js" for name in ("core", "updater", "manifestgen")]
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


def test_several_sites() -> None:
    node.run_tests(HERE / "sites.test.js")


def test_following() -> None:
    node.run_tests(HERE / "follow.test.js")


def test_the_package_is_ready_for_npm(tmp_path: Path) -> None:
    copy = shutil.copytree(PACKAGE, tmp_path / "package")
    done = node.start(
        node.modules() / "publint" / "src" / "cli.js", copy, "--strict", "--pack=false"
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_client_is_small() -> None:
    terser = node.modules() / "terser" / "bin" / "terser"
    small = b""
    for module in MODULES:
        done = node.start(terser, "--module", "--compress", "--mangle", "--", module)
        assert done.returncode == 0, done.stderr
        small += done.stdout.encode()
        assert len(gzip.compress(module.read_bytes(), 9)) < 12 * 1024
    assert len(gzip.compress(small, 9)) < 12 * 1024


def test_the_client_imports_nothing_but_itself() -> None:
    code = "".join(module.read_text("utf-8") for module in MODULES)
    found = set(re.findall(r"^(?:import|export|\}).* from '(.*)';$", code, re.MULTILINE))
    assert found == {"./core.js", "./updater.js"}
    assert "import(" not in re.sub(r"/\*.*?\*/", "", code, flags=re.DOTALL)
