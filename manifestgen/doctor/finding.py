"""What an examination found, as values; each thing that is not right comes with its fix."""

import shlex
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """How bad it is: a problem fails the command, a warning does not."""

    PROBLEM = "problem"
    WARNING = "warning"
    OK = "ok"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `area` groups, `code` is stable, `fix` says what to do about it."""

    area: str
    code: str
    severity: Severity
    sentence: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Area:
    """Makes the findings of one area."""

    name: str

    def problem(self, code: str, sentence: str, fix: str) -> Finding:
        """Say what is wrong: somebody is harmed, or will be."""
        return Finding(self.name, code, Severity.PROBLEM, sentence, fix)

    def warning(self, code: str, sentence: str, fix: str) -> Finding:
        """Say what may become wrong, or is not known to be right."""
        return Finding(self.name, code, Severity.WARNING, sentence, fix)

    def ok(self, code: str, sentence: str) -> Finding:
        """Say what was looked at and is right."""
        return Finding(self.name, code, Severity.OK, sentence)


def typed(command: str, path: Path) -> str:
    """Write a command on a file so that it can be pasted, whatever its folders are called."""
    return f"`{command} {shlex.quote(str(path))}`"
