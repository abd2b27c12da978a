"""Links through a CDN: signed ones name one object and end, and the doctor knows a CDN that gives objects to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests

from heaters_dagster.commands import doctor
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.settings import Settings
from resources.object_store.cdn import Cdn
from resources.object_store.cors import cors_problem
from resources.object_store.open import open_object_store
from tests.buckets import BucketServer
from tests.cdn import KEY_ID, FakeCdn, cdn_before


@pytest.fixture
def cdn(buckets: BucketServer) -> Iterator[FakeCdn]:
    with cdn_before(buckets, buckets.new_bucket()) as cdn:
        yield cdn


@pytest.fixture
def behind_cdn(tmp_path: Path, buckets: BucketServer, cdn: FakeCdn) -> Settings:
    return Settings(
        home=tmp_path,
        bucket=cdn.bucket,
        s3_endpoint_url=buckets.url,
        proxy_cdn_domain=cdn.url,
        cdn_key_id=KEY_ID,
        cdn_private_key=cdn.private_key,
    )


def test_a_signed_link_gives_ranges_of_one_object_until_it_ends(behind_cdn: Settings, cdn: FakeCdn) -> None:
    store = open_object_store(behind_cdn)
    store.put_bytes(proxy_key(1), bytes(range(100)))
    store.put_bytes(proxy_key(2), b"another")
    address = str(store.url(proxy_key(1), expires_seconds=60))
    answer = requests.get(address, headers={"Range": "bytes=10-12", "Origin": "https://review.example.org"}, timeout=10)
    assert (answer.status_code, answer.content) == (206, bytes([10, 11, 12]))
    assert answer.headers["Access-Control-Allow-Origin"] in {"*", "https://review.example.org"}
    assert cors_problem(store, "https://review.example.org") is None
    for refused in (
        address.partition("?")[0],
        str(store.url(proxy_key(1), expires_seconds=-1)),
        address.replace(proxy_key(1), proxy_key(2)),
        address.replace("Expires=", "Expires=1"),
        Cdn(cdn.url, key_id="another", private_key=cdn.private_key).url(proxy_key(1), expires_seconds=60),
    ):
        assert requests.get(refused, timeout=10).status_code == 403, refused


def test_the_doctor_says_whether_links_of_the_cdn_are_guarded(behind_cdn: Settings, cdn: FakeCdn, buckets: BucketServer) -> None:
    def told(settings: Settings) -> tuple[bool, bool, str]:
        (finding,) = (one for one in doctor.about_the_bucket(settings) if one.what == "links of the CDN")
        return finding.ok, finding.needed, finding.told

    assert told(behind_cdn) == (True, True, f"links to {cdn.url} are signed, and it refuses all others")
    cdn.is_open = True
    everybody = "without a signature; by a link that has ended; by a link to another object"
    assert told(behind_cdn)[::2] == (
        False,
        f"the CDN gives objects to everybody ({everybody}): restrict viewer access to signed links, with your key group",
    )
    ok, needed, words = told(replace(behind_cdn, cdn_key_id=None, cdn_private_key=None))
    assert (ok, needed) == (False, False)
    assert words.startswith(f"links to {cdn.url} are plain: they can be guessed and do not end.")
    cdn.is_open = False
    assert "does not take our signed links" in told(replace(behind_cdn, cdn_key_id="of another key"))[2]
    assert told(replace(behind_cdn, proxy_cdn_domain=None)) == (True, True, "there is no CDN")
    assert "Contents" not in buckets.client.list_objects_v2(Bucket=cdn.bucket), "what it tried with is gone"


def test_a_key_that_cannot_sign_is_said_without_being_shown(behind_cdn: Settings) -> None:
    for changes, told in (
        ({"cdn_private_key": "not a key at all"}, "HEATERS_CDN_PRIVATE_KEY is no private key in PEM form"),
        ({"cdn_private_key": None}, "set both, or none for plain links"),
        ({"cdn_key_id": None}, "set both, or none for plain links"),
    ):
        with pytest.raises(SettingsError, match=told) as raised:
            open_object_store(replace(behind_cdn, **changes))
        assert "not a key at all" not in str(raised.value)


def test_a_domain_without_a_scheme_is_reached_by_https() -> None:
    assert Cdn("cdn.example.org").url("a/b", expires_seconds=1) == "https://cdn.example.org/a/b"
    assert Cdn("http://cdn.intern:8080/").url("a/b", expires_seconds=1) == "http://cdn.intern:8080/a/b"
