"""What one file of vectors holds, and how it is written."""

import base64
import json
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.conformance import client_python
from tests.conformance.runner import document_base64, resolve

Value: TypeAlias = object
Reference: TypeAlias = dict[str, str]


@dataclass(slots=True)
class Family:
    """Vectors on one subject, with the documents that they refer to by name."""

    name: str
    about: str
    documents: dict[str, object] = field(default_factory=dict)
    vectors: list[dict[str, object]] = field(default_factory=list)

    def document(self, name: str, data: bytes) -> Reference:
        """Keep a document under a name; return the reference."""
        shown = _shown(data)
        if self.documents.setdefault(name, shown) != shown:
            raise ValueError(f"two documents {name}")
        return {"document": name}

    def ok(self, name: str, op: str, want: object, **given: Value) -> None:
        """Add a vector that is answered with a result."""
        self._add(name, op, {"ok": want}, given)

    def error(self, name: str, op: str, code: str, **given: Value) -> None:
        """Add a vector that is refused with a code."""
        self._add(name, op, {"error": code}, given)

    def computed(self, name: str, op: str, **given: Value) -> None:
        """Add a vector whose result nobody can know by heart: the Python client's."""
        documents = {key: document_base64(value) for key, value in self.documents.items()}
        resolved = {key: resolve(value, documents) for key, value in given.items()}
        self._add(name, op, client_python.answer({"op": op, "input": resolved}), given)

    def encode(self) -> bytes:
        """Return the file, one vector a line."""
        vectors = ",\n".join(json.dumps(one) for one in self.vectors)
        documents = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(value)}" for name, value in self.documents.items()
        )
        head = json.dumps({"family": self.name, "about": self.about})[:-1]
        text = f'{head},\n"documents": {{\n{documents}\n}},\n"vectors": [\n{vectors}\n]}}\n'
        return text.encode("ascii")

    def _add(self, name: str, op: str, want: object, given: dict[str, Value]) -> None:
        if any(one["name"] == name for one in self.vectors):
            raise ValueError(f"two vectors {name!r} in {self.name}")
        self.vectors.append({"name": name, "op": op, "input": given, "want": want})


def b64(data: bytes) -> str:
    """Write bytes as vectors and documents do."""
    return base64.b64encode(data).decode()


def _shown(data: bytes) -> object:
    """Return text where bytes are UTF-8, and say long runs of one character shortly."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64(data)}
    if len(text) > 1000 and len(set(text)) == 1:
        return {"text": text[0], "times": len(text)}
    return text
