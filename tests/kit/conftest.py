"""A publisher with three releases, and a site inside that has imported the first two."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kit.sides import INSIDE_URL, Side, outside


@dataclass(frozen=True, slots=True)
class Gap:
    """The two sides in one folder, and the kits that were made."""

    folder: Path

    @property
    def outside(self) -> Side:
        return Side(self.folder / "outside")

    @property
    def inside(self) -> Side:
        return Side(self.folder / "inside")

    @property
    def first(self) -> Path:
        """The kit that the inside has imported."""
        return self.folder / "first.kit"

    @property
    def second(self) -> Path:
        """A kit since the receipt of the first."""
        return self.folder / "second.kit"

    @property
    def full(self) -> Path:
        """A kit of everything."""
        return self.folder / "full.kit"

    @property
    def receipt(self) -> Path:
        """What the import of the first kit answered."""
        return self.inside.folder / "first.receipt.json"


@pytest.fixture(scope="session")
def gap_template(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    """Make it once; to be copied or read, never changed."""
    gap = Gap(tmp_path_factory.mktemp("gap") / "gap")
    publisher = outside(gap.folder / "outside", delta=True)
    publisher.publishes("1.0.0")
    publisher.publishes("1.1.0")
    kit = publisher.exports("first.kit")
    gap.inside.imports(kit, "--fingerprint", publisher.fingerprint, "--base-url", INSIDE_URL)
    publisher.does("refresh")
    publisher.publishes("1.2.0")
    publisher.exports("second.kit", "--since", gap.receipt)
    publisher.exports("full.kit")
    return gap


@pytest.fixture
def gap(gap_template: Gap, tmp_path: Path) -> Gap:
    """Give a copy to change."""
    shutil.copytree(gap_template.folder, tmp_path / "gap", symlinks=True)
    return Gap(tmp_path / "gap")
