"""Make the picture of the status page that README.md shows: `python -m tests.tools.screenshot`.

With a folder as its argument it writes there how the page looks otherwise, to be looked at: light,
dark and on a phone, before and after something was tampered with.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, expect

from tests.tools.browser import chromium
from tests.tools.nginx import serve

_ROOT: Final = Path(__file__).resolve().parents[2]
_PICTURE: Final = _ROOT / "docs" / "status-page.png"
_PATIENCE: Final = 60_000  # milliseconds
_STEPS: Final = (
    ("init", "--app", "com.example.fieldnotes"),
    ("publish", str(_ROOT / "sample_site/v1"), "--notes", "The first release."),
    (
        "publish",
        str(_ROOT / "sample_site/v2"),
        "--rollout",
        "10%",
        "--notes",
        "A kit, and a guide.",
    ),
    ("channel", "rollout", "100%", "--over", "3d"),
)
_WIDE: Final[dict[str, Any]] = {"viewport": {"width": 880, "height": 600}}
_LOOKS: Final[dict[str, dict[str, Any]]] = {
    "light": _WIDE,
    "dark": {**_WIDE, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
}


def main(arguments: list[str]) -> None:
    """Write README's picture, or all of them into a folder."""
    with tempfile.TemporaryDirectory() as name, chromium() as browser:
        project = Path(name)
        for step in _STEPS:
            _run(project, *step)
        if not arguments:
            _show(browser, project, _PICTURE, _WIDE, part=True)
            return
        folder = Path(arguments[0])
        folder.mkdir(parents=True, exist_ok=True)
        for look, options in _LOOKS.items():
            _show(browser, project, folder / f"{look}.png", options)
        blob = max(project.glob("site/blobs/*/*.bin"), key=lambda path: path.stat().st_size)
        blob.chmod(0o644)
        blob.write_bytes(blob.read_bytes()[:-1] + b"!")
        for look, options in _LOOKS.items():
            _show(browser, project, folder / f"{look}-failed.png", options)


def _run(folder: Path, *arguments: str) -> str:
    # Only an address makes capgo.json; the first publish would look there for what is online.
    online = {"MANIFESTGEN_BASE_URL": "https://cdn.example.com/app"}
    env = {**os.environ, **(online if (folder / "site").exists() else {})}
    program = Path(sys.executable).with_name("manifestgen")
    done = subprocess.run(
        [program, *arguments], cwd=folder, env=env, check=True, capture_output=True, text=True
    )
    return done.stdout


def _show(
    browser: Browser, project: Path, target: Path, options: dict[str, Any], *, part: bool = False
) -> None:
    """Verify in a browser half a day into the rollout, and take the picture."""
    known = hashlib.sha256((project / "site/root/1.json").read_bytes()).hexdigest()
    config = _run(project, "server", "nginx")
    with (
        serve(project / "site", config) as nginx,
        browser.new_context(reduced_motion="reduce", **options) as context,
    ):
        page = context.new_page()
        page.clock.set_fixed_time(datetime.now(UTC) + timedelta(hours=20))
        page.goto(nginx.url)
        page.get_by_label("Fingerprint of the root you know").fill(known)
        page.get_by_role("button", name="Verify in this browser").click()
        expect(page.locator("#verdict")).to_contain_text("check", timeout=_PATIENCE)
        expect(page.locator("button[aria-disabled]")).to_have_count(0, timeout=_PATIENCE)
        page.get_by_role("heading", level=1).click()  # no focus ring
        if part:
            # The picture is to show the rollout, and to be small.
            page.locator("#checks").evaluate("list => list.remove()")
            page.locator("section").last.evaluate("section => section.remove()")
        page.screenshot(path=target, full_page=True)


if __name__ == "__main__":
    main(sys.argv[1:])
