"""Run everything that is checked: `python3 -m tests [ARGUMENTS FOR PYTEST]`.

Standard library only, so that it starts from a fresh clone. It makes the environment, gets the
outside parts it can get, runs the linters, then pytest, whose summary is the last thing printed.
See tests/README.md.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.tools import builds, environment, node, parts
from tests.tools.process import run

_LINTERS = (
    ("ruff", "check"),
    ("ruff", "format", "--check"),
    ("mypy",),
    ("lint-imports",),
)
# A share for every core, but never so many that starting them costs more than they save.
_SPREAD = ("-n", "auto", "--maxprocesses", "4", "--dist", "worksteal")


def main(arguments: Sequence[str]) -> int:
    """Set up, lint, test; return the exit code."""
    # Whoever runs this has not been through pip, which would have looked at the version.
    if sys.version_info < (3, 11):  # noqa: UP036
        return _refuse(f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}")
    with ThreadPoolExecutor() as pool:
        programs = pool.submit(parts.install)
        try:
            missing = _finish("Python packages", environment.make)
        except environment.SetupError as error:
            return _refuse(str(error))
        if "--full" in arguments:
            missing |= _finish("fuzzer", environment.add_fuzzer)
        # These mostly wait for the network, while the linters use the processor.
        packages = pool.submit(_install_node_packages)
        fetched = pool.submit(builds.fetch, heavy="--full" in arguments)
        clean = [_lint(command) for command in _LINTERS]
        missing |= _finish("programs", programs.result)
        missing |= _finish("Node packages", packages.result)
        missing |= _finish("builds", fetched.result)
    if not all(clean):
        _say("a linter failed (see above), so this run fails whatever pytest says")
    passed = _pytest(arguments, missing)
    return passed if all(clean) else passed or 1


def _finish(name: str, get: Callable[[], dict[str, str]]) -> dict[str, str]:
    """Wait for a step of the set-up, and say in one line what it could not get."""
    start = time.monotonic()
    missing = get()
    absent = "; ".join(f"no {part}: {why}" for part, why in missing.items())
    _say(f"{name:<22} {absent or 'ready'} ({time.monotonic() - start:.1f} s)")
    return missing


def _install_node_packages() -> dict[str, str]:
    try:
        node.install()
    except parts.Missing as missing:
        return {node.NAME: str(missing)}
    return {}


def _lint(command: Sequence[str]) -> bool:
    start = time.monotonic()
    done = run(command, cwd=environment.ROOT, env=environment.variables())
    outcome = "failed" if done.returncode else "passed"
    _say(f"{' '.join(command):<22} {outcome} ({time.monotonic() - start:.1f} s)")
    if done.returncode:
        _say(done.stdout.rstrip())
    return done.returncode == 0


def _pytest(arguments: Sequence[str], missing: dict[str, str]) -> int:
    profile = "ci" if os.environ.get("CI") else "dev"
    return subprocess.run(
        [environment.python(), "-m", "pytest", *_SPREAD, *arguments],
        cwd=environment.ROOT,
        env={
            **environment.variables(),
            **parts.environment(missing),
            "MANIFESTGEN_TEST_PROFILE": profile,
        },
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 1


def _say(line: str) -> None:
    # Flushed, because pytest writes to the same place next.
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
