"""What a cache of deflate streams promises: the same zip, sooner, whatever is in the cache."""

import io
import os
import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from manifestgen.bundle import PACKER_LARGE, Cache, Packed, pack, read_build
from manifestgen.bundle import cache as cache_module
from manifestgen.core.archive import Method
from manifestgen.core.tree import sha256

SECRET = b"s" * 32


def make(folder: Path, files: int = 12) -> Path:
    """Write a build of texts that deflate, one that does not, and an image."""
    folder.mkdir()
    noise = random.Random(1)
    (folder / "index.html").write_text("<!doctype html>" * 50)
    (folder / "logo.png").write_bytes(b"png" * 1000)
    (folder / "noise.txt").write_bytes(noise.randbytes(5000))
    (folder / "empty.js").write_bytes(b"")
    for number in range(files):
        words = [noise.choice(["let ", "const ", "a", "b", " = ", ";\n"]) for _ in range(3000)]
        (folder / f"{number:02}.js").write_text("".join(words))
    return folder


@pytest.fixture
def build(tmp_path: Path) -> Path:
    return make(tmp_path / "build")


def packs(
    folder: Path, cache: Path | None, *, secret: bytes = SECRET, packer: str = PACKER_LARGE
) -> tuple[Packed, bytes]:
    """Pack a folder as a publish does, and keep what was packed anew."""
    out = io.BytesIO()
    if cache is None:
        return pack(read_build(folder), out), out.getvalue()
    with Cache(cache, packer=packer, secret=secret) as opened:
        packed = pack(read_build(folder), out, cache=opened)
        if packed.fresh:
            bundle = folder.with_name("bundle.zip")
            bundle.write_bytes(out.getvalue())
            opened.keep(bundle, packed.streams)
    return packed, out.getvalue()


@pytest.mark.parametrize("secret", [SECRET, b""], ids=["with a secret", "without"])
def test_a_zip_is_the_same_with_an_empty_cache_a_full_one_and_none(
    build: Path, tmp_path: Path, secret: bytes
) -> None:
    _, alone = packs(build, None)
    first, cold = packs(build, tmp_path / "cache", secret=secret)
    second, warm = packs(build, tmp_path / "cache", secret=secret)
    assert alone == cold == warm
    assert first == second
    assert first.fresh == 15
    assert second.fresh == 0


def test_only_what_changed_is_packed_anew(build: Path, tmp_path: Path) -> None:
    packs(build, tmp_path / "cache")
    (build / "03.js").write_text("changed " * 100)
    (build / "04.js").rename(build / "renamed.js")
    packed, data = packs(build, tmp_path / "cache")
    assert packed.fresh == 1
    assert data == packs(build, None)[1]


def test_a_content_under_a_name_that_is_not_deflated_is_not_mixed_up(
    build: Path, tmp_path: Path
) -> None:
    shutil.copy(build / "00.js", build / "00.png")
    packs(build, tmp_path / "cache")
    (build / "00.js").unlink()
    shutil.copy(build / "00.png", build / "late.js")
    packed, data = packs(build, tmp_path / "cache")
    assert packed.fresh == 0
    assert data == packs(build, None)[1]


def test_git_ignores_a_cache(build: Path, tmp_path: Path) -> None:
    packs(build, tmp_path / "cache")
    assert (tmp_path / "cache" / ".gitignore").read_text() == "*\n"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for at in range(0, len(data), 97):
        data[at] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped bits": flip,
    "cut short": cut,
    "emptied": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "a pipe": pipe,
    "a folder": folder,
    "a link to nowhere": link,
}


@pytest.mark.parametrize("secret", [SECRET, b""], ids=["with a secret", "without"])
@pytest.mark.parametrize("what", ["*.zip", "*.index"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_costs_time_and_nothing_else(
    build: Path, tmp_path: Path, secret: bytes, what: str, damage: Callable[[Path], object]
) -> None:
    _, data = packs(build, tmp_path / "cache", secret=secret)
    [path] = (tmp_path / "cache").glob(what)
    damage(path)
    assert packs(build, tmp_path / "cache", secret=secret)[1] == data
    assert packs(build, tmp_path / "cache", secret=secret)[1] == data


def planted(tmp_path: Path, content: bytes, stream: bytes, *, secret: bytes) -> Path:
    """Make a cache in which a stream stands for a content, as somebody with `secret` could."""
    bundle = tmp_path / "planted.zip"
    bundle.write_bytes(stream)
    with Cache(tmp_path / "cache", packer=PACKER_LARGE, secret=secret) as cache:
        entry = cache_module.Stream(
            sha256(content), False, Method.DEFLATED, 0, len(stream), sha256(stream)
        )
        cache.keep(bundle, [entry])
    return tmp_path / "cache"


def other_stream(content: bytes, more: bytes = b"") -> bytes:
    import zlib

    stream = zlib.compressobj(1, zlib.DEFLATED, -15)
    return stream.compress(content) + stream.flush() + more


def test_what_somebody_without_the_secret_planted_is_not_used(build: Path, tmp_path: Path) -> None:
    content = (build / "00.js").read_bytes()
    planted(tmp_path, content, other_stream(content), secret=b"")
    cache = planted(tmp_path, content, other_stream(content), secret=b"x" * 32)
    packed, data = packs(build, cache)
    assert packed.fresh == 15
    assert data == packs(build, None)[1]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(lambda content: other_stream(content + b"x"), id="more than the content"),
        pytest.param(lambda content: other_stream(content[:-1]), id="less"),
        pytest.param(lambda content: other_stream(content[::-1]), id="another content"),
        pytest.param(lambda content: other_stream(content, b"\0"), id="a byte behind it"),
        pytest.param(lambda content: other_stream(content)[:-1], id="cut short"),
        pytest.param(lambda content: other_stream(bytes(2**24)), id="a bomb"),
        pytest.param(lambda content: b"no deflate", id="no deflate at all"),
        pytest.param(lambda content: b"", id="nothing"),
    ],
)
def test_without_a_secret_a_planted_stream_gives_the_content_or_is_not_used(
    build: Path, tmp_path: Path, stream: Callable[[bytes], bytes]
) -> None:
    content = (build / "00.js").read_bytes()
    cache = planted(tmp_path, content, stream(content), secret=b"")
    assert packs(build, cache, secret=b"")[1] == packs(build, None)[1]


def test_another_packer_finds_nothing(build: Path, tmp_path: Path) -> None:
    packs(build, tmp_path / "cache", packer="zip0/deflate-0")
    packed, _ = packs(build, tmp_path / "cache")
    assert packed.fresh == 15


def test_the_oldest_bundles_go(build: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for number in range(cache_module.BUNDLES + 3):
        (build / "00.js").write_text(f"{number} " * 1000)
        packs(build, cache)
    assert len(list(cache.glob("*.zip"))) == cache_module.BUNDLES
    assert len(list(cache.glob("*.index"))) == cache_module.BUNDLES
    assert packs(build, cache)[0].fresh == 0


def test_what_a_killed_process_left_is_swept_in_time(build: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    packs(build, cache)
    for name in ("old.zip", "old.tmp", "new.zip"):
        (cache / name).write_bytes(b"left")
    for name in ("old.zip", "old.tmp"):
        os.utime(cache / name, (1, 1))
    (build / "00.js").write_text("changed")
    packs(build, cache)
    left = {path.name for path in cache.iterdir()} & {"old.zip", "old.tmp", "new.zip"}
    assert left == {"new.zip"}


def test_a_cache_that_cannot_be_written_is_as_if_there_were_none(
    build: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    assert packs(build, tmp_path / "cache")[1] == packs(build, None)[1]


def test_many_share_a_cache(tmp_path: Path) -> None:
    folders = [make(tmp_path / f"build{number}", 4 + number) for number in range(6)]
    wanted = [packs(folder, None)[1] for folder in folders]
    got: list[list[bytes]] = [[] for _ in folders]

    def run(number: int) -> None:
        work = tmp_path / f"work{number}"
        work.mkdir()
        copy = Path(shutil.copytree(folders[number], work / "build"))
        got[number] = [packs(copy, tmp_path / "cache")[1] for _ in range(5)]

    threads = [threading.Thread(target=run, args=[number]) for number in range(len(folders))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [[data] * 5 for data in wanted]


def test_a_large_file_is_recalled_a_piece_at_a_time(tmp_path: Path) -> None:
    folder = make(tmp_path / "build", 1)
    with (folder / "large.wasm").open("wb") as file:
        for number in range(33):
            file.write(str(number).encode().ljust(64, b"-") * 16384)
    cold, data = packs(folder, tmp_path / "cache")
    warm, again = packs(folder, tmp_path / "cache")
    assert data == again == packs(folder, None)[1]
    assert (cold.fresh, warm.fresh) == (5, 0)
    [path] = (tmp_path / "cache").glob("*.zip")
    flip(path)
    assert packs(folder, tmp_path / "cache")[1] == data
