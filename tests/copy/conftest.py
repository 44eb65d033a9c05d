"""A site to copy."""

from pathlib import Path

import pytest

from tests.channels.conftest import Publisher, shop_template
from tests.publish.project import copy_project
from tests.stores.conftest import careless, location, prefix, seaweed

__all__ = ["careless", "location", "prefix", "seaweed", "shop_template"]

URL = "https://cdn.example.com/app"


@pytest.fixture(scope="session")
def source_template(shop_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a project with two channels, a withdrawal and `capgo.json` once for all tests."""
    made = Publisher(copy_project(shop_template, tmp_path_factory.mktemp("copy") / "shop"))
    text = (made.folder / "manifestgen.toml").read_text()
    made.configure(f'base_url = "{URL}"\n{text}')
    made.does("channel promote 1.1.0 --to beta")
    made.publish("1.2.0")
    made.does("channel withdraw 1.2.0")
    return made.folder


@pytest.fixture
def source(tmp_path: Path, source_template: Path) -> Publisher:
    """Give the project whose site is to be copied."""
    return Publisher(copy_project(source_template, tmp_path / "shop"))
