"""Signed links and session tokens: nobody but Heaters can make one, and each is good for one thing and for a while."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from itsdangerous import URLSafeTimedSerializer

from heaters_dagster.settings import Settings
from review_app.service.links import LinkError, Links, Session, open_links


@pytest.fixture
def links() -> Links:
    return Links("a secret for this test", ttl_seconds=60)


def test_a_link_is_good_for_what_it_was_made_for(links: Links) -> None:
    links.check_media(links.media_token("proxy", 7), "proxy", 7)


@pytest.mark.parametrize(("kind", "row_id"), [("proxy", 8), ("segment", 7)])
def test_a_link_is_good_for_nothing_else(links: Links, kind: str, row_id: int) -> None:
    with pytest.raises(LinkError, match="something else"):
        links.check_media(links.media_token("proxy", 7), kind, row_id)


@pytest.mark.parametrize("token", ["", "nonsense", "WyJwcm94eSIsN10.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb"])
def test_a_forged_link_is_refused(links: Links, token: str) -> None:
    with pytest.raises(LinkError) as refused:
        links.check_media(token, "proxy", 7)
    assert not refused.value.expired


def test_a_link_signed_with_another_secret_is_refused(links: Links) -> None:
    token = Links("another secret of theirs", ttl_seconds=60).media_token("proxy", 7)
    with pytest.raises(LinkError, match="not made by Heaters"):
        links.check_media(token, "proxy", 7)


def test_an_expired_link_says_so(monkeypatch: pytest.MonkeyPatch, links: Links) -> None:
    token = links.media_token("proxy", 7)
    signer = URLSafeTimedSerializer("x").make_signer("y")
    now = signer.get_timestamp()
    monkeypatch.setattr(type(signer), "get_timestamp", lambda self: now + 61)
    with pytest.raises(LinkError) as refused:
        links.check_media(token, "proxy", 7)
    assert refused.value.expired


def test_a_session_token_names_the_reviewer_and_is_no_media_link(links: Links) -> None:
    token = links.session_token(Session(3, "Ada <script>"))
    assert links.session(token) == Session(3, "Ada <script>")
    with pytest.raises(LinkError):
        links.check_media(token, "proxy", 3)
    with pytest.raises(LinkError):
        links.session(links.media_token("proxy", 3))


def test_the_secret_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    token = open_links(Settings(home=tmp_path)).media_token("proxy", 7)
    open_links(Settings(home=tmp_path)).check_media(token, "proxy", 7)
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret_key"]


def test_the_secret_of_the_settings_goes_first(tmp_path: Path) -> None:
    token = Links("from the environment", ttl_seconds=60).media_token("proxy", 7)
    open_links(Settings(home=tmp_path, secret_key="from the environment")).check_media(token, "proxy", 7)
    assert not (tmp_path / "secret_key").exists()
