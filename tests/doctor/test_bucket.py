"""A site in a bucket, and a store that cannot keep two publishers apart."""

from pathlib import Path

import pytest

from tests.doctor.test_keys import found
from tests.publish.project import Project
from tests.stores.conftest import at
from tests.tools.seaweedfs import S3Server


def test_a_bucket_is_examined(fresh: Project, in_bucket: str) -> None:
    fresh.publishes("dist")
    assert set(found(fresh, area="site")) == {"site"}


def test_a_store_without_conditions_is_found(
    fresh: Project,
    careless: S3Server,
    location: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    at(careless.endpoint, monkeypatch, tmp_path)
    monkeypatch.setenv("MANIFESTGEN_SITE", location)
    fresh.does("init")
    config = fresh.folder / "manifestgen.toml"
    text = config.read_text()
    config.write_text(f"single_publisher = true\n{text}")
    fresh.publishes("dist")
    assert set(found(fresh, area="site")) == {"no_conditions"}
    assert fresh("doctor").code == 0
    config.write_text(text)
    assert set(found(fresh, area="site")) == {"no_conditions"}
    assert fresh("doctor").code == 1
