"""Run a program to its end, quietly, or a server until it is stopped. Standard library only."""

import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    minutes: int = 5,
) -> subprocess.CompletedProcess[str]:
    """Run a command without input; its `stdout` is all it said.

    A program that is absent or takes too long counts as one that failed and said so.
    """
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=minutes * 60,
        )
    except subprocess.TimeoutExpired:
        said = f"{command[0]} took more than {minutes} minutes"
    except FileNotFoundError:
        said = f"{command[0]} is not installed"
    return subprocess.CompletedProcess(command, 1, said)


def reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return the line of a failed program's output that tells most: the last error, or the last."""
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith(("e:", "error", "npm error code"))]
    return (errors or lines or ["it failed without a word"])[-1]


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server, by force if it does not end when asked."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    """Return a port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
