"""What verifying a site found, as values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason not to trust the site: in which file, which rule (`code`), and what is wrong."""

    where: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something worth knowing that no device minds."""

    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the site: files that were read, their bytes, and how many problems they have."""

    name: str
    files: int
    bytes: int
    problems: int


@dataclass(frozen=True, slots=True)
class Report:
    """The result; `bytes` are those of the documents and blobs that were read."""

    documents: int
    blobs: int
    bytes: int
    problems: tuple[Problem, ...]
    notes: tuple[Note, ...]
    parts: tuple[Part, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no problem."""
        return not self.problems
