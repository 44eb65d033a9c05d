"""What a stock Capgo plugin is told: of nothing that is not meant for everybody."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manifestgen.core.keyring import TrustedManifest
from manifestgen.core.manifest import Rollout
from manifestgen.core.stock import PLATFORMS, blob_path, encode, responses
from manifestgen.core.tree import sha256
from manifestgen.core.version import Version
from tests.conformance.in_process import Vector, check, vectors
from tests.core.test_select import MANIFESTS
from tests.simulator import Simulator

SIM = Simulator()


@vectors("stock")
def test_vectors(vector: Vector) -> None:
    check(vector)


@given(MANIFESTS, st.sampled_from(["https://x", "https://x/", "https://x/y//"]))
def test_every_answer_is_one_that_the_plugin_takes_without_an_error(
    trusted: TrustedManifest, base_url: str
) -> None:
    answers = responses(trusted, base_url)
    assert set(answers) in ({None}, {None, *PLATFORMS})
    for answer in answers.values():
        if "kind" in answer:
            assert answer["kind"] == answer["error"] == "blocked"
        elif answer != {"version": "builtin"}:
            assert answer["url"].startswith("https://x/")
            assert "//" not in answer["url"].removeprefix("https://")
            assert set(answer) == {"version", "url", "checksum"}


@pytest.mark.parametrize("share", [0, 1, 9_999])
def test_a_staged_release_never_reaches_the_plugin(share: int) -> None:
    trusted = SIM.trusted(SIM.offer("1.4.2", rollout=Rollout(share)))
    assert all("url" not in answer for answer in responses(trusted, "https://x").values())


def test_a_withdrawal_resets_nobody_while_something_is_offered() -> None:
    offer = SIM.offer("1.4.2", rollout=Rollout(5_000))
    trusted = SIM.trusted(offer, withdrawn=(Version.parse("1.4.1"),))
    assert [answer.get("kind") for answer in responses(trusted, "https://x").values()] == [
        "blocked"
    ]
    trusted = SIM.trusted(withdrawn=(Version.parse("1.4.1"),))
    assert responses(trusted, "https://x") == {None: {"version": "builtin"}}


def test_the_files_bytes_are_the_same_from_everyone() -> None:
    assert encode({"version": "1.0.0", "url": "é"}) == (
        b'{\n "url": "\\u00e9",\n "version": "1.0.0"\n}\n'
    )


def test_where_a_blob_lies() -> None:
    digest = sha256(b"x")
    assert blob_path(digest) == f"blobs/{digest[:2]}/{digest}.bin"
