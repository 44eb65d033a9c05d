"""A real nginx on a free port of the loopback, for as long as a `with` lasts."""

import grp
import os
import pwd
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.tools import parts
from tests.tools.process import free_port, stop

# Another process may take the port between our asking for a free one and nginx's binding it.
_TRIES = 5
_SECONDS_TO_START = 20

_MAIN = """\
daemon off;
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log notice;
events {{ worker_connections 256; }}
http {{
    types {{
        text/html html;
        text/css css;
        text/plain txt;
        text/javascript js mjs;
        application/json json;
        application/wasm wasm;
        application/zip zip;
        image/png png;
        image/svg+xml svg;
        font/woff2 woff2;
        application/octet-stream bin;
    }}
    default_type application/octet-stream;
    log_format requests "$request_method $request_uri $status $body_bytes_sent";
    access_log {folder}/access.log requests;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""
# Stands for the port until one has been found.
_PORT = "@port@"
_PLAIN_SERVER = "server { listen 80; root /; }"


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx: the site's address, and the folder of its configuration and logs."""

    url: str
    folder: Path

    def errors(self) -> str:
        """Return nginx's own log."""
        return _errors(self.folder)

    def requests(self) -> list[str]:
        """Return `METHOD PATH STATUS BYTES` of each request answered so far.

        nginx writes a line after it has answered, so the newest may be a moment late.
        """
        return (self.folder / "access.log").read_text().splitlines()


class StartNginx(Protocol):
    """The fixture `start_nginx` starts servers that live as long as the test."""

    def __call__(self, root: Path, config_text: str | None = None) -> Nginx:
        """Do as `serve`, until the test ends."""


@contextmanager
def serve(
    root: Path, config_text: str | None = None, *, prefix: Sequence[str] = ()
) -> Iterator[Nginx]:
    """Serve the folder `root`, by default as nginx does with no settings; may raise `Missing`.

    `config_text` is what stands inside `http { … }`: a `server` block, with any `map` it needs.
    Its `root` becomes this one and its `listen` our port; the rest is taken as it is. `prefix` are
    words before nginx's own, which put it into another network.
    """
    program = parts.locate("nginx")
    with tempfile.TemporaryDirectory(prefix="nginx-") as name:
        folder = Path(name)
        text = _servers(root, config_text or _PLAIN_SERVER)
        port, process = _start([*prefix, str(program)], folder, text)
        try:
            yield Nginx(f"http://127.0.0.1:{port}", folder)
        finally:
            stop(process)


def _start(
    program: Sequence[str], folder: Path, servers: str
) -> tuple[int, subprocess.Popen[bytes]]:
    for _ in range(_TRIES):
        port = free_port()
        text = servers.replace(_PORT, str(port))
        config = folder / "nginx.conf"
        config.write_text(_MAIN.format(folder=folder, user=_user(), servers=text))
        process = subprocess.Popen(
            # Until it has read the configuration, nginx would log where only root may write.
            [*program, "-e", folder / "error.log", "-p", folder, "-c", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        if _answers(folder, process):
            return port, process
        stop(process)
        if "Address already in use" not in _errors(folder):
            break
    raise RuntimeError(f"nginx did not start:\n{_errors(folder)}")


def _servers(root: Path, text: str) -> str:
    """Put our root and port in; of several `listen` lines the first stays."""
    text = _directive("root").sub(rf"\1root {root};", text)
    listen = _directive("listen")
    first = listen.search(text)
    if not first:
        raise ValueError("the configuration has no `listen` line")
    rest = listen.sub(r"\1", text[first.end() :])
    return f"{text[: first.end(1)]}listen 127.0.0.1:{_PORT};{rest}"


def _directive(name: str) -> re.Pattern[str]:
    # At the start of a line or after another directive: not in a comment, a path or a string.
    return re.compile(rf"(^\s*|[{{;]\s*){name}\s[^;]*;", re.MULTILINE)


def _answers(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Wait until nginx listens, or return false if it has given up."""
    # It writes its number once it has the port; that something answers on the port proves less.
    pid = folder / "nginx.pid"
    end = time.monotonic() + _SECONDS_TO_START
    while process.poll() is None and time.monotonic() < end:
        if pid.exists() and pid.read_text().strip() == str(process.pid):
            return True
        time.sleep(0.01)
    return False


def _user() -> str:
    # Started by root, nginx would serve as a user who cannot read a test's folders.
    if os.geteuid():
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"


def _errors(folder: Path) -> str:
    log = folder / "error.log"
    return log.read_text() if log.exists() else ""
