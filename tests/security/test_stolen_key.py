"""What a stolen manifest key signed is undone by a new root, for the publisher too."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from manifestgen.config import load
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.keys import Algorithm
from manifestgen.core.manifest import Manifest, Ramp, Rollout
from manifestgen.signers import load_signer
from manifestgen.signers.create import create_signing_key
from manifestgen.signers.interface import sign
from manifestgen.stores.names import history_name
from tests.publish.project import Project, check_refusal

NEW = ".manifestgen/keys/new.pem"


def steal(project: Project, **changes: object) -> Manifest:
    """Publish a manifest as whoever holds the key and the site could."""
    settings = load(project.folder / "manifestgen.toml", {})
    signer = load_signer(settings.root_keys[0], folder=settings.folder, ask=lambda _: None)
    manifest = replace(project.manifest().manifest, **changes)  # type: ignore[arg-type]
    data = sign(Envelope((), manifest.to_json()), Kind.MANIFEST, [signer]).encode()
    (project.site / "production/manifest.json").write_bytes(data)
    (project.site / history_name("production", manifest.sequence)).write_bytes(data)
    return manifest


def rotate(project: Project) -> None:
    create_signing_key(project.folder / NEW, Algorithm.ED25519, None)
    old = project.keyring().root.keys[0].keyid
    project.does("keys", "rotate", old, "--to", f"file:{NEW}")
    config = project.folder / "manifestgen.toml"
    config.write_text(config.read_text().replace("keys/signing.pem", "keys/new.pem"))


@pytest.mark.parametrize("sequence", [2**53 - 1, 2**53 - 3, 2**48 - 2, 2**45])
def test_a_number_far_ahead_is_not_continued_and_a_new_root_undoes_it(
    project: Project, sequence: int
) -> None:
    steal(project, sequence=sequence)
    for command in (["refresh"], ["channel", "resume"], ["channel", "pause"]):
        check_refusal(project(*command), code=3, error="which no publisher reaches")
    rotate(project)
    assert project.publishes("dist2")["sequence"] < 10


def test_however_often_the_number_jumps_a_new_root_still_undoes_it(project: Project) -> None:
    for _ in range(3):
        steal(project, sequence=project.manifest().manifest.sequence + 2**44 - 2)
        project.does("refresh")
    rotate(project)
    project.publishes("dist2")


def test_a_ramp_to_the_end_of_time_stops_no_publisher(project: Project) -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    rollout = Rollout(10_000, ramp=Ramp(1, first, last))
    offers = tuple(replace(one, rollout=rollout) for one in project.manifest().manifest.offers)
    steal(project, sequence=2, offers=offers)
    project.does("refresh")
    assert "9999-12-31" in (project.site / "index.html").read_text()


def test_a_time_that_leaves_no_room_for_another_is_not_continued(project: Project) -> None:
    issued = datetime(9999, 12, 30, tzinfo=UTC)
    steal(project, sequence=2, issued=issued, expires=issued + timedelta(days=1))
    check_refusal(project("refresh"), code=3, error="issued in the year 9999")
    rotate(project)
    assert project.publishes("dist2")["changed"]
