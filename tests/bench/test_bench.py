"""The benchmarks run; how fast is for people to read."""

from pathlib import Path

from tests.bench import again, check, publish, watch


def test_the_publish_table_names_every_contender(tmp_path: Path) -> None:
    table = publish.table(["swagger"], 1, tmp_path)
    row = table.splitlines()[-1]
    assert row.startswith("| swagger 5.34.0 |")
    assert row.count("|") == table.splitlines()[0].count("|")


def test_the_table_of_publishing_again_has_every_build(tmp_path: Path) -> None:
    heading, _, row = again.table(["swagger"], 1, tmp_path).splitlines()
    assert row.startswith("| swagger 5.34.0 |")
    assert row.count("|") == heading.count("|")


def test_the_check_table_has_both_manifests() -> None:
    assert len(check.table(1).splitlines()) == 4


def test_the_watch_table_measures_a_build(tmp_path: Path) -> None:
    row = watch.table(["swagger"], 2, tmp_path).splitlines()[-1]
    assert row.startswith("| swagger | 26 |")


def test_a_manifest_stays_small() -> None:
    assert check.size(1) < 3500
    assert check.size(2) < 6500
