"""Vectors on patches, each written out by hand: what a device makes of them, and refuses.

Streams are deflated by hand, too, as stored blocks, so that no library's version is in the bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from manifestgen.core.patch import Header
from manifestgen.core.tree import File, Tree, sha256
from tests.vectors.family import Family, b64

Files = dict[str, bytes]
Step = tuple[bytes, int, int]  # the literals to insert, the jump, how much to copy


def tree_of(files: Mapping[str, bytes]) -> Tree:
    """Return the tree of some files."""
    return Tree.of(File(path, sha256(data), len(data)) for path, data in files.items())


def number(value: int) -> bytes:
    """Spell a number."""
    low = [value & 0x7F]
    while value := value >> 7:
        low.append(value & 0x7F | 0x80)
    return bytes(reversed(low))


def signed(value: int) -> bytes:
    """Spell a signed number."""
    return number(2 * value if value >= 0 else -2 * value - 1)


def deflated(data: bytes) -> bytes:
    """Write data as one stored block of deflate."""
    size = len(data)
    return b"\x01" + size.to_bytes(2, "little") + (size ^ 0xFFFF).to_bytes(2, "little") + data


@dataclass(frozen=True, slots=True)
class Plan:
    """A patch in parts, each of which can be put wrong; `changes` are made to the header."""

    base: Files
    target: Files
    kept: Sequence[int]
    listing: bytes
    steps: Sequence[Step]

    def streams(self) -> list[bytes]:
        """Return the five streams, plain."""
        return [
            b"".join(map(number, self.kept)),
            b"".join(number(len(insert)) for insert, _, _ in self.steps),
            b"".join(signed(jump) for _, jump, _ in self.steps),
            b"".join(number(copy) for _, _, copy in self.steps),
            b"".join(insert for insert, _, _ in self.steps),
        ]

    def header(self, plain: Sequence[bytes], packed: Sequence[bytes]) -> Header:
        """Return the header that belongs to it."""
        return Header(
            base=tree_of(self.base).digest(),
            target=tree_of(self.target).digest(),
            listing=len(self.listing),
            new=sum(len(insert) + copy for insert, _, copy in self.steps),
            old=len(old_side(self.base, self.kept)),
            steps=len(self.steps),
            plain=tuple(map(len, plain)),
            packed=tuple(map(len, packed)),
        )

    def encode(
        self, *, plain: Mapping[int, bytes] | None = None, packed: Mapping[int, bytes] | None = None
    ) -> bytes:
        """Return the patch, some streams replaced."""
        streams = [(plain or {}).get(n, stream) for n, stream in enumerate(self.streams())]
        ready = [(packed or {}).get(n, deflated(stream)) for n, stream in enumerate(streams)]
        return self.header(streams, ready).encode() + b"".join(ready)

    def declaring(self, **changes: object) -> bytes:
        """Return the patch with another header; a function is given what there is."""
        ready = [deflated(stream) for stream in self.streams()]
        header = self.header(self.streams(), ready)
        return replace(header, **changes).encode() + b"".join(ready)  # type: ignore[arg-type]


def old_side(base: Files, kept: Sequence[int]) -> bytes:
    """Return the old side, as far as `kept` makes sense."""
    paths = sorted(base, key=str.encode)
    going = []
    for turn, run in enumerate(kept):
        if turn % 2:
            going += paths[:run]
        paths = paths[run:]
    lines = [f"{path}\t{len(base[path])}\n".encode() for path in going]
    return b"".join([*lines, *(base[path] for path in going)])


BASE: Final[Files] = {"index.html": b"old\n", "keep.txt": b"kept"}
TARGET: Final[Files] = {"index.html": b"new\n", "keep.txt": b"kept"}
EXAMPLE: Final = Plan(BASE, TARGET, (0, 1, 1), b"index.html\t4\n", ((b"", 0, 13), (b"new", 0, 1)))
"""The example of `docs/format.md`."""

LONG: Final = bytes(n * n % 251 for n in range(700))


def written(base: Files, target: Files, kept: Sequence[int], listing: bytes) -> Plan:
    """Plan a patch that copies nothing."""
    contents = b"".join(
        target[line.split("\t")[0]]
        for line in listing.decode().splitlines()
        if not line.endswith("=")
    )
    return Plan(base, target, kept, listing, ((listing + contents, -len(listing + contents), 0),))


def good() -> Iterator[tuple[str, Plan]]:
    """Give patches that every device applies."""
    yield "one file replaced, the example", EXAMPLE
    yield "nothing comes, a file goes", Plan(BASE, {"keep.txt": b"kept"}, (0, 1, 1), b"", ())
    yield "nothing comes and nothing goes", Plan(BASE, BASE, (2,), b"", ())
    added = {**BASE, "new/é.txt": b"hello"}
    yield "a file comes", written(BASE, added, (2,), "new/é.txt\t5\n".encode())
    empty = {**BASE, "empty": b""}
    yield "an empty file comes", written(BASE, empty, (2,), b"empty\t0\n")
    twice = {**BASE, "b": b"same", "a": b"same", "c": b"same"}
    yield "one content comes under three names", written(BASE, twice, (2,), b"b\t4\na\t=\nc\t=\n")
    listing = b"b\t1\na\t2\n"
    yield "files come in no order", written(BASE, {**BASE, "a": b"xy", "b": b"z"}, (2,), listing)
    yield (
        "a file is renamed",
        Plan({"a": LONG}, {"b": LONG}, (0, 1), b"b\t700\n", ((b"b", 0, 706 - 1),)),
    )
    yield (
        "copies go back, and overlap",
        Plan(
            {"a": b"abcdef"},
            {"b": b"defabcabc"},
            (0, 1),
            b"b\t9\n",
            ((b"b\t9\n", 3, 3), (b"", -6, 3), (b"", -3, 3)),
        ),
    )
    yield (
        "every second file goes",
        Plan(
            {"a": b"1", "b": b"2", "c": b"3", "d": b"4"},
            {"a": b"1", "c": b"3"},
            (1, 1, 1, 1),
            b"",
            (),
        ),
    )
    yield (
        "the whole base goes",
        written({"a": b"1", "b": b"2"}, {"c": b"3"}, (0, 2), b"c\t1\n"),
    )
    yield (
        "a step that only inserts stands between copies",
        Plan(
            {"a": LONG},
            {"b": LONG[:10] + b"!" + LONG[10:20]},
            (0, 1),
            b"b\t21\n",
            ((b"b\t21\n", 1, 10), (b"!", -1, 0), (b"", 0, 10)),
        ),
    )


def bad() -> Iterator[tuple[str, bytes]]:
    """Give patches that every device refuses as the example of `docs/format.md`."""
    whole = EXAMPLE.encode()
    yield "empty", b""
    yield "cut in the header", whole[:127]
    yield "cut by a byte", whole[:-1]
    yield "extended by a byte", whole + b"\0"
    yield "another magic", whole.replace(b"mgpatch1", b"mgpatch2")
    yield "for another base", EXAMPLE.declaring(base=sha256(b"another"))
    yield "to another target", EXAMPLE.declaring(target=sha256(b"another"))
    yield from _declared()
    yield from _streams()
    yield from _lists()


def _declared() -> Iterator[tuple[str, bytes]]:
    most = 2**32 - 1
    good = EXAMPLE.header(EXAMPLE.streams(), [deflated(one) for one in EXAMPLE.streams()])
    yield "declares 4 GB of new side", EXAMPLE.declaring(new=most)
    yield "declares a byte of new side too many", EXAMPLE.declaring(new=good.new + 1)
    yield "declares a byte of new side too few", EXAMPLE.declaring(new=good.new - 1)
    yield "declares another old side", EXAMPLE.declaring(old=good.old + 1)
    yield "declares a list of 4 GB", EXAMPLE.declaring(listing=most, new=most)
    yield "declares a list longer than the new side", EXAMPLE.declaring(listing=good.new + 1)
    yield "declares four billion steps", EXAMPLE.declaring(steps=most)
    yield "declares no steps", EXAMPLE.declaring(steps=0)
    yield "declares a step too many", EXAMPLE.declaring(steps=3)
    yield "declares a step too few", EXAMPLE.declaring(steps=1)
    for stream, name in enumerate(("kept", "inserts", "jumps", "copies", "literals")):
        for what, size in (("4 GB", most), ("a byte too many", good.plain[stream] + 1)):
            plain = (*good.plain[:stream], size, *good.plain[stream + 1 :])
            yield f"declares {what} of {name}", EXAMPLE.declaring(plain=plain)
    reordered = (good.packed[1], good.packed[0], *good.packed[2:])
    yield "streams of other sizes than declared", EXAMPLE.declaring(packed=reordered)


def _streams() -> Iterator[tuple[str, bytes]]:
    yield "streams in another order", EXAMPLE.encode(plain={0: b"\0\3", 1: b"\0\1\1"})
    yield "not deflate", EXAMPLE.encode(packed={4: b"\x07" + bytes(7)})
    yield "deflate without an end", EXAMPLE.encode(packed={4: b"\0" + deflated(b"new")[1:]})
    yield "bytes after the end of deflate", EXAMPLE.encode(packed={4: deflated(b"new") + b"\0"})
    yield "deflate cut short", EXAMPLE.encode(packed={4: deflated(b"new")[:-1]})
    yield "a literal too many", EXAMPLE.encode(plain={4: b"new!"})
    yield "a literal too few", EXAMPLE.encode(plain={4: b"ne"})
    yield "a number spelt too long", EXAMPLE.encode(plain={0: b"\x80\0\1\1"})
    yield "a number of six bytes", EXAMPLE.encode(plain={3: b"\x81\x80\x80\x80\x80\0\1"})
    yield "a number cut short", EXAMPLE.encode(plain={3: b"\x0d\x81"})
    yield "a number begun behind the last", EXAMPLE.encode(plain={3: b"\x0d\1\x81"})
    yield "a run begun behind the last", EXAMPLE.encode(plain={0: b"\0\1\1\x81"})
    yield "an empty run of files", EXAMPLE.encode(plain={0: b"\0\1\0\0\1"})
    yield "a run beyond the base", EXAMPLE.encode(plain={0: b"\0\1\2"})
    yield "runs that stop before the end", EXAMPLE.encode(plain={0: b"\0\1"})
    yield "no runs", EXAMPLE.encode(plain={0: b""})
    yield from _steps()


def _steps() -> Iterator[tuple[str, bytes]]:
    def steps(*changed: Step) -> bytes:
        return replace(EXAMPLE, steps=changed).encode()

    yield "a copy before the old side", steps((b"", -1, 13), (b"new", 1, 1))
    yield "a copy beyond the old side", steps((b"", 0, 13), (b"new", 1, 1))
    yield "a jump beyond without a copy", steps((b"", 0, 13), (b"new\n", 1, 0))
    yield "a far jump", steps((b"", 0, 13), (b"new", 2**33, 1))
    yield "a step that does nothing", steps((b"", 0, 13), (b"", 0, 0), (b"new", 0, 1))


def _lists() -> Iterator[tuple[str, bytes]]:
    def listing(text: bytes, size: int = 4) -> bytes:
        target = {**TARGET, "index.html": b"n" * size}
        whole = text + b"n" * size
        return Plan(BASE, TARGET | target, (0, 1, 1), text, ((whole, -len(whole), 0),)).declaring(
            target=tree_of(TARGET).digest()
        )

    yield "a list without a tab", listing(b"index.html 4\n")
    yield "a list without an end", listing(b"index.html\t4")
    yield "an empty line", listing(b"\nindex.html\t4\n")
    yield "a size with a leading zero", listing(b"index.html\t04\n")
    yield "a size with a sign", listing(b"index.html\t+4\n")
    yield "a size that is empty", listing(b"index.html\t\n", 0)
    yield "a size in other digits", listing("index.html\t٤\n".encode())
    yield "a size of a hundred digits", listing(b"index.html\t" + b"9" * 100 + b"\n")
    yield "a list of more than there is", listing(b"index.html\t5\n")
    yield "a list of less than there is", listing(b"index.html\t3\n")
    yield "the content of the line before the first", listing(b"index.html\t=\n", 0)
    yield "a file that comes and stays", listing(b"keep.txt\t4\n")
    yield "a file that comes twice", listing(b"index.html\t4\nindex.html\t=\n")
    yield "a file beside its folder's name", listing(b"keep.txt/x\t4\n")
    yield "a path that leads out", listing(b"../index.html\t4\n")
    yield "a path that is absolute", listing(b"/index.html\t4\n")
    yield "a path that is not UTF-8", listing(b"index\xff\t4\n")
    yield "more than the release's size", listing(b"index.html\t500\n", 500)
    many = b"index.html\t4\n" + b"".join(b"%d\t=\n" % n for n in range(300))
    yield "more than the release's size by one content many times", listing(many)


def families() -> Iterator[Family]:
    """Make the family."""
    family = Family("patches", "What is made of a patch, and which are refused.")
    for name, plan in good():
        target = tree_of(plan.target)
        want = {"digest": target.digest(), "files": len(target.files), "size": target.size}
        _ok(family, name, plan, want)
    for name, data in bad():
        base, wanted = _given(BASE), tree_of(TARGET).digest()
        family.error(name, "patch", "patch", base=base, patch=b64(data), target=wanted, limit=64)
    changed = {**BASE, "keep.txt": b"kepT"}
    family.error(
        "the base was altered on disk",
        "patch",
        "patch",
        base=_given(changed),
        patch=b64(EXAMPLE.encode()),
        target=tree_of(TARGET).digest(),
        limit=64,
    )
    wrong = replace(EXAMPLE, steps=((b"", 0, 13), (b"neW", 0, 1)))
    family.error(
        "the result is another tree",
        "patch",
        "tree",
        base=_given(BASE),
        patch=b64(wrong.encode()),
        target=tree_of(TARGET).digest(),
        limit=64,
    )
    yield family


def _ok(family: Family, name: str, plan: Plan, want: Mapping[str, object]) -> None:
    target = tree_of(plan.target)
    family.ok(
        name,
        "patch",
        want,
        base=_given(plan.base),
        patch=b64(plan.encode()),
        target=target.digest(),
        limit=target.size,
    )


def _given(files: Files) -> list[dict[str, str]]:
    return [{"path": path, "data": b64(data)} for path, data in sorted(files.items())]
