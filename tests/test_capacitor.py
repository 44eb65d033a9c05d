"""One value goes into `capacitor.config.json`, and every other byte stays."""

import json
from pathlib import Path

import pytest

from manifestgen.capacitor import CapacitorConfig, find_config, lines_to_paste
from manifestgen.errors import UsageError

PEM = "-----BEGIN RSA PUBLIC KEY-----\nMIIB\nIDAQAB\n-----END RSA PUBLIC KEY-----\n"
KEY = json.dumps(PEM)


def edited(text: str) -> str:
    return CapacitorConfig(Path("capacitor.config.json"), text).with_public_key(PEM).text


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            '{\n  "appId": "a.b",\n  "plugins": {\n    "CapacitorUpdater": {\n'
            '      "publicKey": "old",\n      "autoUpdate": true\n    }\n  }\n}\n',
            '{\n  "appId": "a.b",\n  "plugins": {\n    "CapacitorUpdater": {\n'
            f'      "publicKey": {KEY},\n      "autoUpdate": true\n    }}\n  }}\n}}\n',
            id="there already",
        ),
        pytest.param(
            '{\n\t"plugins": {\n\t\t"CapacitorUpdater": {\n\t\t\t"statsUrl": ""\n\t\t}\n\t}\n}',
            '{\n\t"plugins": {\n\t\t"CapacitorUpdater": {\n\t\t\t"statsUrl": "",\n'
            f'\t\t\t"publicKey": {KEY}\n\t\t}}\n\t}}\n}}',
            id="plugin there, tabs",
        ),
        pytest.param(
            '{\n    "appId": "a.b",\n    "plugins": {\n        "Other": {"x": [1, 2]}\n    }\n}\n',
            '{\n    "appId": "a.b",\n    "plugins": {\n        "Other": {"x": [1, 2]},\n'
            '        "CapacitorUpdater": {\n'
            f'            "publicKey": {KEY}\n        }}\n    }}\n}}\n',
            id="another plugin, four spaces",
        ),
        pytest.param(
            '{\n  "appId": "a.b",\n  "plugins": {}\n}\n',
            '{\n  "appId": "a.b",\n  "plugins": {\n    "CapacitorUpdater": {\n'
            f'      "publicKey": {KEY}\n    }}\n  }}\n}}\n',
            id="no plugins",
        ),
        pytest.param(
            '{\r\n  "appId": "a.b"\r\n}\r\n',
            '{\r\n  "appId": "a.b",\r\n  "plugins": {\r\n    "CapacitorUpdater": {\r\n'
            f'      "publicKey": {KEY}\r\n    }}\r\n  }}\r\n}}\r\n',
            id="nothing there, crlf",
        ),
        pytest.param(
            '{"appId": "a.b"}',
            f'{{"appId": "a.b", "plugins": {{"CapacitorUpdater": {{"publicKey": {KEY}}}}}}}',
            id="on one line",
        ),
        pytest.param(
            '\ufeff{\n\n  "plugins" :{ "CapacitorUpdater":{}}}',
            f'\ufeff{{\n\n  "plugins" :{{ "CapacitorUpdater":{{\n    "publicKey": {KEY}\n  }}}}}}',
            id="odd spacing and a byte order mark",
        ),
        pytest.param(
            '{\n  "plugins": {\n    "CapacitorUpdater": {"publicKey": "a"},\n'
            '    "CapacitorUpdater": {"publicKey": "b"}\n  }\n}',
            '{\n  "plugins": {\n    "CapacitorUpdater": {"publicKey": "a"},\n'
            f'    "CapacitorUpdater": {{"publicKey": {KEY}}}\n  }}\n}}',
            id="of two the one that counts",
        ),
    ],
)
def test_the_key_goes_in_and_the_rest_stays(before: str, after: str) -> None:
    assert edited(before) == after
    plugins = json.loads(edited(before).removeprefix("\ufeff"))["plugins"]
    assert plugins["CapacitorUpdater"]["publicKey"] == PEM
    assert edited(edited(before)) == edited(before)


def test_nothing_but_the_key_differs_for_a_reader() -> None:
    config = {
        "appId": "a.b",
        "größe": "ü\u2028\\",
        "n": [1.50, 1e3, None, True, {"publicKey": "{"}],
        "plugins": {"CapacitorUpdater": {"privateKey": "old", "publicKey": "old"}, "Z": {}},
        "server": {"url": "a, b: {c}"},
    }
    for indent in (None, 1, 2, 8, "\t"):
        for ascii_only in (True, False):
            text = json.dumps(config, indent=indent, ensure_ascii=ascii_only)
            result = json.loads(edited(text))
            assert result["plugins"]["CapacitorUpdater"].pop("publicKey") == PEM
            expected = json.loads(text)
            del expected["plugins"]["CapacitorUpdater"]["publicKey"]
            assert result == expected
            assert edited(text).replace(KEY, '"old"') == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        '{"plugins": []}',
        '{"plugins": {"CapacitorUpdater": "x"}}',
        '{"plugins": null}',
        "// a comment\n{}",
        "[" * 100_000,
    ],
)
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"^capacitor\.config\.json: ") as refused:
        edited(text)
    assert refused.value.hint


def test_capacitors_order_is_ours(tmp_path: Path) -> None:
    assert find_config(tmp_path) is None
    assert find_config(tmp_path / "nowhere") is None
    for name in ("capacitor.config.json", "capacitor.config.js", "capacitor.config.ts"):
        (tmp_path / name).write_text("{}")
        found = find_config(tmp_path)
        assert found
        assert found.path.name == name


LINES = ["-----BEGIN RSA PUBLIC KEY-----", "+IIB+", "+/IDAQAB+", "-----END RSA PUBLIC KEY-----"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\n".join(LINES), id="as it is"),
        pytest.param("key: `\n  " + "\n    ".join(LINES) + "\n`,", id="a template"),
        pytest.param(lines_to_paste("\n".join([*LINES, ""])), id="our own lines"),
        pytest.param("key: " + " +\n  ".join(f"'{line}\\n'" for line in LINES), id="added up"),
        pytest.param("key: " + "\n  + ".join(f'"{line}\\n"' for line in LINES), id="added, below"),
        pytest.param("key: " + "+".join(f"'{line}\\n'" for line in LINES), id="added, one line"),
        pytest.param(f"key: {LINES}.join('\\n')", id="joined"),
    ],
)
def test_the_key_in_a_program_is_found_however_it_is_spelled(text: str) -> None:
    config = CapacitorConfig(Path("capacitor.config.ts"), f"// process.env\n{text}\n// more")
    assert config.public_keys() == ["\n".join(LINES)]


def test_a_program_may_compute_its_key() -> None:
    assert CapacitorConfig(Path("capacitor.config.ts"), "publicKey: env.KEY").public_keys() == []


def test_writing_keeps_permissions_and_links(tmp_path: Path) -> None:
    real = tmp_path / "real.json"
    real.write_text("{}")
    real.chmod(0o640)
    link = tmp_path / "capacitor.config.json"
    link.symlink_to(real)
    config = find_config(tmp_path)
    assert config
    config.with_public_key(PEM).write()
    assert link.is_symlink()
    assert json.loads(real.read_text())["plugins"]["CapacitorUpdater"]["publicKey"] == PEM
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "capacitor.config.json",
        "real.json",
    ]
