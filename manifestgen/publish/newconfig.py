"""What a new `manifestgen.toml` says."""

import json
from typing import Final

from manifestgen.config import DEFAULT_CAPGO_KEY, DEFAULT_ROOT_KEYS, Settings

_CONFIG: Final = """\
# manifestgen: https://pypi.org/project/manifestgen
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
    # A string of JSON is one of TOML: quotes and backslashes in a folder's name are escaped.
    url = f"base_url = {json.dumps(settings.base_url)}" if settings.base_url else _NO_URL
    return _CONFIG.format(
        app=json.dumps(settings.app),
        site=json.dumps(settings.site, ensure_ascii=False),
        base_url=url,
        channel=settings.channel,
        scheme=settings.scheme.value,
        single=_SINGLE if settings.single_publisher else "",
        root=_kept(settings.root_keys[0], DEFAULT_ROOT_KEYS[0]),
        capgo=_kept(settings.capgo_key, DEFAULT_CAPGO_KEY),
    )


def _kept(uri: str, default: str) -> str:
    return json.dumps(uri if uri.startswith(("command:", "pkcs11:")) else default)
