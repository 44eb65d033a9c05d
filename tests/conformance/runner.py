"""Drive a client, in whatever language, through every vector."""

import base64
import json
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent.parent / "vectors"


@dataclass(frozen=True, slots=True)
class Vector:
    """One request and the answer that every client gives; `name` is the requirement."""

    family: str
    name: str
    op: str
    input: Mapping[str, Any]
    want: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """A vector that a client answered otherwise; `got` is `None` when it said nothing."""

    vector: Vector
    got: object

    def __str__(self) -> str:
        vector = self.vector
        return f"{vector.family}: {vector.name}: want {vector.want}, got {self.got}"


def load_vectors(folder: Path = VECTORS) -> Iterator[Vector]:
    """Read every family, with documents in the place of their names."""
    for path in sorted(folder.glob("*.json")):
        family = json.loads(path.read_text("utf-8"))
        documents = {name: document_base64(value) for name, value in family["documents"].items()}
        for one in family["vectors"]:
            given = {name: resolve(value, documents) for name, value in one["input"].items()}
            yield Vector(family["family"], one["name"], one["op"], given, one["want"])


def run_conformance(argv: Sequence[str], *, without: Collection[str] = ()) -> list[Failure]:
    """Run a client on every vector, and return those it answers otherwise.

    `without` names operations that the client may call `unsupported`. The client runs in the
    current folder; what it writes to standard error is passed on.
    """
    vectors = list(load_vectors())
    requests = "".join(
        json.dumps({"op": vector.op, "input": vector.input}) + "\n" for vector in vectors
    )
    run = subprocess.run(
        argv, input=requests, stdout=subprocess.PIPE, encoding="utf-8", check=False, timeout=120
    )
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    answers += [None] * (len(vectors) - len(answers))
    return [
        Failure(vector, got)
        for vector, got in zip(vectors, answers, strict=True)
        if got != vector.want and not (vector.op in without and got == {"unsupported": True})
    ]


def resolve(value: object, documents: Mapping[str, str]) -> object:
    """Put documents, in base64, in the place of `{"document": name}`."""
    if isinstance(value, list):
        return [resolve(item, documents) for item in value]
    if isinstance(value, dict) and set(value) == {"document"}:
        return documents[value["document"]]
    return value


def document_base64(value: Any) -> str:
    """Return a document in base64, however a family's file spells it."""
    match value:
        case str(text):
            data = text.encode()
        case {"text": str(text), "times": int(times)}:
            data = text.encode() * times
        case _:
            return str(value["base64"])
    return base64.b64encode(data).decode()
