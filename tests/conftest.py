"""What every test may ask for, and how a test run is set up."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from playwright.sync_api import Browser, Page

from tests.tools import browser as browsers
from tests.tools import softhsm
from tests.tools.capgo import CapgoCli
from tests.tools.nginx import Nginx, StartNginx, serve
from tests.tools.parts import Missing

# Settings of the person or machine that runs the tests, which would change what they see.
_OUTER = {"CI", "GITHUB_ACTIONS", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "SOURCE_DATE_EPOCH"}

# Machines are shared, so no example is too slow; in CI the same examples are tried every time.
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.register_profile("full", deadline=None, max_examples=1000)

_FULL_SECONDS = 3600  # for one of the large and slow tests, before it counts as hanging


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one option of ours."""
    parser.addoption("--full", action="store_true", help="also run the tests marked `full`")


def pytest_configure(config: pytest.Config) -> None:
    """Name our marker, choose hypothesis's profile, and forget the outer settings."""
    config.addinivalue_line("markers", "full: large or slow; run only with --full")
    everyday = os.environ.get("MANIFESTGEN_TEST_PROFILE", "dev")
    hypothesis.settings.load_profile("full" if config.getoption("--full") else everyday)
    for name in list(os.environ):
        ours = name.startswith("MANIFESTGEN_") and not name.startswith("MANIFESTGEN_TEST_")
        if ours or name in _OUTER:
            del os.environ[name]
    # Whoever started this in the background of a script has let it ignore Ctrl-C, and so would
    # every command that a test interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the tests marked `full` out of a run without `--full`; with it, give them time."""
    full = [item for item in items if item.get_closest_marker("full")]
    if config.getoption("--full"):
        for item in full:
            item.add_marker(pytest.mark.timeout(_FULL_SECONDS))
    elif full:
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if item not in full]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    """Skip a test whose fixtures need a part that cannot be had here."""
    try:
        yield
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Skip a test that finds that it needs a part that cannot be had here."""
    try:
        yield
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def start_nginx() -> Iterator[StartNginx]:
    """Start real nginx servers: `start_nginx(root, config_text)`."""
    with ExitStack() as stack:

        def start(root: Path, config_text: str | None = None) -> Nginx:
            return stack.enter_context(serve(root, config_text))

        yield start


@pytest.fixture
def capgo(tmp_path_factory: pytest.TempPathFactory) -> CapgoCli:
    """Run Capgo's own command line in a fresh app."""
    return CapgoCli.create(tmp_path_factory.mktemp("capgo") / "app")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Drive the system's Chromium."""
    with browsers.chromium() as chromium:
        yield chromium


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open an empty page, with storage of its own."""
    with browser.new_context() as context:
        yield context.new_page()


@pytest.fixture(scope="session")
def softhsm_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[softhsm.Token]:
    """Make a token, for programs that inherit this process's environment and for itself."""
    token = softhsm.create(tmp_path_factory.mktemp("softhsm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(token.config))
        yield token
