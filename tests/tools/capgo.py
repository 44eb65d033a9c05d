"""Capgo's own command line, run for real on a small app of its own.

What it does and prints was observed with the version that tests/tools/node/package.json pins.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tools import node

APP_ID = "com.example.fixture"
_PLUGIN = "@capgo/capacitor-updater"


class CapgoError(Exception):
    """The command line refused; the message is all it said."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """The files of an RSA key pair in PKCS#1 PEM."""

    private: Path
    public: Path


@dataclass(frozen=True, slots=True)
class Zipped:
    """A bundle as `bundle zip` writes it; the checksum is its SHA-256 in hex."""

    path: Path
    checksum: str


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A bundle as `bundle encrypt` writes it; the checksum is the signed one (v3)."""

    path: Path
    checksum: str
    iv_session_key: str


@dataclass(frozen=True, slots=True)
class CapgoCli:
    """The command line in the folder of an app that names the pinned plugin."""

    app: Path

    @classmethod
    def create(cls, app: Path) -> "CapgoCli":
        """Make the app in a folder that does not exist yet; raise `Missing` without Node."""
        modules = node.modules()
        scope = app / "node_modules" / "@capgo"
        scope.mkdir(parents=True)
        plugin = modules / _PLUGIN
        # The command line refuses to zip for a plugin that is not installed.
        (scope / plugin.name).symlink_to(plugin)
        version = json.loads((plugin / "package.json").read_text())["version"]
        _write(
            app / "package.json",
            {"name": "fixture", "version": "1.0.0", "dependencies": {_PLUGIN: version}},
        )
        _write(
            app / "capacitor.config.json",
            {"appId": APP_ID, "appName": "Fixture", "webDir": "www", "plugins": {}},
        )
        return cls(app)

    def key_create(self) -> KeyPair:
        """Make a key pair; the public key is in the configuration afterwards, too."""
        self.run("key", "create")
        return KeyPair(self.app / ".capgo_key_v2", self.app / ".capgo_key_v2.pub")

    def config(self) -> dict[str, Any]:
        """Return the app's `capacitor.config.json` as it is now."""
        config: dict[str, Any] = json.loads((self.app / "capacitor.config.json").read_text())
        return config

    def zip(self, folder: Path, version: str) -> Zipped:
        """Zip a build, which needs an index.html, and a .js file that says `notifyAppReady`."""
        said = self._json("bundle", "zip", "--path", str(folder), "--bundle", version)
        return Zipped(self.app / said["filename"], said["checksum"])

    def encrypt(self, zipped: Path, checksum: str, key: Path) -> Encrypted:
        """Encrypt a zip with a private key; that the checksum is the zip's is not looked at."""
        said = self._json("bundle", "encrypt", str(zipped), checksum, "--key", str(key))
        return Encrypted(self.app / said["filename"], said["checksum"], said["ivSessionKey"])

    def decrypt(self, encrypted: Path, iv_session_key: str, public: Path, checksum: str) -> Path:
        """Decrypt with a public key and check the signed checksum; return the zip."""
        self.run(
            *("bundle", "decrypt", str(encrypted), iv_session_key),
            *("--key", str(public), "--checksum", checksum),
        )
        return encrypted.with_name(f"{encrypted.name}_decrypted.zip")

    def run(self, *arguments: str) -> str:
        """Run the command line and return its output, or raise `CapgoError`."""
        script = node.modules() / "@capgo" / "cli" / "dist" / "index.js"
        done = node.start(script, *arguments, cwd=self.app, env=self._environment())
        if done.returncode:
            raise CapgoError(f"capgo {' '.join(arguments[:2])}: {done.stdout}{done.stderr}")
        return done.stdout

    def _json(self, *arguments: str) -> dict[str, str]:
        said: dict[str, str] = json.loads(self.run(*arguments, "--json"))
        return said

    def _environment(self) -> Mapping[str, str]:
        # With CI it asks nothing; the home is the app's, so nobody's login is found or left.
        return {"CI": "1", "CAPGO_DISABLE_TELEMETRY": "1", "HOME": str(self.app)}


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2))
