"""What gives access is taken out of texts, and nothing else is."""

from __future__ import annotations

import json

import pytest

from heaters_dagster.domain.errors import DiskFullError, DownloadError, SourceNotFoundError
from heaters_dagster.domain.secrets import safe_to_show, without_access


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:s3cret@host/film.mp4 is not there", "https://***@host/film.mp4 is not there"),
        ("https://ghp_token@host/film.mp4", "https://***@host/film.mp4"),
        ("http://a:b@c@host:8080/x", "http://***@host:8080/x"),
        ("postgresql+psycopg://heaters:pass@db:5432/x?sslmode=require", "postgresql+psycopg://heaters:***@db:5432/x?sslmode=require"),
        ("postgresql://heaters@db/x?password=abc&port=1", "postgresql://heaters@db/x?password=***&port=1"),
        ("http://host/film.mp4?token=abc: the server answers 404", "http://host/film.mp4?token=***: the server answers 404"),
        ("https://b.amazonaws.com/k?X-Amz-Signature=0123&X-Amz-Date=20261126", "https://b.amazonaws.com/k?X-Amz-Signature=***&X-Amz-Date=20261126"),
        ("exceeded with url: /film.mp4?hdnts=exp=1~acl=0123456789 (Caused by", "exceeded with url: /film.mp4?hdnts=*** (Caused by"),
        ("https://host/cb#access_token=abc", "https://host/cb#access_token=***"),
        ("https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=42", "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=42"),
        ("like postgresql://user:password@host:5432/name", "like postgresql://user:password@host:5432/name"),
        ("written http://user:password@host:3128; or", "written http://user:password@host:3128; or"),
        ("http://user:password@", "http://user:password@"),
        ("http://user:password@x:s3cret@host/", "http://***@host/"),
        ("http://user:password2@host/", "http://***@host/"),
        ("s3://bucket/key with spaces@home", "s3://bucket/key with spaces@home"),
        ("frame=12 of 48; write to ada@example.org", "frame=12 of 48; write to ada@example.org"),
        ("/films/a?key=1.mp4", "/films/a?key=***"),
    ],
)  # fmt: skip
def test_what_gives_access_is_hidden(text: str, shown: str) -> None:
    assert without_access(text) == shown
    assert without_access(shown) == shown


def test_text_within_json_stays_json() -> None:
    inner = json.dumps({"message": 'fetching "http://ada:pw@host/film?token=abc"\nfailed: https://host/?sig=12\\'})
    outer = json.dumps({"event": inner, "url": "http://ada:pw@host/?key=1"})
    hidden = without_access(outer)
    assert (
        json.loads(json.loads(hidden)["event"])["message"] == 'fetching "http://***@host/film?token=***"\nfailed: https://host/?sig=***\\'
    )
    assert json.loads(hidden)["url"] == "http://***@host/?key=***"


@pytest.mark.parametrize("kind", [DownloadError, SourceNotFoundError, DiskFullError])
def test_no_error_of_ours_tells_it(kind: type[Exception]) -> None:
    error = kind("http://ada:pw@host/film.mp4 cannot be fetched")
    assert str(error) == "http://***@host/film.mp4 cannot be fetched"
    assert "pw" not in repr(error)


class _Stubborn(Exception):
    def __str__(self) -> str:
        return "http://ada:pw@host"


def test_what_led_to_an_error_tells_it_neither() -> None:
    def fail() -> None:
        try:
            raise OSError("GET http://ada:pw@host/film.mp4")
        except OSError as cause:
            raise ValueError("no film") from cause

    with pytest.raises(ValueError) as raised:
        fail()
    error = raised.value
    assert safe_to_show(error) is error
    assert str(error.__cause__) == "GET http://***@host/film.mp4"
    error.__cause__ = _Stubborn()
    assert safe_to_show(error) is None
