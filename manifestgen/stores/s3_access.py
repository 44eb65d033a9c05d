"""Where a bucket is and who asks: the variables and files of AWS's own tools, and nothing of ours.

`obstore` knows keys in the environment, web identities (CI jobs), containers and instances; what
it lacks is profiles, of which those with plain keys are read here.
"""

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from manifestgen.errors import UsageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Config

_LOCATION = re.compile(
    r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9_][A-Za-z0-9._+=@-]{0,199})*)/?"
)
# Where any of these is set it comes before a profile; `obstore` reads them itself.
_ELSEWHERE = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)


@dataclass(frozen=True, slots=True)
class Access:
    """What `obstore` is told; its values are secret."""

    config: "S3Config" = field(repr=False)
    client_options: "ClientConfig" = field(repr=False)


def parse_location(location: str) -> tuple[str, str]:
    """Return the bucket and the prefix of `s3://bucket/prefix`, or raise `UsageError`."""
    found = _LOCATION.fullmatch(location)
    if not found:
        raise UsageError(
            f"{location[:200]!r} is no address of a bucket", hint="write it as s3://bucket/prefix"
        )
    return found[1], found[2].strip("/")


def find_access(environ: Mapping[str, str] = os.environ) -> Access:
    """Find the endpoint, region and credentials; no request is made.

    Raises:
        UsageError: a profile is named that is not there or has no keys, or nothing is protected.
    """
    config: S3Config = {}
    profile = _profile(environ)
    endpoint = (
        environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
        or environ.get("AWS_ENDPOINT")
        or profile.get("endpoint_url")
    )
    region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or profile.get("region")
    if endpoint:
        config["endpoint"] = config["aws_endpoint_url_s3"] = endpoint.rstrip("/")
    if region:
        config["region"] = region
    if environ.get("AWS_ACCESS_KEY_ID"):
        config |= _keys({name.lower(): value for name, value in environ.items()}, None)
    elif not any(environ.get(name) for name in _ELSEWHERE):
        config |= _keys(profile, environ.get("AWS_PROFILE"))
    client: ClientConfig = {"allow_http": _may_be_plain(endpoint, environ)}
    if bundle := environ.get("AWS_CA_BUNDLE"):
        client["root_certificate"] = _certificates(bundle)
    return Access(config, client)


def _profile(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the files say of the profile, keys over settings; empty where there is none."""
    name = environ.get("AWS_PROFILE")
    home = Path(environ.get("HOME") or environ.get("USERPROFILE") or "/nonexistent") / ".aws"
    keys = Path(environ.get("AWS_SHARED_CREDENTIALS_FILE") or home / "credentials")
    settings = Path(environ.get("AWS_CONFIG_FILE") or home / "config")
    wanted = name or "default"
    section = wanted if wanted == "default" else f"profile {wanted}"
    found = {**_section(settings, section), **_section(keys, wanted)}
    if name and not found:
        raise UsageError(
            f"AWS_PROFILE={name}: neither {settings} nor {keys} has such a profile",
            hint="`aws configure list-profiles` lists them",
        )
    return found


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(path, "utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        # Its message would repeat lines of the file, which may be keys.
        raise UsageError(f"{path} cannot be read: {type(error).__name__}") from None
    return dict(parser[name]) if parser.has_section(name) else {}


def _keys(profile: Mapping[str, str], named: str | None) -> "S3Config":
    if "aws_access_key_id" in profile and "aws_secret_access_key" in profile:
        config: S3Config = {
            "access_key_id": profile["aws_access_key_id"],
            "secret_access_key": profile["aws_secret_access_key"],
        }
        if token := profile.get("aws_session_token"):
            config["session_token"] = token
        return config
    if named:
        raise UsageError(
            f"the profile {named} has no keys of its own, and roles and sign-ons are not read",
            hint=f'`eval "$(aws configure export-credentials --profile {named} --format env)"`',
        )
    return {}


def _may_be_plain(endpoint: str | None, environ: Mapping[str, str]) -> bool:
    """Tell whether requests may go unencrypted: to this machine, or where that was asked for."""
    if not endpoint:
        return False
    try:
        parts = urlsplit(endpoint)
        scheme, host = parts.scheme, parts.hostname
    except ValueError:
        scheme, host = "", None
    if host is None or scheme not in {"http", "https"}:
        raise UsageError(
            f"the endpoint {endpoint[:200]!r} is no web address",
            hint="set AWS_ENDPOINT_URL to something like https://s3.example.com",
        )
    if scheme == "https":
        return False
    if environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes"} or _is_loopback(host):
        return True
    raise UsageError(
        f"{endpoint} is not encrypted, and anybody on the way could read and change requests",
        hint="use https, or set AWS_ALLOW_HTTP=true in a network of your own",
    )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _certificates(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"AWS_CA_BUNDLE: cannot read {path}: {error.strerror}") from None
