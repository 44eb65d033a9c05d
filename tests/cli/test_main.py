"""What holds for the command line as a whole."""

import subprocess
import sys

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
