"""`keys create` and `keys show`: what is made, where, and above all what is not."""

import getpass
import json
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from manifestgen.cli import main
from manifestgen.core import capgo
from manifestgen.signers import load_signer, load_wrapper

SAMPLE = Path(__file__).parents[2] / "sample_site/v1"
KEYS = Path(".manifestgen/keys")
NAMES = {"signing.pem", "capgo.pem", "content.key"}
PASSPHRASE = "correct horse"

Run: TypeAlias = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Stand in an empty folder; run commands there: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def answers(monkeypatch: pytest.MonkeyPatch, *given: str) -> None:
    """Sit at the terminal and answer each question for a passphrase."""
    replies: Iterator[str] = iter(given)
    monkeypatch.setattr(getpass, "getpass", lambda _: next(replies))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_keys_are_made_closed_hidden_and_explained(run: Run) -> None:
    code, out, _ = run("keys", "create")
    assert code == 0
    assert set(files(KEYS)) == NAMES | {".gitignore"}
    for name in NAMES:
        assert stat.S_IMODE((KEYS / name).stat().st_mode) == 0o600
        assert f"made {KEYS / name}" in out
    assert stat.S_IMODE(KEYS.stat().st_mode) == 0o700
    assert "back up" in out
    assert "next: manifestgen init" in out
    wrapper = load_wrapper(f"file:{KEYS}/capgo.pem", folder=Path.cwd(), ask=lambda _: None)
    assert Path(".manifestgen/capgo.pub.pem").read_text() == capgo.public_pem(wrapper.public)
    assert capgo.key_id(wrapper.public) in out


def test_nothing_private_is_printed(run: Run) -> None:
    for arguments in ([], ["--json", "--out-dir", "more"]):
        code, out, err = run("keys", "create", *arguments)
        assert code == 0
        for folder in (KEYS, Path("more")):
            for name in NAMES & set(files(folder) if folder.is_dir() else ()):
                # The last line of a body: an RSA key begins with its public half.
                line = (folder / name).read_text().splitlines()[-2:][0]
                assert line[-16:] not in out + err


def test_what_init_and_publish_then_use_are_these_keys(run: Run) -> None:
    assert run("keys", "create", "--algorithm", "p256")[0] == 0
    before = files(KEYS)
    assert run("init")[0] == 0
    assert run("publish", SAMPLE)[0] == 0
    assert {name: files(KEYS)[name] for name in before} == before
    root = json.loads(Path("site/root.json").read_text())["signed"]
    signer = load_signer(f"file:{KEYS}/signing.pem", folder=Path.cwd(), ask=lambda _: None)
    assert root["roles"]["release"]["keys"] == [signer.public.keyid]
    assert signer.public.algorithm == "p256"


def test_json_names_the_files_and_the_public_halves(run: Run) -> None:
    code, out, err = run("keys", "create", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    assert [(file["kind"], file["file"], file["made"]) for file in said["files"]] == [
        ("signing", f"{KEYS}/signing.pem", True),
        ("capgo", f"{KEYS}/capgo.pem", True),
        ("content", f"{KEYS}/content.key", True),
    ]
    signer = load_signer(f"file:{KEYS}/signing.pem", folder=Path.cwd(), ask=lambda _: None)
    assert [key["keyid"] for key in said["keys"]] == [signer.public.keyid]
    assert said["keys"][0]["public"].startswith("-----BEGIN PUBLIC KEY-----\n")
    assert said["capgo"]["public"] == Path(".manifestgen/capgo.pub.pem").read_text()


def test_keys_are_never_overwritten(run: Run) -> None:
    run("keys", "create")
    before = files(KEYS)
    for arguments in ([], ["--only", "signing"], ["--only", "content"], ["--out-dir", KEYS]):
        code, _, err = run("keys", "create", *arguments)
        assert code == 4
        assert "not overwritten" in err
        assert files(KEYS) == before


def test_only_what_lacks_is_made(run: Run) -> None:
    run("keys", "create", "--only", "capgo")
    before = files(KEYS)["capgo.pem"]
    code, out, _ = run("keys", "create")
    assert code == 0
    assert f"kept {KEYS}/capgo.pem" in out
    assert files(KEYS)["capgo.pem"] == before
    assert set(files(KEYS)) == NAMES | {".gitignore"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("signing.pem", "this project has a root", id="signing"),
        pytest.param("capgo.pem", "apps carry the Capgo key", id="capgo"),
    ],
)
def test_a_key_that_devices_trust_and_was_lost_is_not_made_anew(
    run: Run, name: str, said: str
) -> None:
    run("init")
    (KEYS / name).unlink()
    code, _, err = run("keys", "create")
    assert code == 4
    assert said in err
    assert "backup" in err
    assert not (KEYS / name).exists()


def test_a_lost_content_secret_is_made_anew(run: Run) -> None:
    run("init")
    (KEYS / "content.key").unlink()
    assert run("keys", "create")[0] == 0
    assert (KEYS / "content.key").exists()


def test_further_keys_go_into_a_folder_of_their_own(run: Run, tmp_path: Path) -> None:
    run("init")
    before = files(KEYS)
    code, _, _ = run("keys", "create", "--only", "signing", "--out-dir", "offline")
    assert code == 0
    assert set(files(tmp_path / "offline")) == {"signing.pem", ".gitignore"}
    assert files(KEYS) == before
    assert files(tmp_path / "offline")["signing.pem"] != before["signing.pem"]


def test_a_folder_with_other_things_in_it_is_left_as_it_is(run: Run, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    code, out, _ = run("keys", "create", "--out-dir", ".")
    assert code == 0
    assert not (tmp_path / ".gitignore").exists()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert "git does not ignore" in out


@pytest.mark.parametrize("link", [False, True], ids=["straight", "through a link"])
def test_keys_are_never_made_inside_the_site(run: Run, tmp_path: Path, link: bool) -> None:
    (tmp_path / "site").mkdir()
    folder = tmp_path / "site/keys"
    if link:
        (tmp_path / "elsewhere").symlink_to(tmp_path / "site")
        folder = tmp_path / "elsewhere/keys"
    code, _, err = run("keys", "create", "--out-dir", folder)
    assert code == 2
    assert "inside the site" in err
    assert not list((tmp_path / "site").rglob("*"))


def test_keys_that_are_no_files_are_not_made(run: Run) -> None:
    Path("manifestgen.toml").write_text(
        '[keys]\nroot = "env:A"\ncapgo = "env:B"\ncontent = "env:C"\n'
    )
    assert run("keys", "create")[0] == 4
    code, _, err = run("keys", "create", "--only", "signing")
    assert code == 2
    assert "env:A" in err
    assert not KEYS.exists()


# --- passphrases --------------------------------------------------------------------------------


def test_a_passphrase_from_the_environment_encrypts_and_opens(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANIFESTGEN_PASSPHRASE", PASSPHRASE)
    assert run("keys", "create", "--passphrase")[0] == 0
    for name in ("signing.pem", "capgo.pem"):
        assert (KEYS / name).read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert run("publish", SAMPLE)[0] == 0
    monkeypatch.setenv("MANIFESTGEN_PASSPHRASE", "wrong horse")
    code, out, err = run("publish", SAMPLE, "--version", "1.0.1")
    assert code == 4
    assert "the passphrase does not open" in err
    assert "horse" not in out + err
    monkeypatch.delenv("MANIFESTGEN_PASSPHRASE")
    code, _, err = run("publish", SAMPLE, "--version", "1.0.1")
    assert code == 4
    assert "MANIFESTGEN_PASSPHRASE" in err


def test_a_passphrase_from_a_file_opens(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("passphrase").write_text(f"{PASSPHRASE}\n")
    Path("passphrase").chmod(0o600)
    monkeypatch.setenv("MANIFESTGEN_PASSPHRASE_FILE", "passphrase")
    assert run("keys", "create", "--passphrase")[0] == 0
    load_signer(f"file:{KEYS}/signing.pem", folder=Path.cwd(), ask=lambda _: PASSPHRASE.encode())


def test_a_person_is_asked_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, PASSPHRASE, "correct hrose")
    code, _, err = run("keys", "create", "--passphrase")
    assert code == 4
    assert "differ" in err
    assert not KEYS.exists()
    answers(monkeypatch, PASSPHRASE, PASSPHRASE)
    assert run("keys", "create", "--passphrase")[0] == 0
    load_signer(f"file:{KEYS}/signing.pem", folder=Path.cwd(), ask=lambda _: PASSPHRASE.encode())


@pytest.mark.parametrize("where", ["nobody there", "CI", "--json", "an empty answer"])
def test_no_passphrase_means_no_keys(run: Run, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    if where != "nobody there":
        answers(monkeypatch, "", "")
    if where == "CI":
        monkeypatch.setenv("CI", "1")
    code, _, _ = run("keys", "create", "--passphrase", *(["--json"] if where == "--json" else []))
    assert code == 4
    assert not KEYS.exists()


def test_a_passphrase_is_never_an_argument(run: Run) -> None:
    code, _, _ = run("keys", "create", "--passphrase", PASSPHRASE)
    assert code == 2
    assert not KEYS.exists()


# --- the app's configuration --------------------------------------------------------------------

CONFIG = (
    '{\n    "appId": "com.example.app",\n    "plugins": {\n        "Other": {"a": 1}\n    }\n}\n'
)


def configured(path: str | Path = "capacitor.config.json") -> str | None:
    config: dict[str, Any] = json.loads(Path(path).read_text())
    key: str | None = config["plugins"].get("CapacitorUpdater", {}).get("publicKey")
    return key


@pytest.mark.parametrize("before", ["nothing", "init", "keys create"])
def test_the_public_key_goes_into_the_apps_json(run: Run, before: str) -> None:
    Path("mobile").mkdir()
    Path("mobile/capacitor.config.json").write_text(CONFIG)
    if before != "nothing":
        assert run(*before.split())[0] == 0
    code, out, _ = run("keys", "create", "--capacitor", "mobile")
    assert code == 0
    public = Path(".manifestgen/capgo.pub.pem").read_text()
    assert configured("mobile/capacitor.config.json") == public
    assert "native build" in out
    text = Path("mobile/capacitor.config.json").read_text()
    assert text.startswith(CONFIG[: CONFIG.index('{"a": 1}') + len('{"a": 1}')])
    # Once more is no harm.
    assert run("keys", "create", "--capacitor", "mobile")[0] == 0
    assert Path("mobile/capacitor.config.json").read_text() == text


def test_the_scheme_none_needs_a_capgo_key_only_for_an_app(run: Run) -> None:
    Path("capacitor.config.json").write_text(CONFIG)
    Path("manifestgen.toml").write_text('scheme = "none"\n')
    assert run("keys", "create")[0] == 0
    assert set(files(KEYS)) == {"signing.pem", ".gitignore"}
    assert run("keys", "create", "--capacitor", ".")[0] == 0
    assert configured() == Path(".manifestgen/capgo.pub.pem").read_text()


@pytest.mark.parametrize("before", ["nothing", "init"])
def test_another_key_that_apps_carry_is_not_replaced(run: Run, before: str, tmp_path: Path) -> None:
    run("keys", "create", "--only", "capgo", "--out-dir", tmp_path / "old")
    old = Path("old/capgo.pub.pem").read_text()
    if before != "nothing":
        run(before)
    config = json.dumps({"plugins": {"CapacitorUpdater": {"publicKey": old}}})
    Path("capacitor.config.json").write_text(config)
    made = files(KEYS) if KEYS.exists() else None
    code, _, err = run("keys", "create", "--capacitor", ".")
    assert code == 4
    assert "apps built with it trust no other" in err
    assert Path("capacitor.config.json").read_text() == config
    assert (files(KEYS) if KEYS.exists() else None) == made


@pytest.mark.parametrize("suffix", ["ts", "js"])
def test_a_program_is_not_touched_and_the_lines_to_paste_are_printed(run: Run, suffix: str) -> None:
    source = "// keep me\nexport default { appName: `Fixture ${process.env.STAGE}` };\n"
    Path(f"capacitor.config.{suffix}").write_text(source)
    code, out, _ = run("keys", "create", "--capacitor", ".")
    assert code == 0
    assert Path(f"capacitor.config.{suffix}").read_text() == source
    public = Path(".manifestgen/capgo.pub.pem").read_text()
    assert f"    publicKey: '{public}',".replace("\n", "\\n") in out
    # Pasted, it is found again and known as ours.
    Path(f"capacitor.config.{suffix}").write_text(source + out)
    assert run("keys", "create", "--capacitor", ".")[0] == 0


@pytest.mark.parametrize("config", [None, "{", '{"plugins": 1}'])
def test_a_configuration_that_cannot_be_edited_stops_before_keys_are_made(
    run: Run, config: str | None
) -> None:
    if config is not None:
        Path("capacitor.config.json").write_text(config)
    assert run("keys", "create", "--capacitor", ".")[0] == 2
    assert not KEYS.exists()


# --- show ---------------------------------------------------------------------------------------


def test_show_prints_public_halves_and_needs_no_private_key(run: Run) -> None:
    run("init")
    signer = load_signer(f"file:{KEYS}/signing.pem", folder=Path.cwd(), ask=lambda _: None)
    for path in KEYS.iterdir():
        path.unlink()
    code, out, _ = run("keys", "show")
    assert code == 0
    assert " ".join([signer.public.keyid[:4], signer.public.keyid[4:8]]) in out
    said = json.loads(run("keys", "show", "--json")[1])
    assert said["keys"][0]["keyid"] == signer.public.keyid
    assert said["keys"][0]["roles"] == ["root", "release", "manifest of *"]
    public = Path(".manifestgen/capgo.pub.pem").read_text()
    assert said["capgo"]["public"] == public
    assert public.splitlines()[1].startswith(said["capgo"]["key_id"])
