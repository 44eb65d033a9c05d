"""One contender's one run: `python -m tests.bench.patching WHAT OLD NEW OUT REPORT`.

`ours`, `bsdiff4` and `zstd` write their patch to OUT, `brotli each` the bytes of all changed files;
REPORT is given the bytes that are new. `apply` makes the folder OUT of OLD and the patch REPORT.
"""

import hashlib
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

from manifestgen.bundle.patched import apply_patch
from manifestgen.core.diff import make
from manifestgen.core.tree import Digest, File, Tree


def tree_of(folder: Path) -> Tree:
    """Read a folder's tree."""
    return Tree.of(
        File(path.relative_to(folder).as_posix(), digest_of(path), path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file()
    )


def digest_of(path: Path) -> Digest:
    """Digest a file."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


def lacking(one: Tree, other: Tree) -> list[File]:
    """Return the contents of one tree that the other lacks, each once, by path."""
    there = {file.sha256 for file in other.files}
    once = {file.sha256: file for file in reversed(one.files) if file.sha256 not in there}
    return [file for file in one.files if once.get(file.sha256) is file]


def joined(folder: Path, files: Iterable[File]) -> bytes:
    """Return contents one after the other."""
    return b"".join((folder / file.path).read_bytes() for file in files)


def main(arguments: list[str]) -> None:
    """Run one contender."""
    what, *paths = arguments
    old, new, out, report = map(Path, paths)
    before, after = tree_of(old), tree_of(new)
    if what == "apply":
        with report.open("rb") as file:
            made = apply_patch(file, old, before, out, target=after.digest(), limit=after.size)
        if made != after:
            raise SystemExit("it made another tree")
        return
    came = lacking(after, before)
    report.write_text(str(sum(file.size for file in came)))
    match what:
        case "ours":
            with ThreadPoolExecutor(2) as pool:
                data = make(
                    before,
                    lambda file: (old / file.path).read_bytes(),
                    after,
                    lambda file: (new / file.path).read_bytes(),
                    each=pool.map,
                )
        case "brotli each":
            data = str(_brotli(new, came)).encode()
        case "bsdiff4":
            bsdiff4 = import_module("bsdiff4")
            data = bsdiff4.diff(joined(old, lacking(before, after)), joined(new, came))
        case _:
            data = _zstd(joined(old, lacking(before, after)), joined(new, came))
    out.write_bytes(data)


def _brotli(folder: Path, files: list[File]) -> int:
    import brotli

    def packed(file: File) -> int:
        return len(brotli.compress((folder / file.path).read_bytes()))

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(packed, files))


def _zstd(old: bytes, new: bytes) -> bytes:
    """Do as `zstd --patch-from` does."""
    zstd = import_module("backports.zstd")
    options = {
        zstd.CompressionParameter.compression_level: 19,
        zstd.CompressionParameter.enable_long_distance_matching: 1,
        zstd.CompressionParameter.window_log: min(31, max(10, (len(old) + len(new)).bit_length())),
    }
    base = zstd.ZstdDict(old, is_raw=True).as_prefix
    return bytes(zstd.compress(new, options=options, zstd_dict=base))


if __name__ == "__main__":
    main(sys.argv[1:])
