"""What only a bucket does: conditions that are tried, headers, parts, answers that are lost."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import obstore
import pytest
from obstore.store import S3Store as Plain

from manifestgen.errors import ConflictError, StoreError, UsageError
from manifestgen.stores import open_store
from manifestgen.stores.interface import Entry
from manifestgen.stores.names import ASK, FOREVER
from manifestgen.stores.parallel import AT_ONCE
from manifestgen.stores.s3 import PROBE, Patience, S3Store
from manifestgen.stores.s3 import _sorted as in_order
from manifestgen.stores.s3_access import find_access, parse_location
from tests.stores.conftest import opened
from tests.stores.s3_proxy import Asked, Proxy, Spoilt, down, healthy, proxied
from tests.tools.seaweedfs import BUCKET, S3Server, environment

HISTORY = "production/history/000001.json"
MANIFEST = "production/manifest.json"
BLOB = "blobs/ab/abcd.bin"
LARGE = bytes(range(256)) * (43 * 1024)  # 11 MiB: three parts


@pytest.fixture
def proxy(seaweed: S3Server) -> Iterator[Proxy]:
    with proxied(seaweed.endpoint) as made:
        yield made


def served(server: S3Server, prefix: str, name: str) -> dict[str, str]:
    with urlopen(Request(f"{server.url(prefix)}/{name}", method="HEAD")) as answer:
        return {key.lower(): value for key, value in answer.headers.items()}


# Headers


@pytest.mark.parametrize(
    ("name", "kind", "cache"),
    [
        ("production/manifest.json", "application/json", ASK),
        ("production/capgo.json", "application/json", ASK),
        ("production/history/000001.json", "application/json", FOREVER),
        ("releases/1.0.0.json", "application/json", ASK),
        ("root/1.json", "application/json", FOREVER),
        ("root.json", "application/json", ASK),
        ("index.html", "text/html; charset=utf-8", ASK),
        ("client/manifestgen.mjs", "text/javascript; charset=utf-8", ASK),
        ("blobs/ab/abcd.bin", "application/octet-stream", FOREVER),
    ],
)
def test_each_kind_of_file_has_its_headers_however_it_is_written(
    bucket: S3Store, seaweed: S3Server, prefix: str, name: str, kind: str, cache: str
) -> None:
    writes: list[Callable[[], object]] = [
        lambda: bucket.create(name, b"1"),
        lambda: bucket.replace(name, b"22", tag=(bucket.get(name) or pytest.fail("gone")).tag),
        lambda: bucket.add(name, b"333"),
        lambda: bucket.add(name, LARGE),
    ]
    for write in writes:
        write()
        found = served(seaweed, prefix, name)
        assert (found["content-type"], found["cache-control"]) == (kind, cache)


# Blobs


@pytest.mark.parametrize("from_file", [True, False], ids=["file", "bytes"])
def test_a_large_blob_goes_in_parts(bucket: S3Store, tmp_path: Path, from_file: bool) -> None:
    path = tmp_path / "large"
    path.write_bytes(LARGE)
    source = path if from_file else LARGE
    assert bucket.add(BLOB, source) is True
    assert bucket.add(BLOB, source) is False
    with bucket.open(BLOB) or pytest.fail("gone") as file:
        assert file.read() == LARGE
    tag = (bucket.get(BLOB, limit=len(LARGE)) or pytest.fail("gone")).tag
    assert tag.strip('"').endswith("-3")


def test_a_large_blob_heals_a_smaller_one(bucket: S3Store) -> None:
    bucket.add(BLOB, LARGE[:-1])
    assert bucket.add(BLOB, LARGE) is True
    assert bucket.size(BLOB) == len(LARGE)


def test_many_blobs_go_at_once_and_progress_is_told(seaweed: S3Server, location: str) -> None:
    told: list[tuple[int, int]] = []
    store = S3Store(
        location,
        access=find_access(environment(seaweed.endpoint)),
        progress=lambda sent, known: told.append((sent, known)),
    )
    blobs = {f"blobs/{n:02x}/x.bin": b"x" * n for n in range(40)}
    store.add("blobs/07/x.bin", b"x" * 7)
    assert store.add_all(blobs) == 39
    assert {entry.name: entry.size for entry in store.names("blobs/")} == {
        name: len(data) for name, data in blobs.items()
    }
    total = sum(map(len, blobs.values())) + 7
    assert told[-1] == (total, total)
    assert [sent for sent, _ in told] == sorted(sent for sent, _ in told)


def test_after_an_error_no_more_blobs_are_begun(proxy: Proxy, location: str) -> None:
    store = opened(proxy.endpoint, location)
    proxy.fault = lambda asked: Spoilt(403, "AccessDenied") if "blobs" in asked.path else None
    with pytest.raises(StoreError, match="not allowed to write"):
        store.add_all({f"blobs/{n:04d}/x.bin": b"x" for n in range(2000)})
    # Each thread hears of its own failure at least, however late the others do.
    assert 1 <= proxy.count("PUT", "blobs") <= AT_ONCE


def test_listing_pages_and_passes_over_what_is_no_name(
    bucket: S3Store, seaweed: S3Server, prefix: str
) -> None:
    plain = Plain(
        BUCKET,
        prefix=prefix,
        config=find_access(environment(seaweed.endpoint)).config,
        client_options={"allow_http": True},
    )
    obstore.put(plain, "blobs/.hidden", b"x")
    blobs = {f"blobs/{n:04d}.bin": b"" for n in range(1100)}
    bucket.add_all(blobs)
    assert [entry.name for entry in bucket.names()] == sorted(blobs)


FOLDERS = ("a", "a-b", "a.b", "a0", "aa", "b")
TREE = sorted(
    {
        *(f"{one}/{two}/{n}" for one in FOLDERS for two in FOLDERS for n in range(3)),
        *(f"{one}/{two}.json" for one in FOLDERS for two in FOLDERS),
        *(f"{one}.json" for one in FOLDERS),
    }
)


@pytest.mark.parametrize("by", [str, lambda name: name.split("/")], ids=["AWS", "SeaweedFS"])
@pytest.mark.parametrize("folder", ["", "a/"])
def test_listings_of_either_order_are_sorted_as_they_come(
    folder: str, by: Callable[[str], object]
) -> None:
    taken: list[str] = []

    def listed() -> Iterator[Entry]:
        for name in sorted((one for one in TREE if one.startswith(folder)), key=by):  # type: ignore[arg-type]
            taken.append(name)
            yield Entry(name, 1, datetime.now(UTC))

    given: list[str] = []
    most = 0
    for entry in in_order(listed(), len(folder)):
        most = max(most, len(taken) - len(given))
        given.append(entry.name)
    assert given == [one for one in TREE if one.startswith(folder)]
    assert most < len(given) * 0.6


def test_a_bucket_is_pruned_while_it_is_listed(proxy: Proxy, location: str) -> None:
    store = opened(proxy.endpoint, location)
    store.add_all({f"blobs/{n % 4:02x}/{n:04d}.bin": b"" for n in range(1300)})
    proxy.asked.clear()
    listed = store.names("blobs/")
    store.delete(next(listed).name)
    assert proxy.count("GET", "list-type") == 1, "the rest is not read before it is asked for"
    for entry in listed:
        store.delete(entry.name)
    assert proxy.count("POST", "delete") == 1300
    assert list(store.names("blobs/")) == []


# Conditions


def test_conditions_are_tried_once_and_the_probe_is_in_nobodys_way(
    proxy: Proxy, location: str
) -> None:
    first = opened(proxy.endpoint, location)
    assert first.get(MANIFEST) is None
    assert proxy.count("PUT") == 0, "reading tries nothing"
    for n in range(3):
        first.create(f"releases/{n}.json", b"{}")
    assert proxy.count("PUT", PROBE) == 3
    opened(proxy.endpoint, location).create(HISTORY, b"{}")
    assert proxy.count("PUT", PROBE) == 5, "what is there need not be made"
    assert proxy.count("DELETE") == 0
    assert first.folders() == ["production", "releases"]
    assert PROBE not in [entry.name for entry in first.names()]


def test_a_store_that_ignores_conditions_is_refused(careless: S3Server, location: str) -> None:
    store = opened(careless.endpoint, location)
    writes: list[Callable[[], object]] = [
        lambda: store.create(HISTORY, b"{}"),
        lambda: store.replace(MANIFEST, b"{}", tag=None),
        lambda: store.add(BLOB, b"x"),
        lambda: store.add(BLOB, LARGE),
    ]
    for write in writes:
        with pytest.raises(StoreError, match="ignores conditions") as refused:
            write()
        assert refused.value.exit_code == 6
        assert "--single-publisher" in (refused.value.hint or "")
    assert list(store.names()) == []


def test_only_one_of_both_conditions_is_not_enough(proxy: Proxy, location: str) -> None:
    # As stores do that know `If-None-Match` alone: the stale tag is taken.
    answers = iter([200, 412, 200])
    proxy.fault = lambda asked: (
        Spoilt(next(answers), "PreconditionFailed") if PROBE in asked.path else None
    )
    with pytest.raises(StoreError, match="ignores conditions"):
        opened(proxy.endpoint, location).create(HISTORY, b"{}")


def test_a_store_that_knows_no_conditions_counts_as_one_that_ignores_them(
    proxy: Proxy, location: str
) -> None:
    proxy.fault = lambda asked: Spoilt(501, "NotImplemented") if PROBE in asked.path else None
    with pytest.raises(StoreError, match="ignores conditions"):
        opened(proxy.endpoint, location).create(HISTORY, b"{}")


def test_a_single_publisher_may_do_without(careless: S3Server, location: str) -> None:
    store = opened(careless.endpoint, location, single_publisher=True)
    store.create(HISTORY, b"one")
    with pytest.raises(ConflictError):
        store.create(HISTORY, b"two")
    store.replace(MANIFEST, b"one", tag=None)
    before = (store.get(MANIFEST) or pytest.fail("gone")).tag
    store.replace(MANIFEST, b"two", tag=before)
    with pytest.raises(ConflictError):
        store.replace(MANIFEST, b"three", tag=before)
    assert (store.add(BLOB, b"blob"), store.add(BLOB, b"blob")) == (True, False)
    assert (store.get(MANIFEST) or pytest.fail("gone")).data == b"two"


def test_single_publisher_changes_nothing_where_conditions_work(
    seaweed: S3Server, location: str
) -> None:
    store = opened(seaweed.endpoint, location, single_publisher=True)
    assert store.check_conditions() is True


# Answers that are lost


def losing(method: str, part: str, times: int = 1) -> Callable[[Asked], Spoilt | None]:
    """Let the store do what it is asked, and lose its answer."""
    left = [times]

    def fault(asked: Asked) -> Spoilt | None:
        if asked.method == method and part in asked.path and left[0]:
            left[0] -= 1
            return Spoilt(lost=True)
        return None

    return fault


def test_a_write_whose_answer_was_lost_was_ours(proxy: Proxy, location: str) -> None:
    store = opened(proxy.endpoint, location)
    proxy.fault = losing("PUT", "history")
    store.create(HISTORY, b"mine")
    proxy.fault = losing("PUT", "manifest.json")
    store.replace(MANIFEST, b"one", tag=None)
    before = (store.get(MANIFEST) or pytest.fail("gone")).tag
    proxy.fault = losing("PUT", "manifest.json")
    store.replace(MANIFEST, b"two", tag=before)
    assert proxy.count("PUT", "history") == 2
    assert (store.get(MANIFEST) or pytest.fail("gone")).data == b"two"


def test_a_write_that_never_arrived_and_came_second_was_not_ours(
    proxy: Proxy, location: str
) -> None:
    store = opened(proxy.endpoint, location)
    store.check_conditions()

    def fault(asked: Asked) -> Spoilt | None:
        proxy.fault = healthy
        opened(proxy.endpoint, location).create(HISTORY, b"theirs")
        return Spoilt(503, "SlowDown")

    proxy.fault = fault
    with pytest.raises(ConflictError):
        store.create(HISTORY, b"mine")


def test_the_same_bytes_by_another_are_a_conflict(bucket: S3Store) -> None:
    bucket.create(HISTORY, b"same")
    with pytest.raises(ConflictError):
        bucket.create(HISTORY, b"same")


# Trouble on the way


def test_a_storm_of_503_is_sat_out(proxy: Proxy, location: str) -> None:
    store = opened(proxy.endpoint, location)
    seen: Counter[tuple[str, str]] = Counter()

    def fault(asked: Asked) -> Spoilt | None:
        seen[asked.method, asked.path] += 1
        return Spoilt(503, "SlowDown") if seen[asked.method, asked.path] % 3 else None

    proxy.fault = fault
    store.create(HISTORY, b"{}")
    store.replace(MANIFEST, b"{}", tag=None)
    assert store.add(BLOB, LARGE) is True
    assert store.add_all({f"blobs/{n:02d}/x.bin": b"x" for n in range(20)}) == 20
    proxy.fault = healthy
    assert len(list(store.names("blobs/"))) == 21


def test_a_storm_that_does_not_end_is_an_error_that_says_so(proxy: Proxy, location: str) -> None:
    store = opened(proxy.endpoint, location)
    store.check_conditions()
    proxy.fault = lambda _: Spoilt(503, "SlowDown")
    calls: list[Callable[[], object]] = [
        lambda: store.get(MANIFEST),
        lambda: store.create(HISTORY, b"{}"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match=r"answered 503 \(SlowDown\)") as refused:
            call()
        assert "run the same command again" in (refused.value.hint or "")


def test_a_download_that_is_cut_goes_on(proxy: Proxy, location: str) -> None:
    store = opened(proxy.endpoint, location)
    store.add(BLOB, LARGE)
    cuts = iter([4 << 20, 2 << 20])
    proxy.fault = lambda asked: (
        Spoilt(keep=keep) if asked.method == "GET" and (keep := next(cuts, None)) else None
    )
    with store.open(BLOB) or pytest.fail("gone") as file:
        assert file.read() == LARGE
    assert proxy.count("GET") == 3


def test_a_silent_store_is_given_up(proxy: Proxy, location: str) -> None:
    store = S3Store(
        location,
        access=find_access(environment(proxy.endpoint)),
        patience=Patience(silence=0.3, upload=0.3, retries=1, backoff=0.01),
    )
    proxy.fault = lambda _: Spoilt(wait=3)  # and then the answer, which nobody waits for
    with pytest.raises(StoreError, match="nothing came for too long"):
        store.get(MANIFEST)


@pytest.mark.parametrize(
    ("status", "code", "call", "says", "hint"),
    [
        (403, "AccessDenied", "get", "not allowed to read", "s3:GetObject"),
        (403, "AccessDenied", "create", "not allowed to write", "s3:PutObject"),
        (403, "AccessDenied", "delete", "not allowed to delete", "s3:DeleteObject"),
        (403, "AccessDenied", "names", "not allowed to list", "s3:ListBucket"),
        (403, "InvalidAccessKeyId", "get", "not accepted", "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "create", "not accepted", "AWS_ACCESS_KEY_ID"),
        (400, "ExpiredToken", "get", "not accepted", "AWS_PROFILE"),
        (403, "RequestTimeTooSkewed", "get", "the clock of this machine", "timedatectl"),
        (301, "PermanentRedirect", "get", "another region", "AWS_REGION"),
        (404, "NoSuchBucket", "get", "no such bucket", "AWS_ENDPOINT_URL"),
        (404, "NoSuchBucket", "create", "no such bucket", "AWS_ENDPOINT_URL"),
        (404, "NoSuchBucket", "names", "no such bucket", "AWS_ENDPOINT_URL"),
        (418, "", "get", "answered 418", "AWS_ENDPOINT_URL"),
    ],
)
def test_what_the_store_refuses_is_told_with_what_to_do(
    proxy: Proxy, location: str, status: int, code: str, call: str, says: str, hint: str
) -> None:
    store = opened(proxy.endpoint, location)
    proxy.fault = lambda _: Spoilt(status, code)
    calls: dict[str, Callable[[], object]] = {
        "get": lambda: store.get(MANIFEST),
        "create": lambda: store.create(HISTORY, b"{}"),
        "delete": lambda: store.delete(BLOB),
        "names": lambda: list(store.names()),
    }
    with pytest.raises(StoreError, match=says) as refused:
        calls[call]()
    assert hint in (refused.value.hint or "")
    assert "\n" not in str(refused.value)
    assert location in str(refused.value)


@pytest.mark.parametrize(
    ("endpoint", "says"),
    [
        ("http://127.0.0.1:1", "connection refused at http://127.0.0.1:1"),
        ("https://nothing.invalid", "not known at https://nothing.invalid"),
    ],
)
def test_a_store_that_is_not_there(endpoint: str, says: str) -> None:
    with pytest.raises(StoreError, match=says):
        opened(endpoint, "s3://updates").get(MANIFEST)


def test_a_store_that_hangs_up(proxy: Proxy, location: str) -> None:
    proxy.fault = down
    with pytest.raises(StoreError, match="the connection was cut"):
        opened(proxy.endpoint, location).get(MANIFEST)


def test_a_bucket_that_is_not_there(seaweed: S3Server) -> None:
    with pytest.raises(StoreError, match="s3://nonesuch/app: there is no such bucket"):
        opened(seaweed.endpoint, "s3://nonesuch/app").get(MANIFEST)


# Where it is and who asks


@pytest.mark.parametrize(
    ("location", "bucket", "prefix"),
    [
        ("s3://updates", "updates", ""),
        ("s3://updates/", "updates", ""),
        ("s3://my.updates/apps/shop/", "my.updates", "apps/shop"),
    ],
)
def test_locations(location: str, bucket: str, prefix: str) -> None:
    assert parse_location(location) == (bucket, prefix)
    assert open_store(location).location == location.rstrip("/")


@pytest.mark.parametrize(
    "location", ["s3://", "s3://UP", "s3://a", "s3://updates/../x", "s3://updates//x", "s3://u p/x"]
)
def test_other_locations_are_refused(location: str) -> None:
    with pytest.raises(UsageError, match="no address of a bucket"):
        open_store(location)


def test_plain_http_only_on_this_machine_or_where_it_is_asked_for() -> None:
    for endpoint in ("http://127.0.0.1:9000", "http://localhost:9000", "http://[::1]:9000"):
        assert find_access({"AWS_ENDPOINT_URL": endpoint}).client_options["allow_http"]
    with pytest.raises(UsageError, match="is not encrypted"):
        find_access({"AWS_ENDPOINT_URL": "http://minio.internal:9000"})
    asked = {"AWS_ENDPOINT_URL": "http://minio.internal:9000", "AWS_ALLOW_HTTP": "true"}
    assert find_access(asked).client_options["allow_http"]
    with pytest.raises(UsageError, match="no web address"):
        find_access({"AWS_ENDPOINT_URL": "minio:9000"})


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\naws_access_key_id = D1\naws_secret_access_key = D2\n"
        "[ci]\naws_access_key_id = C1\naws_secret_access_key = C2\naws_session_token = C3\n"
    )
    (tmp_path / ".aws/config").write_text(
        "[default]\nregion = eu-central-1\n"
        "[profile ci]\nregion = eu-north-1\nendpoint_url = https://s3.example.com/\n"
        "[profile sso]\nsso_session = corp\nregion = eu-west-1\n"
    )
    return tmp_path


def test_profiles_with_keys_are_read(home: Path) -> None:
    usual = find_access({"HOME": str(home)}).config
    assert usual == {
        "access_key_id": "D1",
        "secret_access_key": "D2",
        "region": "eu-central-1",
    }
    named = find_access({"HOME": str(home), "AWS_PROFILE": "ci", "AWS_REGION": "auto"}).config
    assert named["session_token"] == "C3"
    assert (named["endpoint"], named["region"]) == ("https://s3.example.com", "auto")


def test_keys_in_the_environment_come_before_a_profile(home: Path) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "E1", "AWS_SECRET_ACCESS_KEY": "E2"}
    config = find_access({"HOME": str(home), "AWS_PROFILE": "ci", **keys}).config
    assert (config["access_key_id"], config["region"]) == ("E1", "eu-north-1")
    assert "session_token" not in config
    oidc = {"HOME": str(home), "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token"}
    assert "access_key_id" not in find_access(oidc).config


def test_profiles_that_cannot_serve_say_how_they_can(home: Path) -> None:
    with pytest.raises(UsageError, match="no keys of its own") as refused:
        find_access({"HOME": str(home), "AWS_PROFILE": "sso"})
    assert "export-credentials --profile sso" in (refused.value.hint or "")
    with pytest.raises(UsageError, match="has such a profile"):
        find_access({"HOME": str(home), "AWS_PROFILE": "nobody"})
    (home / ".aws/credentials").write_text("aws_secret_access_key = hunter2")
    with pytest.raises(UsageError, match="cannot be read: MissingSectionHeaderError") as broken:
        find_access({"HOME": str(home)})
    assert "hunter2" not in str(broken.value)


def test_secrets_are_in_no_repr(home: Path) -> None:
    assert "D2" not in repr(find_access({"HOME": str(home)}))
