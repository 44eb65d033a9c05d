"""`manifestgen.testing`, used as the tests of an app use it."""

from pathlib import Path

import pytest

from manifestgen.device import Updater
from manifestgen.errors import Error, VerificationError
from manifestgen.stores import open_store
from manifestgen.testing import UpdateSite, _update_project, update_site
from tests.publish.project import build
from tests.serve.asking import wait_for

__all__ = ["_update_project", "update_site"]


@pytest.fixture
def updater(update_site: UpdateSite, tmp_path: Path) -> Updater:
    site = open_store(update_site.url)
    return Updater(site, update_site.root, tmp_path / "phone", key=update_site.key)


def test_an_app_survives_faults(
    update_site: UpdateSite,
    updater: Updater,
    tmp_path: Path,
) -> None:
    update_site.publish(build(tmp_path / "one"), "1.0.0")
    updater.install()
    updater.confirm()
    update_site.publish(build(tmp_path / "two", text="two"), "1.1.0")
    for fault in ("flip", "cut", "missing", "portal"):
        update_site.fault(fault)
        with pytest.raises(Error):
            updater.install()
        status = updater.status()
        assert status.running is not None
        assert str(status.running.version) == "1.0.0"
        update_site.heal()
    updater.install()
    status = updater.status()
    assert status.running is not None
    assert str(status.running.version) == "1.1.0"
    updater.confirm()
    update_site.fault("stale")
    with pytest.raises(VerificationError, match="already seen"):
        updater.check()
    wait_for(lambda: any(visit.fault == "stale" for visit in update_site.visits))
