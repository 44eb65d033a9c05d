"""The vectors and the format page are what their scripts make, and say what they should."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from manifestgen.core import canonical, limits, select
from manifestgen.core.envelope import Envelope
from manifestgen.core.keyring import Keyring, check_fresh
from manifestgen.core.limits import LIMITS
from manifestgen.core.tree import sha256
from tests.conformance import load_vectors
from tests.simulator import CHANNEL, NOW
from tests.vectors import example, make

MADE = dict(make.files())
PAGE = make.PAGE.read_text("utf-8")
BLOCKS = re.findall(r"^```json\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_making_it_again_changes_nothing(path: Path) -> None:
    assert path.read_bytes() == MADE[path], "run `python -m tests.vectors.make`"


def test_there_are_no_other_families() -> None:
    assert set(make.FOLDER.glob("*.json")) == set(MADE) - {make.PAGE}


def test_names_are_requirements_and_so_stand_once() -> None:
    names = [(vector.family, vector.name) for vector in load_vectors()]
    assert len(set(names)) == len(names) > 700


def test_every_verdict_and_decision_has_a_vector() -> None:
    wanted = [vector.want["ok"] for vector in load_vectors() if vector.op == "decide"]
    decisions = {(one["decision"], one.get("reason")) for one in wanted}
    reasons = {verdict["reason"] for one in wanted for verdict in one["verdicts"]}
    assert reasons == set(re.findall(r"`(\w+)`", select.Verdict.__doc__ or "")) - {"reason"}
    nothing = set(re.findall(r"`(\w+)`", select.Nothing.__doc__ or "")) - {"reason"}
    assert decisions == {("install", None), ("reset", None), *(("nothing", one) for one in nothing)}


def test_every_code_that_a_document_can_have_has_a_vector() -> None:
    codes = {vector.want.get("error") for vector in load_vectors()}
    codes |= {vector.want["ok"]["stopped"] for vector in load_vectors() if vector.op == "walk"}
    assert _codes_of_the_page() - codes == {"archive"}


def test_every_code_in_core_is_explained() -> None:
    core = Path(canonical.__file__).parent
    used = {
        code
        for path in core.glob("*.py")
        for code in re.findall(r'code="(\w+)"', path.read_text("utf-8"))
    }
    assert used - {"history"} == _codes_of_the_page() - {"format"}


def _codes_of_the_page() -> set[str]:
    table = PAGE.partition("## 20. Error codes")[2]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


class TestPage:
    def test_every_json_example_is_json(self) -> None:
        assert len(BLOCKS) == 10
        for block in BLOCKS:
            json.loads(block)

    def test_every_json_example_is_made(self) -> None:
        assert set(BLOCKS) <= set(example.examples().values())

    def test_the_worked_example_is_what_a_device_accepts(self) -> None:
        data, root = (
            next(b for b in BLOCKS if part in b) for part in ('"sequence":42', '"max_days":')
        )
        keyring = Keyring.trust(root.encode())
        trusted = keyring.manifest(data.encode(), CHANNEL)
        check_fresh(trusted, seen=None, now=NOW, root_issued=keyring.root.issued)
        device = select.Device(CHANNEL, "device-1", "ios", "3.1.0", "1.0.0")
        decision = select.decide(trusted, device, select.Memory(), NOW)
        assert [verdict.reason for verdict in decision.verdicts] == ["rollout"]
        assert f"{sha256(data.encode())}\n" in PAGE

    def test_the_spaced_out_example_is_the_same_document(self) -> None:
        spaced = next(b for b in BLOCKS if '"sequence": 42' in b and '"signatures"' in b)
        assert Envelope.from_json(json.loads(spaced), "$").encode() == example.manifest()

    @pytest.mark.parametrize("field", [field.name for field in fields(limits.Limits)])
    def test_every_limit_is_said(self, field: str) -> None:
        value = getattr(LIMITS, field)
        said = "24 hours" if field == "future" else f"{value:,}"
        table = PAGE.partition("## 5. Limits")[2].partition("## 6.")[0]
        assert re.search(rf"\| {said}\b", table)

    def test_every_section_in_the_contents_is_there(self) -> None:
        contents = re.findall(r"^\d+\. \[(.*)\]\(#(.*)\)$", PAGE, re.MULTILINE)
        titles = re.findall(r"^## \d+\. (.*)$", PAGE, re.MULTILINE)
        assert [title for title, _ in contents] == titles

    @pytest.mark.parametrize("link", re.findall(r"\]\((\.\./[^)#]*)\)", PAGE))
    def test_links_lead_somewhere(self, link: str) -> None:
        assert (make.PAGE.parent / link).exists()
