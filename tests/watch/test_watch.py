"""What bundlers, editors and people do to a folder, with real files."""

import shutil
import time
from pathlib import Path

import pytest

from manifestgen.watch import Press
from manifestgen.watch.press import CHAPTER
from tests.publish.project import Project
from tests.serve.asking import wait_for
from tests.watch.watching import build, save, tree, watching


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    return build(tmp_path / "shop/dist")


def test_a_save_is_published(dist: Path) -> None:
    with watching(dist) as watch:
        watch.settles()
        save(dist / "assets/chunk-0.js", "// another")
        watch.settles()
    first, second = watch.printed
    assert len(first.changed) == 3
    assert (second.changed, second.removed) == (("assets/chunk-0.js",), ())
    assert (str(first.version), str(second.version)) == ("0.0.1-dev.1", "0.0.1-dev.2")


def test_reading_is_no_change(dist: Path) -> None:
    with watching(dist) as watch:
        watch.settles()
        time.sleep(0.3)
        looks = 0

        def count(*, files: object = None, folders: bool = False) -> None:
            nonlocal looks
            looks += 1

        watch.changes.notice = count  # type: ignore[method-assign]
        for _ in range(20):
            for path in dist.rglob("*"):
                path.read_bytes() if path.is_file() else list(path.iterdir())
        time.sleep(0.3)
    assert looks == 0
    assert len(watch.printed) == 1


def test_writing_the_same_again_is_no_news(dist: Path) -> None:
    with watching(dist) as watch:
        watch.settles()
        for _ in range(5):
            for path in [one for one in dist.rglob("*") if one.is_file()]:
                save(path, path.read_text())
            time.sleep(0.1)
    assert len(watch.printed) == 1


@pytest.mark.parametrize("rounds", [20, pytest.param(50, marks=pytest.mark.full)])
def test_a_folder_deleted_and_made_again(dist: Path, rounds: int) -> None:
    with watching(dist) as watch:
        for number in range(rounds):
            shutil.rmtree(dist)
            build(dist, f"n{number}", files=8)
            if number % 3 == 0:
                watch.settles()
        watch.settles()
    assert watch.refused == []
    assert watch.workshop.site.is_dir()


def test_a_folder_replaced_by_renaming(dist: Path) -> None:
    with watching(dist) as watch:
        watch.settles()
        for number in range(5):
            new = build(dist.with_name("dist.new"), f"n{number}")
            dist.rename(dist.with_name("dist.old"))
            new.rename(dist)
            watch.settles()
            (dist / "assets/chunk-0.js").write_text(f"// after {number}")
            watch.settles()
            shutil.rmtree(dist.with_name("dist.old"))


def test_a_link_that_is_turned_to_another_folder(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    one, two = build(shop / "builds/one", "one"), build(shop / "builds/two", "two")
    dist = shop / "dist"
    dist.symlink_to(one)
    with watching(dist) as watch:
        watch.settles()
        (shop / "next").symlink_to(two)
        (shop / "next").replace(dist)
        watch.settles()
        (two / "assets/chunk-0.js").write_text("// later")
        watch.settles()


def test_a_build_that_fails_half_way_is_not_published(dist: Path) -> None:
    with watching(dist) as watch:
        watch.settles()
        good = watch.offered()
        (dist / "index.html").write_text('<script src="/assets/app-next.js"></script>')
        (dist / "assets/app-one.js").unlink()
        wait_for(lambda: bool(watch.held))
        time.sleep(0.2)
        assert watch.held == ["index.html names assets/app-next.js, which is not there"]
        assert watch.offered() == good
        (dist / "assets/app-next.js").write_text("mended")
        watch.settles()
        shutil.rmtree(dist)
        wait_for(lambda: len(watch.held) == 2)
        assert "no such folder" in watch.held[1]
        build(dist, "again")
        watch.settles()


def test_a_burst_is_one_publish(dist: Path) -> None:
    with watching(dist) as watch:
        watch.settles()
        assets = dist / "assets/more"
        assets.mkdir()
        (dist / "index.html").write_text('<script src="assets/more/999.js"></script>')
        for number in range(1000):
            (assets / f"{number}.js").write_text(f"// {number}")
        watch.settles()
        time.sleep(0.3)
    # The page names what is written last; on a stalling machine a look may fall in between.
    assert len(watch.printed) == 2
    assert len(watch.printed[1].changed) == 1001


def test_what_editors_keep_for_a_moment_is_left_out(dist: Path) -> None:
    with watching(dist) as watch:
        watch.settles()
        wanted = tree(dist)
        names = (".app.js.swp", "4913", "app.js~", "assets/app.js___jb_tmp___", "#app.js#")
        for name in names:
            (dist / name).write_text("half a file")
        time.sleep(0.4)
        assert watch.offered() == wanted
        for name in names:
            (dist / name).unlink()
        # As an editor saves: beside, then over.
        (dist / "assets/.chunk.tmp").write_text("// saved")
        (dist / "assets/.chunk.tmp").replace(dist / "assets/chunk-0.js")
        watch.settles()


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    dist = tmp_path / "shop/dist"
    with watching(dist) as watch:
        time.sleep(0.1)
        build(dist)
        watch.settles()


def test_polling_sees_it_too(dist: Path) -> None:
    with watching(dist, poll=True) as watch:
        watch.settles()
        shutil.rmtree(dist)
        build(dist, "two")
        watch.settles()
        (dist / "assets/chunk-0.js").write_text("// three")
        watch.settles()
    assert watch.changes.polls


def test_a_write_in_place_of_the_same_size_is_seen(dist: Path) -> None:
    file = dist / "assets/chunk-0.js"
    file.write_text("// 000")
    with watching(dist) as watch:
        for number in range(10):
            file.write_text(f"// {number:03d}")
            time.sleep(0.03)
        watch.settles()


def test_history_is_kept_in_chapters(project: Project) -> None:
    dist = build(project.folder / "built")
    for _ in range(2):  # the second run goes on where the first ended
        with watching(dist) as watch:
            watch.settles()
            for number in range(CHAPTER - 3):
                (dist / "assets/chunk-0.js").write_text(f"// {number} {time.time_ns()}")
                watch.settles()
    dev = project.folder / ".manifestgen/dev"
    site = dev / "site"
    kept = sorted(path.name for path in (site / "production/history").iterdir())
    assert len(kept) <= CHAPTER
    assert len(list((site / "releases").iterdir())) <= CHAPTER
    config = dev / "manifestgen.toml"
    assert project.does("verify", "--config", config, "--json").json["problems"] == []


def test_an_expiring_manifest_is_signed_again(dist: Path) -> None:
    from datetime import UTC, datetime, timedelta

    from manifestgen.config import find
    from manifestgen.watch import open_workshop
    from manifestgen.watch.workshop import EXPIRES

    with watching(dist) as watch:
        watch.settles()
    head = watch.press.head
    later = datetime.now(UTC).replace(microsecond=0) + EXPIRES * 2 / 3
    with open_workshop(find(dist.parent), dist, now=later) as workshop:
        press = Press(workshop, now=later)
    assert head is not None
    assert press.head is not None
    assert press.version == watch.press.version
    assert press.head.manifest.expires - later == EXPIRES
    assert press.head.manifest.sequence > head.manifest.sequence
    assert press.head.manifest.expires - head.manifest.expires > timedelta(minutes=30)
