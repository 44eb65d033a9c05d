"""What holds for the command line as a whole."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from manifestgen.cli import main

_PROGRAM = "import sys; from manifestgen.cli import main; sys.exit(main())"


@pytest.mark.parametrize("group", ["keys", "channel", "bundle", "device", "server"])
def test_a_group_alone_shows_its_help(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([group]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"Usage: manifestgen {group}")


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publsh"]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: no such command 'publsh'")
    assert "publish" in error
    assert hint.startswith("hint: ")


def test_every_command_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["channel", "rollout", "--help"]) == 0
    assert "manifestgen channel rollout 100% --over 3d" in capsys.readouterr().out


def test_a_reader_that_stops_early_is_no_crash() -> None:
    arguments = [sys.executable, "-c", _PROGRAM, "server", "nginx"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_a_number_that_is_none_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "--sample", "ten"]) == 2
    assert "invalid value for '--sample': 'ten' is no whole number" in capsys.readouterr().err


def test_each_hint_that_names_help_works(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["channel", "promote", "1.0.0", "--json"]) == 2
    hint = json.loads(capsys.readouterr().out)["hint"]
    assert hint == "run `manifestgen channel promote --help`"
    assert main(hint.split("`")[1].split()[1:]) == 0


def test_an_address_of_another_machine_is_no_matter_of_ports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "production").mkdir()
    (tmp_path / "production/manifest.json").write_text("{}")
    assert main(["serve", "--site", str(tmp_path), "--host", "192.0.2.1"]) == 6
    assert "hint: give an address of this machine to --host" in capsys.readouterr().err
