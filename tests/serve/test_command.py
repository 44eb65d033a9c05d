"""`serve` as a person starts and ends it."""

import json
import signal
import socket
import subprocess

import pytest

from tests.publish.project import Project, process
from tests.serve.asking import ask, wait_for
from tests.tools.process import free_port


def address(running: "subprocess.Popen[str]") -> str:
    """Wait for the line that says where it listens."""
    assert running.stderr is not None
    line = running.stderr.readline()
    assert " at http://" in line, line
    return line.partition(" at ")[2].split()[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(project: Project, number: signal.Signals) -> None:
    running = process(project.folder, "serve", "--port", "0")
    url = address(running)
    body = json.dumps({"device_id": "pixel", "version_name": "1.0.0"}).encode()
    answer = ask(url, "/production/capgo.json", "POST", body=body)
    assert json.loads(answer.body)["url"].startswith(url)
    tag = {"If-None-Match": ask(url, "/production/manifest.json").headers["etag"]}
    assert ask(url, "/production/manifest.json", headers=tag).status == 304
    assert ask(url, "/root/2.json").status == 404
    assert running.stderr is not None
    lines = [running.stderr.readline() for _ in range(3)]  # a 304 is not worth one
    running.send_signal(number)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    assert out == "answered 4 requests of 1 device\n"
    # A line is written after its answer, by the thread that gave it: any may be first.
    said = "".join(lines)
    assert "pixel (1.0.0) POST /production/capgo.json 200" in said
    assert "pixel (1.0.0) GET /root/2.json 404" in said


def test_as_json_it_says_one_object_at_its_end(project: Project) -> None:
    port = free_port()
    running = process(project.folder, "serve", "site", "--port", str(port), "--json")
    wait_for(lambda: _listens(port))  # until it ends it says nothing
    assert ask(f"http://127.0.0.1:{port}", "/production/manifest.json").status == 200
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (0, "")
    assert json.loads(out)["requests"] == 1


def _listens(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_a_port_that_is_taken_is_named(project: Project) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = project("serve", "--port", str(port))
    assert said.code == 6
    assert f"cannot listen on 127.0.0.1:{port}" in said.err
    assert f"--port {port + 1}" in said.err


WRONG = {
    "no such site": ("serve", "nowhere"),
    "named twice": ("serve", "site", "--site", "site"),
    "an address": ("serve", "--site", "https://cdn.example.com/app"),
    "no fault": ("serve", "--fault", "fire"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_said(project: Project, case: str) -> None:
    assert project(*WRONG[case]).code == 2
