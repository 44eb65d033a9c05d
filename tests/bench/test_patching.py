"""The table of patches can be made; what it says is for people."""

import pytest

from tests.bench import patching
from tests.tools import builds


@pytest.mark.parametrize("what", ["ours", "brotli each"])
def test_a_contender_runs(what: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("bench")
    old, new = (str(builds.build("swagger", version)) for version in ("5.34.0", "5.34.1"))
    out, report, made = (str(folder / name) for name in ("out", "report", "made"))
    patching.main([what, old, new, out, report])
    assert int((folder / "report").read_text()) > 4_000_000
    if what == "ours":
        patching.main(["apply", old, new, made, out])
        assert (folder / "made" / "swagger-ui.js").exists()
