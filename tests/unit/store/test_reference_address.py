from __future__ import annotations

import pytest

from mlver.errors import UsageError
from mlver.store.objects.address import Location, clean_uri, last_name, locate, uri_of, uri_problem, without_secrets


@pytest.mark.parametrize(
    ("given", "kept", "root", "key", "name"),
    [
        ("s3://b/a/c.csv", None, "s3://b", "a/c.csv", "c.csv"),
        ("s3a://b/a/", "s3://b/a/", "s3://b", "a/", "a"),
        ("S3://b", "s3://b", "s3://b", "", "b"),
        ("gcs://b/a?b#c", "gs://b/a?b#c", "gs://b", "a?b#c", "a?b#c"),
        ("s3://b/a//../x", None, "s3://b", "a//../x", "x"),
        ("https://h:8/a%20b?x=1#y", "https://h:8/a%20b?x=1", "https://h:8", "https://h:8/a%20b?x=1", "a b"),
        ("file:///a/../b c/", "file:///b%20c/", "file://", "/b c/", "b c"),
        ("file://localhost/a%23", "file:///a%23", "file://", "/a#", "a#"),
    ],
)
def test_uris_are_taken_apart(given: str, kept: str | None, root: str, key: str, name: str) -> None:
    cleaned = clean_uri(given)
    assert (cleaned.uri, cleaned.lost) == (kept or given, None)
    assert locate(cleaned.uri) == (root, key)
    assert last_name(cleaned.uri) == name
    assert uri_problem(cleaned.uri) is None
    if not key.endswith("/") and key:
        assert uri_of(locate(cleaned.uri)) == cleaned.uri


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Signature=x&X-Amz-Expires=5",
        "x-goog-signature=x",
        "GoogleAccessId=a&Expires=1&Signature=s",
        "AWSAccessKeyId=a",
        "sv=2020&sig=x",
        "Policy=p&Key-Pair-Id=k",
        "id=5&access_token=x",
        "api_key=x",
        "key=x",
        "PASSWORD=x",
        "sig",
    ],
)
@pytest.mark.parametrize("place", ["https://h/a", "s3://b/a"])
def test_what_grants_access_is_taken_off(place: str, query: str) -> None:
    cleaned = clean_uri(f"{place}?{query}")
    assert cleaned.uri == place
    assert "query" in str(cleaned.lost)


@pytest.mark.parametrize("query", ["id=5", "sort_key=a", "signal=1", "monkey=1", "expired=1", "design=x", ""])
def test_other_queries_stay(query: str) -> None:
    assert clean_uri(f"https://h/a?{query}") == (f"https://h/a?{query}", None)


def test_arguments_are_recorded_without_secrets() -> None:
    assert without_secrets("--ref=https://h/a?sig=x") == "--ref=https://h/a"
    assert without_secrets("https://me:word@h/a") == "https://…@h/a"
    assert without_secrets("--meta=a=https://h/a?id=5") == "--meta=a=https://h/a?id=5"
    assert without_secrets("plain?sig=x") == "plain?sig=x"


def test_an_unknown_protocol_may_be_stored_and_not_read() -> None:
    assert uri_problem("ipfs://x/y") is None
    with pytest.raises(UsageError, match="not known here"):
        locate("ipfs://x/y")
    assert uri_of(Location("file://", "/a b")) == "file:///a%20b"
