"""The command line: each file parses one group of commands, calls one function, prints.

Exit codes: 0 ok, 1 could not do it, 2 wrong usage, 3 not to be trusted, 4 key or passphrase,
5 somebody else published, 6 store or server unreachable, 130 interrupted.
"""

import gc
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module

import typer

from manifestgen import __version__
from manifestgen.cli import report
from manifestgen.cli.report import examples
from manifestgen.errors import Error, StoreError, UsageError

EXIT_CODES = (
    "Exit codes: 0 ok, 1 could not do it, 2 wrong usage, 3 not to be trusted, 4 key or"
    " passphrase, 5 somebody else published, 6 store or server unreachable, 130 interrupted."
)

# Which file registers which commands, in the order of `--help`. Only the file of the command that
# runs is imported: building the whole tree takes as long as publishing a small app.
_FILES = {
    "init": "project",
    "publish": "publish",
    "verify": "verify",
    "device": "device",
    "channel": "channel",
    "refresh": "channel",
    "prune": "channel",
    "doctor": "doctor",
    "explain": "explain",
    "keys": "keys",
    "bundle": "bundle",
    "watch": "watch",
    "kit": "kit",
    "serve": "serve",
    "server": "server",
    "site": "site",
    "client": "client",
}

# What the help of a group ends with; commands have theirs in their docstrings.
_EXAMPLES = {
    "device": (
        "manifestgen device install --site https://cdn.example/app --root 1.json --state kiosk",
        "manifestgen device status --state kiosk",
    ),
    "channel": ("manifestgen channel list", "manifestgen channel rollout 100% --over 3d"),
    "keys": ("manifestgen keys list", "manifestgen keys create --only signing --out-dir ci-key"),
    "bundle": ("manifestgen bundle diff 1.3.0 1.4.2", "manifestgen bundle zip dist/"),
    "kit": ("manifestgen kit export --to news.kit", "manifestgen kit inspect news.kit"),
    "server": ("manifestgen server nginx", "manifestgen server caddy --name updates.example.com"),
    "site": (
        "manifestgen site copy site /mnt/mirror/site",
        "manifestgen site copy https://cdn.example.com/app /mnt/usb/site",
    ),
}


class _Interrupted(Error):
    """Somebody pressed Ctrl-C: nobody raises this, it is how that is told."""

    exit_code = 130
    default_code = "interrupted"


def build(first: str | None = None) -> typer.Typer:
    """Build the command tree, or as much of it as the command `first` needs."""
    app = typer.Typer(
        name="manifestgen",
        help="Over-the-air updates from plain files.",
        epilog=examples("manifestgen publish dist/", "manifestgen verify") + f"\n\n{EXIT_CODES}",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback(invoke_without_command=True)(_root)
    wanted = [_FILES[first]] if first in _FILES else dict.fromkeys(_FILES.values())
    for name in wanted:
        import_module(f"manifestgen.cli.{name}").register(app)
    for group in app.registered_groups:
        group.epilog = examples(*_EXAMPLES.get(group.name or "", ()))
    return app


def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    """Over-the-air updates from plain files."""
    if version:
        print(f"manifestgen {__version__}")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; without `arguments`, this process's own."""
    if arguments is not None:
        return _run(list(arguments))
    try:
        return _run(sys.argv[1:])
    finally:
        # The process ends: looking once more through all objects for garbage takes 25 ms.
        gc.freeze()


def _completed() -> str | None:
    """Return the command whose words a shell asks about, once it is whole."""
    if "_MANIFESTGEN_COMPLETE" not in os.environ:
        return None
    # Bash says it in the first, the other shells in the second; typer reads the same.
    line = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    words = line.split()
    return words[1] if len(words) + line[-1:].isspace() > 2 else None


def _path(command: object, given: list[str]) -> str:
    """Return the command that was meant, as far as its words were right."""
    words = ["manifestgen"]
    for word in given:
        command = getattr(command, "commands", {}).get(word)
        if command is None:
            break
        words.append(word)
    return " ".join(words)


def _run(arguments: list[str]) -> int:
    given = arguments or ["--help"]
    group = None
    try:
        group = typer.main.get_command(build(_completed() or given[0]))
        result = group.main(given, prog_name="manifestgen", standalone_mode=False)
    except typer.Exit as exit_:
        return exit_.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(given)
    except BrokenPipeError:  # whoever read our output has seen enough
        _forget_stdout()
        return 1
    except OSError as error:  # of stdout: those of commands are told where they are called
        _forget_stdout()
        lost = StoreError(
            f"the output cannot be written: {report.reason(error)}",
            hint="make room where it goes; what the command did stays done, so look before you"
            " run it again",
        )
        return report.fail(lost, as_json=False)
    except typer.TyperException as error:
        message = error.format_message().rstrip(".")
        message = re.sub(r"is not a valid int(eger)?( range)?$", "is no whole number", message)
        if message.startswith("Usage:"):  # a group without a command
            print(message, file=sys.stderr)
            return UsageError.exit_code
        usage = UsageError(message[:1].lower() + message[1:])
        return report.fail(usage, as_json="--json" in given, command=_path(group, given))
    if result == _Interrupted.exit_code:  # which is how typer tells of Ctrl-C
        return _interrupted(given)
    return result if isinstance(result, int) else 0


def _interrupted(given: list[str]) -> int:
    hint = "run the same command again: it goes on from what is there"
    return report.fail(_Interrupted("interrupted", hint=hint), as_json="--json" in given)


def _forget_stdout() -> None:
    """Let Python find nothing to complain of when it closes stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
