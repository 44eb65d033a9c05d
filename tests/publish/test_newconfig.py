"""A new manifestgen.toml says what it was made from, whatever characters that has."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from manifestgen.config import find
from manifestgen.errors import UsageError
from manifestgen.publish.newconfig import new_config
from tests.publish.project import Project, check_refusal

NAMES = ['a"b\\c', "a\x7fb", "a\x80b", "größe 🙂", 'a"\nscheme = "none', 'x" #', "{app}"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read_back(name: str, tmp_path: Path) -> None:
    settings = find(tmp_path, {})
    uri, url = f"command:{name}", f"https://example.com/{name.replace(' ', '').replace('#', '')}"
    changed = replace(settings, site=name, base_url=url, root_keys=(uri,), capgo_key=uri)
    (tmp_path / "manifestgen.toml").write_text(new_config(changed))
    said = tomllib.loads((tmp_path / "manifestgen.toml").read_text())
    assert (said["site"], said["base_url"], said["scheme"]) == (name, url, "capgo")
    assert said["keys"] == {
        "root": uri,
        "capgo": uri,
        "content": "file:.manifestgen/keys/content.key",
    }


def test_a_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written into"):
        new_config(replace(find(tmp_path, {}), site="a\udcff"))


def test_no_keys_are_made_for_settings_that_cannot_be_written(fresh: Project) -> None:
    said = fresh("publish", "dist", "--site", "a\udcff")
    check_refusal(said, code=2, error="cannot be written into manifestgen.toml")
    assert not (fresh.folder / ".manifestgen").exists()
