"""The status page in Chromium: what it shows, and what it finds when it verifies a site."""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.publish.project import build, copy_project, ended, process
from tests.tools import node
from tests.tools.nginx import Nginx, serve

NOTES: Final = '<img src=x onerror="document.title=1"> & "more"\n</script><script>alert(1)</script>'
PATIENCE: Final = 60_000  # milliseconds: machines are shared
URL: Final = {"MANIFESTGEN_BASE_URL": "https://cdn.example.com/app"}
NO_SUBTLE: Final = "Object.defineProperty(crypto, 'subtle', { value: undefined })"
AXE: Final = """\
async () => (await axe.run()).violations.map(({ id, nodes }) => [id, ...nodes.map((n) => n.html)])
"""

Tamper = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class World:
    """A site with two roots and a rollout under way, copies of it, and nginx before them all."""

    folder: Path
    nginx: Nginx

    @property
    def good(self) -> Path:
        """The site as it was published."""
        return self.folder / "good"

    def fingerprint(self, number: int) -> str:
        """Return the SHA-256 of one of its roots."""
        return hashlib.sha256((self.good / f"root/{number}.json").read_bytes()).hexdigest()

    def grouped(self, number: int) -> str:
        """Return it as people read it out."""
        return " ".join(re.findall("....", self.fingerprint(number)))

    def copy(self, name: str) -> Path:
        """Copy the site, to be spoilt."""
        return shutil.copytree(self.good, self.folder / name)

    def address(self, site: Path, fragment: str = "") -> str:
        """Return where nginx serves the status page of a copy."""
        return f"{self.nginx.url}/{site.name}/{fragment}"


@pytest.fixture(scope="module")
def world(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("status")
    project = copy_project(published, folder / "project")
    for command in (
        ("keys", "renew"),
        ("publish", "dist2", "--rollout", "10%", "--notes", NOTES),
        ("channel", "rollout", "50%", "--over", "3d"),
        ("channel", "promote", "1.1.0", "--to", "beta"),
    ):
        said = ended(process(project, *command, env=URL))
        assert said.code == 0, said.err
    sites = folder / "sites"
    shutil.copytree(project / "site", sites / "good")
    config = ended(process(project, "server", "nginx"))
    assert config.code == 0, config.err
    with serve(sites, config.out) as nginx:
        yield World(sites, nginx)


def verified(page: Page) -> str:
    """Press the button, and return what the page says in the end."""
    page.get_by_role("button", name="Verify in this browser").click()
    return verdict(page)


def verdict(page: Page) -> str:
    """Wait for the end of a check, and return what the page says of it."""
    expect(page.locator("button[aria-disabled]")).to_have_count(0, timeout=PATIENCE)
    box = page.locator("#verdict")
    expect(box).not_to_be_empty()
    return box.inner_text()


def rows(page: Page, state: str) -> dict[str, str]:
    """Return the checks in a state, by what they are about."""
    found: list[tuple[str, str]] = page.locator(f"#checks .{state}").evaluate_all(
        "all => all.map((li) => [li.children[1].textContent, li.children[2].textContent])"
    )
    return dict(found)


def flip(path: Path, at: int = -20) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def swap(path: Path, old: str, new: str) -> None:
    """Change the text of a file."""
    text = path.read_text()
    assert old in text
    path.chmod(0o644)
    path.write_text(text.replace(old, new))


def drop_channels(page: Path) -> None:
    """Take every channel out of the page."""
    for channel in ("beta", "production"):
        swap(page, f'data-channel="{channel}"', "")


def blob(site: Path) -> Path:
    """Return the largest file that devices download."""
    return max(site.joinpath("blobs").rglob("*.bin"), key=lambda path: path.stat().st_size)


def longer(path: Path) -> None:
    """Add a byte to a file."""
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"\n")


def restore(site: Path) -> None:
    """Show an earlier manifest once more."""
    shutil.copy(site / "production/history/000002.json", site / "production/manifest.json")


def test_a_good_site_is_all_green(world: World, page: Page) -> None:
    page.goto(world.address(world.good))
    said = verified(page)
    assert rows(page, "bad") == {}
    assert rows(page, "skip") == {"The root you know": "no fingerprint was given"}
    good = rows(page, "good")
    assert "signed by 1 of 1 key" in good["root/2.json follows root 1"]
    assert good["production/history"].startswith("4 manifests, each named by the one after")
    assert {"beta/manifest.json", "production/manifest.json", "production/capgo.json"} <= set(good)
    assert {"Bundle of 1.0.0", "Bundle of 1.1.0", "Release 1.1.0"} <= set(good)
    assert said.startswith("All ")
    assert "checks passed" in said
    # It must not sound as if this were proof of whose root it is.
    assert f"root 1 with the fingerprint {world.grouped(1)}" in said
    assert "compare the fingerprint" in said
    expect(page.locator("#verdict")).not_to_have_class("good")


@pytest.mark.parametrize("number", [1, 2])
def test_a_root_that_is_known_makes_it_proof(world: World, page: Page, number: int) -> None:
    page.goto(world.address(world.good, f"#root={world.fingerprint(number)}"))
    said = verified(page)
    expect(page.locator("#verdict")).to_have_class("good")
    assert rows(page, "good")["The root you know"] == f"it is root {number}"
    assert f"root {number} is the one you know" in said
    assert ("root 2 follows from it" in said) is (number == 1)
    assert "came with the address" in said  # anybody can make a link


def test_a_fingerprint_is_taken_in_any_spelling_and_kept(world: World, page: Page) -> None:
    page.goto(world.address(world.good))
    known = world.fingerprint(1)
    field = page.get_by_label("Fingerprint of the root you know")
    for spelling in (f"{known.upper()}  root/1.json\n", world.grouped(1), known[:32]):
        field.fill(spelling)
        said = verified(page)
        assert "root 1 is the one you know" in said
        assert "came with the address" not in said
        assert known.startswith(page.url.partition("#root=")[2]), page.url
    for wrong in ("12ab", known[:31], "g" * 64, f"{known[:-1]}g"):
        field.fill(wrong)
        verified(page)
        assert "64 hex digits" in rows(page, "bad")["The root you know"]


TAMPERED: dict[str, tuple[Tamper, str, str]] = {
    "manifest altered": (
        lambda site: swap(site / "production/manifest.json", '"sequence":4', '"sequence":5'),
        "production/manifest.json",
        "0 of 1 trusted keys signed this manifest (signature)",
    ),
    "manifest reformatted": (
        lambda site: longer(site / "production/manifest.json"),
        "production/manifest.json",
        "not in canonical form (format)",
    ),
    "manifest of another channel": (
        lambda site: shutil.copy(site / "beta/manifest.json", site / "production/manifest.json"),
        "production/manifest.json",
        "for beta, not production (wrong_channel)",
    ),
    "manifest missing": (
        lambda site: (site / "production/manifest.json").unlink(),
        "production/manifest.json",
        "production/manifest.json is missing (missing)",
    ),
    "manifest put back": (restore, "production/history", "but history goes on (history)"),
    "history altered": (
        lambda site: flip(site / "production/history/000001.json"),
        "production/history",
        "000001.json is not what manifest 2 names as its previous (history)",
    ),
    "history missing": (
        lambda site: (site / "production/history/000001.json").unlink(),
        "production/history",
        "production/history/000001.json is missing (missing)",
    ),
    "newest of history altered": (
        lambda site: flip(site / "production/history/000004.json"),
        "production/history",
        "000004.json is not the same file as manifest.json (history)",
    ),
    "release altered": (
        lambda site: swap(site / "releases/1.0.0.json", '"version":"1.0.0"', '"version":"1.0.1"'),
        "Release 1.0.0",
        "releases/1.0.0.json is not the release that is offered (history)",
    ),
    "blob altered": (lambda site: flip(blob(site)), "Bundle of ", "was altered: its SHA-256 is"),
    "blob too long": (lambda site: longer(blob(site)), "Bundle of ", "bytes signed (digest)"),
    "blob cut short": (lambda site: os.truncate(blob(site), 100), "Bundle of ", "has 100 bytes of"),
    "blob missing": (lambda site: blob(site).unlink(), "Bundle of ", "is missing (missing)"),
    "root altered": (
        lambda site: swap(site / "root/2.json", '"max_days":90', '"max_days":91'),
        "root/2.json follows root 1",
        "0 of 1 trusted keys signed this root (signature)",
    ),
    "root held back": (
        lambda site: shutil.copy(site / "root/1.json", site / "root.json"),
        "root.json is the newest root",
        "root/2.json follows it (root)",
    ),
    "stock plugins sent elsewhere": (
        lambda site: swap(site / "production/capgo.json", "/blobs/", "/elsewhere/"),
        "production/capgo.json",
        "does not follow from the manifest: its url (stock)",
    ),
    "stock plugins told another key": (
        lambda site: swap(site / "production/capgo.json", '"checksum": "', '"checksum": "00'),
        "production/capgo.json",
        "does not follow from the manifest: its checksum (stock)",
    ),
    "stock plugins told more": (
        lambda site: swap(site / "production/capgo.json", "{\n", '{\n "breaking": true,\n'),
        "production/capgo.json",
        "does not follow from the manifest: its breaking (stock)",
    ),
    "stock plugins told twice": (
        lambda site: swap(site / "production/capgo.json", "{\n", '{\n "version": "9.9.9",\n'),
        "production/capgo.json",
        "does not follow from the manifest: how it is written (stock)",
    ),
    "no channel": (
        lambda site: drop_channels(site / "index.html"),
        "Channels",
        "none is here (missing)",
    ),
}


# Much like others of the table.
SELDOM: Final = {
    "manifest reformatted",
    "manifest missing",
    "history missing",
    "blob cut short",
    "stock plugins told another key",
    "no channel",
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.full] * (name in SELDOM)) for name in TAMPERED],
)
def test_what_was_tampered_with_is_red_and_says_why(world: World, page: Page, name: str) -> None:
    tamper, what, why = TAMPERED[name]
    site = world.copy(name.replace(" ", "-"))
    tamper(site)
    page.goto(world.address(site, f"#root={world.fingerprint(1)}"))
    said = verified(page)
    expect(page.locator("#verdict")).to_have_class("bad")
    bad = rows(page, "bad")
    assert any(one.startswith(what) and why in reason for one, reason in bad.items()), bad
    assert " failed." in said.splitlines()[0]
    assert all(f"{one}: {reason}" in said for one, reason in list(bad.items())[:3])


@pytest.mark.parametrize("form", ["v3", pytest.param("v2", marks=pytest.mark.full)])
def test_the_single_files_that_stock_plugins_are_told_of_are_compared(
    world: World, page: Page, tmp_path: Path, form: str
) -> None:
    folder = build(tmp_path / "dist")
    (folder / "noise.bin").write_bytes(os.urandom(200_000))
    (folder / "Ünï \U0001f600.txt").write_text("é" * 100)
    (tmp_path / "manifestgen.toml").write_text(
        f'app = "com.example.app"\n[capgo]\ndelta = true\nchecksum = "{form}"\n'
    )
    assert ended(process(tmp_path, "publish", "dist", env=URL)).code == 0
    site = shutil.copytree(tmp_path / "site", world.folder / f"delta-{form}")
    told = site / "production/capgo.json"
    page.goto(world.address(site))
    verified(page)
    assert rows(page, "bad") == {}
    assert "says what the manifest says" in rows(page, "good")["production/capgo.json"]
    names = re.findall(r'"file_name": (".*")', told.read_text())
    swap(told, names[0], names[1])
    verified(page)
    assert "its manifest (stock)" in rows(page, "bad")["production/capgo.json"]


STOCK: Final = {
    "paused": (("channel", "pause"), {"capgo.json"}),
    "back to the built-in app": (("channel", "withdraw", "1.0.0"), {"capgo.json"}),
    "for one platform": (
        ("publish", "dist2", "--platform", "ios"),
        {"capgo.json", "capgo-ios.json", "capgo-android.json"},
    ),
}


@pytest.mark.parametrize(
    "state",
    [pytest.param(name, marks=[pytest.mark.full] * (name != "for one platform")) for name in STOCK],
)
def test_whatever_stock_plugins_are_told_is_known(
    world: World, published: Path, page: Page, tmp_path: Path, state: str
) -> None:
    command, files = STOCK[state]
    project = copy_project(published, tmp_path / "project")
    for one in (("publish", "dist"), command):
        said = ended(process(project, *one, env=URL))
        assert said.code == 0, said.err
    site = shutil.copytree(project / "site", world.folder / f"stock-{state.replace(' ', '-')}")
    assert {path.name for path in (site / "production").glob("capgo*")} == files
    page.goto(world.address(site))
    verified(page)
    assert rows(page, "bad") == {}
    assert "production/capgo.json" in rows(page, "good")


def test_another_projects_site_is_not_the_root_one_knows(
    world: World, page: Page, tmp_path: Path
) -> None:
    build(tmp_path / "dist")
    assert ended(process(tmp_path, "publish", "dist")).code == 0
    other = shutil.copytree(tmp_path / "site", world.folder / "other")
    page.goto(world.address(other, f"#root={world.fingerprint(1)}"))
    assert "1 of " in verified(page)
    assert set(rows(page, "bad")) == {"The root you know"}
    assert world.grouped(1) in rows(page, "bad")["The root you know"]


def test_what_has_expired_is_red(world: World, page: Page) -> None:
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=40))
    page.goto(world.address(world.good))
    expect(page.locator("[data-channel=production] .count.over")).to_contain_text("expired")
    verified(page)
    assert "the manifest expired on" in rows(page, "bad")["production is in time"]
    page.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=4000))
    verified(page)
    assert "root 2 expired on" in rows(page, "bad")["Root 2 is in time"]


def test_from_a_stick_the_folder_is_chosen(world: World, page: Page) -> None:
    bad = world.copy("stick")
    flip(blob(bad))
    page.goto((world.good / "index.html").as_uri())
    expect(page.get_by_role("button", name="Verify in this browser")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose the site’s folder…")).to_be_visible()
    assert page.evaluate("isSecureContext")
    page.get_by_label("Fingerprint of the root you know").fill(world.fingerprint(1))
    page.locator("#folder").set_input_files(world.good)
    assert "checks passed" in verdict(page)
    assert {"beta/manifest.json", "Bundle of 1.1.0"} <= set(rows(page, "good"))
    page.locator("#folder").set_input_files(bad)
    expect(page.locator("#verdict")).to_contain_text("failed", timeout=PATIENCE)
    assert "was altered" in str(rows(page, "bad"))
    page.locator("#folder").set_input_files(world.folder / "stick/releases")
    expect(page.locator("#verdict")).to_contain_text("no root.json in it", timeout=PATIENCE)


def test_the_button_opens_the_folder_chooser(world: World, page: Page) -> None:
    page.goto((world.good / "index.html").as_uri())
    with page.expect_file_chooser(timeout=PATIENCE) as chooser:
        page.get_by_role("button", name="Choose the site’s folder…").press("Enter")
    chooser.value.set_files(world.good)
    assert "checks passed" in verdict(page)


def test_without_webcrypto_it_says_how(world: World, page: Page) -> None:
    page.add_init_script(NO_SUBTLE)
    page.goto(world.address(world.good))
    said = verified(page)
    assert "Nothing was checked." in said
    assert "plain http" in said
    assert "by https or on localhost" in said


def test_one_file_asks_for_nothing_and_reports_no_error(world: World, page: Page) -> None:
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(world.address(world.good))
    expect(page.locator("[data-channel=production] .count")).to_contain_text("in ")
    assert asked == [world.address(world.good)]
    assert said == []
    assert page.request.get(page.url).body() == (world.good / "index.html").read_bytes()


def test_text_of_others_stays_text(world: World, page: Page) -> None:
    site = world.copy("hostile")
    swap(site / "production/capgo.json", '"version": "', '"version": "<img src=x>')
    swap(site / "beta/manifest.json", '"channel":"beta"', '"channel":"<img src=x>"')
    (site / "root.json").write_text("<img src=x><script>document.title = 1</script>")
    page.goto(world.address(site))
    verified(page)
    assert len(rows(page, "bad")) >= 3
    expect(page.locator("img, iframe, object, embed")).to_have_count(0)
    expect(page.locator("script")).to_have_count(1)
    expect(page.locator("[data-channel=production] .notes").first).to_have_text(NOTES)
    expect(page).to_have_title("local.shop: updates")


def test_without_scripts_it_says_the_dates(world: World, browser: Browser) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(world.address(world.good))
        expect(page.locator("#tools")).to_be_hidden()
        expect(page.locator("#verify")).to_contain_text("manifestgen verify")
        line = page.locator("[data-channel=production] > p").first
        expect(line).to_contain_text(f"expires {datetime.now(UTC) + timedelta(days=30):%Y-%m}")


def test_the_keyboard_is_enough(world: World, page: Page) -> None:
    page.goto(world.address(world.good))
    page.keyboard.press("Tab")
    expect(page.get_by_label("Fingerprint of the root you know")).to_be_focused()
    page.keyboard.press("Tab")
    button = page.get_by_role("button", name="Verify in this browser")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    assert "checks passed" in verdict(page)
    expect(button).to_be_focused()
    expect(page.get_by_role("status")).to_contain_text("checks passed")


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1000, "height": 800}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1000, "height": 800}},
    "phone": {"color_scheme": "dark", "viewport": {"width": 390, "height": 800}},
}


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_nothing(world: World, browser: Browser, look: str) -> None:
    site = world.copy(f"axe-{look}")
    flip(blob(site))
    # Its own script is not the page's, and the page allows no other.
    with browser.new_context(bypass_csp=True, reduced_motion="reduce", **LOOKS[look]) as context:
        page = context.new_page()
        for one in (site,) if look == "phone" else (world.good, site):
            page.goto(world.address(one))
            verified(page)
            page.add_script_tag(path=node.modules() / "axe-core/axe.min.js")
            assert page.evaluate(AXE) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
