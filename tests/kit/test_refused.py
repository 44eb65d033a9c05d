"""Kits that are refused, whole, each with the sentence that says why.

`tampered` rewrites `kit.json` to fit, as somebody would who means harm and not only accident; what
is left to find it is what was signed.
"""

import hashlib
import json
import os
import random
import shutil
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from manifestgen.core import canonical
from manifestgen.core.limits import LIMITS
from manifestgen.errors import Error, FormatError, VerificationError
from manifestgen.kit import Trust
from manifestgen.kit.archive import BLOCK, END, Archive, header, padding, write_member
from manifestgen.kit.contents import Contents, Kit
from manifestgen.kit.documents import read_documents
from manifestgen.stores.names import blob_name
from tests.kit.conftest import Gap
from tests.kit.sides import Side, contents, filled, outside, project_trust, rotates, take

Members = list[tuple[str, bytes]]


def members(kit: Path) -> Members:
    with Kit.open(kit) as opened:
        archive = opened.archive
        return [(one.name, archive.read(one, one.size)) for one in archive.members]


def written(path: Path, files: Members) -> Path:
    parts = [header(name, len(data)) + data + bytes(padding(len(data))) for name, data in files]
    path.write_bytes(b"".join(parts) + END)
    return path


def fitting(files: Members) -> Members:
    """Let `kit.json` say what is there."""
    contents = Contents.decode(dict(files)["kit.json"])
    behind = [(name, data) for name, data in files if name != "kit.json"]
    spans = []
    for span in contents.channels:
        numbers = [
            int(name[-11:-5]) for name, _ in behind if name.startswith(f"{span.channel}/history/")
        ]
        if numbers:
            spans.append(replace(span, first=min(numbers), last=max(numbers)))
    contents = replace(
        contents,
        roots=sum(name.startswith("root/") for name, _ in behind) or 1,
        channels=tuple(spans),
        files=len(behind),
        size=sum(len(data) for _, data in behind),
    )
    return [("kit.json", contents.encode()), *behind]


class Door:
    """The inside in memory: tries kits, and sees that nothing changed."""

    def __init__(self, gap: Gap) -> None:
        self.settings = gap.inside.settings
        self.trust = project_trust(self.settings)
        self.store = filled(gap.inside.files())
        self.before = contents(self.store)
        self.folder = gap.inside.everything()
        self.gap = gap

    def refuses(self, kit: Path) -> VerificationError:
        receipt = self.gap.folder / "never"
        with pytest.raises(VerificationError) as caught:
            take(kit, self.trust, self.settings, self.store, receipt)
        assert contents(self.store) == self.before
        assert self.gap.inside.everything() == self.folder
        assert not receipt.exists()
        return caught.value

    def takes(self, kit: Path) -> None:
        take(kit, self.trust, self.settings, self.store, self.gap.folder / "receipt")


@pytest.fixture
def door(gap: Gap) -> Door:
    return Door(gap)


# Damage on the way


def test_cut_anywhere(gap: Gap, door: Door, tmp_path: Path) -> None:
    data, kit = gap.second.read_bytes(), tmp_path / "cut.kit"
    for size in [*range(0, len(data), 512), len(data) - 1]:
        kit.write_bytes(data[:size])
        assert door.refuses(kit).code == "cut", size
    door.takes(gap.second)


def test_cut_and_filled_up(gap: Gap, door: Door, tmp_path: Path) -> None:
    data, kit = gap.second.read_bytes(), tmp_path / "cut.kit"
    for size in range(4096, len(data), 4096):
        if any(data[size:]):
            kit.write_bytes(data[:size] + bytes(len(data) - size))
            door.refuses(kit)


def test_any_bit(gap: Gap, door: Door, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    data, kit = bytearray(gap.second.read_bytes()), tmp_path / "bit.kit"
    with Kit.open(gap.second) as opened:
        ends = [(one.offset - BLOCK, one.offset, one.end) for one in opened.archive.members]
    rng = random.Random(7)
    tried = {
        start + at for start, _, _ in ends for at in (0, 99, 100, 124, 135, 148, 156, 257, 511)
    }
    tried |= {at for _, first, end in ends for at in (first, end - 1)}
    more = 3_000 if request.config.getoption("--full") else 100
    tried |= {rng.randrange(len(data)) for _ in range(more)}
    for at in sorted(tried):
        data[at] ^= 1 << rng.randrange(8)
        kit.write_bytes(data)
        door.refuses(kit)
        data = bytearray(gap.second.read_bytes())


def test_bytes_behind_the_end(gap: Gap, door: Door, tmp_path: Path) -> None:
    kit = tmp_path / "more.kit"
    for more in (b"\0", bytes(512), bytes(10_240), b"x" * 600):
        kit.write_bytes(gap.second.read_bytes() + more)
        assert "behind its end" in str(door.refuses(kit))


# Members altered by somebody who knows the format


def variants(files: Members) -> Iterator[tuple[str, Members]]:
    for n, (name, data) in enumerate(files[1:], 1):
        yield f"dropped {name}", fitting(files[:n] + files[n + 1 :])
        yield f"doubled {name}", fitting([*files[: n + 1], *files[n:]])
        altered = data[:-1] + bytes([data[-1] ^ 1])
        yield f"altered {name}", [*files[:n], (name, altered), *files[n + 1 :]]
        yield f"emptied {name}", fitting([*files[:n], (name, b""), *files[n + 1 :]])
        yield f"longer {name}", fitting([*files[:n], (name, data + b"\n"), *files[n + 1 :]])
        if n + 1 < len(files):
            swapped = [*files[:n], files[n + 1], files[n], *files[n + 2 :]]
            yield f"swapped {name}", fitting(swapped)
            other = [*files[:n], (name, files[n + 1][1]), (files[n + 1][0], data), *files[n + 2 :]]
            yield f"exchanged {name}", fitting(other)


@pytest.mark.parametrize("which", ["second", "full"])
def test_any_member(which: str, gap: Gap, door: Door, tmp_path: Path) -> None:
    files = members(getattr(gap, which))
    assert fitting(files) == files
    accepted = []
    for what, changed in variants(files):
        kit = written(tmp_path / "changed.kit", changed)
        try:
            take(kit, door.trust, door.settings, door.store, tmp_path / "receipt")
        except VerificationError:
            assert contents(door.store) == door.before
            assert door.gap.inside.everything() == door.folder
        else:
            accepted.append(what)
            door.store = filled(door.before)
    # Blobs that are here already may be left out, and nothing else.
    shared = [name for name, _ in files if name.startswith("blobs/") and name in door.before]
    assert bool(shared) == (which == "full")
    assert accepted == [f"dropped {name}" for name in shared]


def unlisted(files: Members) -> Iterator[tuple[str, Members, str]]:
    def plus(name: str, data: bytes) -> Members:
        return [*files, (name, data)]

    blob = hashlib.sha256(b"more").hexdigest()
    yield "a blob", ordered(plus(f"blobs/{blob[:2]}/{blob}.bin", b"more")), "unlisted"
    release = next(data for name, data in files if name.startswith("releases/"))
    yield "a release", ordered(plus("releases/0.1.0.json", release)), "release"
    for name in ("index.html", "notes.txt", "releases/x.json", "blobs/x.bin", "root.json"):
        yield name, plus(name, b"{}"), "unlisted"
    yield "a root", ordered(plus("root/2.json", dict(files)["root/1.json"])), "root_gap"


def ordered(files: Members) -> Members:
    kinds = ("kit.json", "root/", "production/", "releases/", "blobs/")
    return sorted(
        files, key=lambda one: ([one[0].startswith(kind) for kind in kinds].index(True), one[0])
    )


def test_files_that_belong_to_no_kit(gap: Gap, door: Door, tmp_path: Path) -> None:
    for what, files, code in unlisted(members(gap.second)):
        found = door.refuses(written(tmp_path / "more.kit", fitting(files)))
        assert found.code == code, (what, found)


def test_signatures_of_before_do_not_come_back(gap: Gap, tmp_path: Path) -> None:
    """A courier may have kept what revoked keys signed; nobody could offer such a release again."""
    before = dict(members(gap.outside.exports("before.kit")))
    rotates(gap.outside, "release")
    kit = gap.outside.exports("after.kit")
    gap.inside.imports(kit)
    names = [
        name
        for name, data in members(kit)
        if name.startswith("releases/") and data != before[name] and "1.2.0" not in name
    ]
    assert names
    old = [(name, before[name] if name in names else data) for name, data in members(kit)]
    assert not gap.inside.imports(written(tmp_path / "old.kit", fitting(old)))["changed"]
    assert {name: gap.inside.files()[name] for name in names} == {
        name: data for name, data in members(kit) if name in names
    }


def test_what_nobody_signed_is_not_held_in_memory(gap: Gap, tmp_path: Path) -> None:
    first = dict(members(gap.second))["root/1.json"]
    more, size = 400, LIMITS.root_bytes
    said = Contents("com.example.app", 1 + more, (), 1 + more, len(first) + more * size).encode()
    kit = tmp_path / "roots.kit"
    with kit.open("wb") as file:
        write_member(file, "kit.json", said)
        write_member(file, "root/1.json", first)
        for number in range(2, 2 + more):
            file.write(header(f"root/{number}.json", size))
            file.seek(size, os.SEEK_CUR)  # zeros that take no place on the disk
        file.write(END)
    tracemalloc.start()
    try:
        with Kit.open(kit) as opened, pytest.raises(VerificationError):
            read_documents(opened, Trust(fingerprint=gap.outside.fingerprint))
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()


def test_what_kit_json_says_has_to_be_so(gap: Gap, door: Door, tmp_path: Path) -> None:
    files = members(gap.second)
    said = json.loads(files[0][1])
    wrong = {
        "app": "com.example.other",
        "bytes": said["bytes"] - 1,
        "files": said["files"] + 1,
        "roots": 2,
        "channels": [],
        "type": "kit.v2",
    }
    for name, value in wrong.items():
        data = canonical.encode({**said, name: value})
        found = door.refuses(written(tmp_path / "x.kit", [("kit.json", data), *files[1:]]))
        expected = {"app": "wrong_app", "type": "type"}.get(name, "contents")
        assert found.code == expected, name
    for data in (b"", b"{}", files[0][1] + b"\n", b"<html>"):
        found = door.refuses(written(tmp_path / "x.kit", [("kit.json", data), *files[1:]]))
        assert found.code == "format"


HEADERS: Mapping[str, Callable[[bytearray], None]] = {
    "a mode": lambda block: patch(block, 100, b"0000755"),
    "an owner": lambda block: patch(block, 108, b"0001750"),
    "a time": lambda block: patch(block, 136, b"00000000001"),
    "a link": lambda block: patch(block, 156, b"2"),
    "a hard link": lambda block: patch(block, 156, b"1"),
    "a folder": lambda block: patch(block, 156, b"5"),
    "a pax header": lambda block: patch(block, 156, b"x"),
    "an old type": lambda block: patch(block, 156, b"\0"),
    "a link's target": lambda block: patch(block, 157, b"/etc/passwd"),
    "a user": lambda block: patch(block, 265, b"root"),
    "a prefix": lambda block: patch(block, 345, b".."),
    "GNU's format": lambda block: patch(block, 257, b"ustar  \0"),
    "a path upwards": lambda block: patch(block, 0, b"../kit.json\0"),
    "an absolute path": lambda block: patch(block, 0, b"/kit.json\0"),
    "a size in base 256": lambda block: patch(block, 124, b"\x80" + bytes(10) + b"\x05"),
    "a size with spaces": lambda block: patch(block, 124, b"        176 "),
    "bytes behind the name": lambda block: patch(block, 90, b"x"),
}


def patch(block: bytearray, at: int, data: bytes) -> None:
    block[at : at + len(data)] = data
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)


@pytest.mark.parametrize("what", HEADERS)
def test_headers_that_we_would_not_write(what: str, gap: Gap, door: Door, tmp_path: Path) -> None:
    data = bytearray(gap.second.read_bytes())
    block = data[:BLOCK]
    HEADERS[what](block)
    data[:BLOCK] = block
    (tmp_path / "x.kit").write_bytes(data)
    assert "no header of a kit at byte 0" in str(door.refuses(tmp_path / "x.kit"))


def test_other_files_are_no_kits(gap: Gap, tmp_path: Path) -> None:
    for data in (b"PK\3\4" * 1000, b"<!doctype html>" * 100, bytes(1024), bytes(10_240)):
        (tmp_path / "x.kit").write_bytes(data)
        with pytest.raises(FormatError):
            Kit.open(tmp_path / "x.kit")
    gap.inside.refuses("kit", "import", "no.kit", code="usage", error="there is no", exit_code=2)
    gap.inside.refuses("kit", "import", tmp_path, code="usage", error="is no file", exit_code=2)


# Whole kits that do not fit here


def test_one_that_is_older(gap: Gap) -> None:
    gap.inside.imports(gap.second)
    error = "the kit ends at production 2, this site is at 4 already"
    gap.inside.refuses("kit", "import", gap.first, code="older", error=error)


def test_one_with_a_gap(gap: Gap) -> None:
    out = gap.outside
    later = gap.inside.copied("later")
    later.imports(gap.second)
    for version in ("1.3.0", "1.4.0"):
        out.publishes(version)
    kit = out.exports("third.kit", "--since", later.folder / "second.receipt.json")
    error = "this kit begins at production 5, this site ends at 2: numbers 3 and 4 are missing"
    gap.inside.refuses("kit", "import", kit, code="gap", error=error)
    fresh = Side(gap.folder / "fresh")
    fresh.refuses(
        *("kit", "import", kit, "--fingerprint", out.fingerprint),
        code="gap",
        error="this kit begins at production 5, and this site has no production",
    )


def test_one_that_forks(gap: Gap) -> None:
    twin = gap.outside.copied("twin")
    twin.does("refresh")
    gap.inside.imports(gap.second)
    restored = Side(gap.folder / "restored")
    shutil.copytree(gap.outside.folder, restored.folder, symlinks=True)
    history = restored.site / "production/history"
    # A publisher that went on from a backup of its second manifest, on a machine without a memory.
    for number in (3, 4):
        (history / f"{number:06d}.json").unlink()
    shutil.copy(history / "000002.json", restored.site / "production/manifest.json")
    (restored.folder / ".manifestgen/keys/sequences.json").unlink()
    restored.publishes("1.5.0")
    kit = restored.exports("fork.kit", "--since", gap.receipt)
    error = "production 3 of the kit is not the 3 that is here"
    gap.inside.refuses("kit", "import", kit, code="fork", error=error)
    restored.publishes("1.6.0")
    restored.publishes("1.7.0")
    after = Side(gap.folder / "after")
    after.imports(
        restored.exports("b.kit", "--channel", "production"),
        "--fingerprint",
        gap.outside.fingerprint,
    )
    restored.publishes("1.8.0")
    kit = restored.exports("c.kit", "--since", after.folder / "b.receipt.json")
    twin.does("refresh")
    third = gap.inside.copied("third")
    third.imports(twin.exports("twin.kit"))
    error = "production 6 of the kit is not the 6 that is here"
    third.refuses("kit", "import", kit, code="fork", error=error)
    receipt = after.folder / "b.receipt.json"
    gap.outside.refuses(
        *("kit", "export", "--to", "x.kit", "--since", receipt),
        code="older",
        error="the other side has production 5, and this site only 4",
    )
    twin.refuses(
        *("kit", "export", "--to", "x.kit", "--since", receipt),
        code="fork",
        error="production 5 of the receipt is not the 5 of this site",
    )


def test_one_for_another_app(gap: Gap) -> None:
    other = Side(gap.folder / "other")
    other.does("init", "--app", "com.example.other")
    other.publishes("1.0.0")
    kit = other.exports("other.kit")
    error = "the kit is for com.example.other, and here com.example.app is trusted"
    gap.inside.refuses("kit", "import", kit, code="wrong_app", error=error)
    gap.outside.refuses(
        *("kit", "export", "--to", "x.kit", "--since", receipt_of(other, kit)),
        code="wrong_app",
        error="the receipt is for com.example.other",
    )


def receipt_of(side: Side, kit: Path) -> Path:
    far = Side(side.folder.parent / "far")
    far.imports(kit, "--fingerprint", side.fingerprint)
    return far.folder / f"{kit.stem}.receipt.json"


def test_one_by_another_root(gap: Gap) -> None:
    other = outside(gap.folder / "other")
    other.publishes("1.0.0")
    kit = other.exports("other.kit")
    error = "root/1.json of the kit is not the one that is trusted here"
    gap.inside.refuses("kit", "import", kit, code="root", error=error)
    fresh = Side(gap.folder / "fresh")
    fresh.refuses(
        *("kit", "import", kit, "--fingerprint", gap.outside.fingerprint),
        code="root",
        error="not the one given",
    )
    root = gap.outside.folder / ".manifestgen/root/1.json"
    fresh.refuses("kit", "import", kit, "--root", root, code="root", error="root/1.json of the kit")
    gap.outside.refuses(
        *("kit", "export", "--to", "x.kit", "--since", receipt_of(other, kit)),
        code="root",
        error="the other side trusts another root 1",
    )


def test_nobody_is_trusted_without_being_told(gap: Gap) -> None:
    fresh = Side(gap.folder / "fresh")
    error = "nothing here says whom to trust"
    fresh.refuses("kit", "import", gap.full, code="usage", error=error, exit_code=2)
    for text, why in (("abc", "want 32 to 64"), ("x" * 40, "want 32"), ("a" * 65, "want 32")):
        fresh.refuses(
            *("kit", "import", gap.full, "--fingerprint", text),
            code="usage",
            error=why,
            exit_code=2,
        )
    spoken = " ".join(gap.outside.fingerprint[at : at + 4] for at in range(0, 64, 4)).upper()
    assert fresh.imports(gap.full, "--fingerprint", spoken)["changed"]
    by_root = Side(gap.folder / "by-root")
    root = gap.outside.folder / ".manifestgen/root/1.json"
    assert by_root.imports(gap.full, "--root", root)["changed"]
    assert by_root.files() == fresh.files()


def test_one_that_brings_too_little(gap: Gap, door: Door, tmp_path: Path) -> None:
    other = gap.folder / "other.json"
    told = json.loads(gap.receipt.read_text())
    needed = [name for name, _ in members(gap.full) if name.startswith("blobs/")]
    claimed = sorted({*told["blobs"], *(name[-68:-4] for name in needed)})
    other.write_text(json.dumps({**told, "blobs": claimed}, sort_keys=True, separators=(",", ":")))
    kit = gap.outside.exports("less.kit", "--since", other)
    found = door.refuses(kit)
    assert (found.code, found.hint) == (
        "incomplete",
        "export it with `manifestgen kit export --full`",
    )


def test_a_damaged_site_is_neither_exported_nor_added_to(gap: Gap, tmp_path: Path) -> None:
    said = json.loads((gap.outside.site / "production/manifest.json").read_text())
    digest = said["signed"]["offers"][0]["release"]["signed"]["bundle"]["blob"]
    blob = gap.outside.site / blob_name(digest)
    data = blob.read_bytes()
    for damaged in (data[:-1], data[:-1] + bytes([data[-1] ^ 1]), data + b"?"):
        blob.write_bytes(damaged)
        gap.outside.refuses(
            "kit", "export", "--to", "x.kit", code="digest", error=f"{blob.stem}.bin"
        )
    manifest = gap.inside.site / "production/manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"sequence":2', b'"sequence":1'))
    error = "production/manifest.json of this site does not verify"
    gap.inside.refuses("kit", "import", gap.second, code="signature", error=error)


def test_receipts_that_are_none(gap: Gap, tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    for text in ("", "{}", "[]", gap.receipt.read_text().replace("receipt.v1", "receipt.v2")):
        path.write_text(text)
        with pytest.raises(AssertionError, match="is no receipt"):
            gap.outside.exports("x.kit", "--since", path)
    path.write_bytes(gap.receipt.read_bytes() + b"\r\n\n")  # mail programs do that
    assert gap.outside.exports("x.kit", "--since", path).read_bytes() == gap.second.read_bytes()


def test_errors_are_ours(gap: Gap) -> None:
    with pytest.raises(Error):
        Archive(gap.folder)
    with pytest.raises(Error):
        take(gap.full, Trust(), gap.inside.settings, filled({}), gap.folder / "receipt")
