"""What somebody who can write into a site's folder must not gain over its publisher."""

import os
from pathlib import Path

import pytest

from manifestgen.errors import StoreError
from manifestgen.stores import DirectoryStore

pytestmark = pytest.mark.skipif(os.name == "nt", reason="links that anybody can make")


def test_no_file_behind_a_link_is_swept_as_a_leftover(tmp_path: Path) -> None:
    home, site = tmp_path / "home", tmp_path / "site"
    (home / "id_rsa.d").mkdir(parents=True)
    (home / "id_rsa").write_text("a key")
    site.mkdir()
    (site / ".manifestgen-tmp").symlink_to(home)
    with pytest.raises(StoreError, match="symbolic link"):
        DirectoryStore(site).create("root/1.json", b"{}")
    assert sorted(path.name for path in home.iterdir()) == ["id_rsa", "id_rsa.d"]


def test_only_what_a_writer_would_have_left_is_swept(tmp_path: Path) -> None:
    temp = tmp_path / ".manifestgen-tmp"
    temp.mkdir()
    (temp / "notes").write_text("somebody's own")
    (temp / "0123456789abcdef").write_text("")
    (temp / "0123456789abcdef.d").mkdir()
    DirectoryStore(tmp_path).create("root/1.json", b"{}")
    assert [path.name for path in temp.iterdir()] == ["notes"]
