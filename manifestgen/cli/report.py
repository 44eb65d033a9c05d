"""How every command talks.

The rules of the terminal, obeyed here and nowhere else:

* Data goes to stdout, talk to stderr: notices, progress, `error: …` and `hint: …`, lower case,
  without a full stop, each on one line whatever bytes a file name or a site puts into it.
  Nothing that is printed for people reaches the terminal as more than text.
* `--json` prints one object on stdout and asks nothing; failures are `{error, code, hint, exit}`.
* `-q` silences all talk but errors; data stays. `-v` logs the `manifestgen` logger to stderr.
* Nothing is asked where `CI` is set or standard input is no terminal. Passphrases come from
  MANIFESTGEN_PASSPHRASE, from the file that MANIFESTGEN_PASSPHRASE_FILE names, or from the
  terminal; never from an argument. PINs of tokens come from MANIFESTGEN_PIN, MANIFESTGEN_PIN_FILE
  or the terminal.
* SOURCE_DATE_EPOCH, if set, is the time of everything that is written.
"""

import functools
import inspect
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeAlias

import typer

from manifestgen.cli import again
from manifestgen.config import Settings, check_base_url, check_channel, find, load
from manifestgen.errors import (
    Error,
    KeyUseError,
    StoreError,
    UsageError,
    VerificationError,
    os_reason,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

Config: TypeAlias = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Use this manifestgen.toml.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Quiet: TypeAlias = Annotated[
    bool, typer.Option("--quiet", "-q", help="No notes and no progress: the result, and errors.")
]
Verbose: TypeAlias = Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")]

Site: TypeAlias = Annotated[
    str | None, typer.Option("--site", metavar="DIR|URL", help="The site, if not the configured.")
]
SinglePublisher: TypeAlias = Annotated[
    bool,
    typer.Option("--single-publisher", help="Nobody else publishes to this bucket meanwhile."),
]

# Commands that write to no site take the flag, too, so that a script may always give it.
_Alone: TypeAlias = Annotated[bool, typer.Option("--single-publisher", hidden=True)]
_ONLY_LOOK: Final = frozenset(
    {
        *("verify", "explain", "doctor", "serve", "nginx", "caddy", "list", "show", "diff"),
        *("inspect", "check", "install", "confirm", "status"),
    }
)


def known_channels(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer a shell the channels there are; nothing of this is imported unless Tab is pressed."""
    from manifestgen.cli import complete

    return complete.channels(ctx.params, incomplete)


def known_versions(ctx: typer.Context, incomplete: str) -> list[str]:
    """Offer a shell the versions there are, the newest first."""
    from manifestgen.cli import complete

    return complete.versions(ctx.params, incomplete)


ChannelName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--channel",
        metavar="C",
        help="The channel, if not the configured.",
        autocompletion=known_channels,
    ),
]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = 32_503_680_000  # the year 3000; documents have four digits for a year

# For errors that have no hint of their own: the first that fits.
_HINTS: Final[Sequence[tuple[type[Error], str]]] = (
    (UsageError, "run `{command} --help`"),
    (VerificationError, "run `manifestgen verify`, and restore what it names from a good copy"),
    (KeyUseError, "look at [keys] in manifestgen.toml, and at MANIFESTGEN_KEY_<ROLE>"),
    (StoreError, "see that the disk has room, and that you may write there"),
    (Error, "run the same command again with --verbose"),
)


@dataclass(frozen=True, slots=True)
class Output:
    """What a command has to say: `data` for `--json`, `text` for people, and its exit code."""

    data: Mapping[str, Any]
    text: str
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """One run of one command: the flags that every command has.

    `used` holds the options that a command in a hint must have, too: see `again`.
    """

    config: Path | None = None
    json: bool = False
    quiet: bool = False
    single_publisher: bool = False
    used: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    @property
    def ci(self) -> bool:
        """Whether this is a CI job: no prompts, no new keys."""
        return self.environ.get("CI", "") not in {"", "0", "false"}

    def settings(
        self,
        *,
        site: str | None = None,
        channel: str | None = None,
        base_url: str | None = None,
    ) -> Settings:
        """Return the project's settings, with flags over environment over file over default."""
        environ = self.environ
        found = load(self.config, environ) if self.config else find(Path.cwd(), environ)
        if site:
            # A path on the command line is relative to where the person stands.
            found = replace(found, site=site if "://" in site else str(Path(site).absolute()))
        if channel:
            found = replace(found, channel=check_channel(channel, "--channel"))
        if self.single_publisher:
            found = replace(found, single_publisher=True)
        if base_url:
            found = replace(found, base_url=check_base_url(base_url, "--base-url"))
        return found

    def now(self) -> datetime:
        """Return the time of this run in whole seconds, read once by each command."""
        epoch = self.environ.get("SOURCE_DATE_EPOCH")
        if not epoch:
            return datetime.now(UTC).replace(microsecond=0)
        try:
            return _EPOCH + timedelta(seconds=_seconds(epoch))
        except ValueError:
            raise UsageError(
                f"SOURCE_DATE_EPOCH={epoch} is no time of this millennium",
                hint="set it to seconds since 1970, as `git log -1 --format=%ct` prints them",
            ) from None

    def ask(self, name: str) -> bytes | None:
        """Return the passphrase of a key, or the PIN of a token; `None` if nobody can be asked."""
        from manifestgen.signers.interface import TokenName  # brings what most commands do without

        what = "PIN" if isinstance(name, TokenName) else "passphrase"
        variable = f"MANIFESTGEN_{what.upper()}"
        if text := self.environ.get(variable):
            return text.encode()
        if path := self.environ.get(f"{variable}_FILE"):
            from manifestgen.signers.sources import read_typed

            return read_typed(Path(path), what, named=f"{variable}_FILE")
        if self.ci or self.json or not sys.stdin.isatty():
            return None
        import getpass

        return getpass.getpass(f"{what} of {name}: ").encode()

    def again(self, line: str) -> str:
        """Return a command as it can be pasted where this one was typed."""
        return again.again(line, self.used)

    def say(self, *lines: str) -> None:
        """Tell a person something that is no data."""
        if not self.quiet:
            for line in lines:
                print(_plain(line), file=sys.stderr)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator["Bars | None"]:
        """Show a bar on stderr while bytes go by; only for a person at a terminal."""
        unwanted = self.quiet or self.json or self.environ.get("MANIFESTGEN_NO_PROGRESS")
        if unwanted or not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            yield Bars(bar, bar.add_task(what, total=total))


class Bars:
    """A bar that is told of bytes by being called; and one for what is sent, if anything is."""

    def __init__(self, bars: "Progress", task: "TaskID") -> None:
        self._bars = bars
        self._task = task
        self._sending: TaskID | None = None

    def __call__(self, count: int) -> None:
        """Count bytes as done."""
        self._bars.update(self._task, advance=count)

    def sent(self, done: int, known: int) -> None:
        """Show how much was sent, of how much is known so far."""
        if self._sending is None:
            self._sending = self._bars.add_task("uploading", total=known)
        self._bars.update(self._sending, completed=done, total=known)


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Output]], None]:
    """Register a command that gets a `Session` first, and the flags every command has.

    The function parses nothing and prints nothing but through the session: it returns its output.
    The end of its docstring, from `Examples:` on, stands at the end of its help.
    """

    def register(function: Callable[..., Output]) -> None:
        @functools.wraps(function)
        def run(
            *args: Any,
            context: typer.Context,
            config: Config,
            json: Json,
            quiet: Quiet,
            verbose: Verbose,
            single_publisher: SinglePublisher = False,
            **rest: Any,
        ) -> None:
            used = _used(rest, config, single_publisher=single_publisher)
            session = Session(config, json, quiet or json, single_publisher, used)
            _log(verbose=verbose)
            try:
                output = function(session, *args, **rest)
            except (Error, OSError) as error:
                known = error if isinstance(error, Error) else _unforeseen(error)
                code = fail(known, as_json=json, command=context.command_path, used=used)
                raise typer.Exit(code) from None
            # Flushed, so that a full disk is found while it can still be said.
            print(_dumped(output.data) if json else _plain(output.text), flush=True)
            if output.exit_code:
                raise typer.Exit(output.exit_code)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        own.append(_option("context", typer.Context, default=inspect.Parameter.empty))
        if any(one.name in {"site", "target"} for one in own):
            alone = _Alone if name in _ONLY_LOOK else SinglePublisher
            own.append(_option("single_publisher", alone, default=False))
        run.__signature__ = inspect.Signature([*own, *_COMMON])  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in (*own, *_COMMON)}
        text, _, lines = (inspect.getdoc(function) or "").partition("\n\nExamples:\n")
        app.command(name, help=text, epilog=examples(*lines.splitlines()))(run)

    return register


def examples(*lines: str) -> str:
    """Return the end of a help text: examples, whole lines however narrow the terminal is."""
    if not lines:
        return ""
    return "\n".join(["\b", "Examples:", *(f"  {line.strip()}" for line in lines)])


def fail(
    error: Error,
    *,
    as_json: bool,
    command: str = "manifestgen",
    used: Mapping[str, str] | None = None,
) -> int:
    """Print an error of a command the way this project does; return its exit code."""
    hint = again.completed(error.hint or _general(error).format(command=command), used or {})
    if as_json:
        fields = {"error": str(error), "code": error.code, "hint": hint}
        print(_dumped({**fields, "exit": error.exit_code}))
    else:
        print(f"error: {one_line(str(error))}", file=sys.stderr)
        print(f"hint: {one_line(hint)}", file=sys.stderr)
    return error.exit_code


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns of text with two spaces between them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def reason(error: OSError | UnicodeDecodeError) -> str:
    """Say why a file could not be read, without the numbers and names that Python adds."""
    if isinstance(error, OSError):
        return os_reason(error)
    return f"byte {error.start} is no UTF-8"


def plural(count: int, noun: str) -> str:
    """Write `1 file`, `2 files`, `1,234 bytes`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > _LATEST:
        raise ValueError(text)
    return int(text)


def one_line(text: str) -> str:
    """Escape line ends and whatever else a terminal would obey."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _plain(text: str) -> str:
    """Escape what a terminal would obey, but for line ends and tabs."""
    return re.sub(r"[^\n\t]+", lambda found: one_line(found[0]), text)


class _Plain(logging.Formatter):
    """What servers say is logged, too."""

    def format(self, record: logging.LogRecord) -> str:
        return _plain(super().format(record))


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


_COMMON = (
    _option("config", Config, None),
    _option("json", Json, default=False),
    _option("quiet", Quiet, default=False),
    _option("verbose", Verbose, default=False),
)


def _used(
    options: Mapping[str, object], config: Path | None, *, single_publisher: bool
) -> Mapping[str, str]:
    """Return the options that decide which site and channel is meant, as they were typed."""
    named = {"--config": config, "--site": options.get("site"), "--channel": options.get("channel")}
    used = {name: str(value) for name, value in named.items() if isinstance(value, str | Path)}
    return {**used, "--single-publisher": ""} if single_publisher else used


def _general(error: Error) -> str:
    """Return what to do about an error that has no hint of its own."""
    if isinstance(error, StoreError) and "://" in str(error):
        return "check the address, the connection and the server, then run the same command again"
    return next(text for kind, text in _HINTS if isinstance(error, kind))


def _unforeseen(error: OSError) -> Error:
    """Say what the system refused where nobody had a better word for it."""
    where = f" {error.filename}" if error.filename else ""
    hint = None
    if isinstance(error, PermissionError):
        hint = "check with `ls -ld` who may use it, and with `id` who you are"
    return StoreError(f"cannot use{where or ' the disk'}: {reason(error)}", hint=hint)


def _log(*, verbose: bool) -> None:
    logger = logging.getLogger("manifestgen")
    if verbose and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(_Plain())
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _dumped(data: Mapping[str, Any]) -> str:
    # ASCII, because a name from a file system need not be writable in the terminal's encoding.
    return json.dumps(data, indent=2)
