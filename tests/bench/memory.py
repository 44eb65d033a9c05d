"""Peak memory of whole processes: publishing twice, and installing both releases on a device.

The second release is published with its patch, and installed by it. Node runs the shipped client
against a server on this machine.
"""

from collections.abc import Sequence
from pathlib import Path

from tests.bench.measure import KIB, Command, Run, measured
from tests.bench.pairs import Pair, Project
from tests.tools import node
from tests.tools.nginx import serve

_SCRIPT = Path(__file__).parents[1] / "client" / "patched.mjs"


def table(pairs: Sequence[Pair], scratch: Path) -> str:
    """Measure every pair once: peaks hardly differ from run to run."""
    lines = [
        "| pair | MB | publish | and make a patch | install the bundle | apply the patch |"
        " in Node: bundle | patch |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, pair in enumerate(pairs):
        size = sum(path.stat().st_size for path in pair.new.rglob("*") if path.is_file())
        peaks = [f"{run.peak * KIB / 1024:.0f} MiB" for run in _runs(pair, scratch / str(number))]
        lines.append(f"| {pair.name} | {size / 1e6:.1f} | {' | '.join(peaks)} |")
    return "\n".join(lines)


def _runs(pair: Pair, scratch: Path) -> list[Run]:
    project = Project.create(scratch / "project")
    client, state, home = scratch / "client", scratch / "state", scratch / "home"
    first = project.publish(pair.old, "1.0.0")
    project.run("client", client)
    bundle = project.install(state)
    project.confirm(state)
    with serve(project.folder / "site") as server:
        bundle_in_node = _in_node(client, home, server.url)
        second = project.publish(pair.new, "1.1.0")
        if not project.offer().get("patches"):
            raise RuntimeError(f"{pair.name}: no patch was made")
        patch = project.install(state)
        patch_in_node = _in_node(client, home, server.url)
    return [first, second, bundle, patch, bundle_in_node, patch_in_node]


def _in_node(client: Path, home: Path, site: str) -> Run:
    return measured(
        Command([str(node.program()), *map(str, (_SCRIPT, client, home)), site], client, {})
    )
