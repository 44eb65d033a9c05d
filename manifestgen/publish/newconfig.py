"""What a new `manifestgen.toml` says."""

import json
from typing import Final

from manifestgen.config import DEFAULT_CAPGO_KEY, DEFAULT_ROOT_KEYS, FILE, Settings
from manifestgen.errors import UsageError

_CONFIG: Final = """\
# manifestgen: over-the-air updates from plain files
app = {app}
site = {site}                  # a folder; copy it to any web server, bucket or stick
{base_url}
channel = "{channel}"
scheme = "{scheme}"                 # "none" leaves bundles readable to whoever hosts them
patches = 3                      # made from how many earlier releases
keep = 5                         # releases a channel keeps when pruned
{single}
[channels.{channel}]
expires = "30d"                  # devices take nothing new after this; `manifestgen refresh` renews

[keys]                           # MANIFESTGEN_KEY_<ROLE> overrides
root = {root}
capgo = {capgo}
content = "file:.manifestgen/keys/content.key"
"""
_SINGLE: Final = (
    "single_publisher = true          # `site` ignores conditions; nobody else publishes\n"
)
_NO_URL: Final = '# base_url = "https://cdn.example.com/app"   # needed for the stock Capgo plugin'


def new_config(settings: Settings) -> str:
    """Return the text of a new manifestgen.toml.

    Keys that a variable names for this machine alone are left out of it; those that stay where they
    are, in a token or with a program, are the project's.
    """
    url = f"base_url = {toml_text(settings.base_url)}" if settings.base_url else _NO_URL
    return _CONFIG.format(
        app=toml_text(settings.app),
        site=toml_text(settings.site),
        base_url=url,
        channel=settings.channel,
        scheme=settings.scheme.value,
        single=_SINGLE if settings.single_publisher else "",
        root=_kept(settings.root_keys[0], DEFAULT_ROOT_KEYS[0]),
        capgo=_kept(settings.capgo_key, DEFAULT_CAPGO_KEY),
    )


def _kept(uri: str, default: str) -> str:
    return toml_text(uri if uri.startswith(("command:", "pkcs11:")) else default)


def toml_text(text: str) -> str:
    """Write a text for TOML, whatever characters a folder's or a program's name has.

    Raises:
        UsageError: it is no text: a name from a file system need not be UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{text!r} cannot be written into {FILE}", hint="give it a name in UTF-8"
        ) from None
    # JSON escapes what TOML does, but for one control character; pairs of surrogates TOML refuses.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
