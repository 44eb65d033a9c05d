"""`pkcs11:` URIs: what RFC 7512 allows and we understand, and what is refused."""

from pathlib import Path

import pytest

from manifestgen.errors import UsageError
from manifestgen.signers.pkcs11_uri import KeyUri

END = "?module-path=/m.so"


@pytest.mark.parametrize(
    ("uri", "wanted"),
    [
        pytest.param(
            "pkcs11:token=a;object=b" + END, KeyUri("/m.so", token="a", object="b"), id="labels"
        ),
        pytest.param(
            "pkcs11:object=b;token=a" + END, KeyUri("/m.so", token="a", object="b"), id="any order"
        ),
        pytest.param(
            "pkcs11:token=My%20token%3B%20%C3%A9;object=k" + END,
            KeyUri("/m.so", token="My token; é", object="k"),
            id="escaped",
        ),
        pytest.param(
            "pkcs11:serial=0a1b;id=%01%ff;type=private" + END,
            KeyUri("/m.so", serial="0a1b", id=b"\1\xff"),
            id="serial and id",
        ),
        pytest.param(
            "pkcs11:slot-id=17;model=M;manufacturer=N;object=k" + END,
            KeyUri("/m.so", slot=17, model="M", manufacturer="N", object="k"),
            id="the rest",
        ),
        pytest.param(
            "pkcs11:object=k" + END + "&pin-source=file:pin",
            KeyUri("/m.so", object="k", pin_source="file:pin"),
            id="pin source",
        ),
        pytest.param("pkcs11:object=k", KeyUri("/env.so", object="k"), id="module elsewhere"),
    ],
)
def test_a_uri_names_a_key(uri: str, wanted: KeyUri) -> None:
    assert KeyUri.parse(uri, {"MANIFESTGEN_PKCS11_MODULE": "/env.so"}) == wanted


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        pytest.param("pkcs11:token=a;object=b", "no module", id="no module"),
        pytest.param("pkcs11:token=a" + END, "no key is named", id="no key"),
        pytest.param("pkcs11:" + END, "no key is named", id="nothing"),
        pytest.param("pkcs11:objekt=a" + END, "`objekt` is unknown", id="unknown"),
        pytest.param("pkcs11:object=a;object=b" + END, "`object` is there twice", id="twice"),
        pytest.param("pkcs11:object=a%2" + END, "two hex digits", id="half an escape"),
        pytest.param("pkcs11:object=%ff" + END, "`object` is no UTF-8", id="no text"),
        pytest.param("pkcs11:object=a;slot-id=x" + END, "`slot-id` is no number", id="slot"),
        pytest.param("pkcs11:object=a;type=cert" + END, "`type` is that of a key", id="type"),
        pytest.param("pkcs11:object=a?module-name=x", "`module-name` is not", id="module name"),
    ],
)
def test_what_is_not_understood_is_refused(uri: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        KeyUri.parse(uri, {})
    assert refused.value.hint


@pytest.mark.parametrize(
    "uri", ["pkcs11:object=a?module-path=/m.so&pin-value=4711", "pkcs11:object=a;pin-value=4711"]
)
def test_a_pin_in_a_uri_is_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UsageError, match="`pin-value` is not read") as refused:
        KeyUri.parse(uri, {})
    assert "4711" not in f"{refused.value!r} {refused.value.hint}"
    assert "MANIFESTGEN_PIN" in (refused.value.hint or "")


def test_a_key_pasted_after_the_scheme_is_not_repeated() -> None:
    with pytest.raises(UsageError) as refused:
        KeyUri.parse("pkcs11:-----BEGIN PRIVATE KEY-----MC4CAQAwBQ", {})
    assert "MC4CAQ" not in f"{refused.value!r} {refused.value.hint}"


@pytest.mark.parametrize(
    ("source", "file"),
    [
        ("file:pin", "/project/pin"),
        ("file:/etc/pin", "/etc/pin"),
        ("file:///etc/pin", "/etc/pin"),
        ("/etc/pin", "/etc/pin"),
    ],
)
def test_a_pin_source_is_a_file(source: str, file: str) -> None:
    uri = KeyUri.parse(f"pkcs11:object=k{END}&pin-source={source}", {})
    assert uri.pin_file(Path("/project")) == Path(file)


def test_a_pin_source_that_is_a_program_is_not_run() -> None:
    uri = KeyUri.parse(f"pkcs11:object=k{END}&pin-source=|cat", {})
    with pytest.raises(UsageError, match="only files are read"):
        uri.pin_file(Path("/project"))
