"""Each fault as a device sees it: it refuses or waits, and goes on running what it runs."""

from collections.abc import Iterator

import pytest

from manifestgen.errors import UsageError, VerificationError
from manifestgen.serve import Fault, Faults, Server, Site, parse_fault
from manifestgen.serve.faults import Kind
from tests.publish.project import Project
from tests.serve.asking import ask

FAULTS = {
    "slow": Fault(Kind.SLOW, "*"),
    "cut:blobs/*@0.3": Fault(Kind.CUT, "blobs/*", 0.3),
    "503@25%": Fault(Kind.BUSY, "*", 0.25),
    "stale": Fault(Kind.STALE, "*/manifest.json"),
    "missing:/root/*": Fault(Kind.MISSING, "root/*"),
    "flip": Fault(Kind.FLIP, "blobs/*"),
    "portal:production/*@1": Fault(Kind.PORTAL, "production/*", 1.0),
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults_are_read(text: str) -> None:
    assert parse_fault(text) == FAULTS[text]


@pytest.mark.parametrize("text", ["", "fire", "cut@2", "cut@101%", "cut@", "cut:", "cut@-1", "@1"])
def test_what_is_no_fault_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no fault"):
        parse_fault(text)


def test_faults_strike_their_share() -> None:
    draws = iter([0.1, 0.5, 0.1])
    faults = Faults([Fault(Kind.CUT, "blobs/*", 0.3)], draw=lambda: next(draws))
    assert faults.strike("blobs/ab") is Kind.CUT
    assert faults.strike("blobs/ab") is None
    assert faults.strike("root.json") is None


class Phone:
    """A device that runs 1.0.0 and could have 1.1.0."""

    def __init__(self, project: Project, url: str) -> None:
        self.project = project
        self.state = project.folder.parent / "phone"
        root = project.folder / ".manifestgen/root/1.json"
        self.flags = ("--site", url, "--root", root, "--state", self.state)

    def install(self) -> int:
        return self.project("device", "install", *self.flags).code

    def runs(self) -> str:
        status = self.project.does("device", "status", "--state", self.state, "--json").json
        return str(status["version"])


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def phone(project: Project, faults: Faults) -> Iterator[Phone]:
    with Server(Site(project.site), faults=faults) as server:
        phone = Phone(project, server.url)
        assert phone.install() == 0
        project.does("device", "confirm", "--state", phone.state)
        project.publishes("dist2", "--patches", "0")
        yield phone


REFUSED = ["cut", "missing", "flip", "portal", "503:*/manifest.json", "portal:*/manifest.json"]


@pytest.mark.parametrize("text", REFUSED)
def test_a_device_keeps_what_it_runs(phone: Phone, faults: Faults, text: str) -> None:
    faults.add(parse_fault(text))
    assert phone.install() in {3, 6}
    assert phone.runs() == "1.0.0"
    faults.clear()
    assert phone.install() == 0
    assert phone.runs() == "1.1.0"


def test_a_replay_is_refused_once_more_is_known(phone: Phone, faults: Faults) -> None:
    assert phone.install() == 0
    phone.project.does("device", "confirm", "--state", phone.state)
    faults.add(parse_fault("stale"))
    said = phone.project("device", "install", *phone.flags)
    assert said.code == VerificationError.exit_code
    assert "already seen" in said.err
    assert phone.runs() == "1.1.0"


def test_a_slow_server_is_waited_for(phone: Phone, faults: Faults) -> None:
    faults.add(parse_fault("slow:blobs/*"))
    assert phone.install() == 0
    assert phone.runs() == "1.1.0"


def test_a_stale_answer_is_a_whole_one(phone: Phone, faults: Faults) -> None:
    url = str(phone.flags[1])
    now = ask(url, "/production/manifest.json")
    faults.add(parse_fault("stale"))
    before = ask(url, "/production/manifest.json")
    assert before.body == (phone.project.site / "production/history/000001.json").read_bytes()
    assert before.headers["cache-control"] == "no-cache"
    known = {"If-None-Match": before.headers["etag"]}
    assert ask(url, "/production/manifest.json", headers=known).status == 304
    known = {"If-None-Match": now.headers["etag"]}
    assert ask(url, "/production/manifest.json", headers=known).body == before.body


def test_a_flipped_part_differs_in_one_byte(phone: Phone, faults: Faults) -> None:
    url = str(phone.flags[1])
    blob = next((phone.project.site / "blobs").rglob("*.bin"))
    path = f"/{blob.relative_to(phone.project.site).as_posix()}"
    faults.add(parse_fault("flip"))
    for headers, whole in (({}, blob.read_bytes()), ({"Range": "bytes=9-20"}, None)):
        told = ask(url, path, headers=headers).body
        expected = whole or blob.read_bytes()[9:21]
        assert sum(a != b for a, b in zip(told, expected, strict=True)) == 1
