"""The client's types are strict, and the declarations beside them current."""

import json
import shutil
from pathlib import Path

from tests.tools import node

CLIENT = Path(__file__).parents[2] / "manifestgen/client"
MODULES = ("core", "updater", "manifestgen", "bundle", "capgo", "browser", "follow", "node")
# Node's own types are no part of the pinned packages; its functions count as `any` here.
NODE = """\
declare module 'node:fs/promises';
declare module 'node:os';
declare module 'node:path';
declare module 'node:util';
declare module 'node:zlib';
declare const process: any;
declare namespace NodeJS { interface ErrnoException extends Error { code?: string } }
type Buffer = Uint8Array<ArrayBuffer>;
"""


def test_types_are_strict_and_the_declarations_current(tmp_path: Path) -> None:
    copy, out = tmp_path / "client", tmp_path / "out"
    copy.mkdir()
    for name in ("types.d.ts", "worker.js"):
        shutil.copy(CLIENT / name, copy)
    for name in MODULES:
        shutil.copy(CLIENT / f"{name}.js", copy)
    (copy / "shim.d.ts").write_text(NODE)
    options = {
        "allowJs": True,
        "checkJs": True,
        "declaration": True,
        "emitDeclarationOnly": True,
        "lib": ["es2022", "dom", "dom.iterable"],
        "module": "esnext",
        "moduleResolution": "bundler",
        "noUnusedLocals": True,
        "outDir": str(out),
        "rootDir": str(copy),
        "strict": True,
        "target": "es2022",
        "types": [],
    }
    files = [*(f"{name}.js" for name in (*MODULES, "worker")), "shim.d.ts"]
    config = {"compilerOptions": options, "files": [str(copy / one) for one in files]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    tsc = node.modules() / "typescript" / "bin" / "tsc"
    done = node.start(tsc, "-p", tmp_path / "tsconfig.json")
    assert done.returncode == 0, done.stdout
    for name in MODULES:
        made = (out / f"{name}.d.ts").read_text("utf-8")
        assert made == (CLIENT / f"{name}.d.ts").read_text("utf-8"), name


def test_the_worker_is_a_script_of_its_own() -> None:
    # Browsers differ in whether a service worker may be a module.
    code = (CLIENT / "worker.js").read_text("utf-8")
    assert not [line for line in code.splitlines() if line.startswith(("import", "export"))]
