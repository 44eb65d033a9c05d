"""Sending to a bucket: single files by the thousand, beside `aws s3 sync` and `rclone copy`.

The bucket is SeaweedFS on the same machine, so what is measured is what each program does itself:
no network hides it. All send the same folder of blobs, each file of a build one, each time to a
place where nothing is.
"""

import os
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from manifestgen.stores.names import blob_name
from tests.bench.measure import KIB, Command, Run, measured
from tests.bench.pairs import Project
from tests.bench.publish import FIRST
from tests.tools import builds, seaweedfs
from tests.tools.seaweedfs import BUCKET, S3Server

_SEND = """
import sys
from pathlib import Path
from manifestgen.stores import open_store
from manifestgen.stores.batch import add_all
folder = Path(sys.argv[1])
files = {str(path.relative_to(folder)): path for path in folder.rglob("*.bin")}
assert add_all(open_store(sys.argv[2]), files) == len(files)
"""


def table(names: Sequence[str], rounds: int, scratch: Path) -> str:
    """Measure every build; times are medians of `rounds`, peaks the highest."""
    lines = [
        "| build | blobs | MB | ours | aws s3 sync | rclone copy | MiB ours, aws, rclone |"
        " publish to the bucket | publish to a folder | again to the bucket | aws again |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    with seaweedfs.serve(scratch / "weed") as server:
        lines.extend(_row(server, name, rounds, scratch) for name in names)
    return "\n".join(lines)


def _row(server: S3Server, name: str, rounds: int, scratch: Path) -> str:
    build = builds.build(name, FIRST[name])
    sent: list[list[Run | None]] = []
    published: list[tuple[Run, Run, Run]] = []
    site = scratch / f"{name}-site"
    blobs = _blobs(build, site)
    for number in range(rounds):
        folder = scratch / f"{name}-{number}"
        project = Project.create(folder)
        publish = ("publish", build, "--version", "1.0.0", "--patches", "0")
        local = project.run(*publish)
        shutil.rmtree(folder / ".manifestgen/cache", ignore_errors=True)
        whole, unchanged = _published(server, project, publish, f"{name}-{number}-p")
        published.append((whole, local, unchanged))
        sent.append(_sent(server, site, f"{name}-{number}"))
        shutil.rmtree(folder)
    size = sum(path.stat().st_size for path in blobs)
    columns = [list(column) for column in zip(*sent, strict=True)]
    others = [list(column) for column in zip(*published, strict=True)]
    cells = [name, f"{len(blobs):,}", f"{size / 1e6:.1f}", *map(_time, columns[:3])]
    cells += [", ".join(map(_peak, columns[:3])), *map(_time, others), _time(columns[3])]
    return f"| {' | '.join(cells)} |"


def _blobs(build: Path, site: Path) -> list[Path]:
    """Lay each file of a build into a folder as a blob."""
    for path in build.rglob("*"):
        if path.is_file():
            target = site / blob_name(sha256(path.read_bytes()).hexdigest())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return list(site.rglob("*.bin"))


def _sent(server: S3Server, site: Path, prefix: str) -> list[Run | None]:
    """Send one folder by each program, then once more by AWS's."""
    to = f"s3://{BUCKET}/{prefix}"
    remote = f":s3,provider=Other,env_auth=true,endpoint='{server.endpoint}':{BUCKET}/{prefix}"
    aws: list[str | Path] = ["aws", "s3", "sync", "--only-show-errors", site / "blobs"]
    rclone: list[str | Path] = ["rclone", "copy", "--config", "", "--transfers", "16"]
    commands: list[list[str | Path]] = [
        [sys.executable, "-c", _SEND, site, f"{to}-o"],
        [*aws, f"{to}-a"],
        [*rclone, site / "blobs", f"{remote}-r"],
        [*aws, f"{to}-a"],
    ]
    return [_run(command, site, server.environment) for command in commands]


def _published(
    server: S3Server, project: Project, publish: Sequence[str | Path], prefix: str
) -> tuple[Run, Run]:
    """Publish to a bucket, then the same again."""
    environment = {**server.environment, "MANIFESTGEN_SITE": f"s3://{BUCKET}/{prefix}"}
    state = project.folder / ".manifestgen"
    (state / "keys/sequences.json").unlink(missing_ok=True)
    command = Command([*_OURS, *map(str, publish)], project.folder, environment)
    return measured(command), measured(command)


_OURS = (sys.executable, "-c", "import sys; from manifestgen.cli import main; sys.exit(main())")


def _run(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Run | None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which(str(command[0]), path=path)
    if program is None:
        return None
    arguments = [program, *map(str, command[1:])]
    return measured(Command(arguments, folder, {**environment, "PATH": path}))


def _time(runs: Sequence[Run | None]) -> str:
    times = [run.seconds for run in runs if run]
    return f"{statistics.median(times):.2f} s" if times else "–"


def _peak(runs: Sequence[Run | None]) -> str:
    peaks = [run.peak for run in runs if run]
    return f"{max(peaks) * KIB / 1024:.0f}" if peaks else "–"
