"""What a hostile site must not do to the person or the machine that verifies it."""

from dataclasses import replace

from manifestgen.config import load
from manifestgen.core import stock
from manifestgen.core.canonical import MAX_INTEGER
from manifestgen.core.envelope import Envelope, Kind
from manifestgen.core.tree import Digest
from manifestgen.signers import load_signer
from manifestgen.signers.interface import sign
from tests.publish.project import Project, web_server


def test_nothing_that_a_terminal_obeys_is_shown_of_capgo_json(project: Project) -> None:
    answer = stock.responses(project.manifest(), "https://cdn.example/\x1b[2K\x1b[1A\u202e")[None]
    (project.site / "production/capgo.json").write_bytes(stock.encode(answer))
    said = project("verify")
    assert said.code == 3
    assert all(char.isprintable() or char == "\n" for char in said.out + said.err)


def test_a_number_no_list_could_hold_is_verified_like_any_other(project: Project) -> None:
    settings = load(project.folder / "manifestgen.toml", {})
    signer = load_signer(settings.root_keys[0], folder=settings.folder, ask=lambda _: None)
    manifest = replace(
        project.manifest().manifest, sequence=MAX_INTEGER, previous=Digest("ab" * 32)
    )
    data = sign(Envelope((), manifest.to_json()), Kind.MANIFEST, [signer]).encode()
    (project.site / "production/manifest.json").write_bytes(data)
    (project.site / f"production/history/{MAX_INTEGER}.json").write_bytes(data)
    with web_server(project.site) as url:
        said = project("verify", url)
    assert said.code == 3
    assert "the manifest that number 9007199254740991 names" in said.out
