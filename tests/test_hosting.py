"""`docs/hosting.md`: what can be parsed is parsed, and every `manifestgen` command is run.

Commands for a bucket are run against SeaweedFS, the others in the project of a page.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_docs import commands
from tests.tools import seaweedfs

_ROOT = Path(__file__).resolve().parent.parent
_PAGE = (_ROOT / "docs/hosting.md").read_text("utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_PROGRAM = "import sys; from manifestgen.cli import main; sys.exit(main())"
_WRITES = {"s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML with CloudFormation's tags, which stand for what is not known yet."""


def _tagged(loader: Any, suffix: str, node: Any) -> object:
    return f"!{suffix} {node.value}"


_Loader.add_multi_constructor("!", _tagged)


def blocks(kind: str) -> list[str]:
    """Return the blocks of a kind, in order."""
    return [text for found, text in _BLOCK.findall(_PAGE) if found == kind]


def documents() -> list[Any]:
    """Return what the YAML blocks say."""
    return [yaml.load(text, _Loader) for text in blocks("yaml")]


def _jobs(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Return the jobs of a workflow of GitHub's, or of GitLab's pipeline."""
    jobs = document.get("jobs", document)
    yield from (job for job in jobs.values() if isinstance(job, dict))


def _steps(document: Mapping[str, Any]) -> Iterator[str]:
    for job in _jobs(document):
        yield from job.get("script", [])
        yield from (step["run"] for step in job.get("steps", []) if "run" in step)


def test_the_page_has_what_it_promises() -> None:
    assert len(documents()) == 6
    for text in blocks("json"):
        json.loads(text)
    assert len(blocks("ini")) == 3
    assert len([step for one in documents() for step in _steps(one)]) > 20


def test_every_step_of_a_workflow_uses_or_runs_something() -> None:
    for document in documents():
        for job in _jobs(document) if "jobs" in document else ():
            assert job["steps"]
            for step in job["steps"]:
                assert ("uses" in step) != ("run" in step)


def test_what_writes_into_a_locked_bucket_sends_checksums() -> None:
    """AWS refuses an upload under object lock that has none."""
    for document in documents():
        for job in _jobs(document):
            steps = [*job.get("script", []), *(one.get("run", "") for one in job.get("steps", []))]
            if any("s3://" in step for step in steps):
                variables = {**document.get("env", {}), **job.get("variables", {})}
                assert variables["AWS_CHECKSUM_ALGORITHM"] == "SHA256"


def test_the_publisher_may_not_delete() -> None:
    policy = json.loads(next(text for text in blocks("json") if '"Statement"' in text))
    allowed = [one for one in policy["Statement"] if one["Effect"] == "Allow"]
    assert _actions(allowed) == _WRITES
    template = documents()[0]["Resources"]
    [inline] = template["Publisher"]["Properties"]["Policies"]
    assert _actions(inline["PolicyDocument"]["Statement"]) == _WRITES
    [reading] = template["Reading"]["Properties"]["PolicyDocument"]["Statement"]
    assert _actions([reading]) == {"s3:GetObject"}


def _actions(statements: list[Mapping[str, Any]]) -> set[str]:
    found = [one["Action"] for one in statements]
    return {name for one in found for name in ([one] if isinstance(one, str) else one)}


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    units = []
    for text in blocks("ini"):
        name = text.partition("\n")[0].rpartition("/")[2]
        # The programs of the page are not installed here.
        unit = re.sub(r"/opt/manifestgen/bin/manifestgen|/usr/bin/sh", "/bin/sh", text)
        (tmp_path / name).write_text(unit)
        units.append(tmp_path / name)
    done = subprocess.run(
        [analyze, "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    said = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "updates" in line]
    assert said == []


def _lines() -> list[str]:
    """Return every line that runs `manifestgen`, whatever it is part of; shell blocks whole."""
    found = [text.replace("pip install", "true") for text in blocks("sh")]
    for document in documents():
        found += [step for step in _steps(document) if step.startswith("manifestgen ")]
    for text in (*blocks("ini"), *blocks("text")):
        found += re.findall(r"/opt/manifestgen/bin/(manifestgen .*)", text)
    prose = _BLOCK.sub("", _PAGE)
    return found + [one for one in commands(prose) if one not in found]


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Give the page's commands a bucket, and the program."""
    program = tmp_path / "programs/manifestgen"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{_PROGRAM}" "$@"\n')
    program.chmod(0o755)
    paths = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    with seaweedfs.serve(tmp_path / "seaweedfs") as server:
        yield {**os.environ, **server.environment, "PATH": paths}


@pytest.fixture
def project(tmp_path: Path, environ: Mapping[str, str]) -> Path:
    """Make a project with one release in its own site."""
    folder = tmp_path / "project"
    shutil.copytree(_ROOT / "sample_site/v1", folder / "dist")
    _must("manifestgen init --app com.example.app", folder, environ)
    return folder


@pytest.fixture
def served(project: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """Serve the project's own site, where the page says it is online."""
    _must("manifestgen publish dist", project, environ)
    with subprocess.Popen(
        ["manifestgen", "serve", "--port", "0"],
        cwd=project,
        env=environ,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stderr is not None
            found = re.search(r"http://127\.0\.0\.1:\d+", server.stderr.readline())
            assert found
            yield found[0]
        finally:
            server.terminate()


def test_every_command_of_the_page_works(
    project: Path, served: str, environ: dict[str, str]
) -> None:
    pytest.importorskip("obstore")
    # One project has one site: what is for a bucket is another's.
    other = shutil.copytree(project, project.with_name("other"), ignore=_no_site)
    for number, line in enumerate(_lines()):
        folder = other if "s3://" in line else project
        if "manifestgen publish" in line:
            version = json.dumps({"version": f"1.5.{number}"})
            (folder / "dist/package.json").write_text(version)
        real = line.replace("example-updates", seaweedfs.BUCKET)
        real = real.replace("https://cdn.example.com/app", served)
        real = re.sub(r"https://ACCOUNT\S+", environ["AWS_ENDPOINT_URL"], real)
        _must(real, folder, environ)


def _no_site(_folder: str, names: list[str]) -> set[str]:
    return {"site", "sequences.json"} & set(names)


def test_an_alarm_needs_neither_keys_nor_a_copy(
    project: Path, served: str, environ: dict[str, str]
) -> None:
    pytest.importorskip("obstore")
    bucket = f"s3://{seaweedfs.BUCKET}/alarm"
    _must(f"manifestgen publish dist --site {bucket}", project, environ)
    shutil.rmtree(project / ".manifestgen/keys")
    later = {**environ, "SOURCE_DATE_EPOCH": str(int(time.time()) + 20 * 86_400)}
    for site in (bucket, served):
        check = f"manifestgen refresh --check --site {site}"
        _must(check, project, environ)
        assert _run(check, project, later).returncode == 1


def _must(line: str, folder: Path, environ: Mapping[str, str]) -> None:
    done = _run(line, folder, environ)
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    assert "alarm:" not in done.stdout


def _run(line: str, folder: Path, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    shell = ["sh", "-eu", "-c", line]
    return subprocess.run(
        shell, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
