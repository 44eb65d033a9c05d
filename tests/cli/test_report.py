"""The rules of the terminal: what goes where, and that no text breaks them."""

import json
import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer

from manifestgen.cli import main
from manifestgen.cli.report import Output, Session, command, fail, plural, table
from manifestgen.errors import (
    ConflictError,
    Error,
    FormatError,
    KeyUseError,
    StoreError,
    UsageError,
    VerificationError,
)
from tests.publish.project import COMMAND, Project, ended, process

CODES = {
    Error: 1,
    UsageError: 2,
    VerificationError: 3,
    FormatError: 3,
    KeyUseError: 4,
    ConflictError: 5,
    StoreError: 6,
}


@pytest.mark.parametrize("kind", CODES)
def test_every_error_has_its_code_and_a_hint(
    kind: type[Error], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fail(kind("it went wrong"), as_json=False) == CODES[kind]
    out, err = capsys.readouterr()
    error, hint = err.splitlines()
    assert (out, error) == ("", "error: it went wrong")
    assert hint.startswith("hint: ")
    assert fail(kind("it went wrong", hint="do this", code="why"), as_json=True) == CODES[kind]
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "error": "it went wrong",
        "code": "why",
        "hint": "do this",
        "exit": CODES[kind],
    }


@pytest.mark.parametrize(
    "text", ["two\nlines", "car\rriage", "\x1b[31mred", "\u2028line", "\u202eesrever", "\x00"]
)
def test_no_text_breaks_the_line_or_reaches_the_terminal(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(UsageError(text, hint=text), as_json=False)
    error, hint, rest = capsys.readouterr().err.split("\n")
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert rest == ""
    assert (error + hint).isprintable()


def test_what_a_site_says_is_text_and_stays_in_its_line(project: Project) -> None:
    project.publishes("dist2", "--notes", "better\nwithdrawn: 1.0.0")
    said = project.does("channel", "show")
    assert [line for line in said.out.splitlines() if line.startswith("withdrawn")] == []
    assert r"better\nwithdrawn: 1.0.0" in said.out


def test_neither_data_nor_talk_nor_logs_reach_the_terminal_as_more_than_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = typer.Typer()
    hostile = "a\tb\n\x1b[2J\r\x9b\u202eä"
    logged = logging.getLogger("manifestgen.tests")

    def says(session: Session) -> Output:
        """Say it in every way."""
        session.say(hostile)
        logged.info("%s", hostile)
        return Output({"said": hostile}, hostile)

    command(app, "says")(says)
    logging.getLogger("manifestgen").handlers.clear()  # another test's writes to what is closed
    try:
        typer.main.get_command(app).main(["--verbose"], standalone_mode=False)
    finally:
        logging.getLogger("manifestgen").handlers.clear()
    out, err = capsys.readouterr()
    shown = "a\tb\n\\x1b[2J\\r\\x9b\\u202eä\n"
    assert (out, err) == (shown, 2 * shown)


def test_letters_of_any_script_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    fail(UsageError("größer als 文件 🙂"), as_json=False)
    assert capsys.readouterr().err.startswith("error: größer als 文件 🙂\n")


def test_a_name_that_is_no_text_can_be_told(fresh: Project) -> None:
    name = os.fsdecode(b"no\xffsuch")
    plain = ended(process(fresh.folder, "publish", name, env={"PYTHONIOENCODING": "ascii"}))
    assert plain.code == 2
    assert "such: no such folder" in plain.err
    as_json = ended(process(fresh.folder, "publish", name, "--json"))
    assert as_json.code == as_json.json["exit"] == 2


def test_data_is_on_stdout_and_talk_on_stderr(fresh: Project) -> None:
    said = fresh.does("publish", "dist", "--json")
    assert json.loads(said.out)["version"] == "1.0.0"
    assert said.err == ""
    again = fresh.does("publish", "dist")
    assert again.out.startswith("local.shop 1.0.0 is already published")
    assert again.err.startswith("note: capgo.json was not written")
    assert fresh.does("publish", "dist", "--quiet").err == ""


def test_there_is_no_colour_and_no_progress_where_there_is_no_terminal(fresh: Project) -> None:
    said = ended(process(fresh.folder, "publish", "dist", env={"FORCE_COLOR": "1"}))
    assert said.code == 0
    assert "\x1b" not in said.out + said.err
    assert "packing" not in said.err


def test_a_person_at_a_terminal_sees_progress(fresh: Project) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, "publish", "dist"],
        cwd=fresh.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=theirs,
        timeout=60,
        check=False,
    )
    os.close(theirs)
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert done.returncode == 0
    assert b"packing" in shown
    assert b"packing" not in done.stdout


@pytest.mark.parametrize("arguments", [[], ["--help"], ["publish", "--help"], ["-h"]])
def test_help_is_data(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("Usage: manifestgen")
    assert err == ""


def test_help_tells_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "3 not to be trusted, 4 key or passphrase, 5 somebody else published" in told


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("manifestgen 0.")


def test_an_unknown_command_is_refused(fresh: Project) -> None:
    fresh.refuses("pubish", "dist", code=2, error="no such command 'pubish'")


@pytest.mark.parametrize(
    ("value", "ci"), [("true", True), ("1", True), ("", False), ("0", False), ("false", False)]
)
def test_ci_is_what_the_variable_says(value: str, ci: bool) -> None:
    assert Session(environ={"CI": value}).ci is ci


def test_time_is_source_date_epoch() -> None:
    session = Session(environ={"SOURCE_DATE_EPOCH": "1900000000"})
    assert session.now() == datetime(2030, 3, 17, 17, 46, 40, tzinfo=UTC)
    now = Session(environ={}).now()
    assert now.microsecond == 0
    assert now.tzinfo is UTC


def test_a_session_shows_no_secret() -> None:
    session = Session(environ={"MANIFESTGEN_PASSPHRASE": "correct horse"})
    assert "correct horse" not in repr(session)


def test_a_passphrase_file_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_bytes(b" correct horse \r\n")
    path.chmod(0o600)
    session = Session(environ={"MANIFESTGEN_PASSPHRASE_FILE": str(path)})
    assert session.ask("a key") == b" correct horse "


def test_nobody_is_asked_where_nobody_can_answer() -> None:
    assert Session(environ={"CI": "1"}).ask("a key") is None
    assert Session(json=True, environ={}).ask("a key") is None


def test_tables_and_counts() -> None:
    assert table([("a", "long one"), ("longer", "b")]) == "a       long one\nlonger  b"
    assert [plural(count, "file") for count in (0, 1, 1234)] == ["0 files", "1 file", "1,234 files"]


def test_what_the_system_refuses_is_no_traceback(fresh: Project) -> None:
    fresh.does("init")
    marks = fresh.folder / ".manifestgen/keys/sequences.json"
    marks.mkdir()
    said = fresh("publish", "dist")
    assert said.err.startswith("error: ")
    assert said.code in {2, 6}


def test_a_reader_that_went_away_is_no_traceback(fresh: Project) -> None:
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" server nginx | true', sys.executable, COMMAND],
        cwd=fresh.folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(
    "line", ["server nginx", "server nginx --json", "--help", "publish nope --json"]
)
def test_output_that_cannot_be_written_is_one_error(fresh: Project, line: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *line.split()],
            cwd=fresh.folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    error, hint = done.stderr.splitlines()
    assert error == "error: the output cannot be written: no space left on device"
    assert hint.startswith("hint: ")
    assert done.returncode == 6


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_is_said(as_json: bool, fresh: Project) -> None:
    """The passphrase's file is a pipe: the command waits for it until it is interrupted."""
    fresh.does("init")
    key = fresh.folder / ".manifestgen/keys/signing.pem"
    key.unlink()
    os.mkfifo(key, 0o600)
    flags = ["--json"] if as_json else []
    running = process(fresh.folder, "publish", "dist", *flags)
    with key.open("wb"):  # which is open once the command reads it
        running.send_signal(signal.SIGINT)
        said = ended(running)
    assert said.code == 130
    if as_json:
        assert said.json == {
            "error": "interrupted",
            "code": "interrupted",
            "hint": "run the same command again: it goes on from what is there",
            "exit": 130,
        }
    else:
        assert said.err.startswith("error: interrupted\nhint: run the same command again")


def test_what_a_server_does_is_no_matter_of_the_disk(capsys: pytest.CaptureFixture[str]) -> None:
    fail(StoreError("https://cdn.example.com/app/root.json: redirects to nowhere"), as_json=False)
    assert "hint: check the address, the connection and the server" in capsys.readouterr().err
    fail(StoreError("cannot write site/root.json: input/output error"), as_json=False)
    assert "hint: see that the disk has room" in capsys.readouterr().err
