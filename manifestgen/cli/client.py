"""`client`: put the JavaScript client into an app."""

from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from manifestgen.cli.report import Output, Session, command, table
from manifestgen.config import Settings
from manifestgen.core.release import Scheme
from manifestgen.errors import KeyUseError, UsageError, os_reason

if TYPE_CHECKING:
    from collections.abc import Mapping

_ROOT: Final = "root.json"
_KEY: Final = "capgo.pub.pem"


class Kind(StrEnum):
    """What an app is."""

    WEB = "web"
    CAPACITOR = "capacitor"
    NODE = "node"


# The client first; then the adapter, what it is built on, and what stands beside it.
_CLIENT: Final = ("manifestgen.js", "core.js", "updater.js", "follow.js")
_MODULES: Final = {
    Kind.WEB: (*_CLIENT, "bundle.js", "browser.js", "worker.js"),
    Kind.CAPACITOR: (*_CLIENT, "capgo.js"),
    Kind.NODE: (*_CLIENT, "bundle.js", "node.js"),
}

_WIRING: Final = {
    Kind.WEB: """\
import {{ createUpdater }} from './manifestgen.js';
import {{ browserAdapter, browserStorage }} from './browser.js';
const text = async (file) => (await fetch(file)).text();
const updater = createUpdater({{
  site: '{site}',
  root: await text('./root.json'),
  storage: browserStorage(),
  adapter: browserAdapter({{{keys} }}),
}});""",
    Kind.CAPACITOR: """\
import {{ CapacitorUpdater }} from '@capgo/capacitor-updater';
import {{ Capacitor }} from '@capacitor/core';
import {{ Preferences }} from '@capacitor/preferences';
import {{ createUpdater }} from './manifestgen.js';
import {{ capgoAdapter, capgoDevice, preferencesStorage }} from './capgo.js';
import root from './root.json?raw';
const plugin = CapacitorUpdater;
const updater = createUpdater({{
  site: '{site}',
  root,
  storage: preferencesStorage(Preferences),
  adapter: capgoAdapter({{ plugin }}),
  device: await capgoDevice({{ plugin, platform: Capacitor.getPlatform() }}),
}});""",
    Kind.NODE: """\
import {{ readFileSync }} from 'node:fs';
import {{ createUpdater }} from './manifestgen.js';
import {{ fileStorage, nodeAdapter }} from './node.js';
const text = (file) => readFileSync(new URL(file, import.meta.url), 'utf8');
const updater = createUpdater({{
  site: '{site}',
  root: text('./root.json'),
  storage: fileStorage(folder),
  adapter: nodeAdapter({{ folder,{keys} }}),
}});""",
}
_STEPS: Final = """\
await updater.start(); // first thing at each start
await updater.confirm(); // once the app works
if ((await updater.check()).action === 'install') await updater.download();
await updater.apply();"""
_READ_KEY: Final = {
    Kind.WEB: f" keys: [await text('./{_KEY}')]",
    Kind.NODE: f" keys: [text('./{_KEY}')]",
}


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    command(app, "client")(_client)


def _client(
    session: Session,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder of the app; made if need be.")
    ],
    *,
    kind: Annotated[
        Kind | None, typer.Option("--for", help="Only what such an app needs.", show_default=False)
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", metavar="URL", help="Where the site is served.")
    ] = None,
) -> Output:
    """Copy the JavaScript client into an app.

    With it go the project's root and its public Capgo key.

    A file that is there and differs is replaced, and named.

    Examples:
        manifestgen client public --for web
        manifestgen client src/update --for capacitor
    """
    from manifestgen.publish.trust import load_roots

    settings = session.settings(base_url=base_url)
    chain = load_roots(settings)
    if not folder.is_dir():
        _make(folder)
    modules = dict.fromkeys(name for one in ([kind] if kind else Kind) for name in _MODULES[one])
    wanted = {name: files("manifestgen").joinpath("client", name).read_bytes() for name in modules}
    wanted[_ROOT] = chain.newest
    # The stock plugin has the key in its settings.
    key = None if kind is Kind.CAPACITOR else _public_key(session, settings)
    if key:
        wanted[_KEY] = key
    states = {name: _put(folder / name, data) for name, data in wanted.items()}
    number = chain.keyring.root.number
    text = [_described(folder, states)]
    if kind:
        text += ["", "paste into your app:", "", _wiring(kind, settings, encrypted=bool(key))]
    return Output(
        {"folder": str(folder), "root": number, "files": states, "key": bool(key)},
        "\n".join([*text, "", _hint(kind)]),
    )


def _public_key(session: Session, settings: Settings) -> bytes | None:
    """Return the public Capgo key in PEM; `None`, said aloud, where none can be read."""
    if settings.scheme is not Scheme.CAPGO:
        return None
    from manifestgen.core import capgo
    from manifestgen.publish.keyfiles import capgo_public

    if settings.capgo_public.exists():
        return settings.capgo_public.read_bytes()
    try:
        # Nobody is asked for a passphrase: a public key is all that is wanted.
        public = capgo_public(settings, lambda _: None)
    except (KeyUseError, UsageError) as error:
        session.say(f"note: without a public Capgo key the app opens no encrypted bundle: {error}")
        return None
    return capgo.public_pem(public).encode()


def _make(folder: Path) -> None:
    try:
        folder.mkdir()
    except OSError as error:
        raise UsageError(
            f"cannot make {folder}: {os_reason(error)}",
            hint="name a folder of your app: `public` for the web, `src/update` for Capacitor",
        ) from None


def _put(target: Path, data: bytes) -> str:
    """Write a file unless it is there already; say which."""
    from manifestgen.bundle.replace import replacing

    state = "new"
    if target.exists():
        if target.read_bytes() == data:
            return "unchanged"
        state = "replaced"
    with replacing(target) as file:
        file.write(data)
    return state


def _described(folder: Path, states: "Mapping[str, str]") -> str:
    rows = [(state, str(folder / name)) for name, state in states.items()]
    return table(rows)


def _wiring(kind: Kind, settings: Settings, *, encrypted: bool) -> str:
    site = settings.base_url or "https://cdn.example.com/app"
    keys = _READ_KEY.get(kind, "") if encrypted else ""
    quoted = site.replace("\\", "%5C").replace("'", "%27")
    code = _WIRING[kind].format(site=quoted, keys=keys)
    return f"{code}\n{_STEPS}"


def _hint(kind: Kind | None) -> str:
    if kind is None:
        return "next: run it again with --for web, capacitor or node to see what to paste"
    page = "capacitor" if kind is Kind.CAPACITOR else "web"
    return f"docs/{page}.md says what each line does, and which settings matter"
