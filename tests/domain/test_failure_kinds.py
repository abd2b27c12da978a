"""Reasons that rows really get, and the kind that each counts as."""

import pytest

from heaters_dagster.domain.failure_kinds import FailureKind, kind_of_failure


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("canceled in Dagster by a person; heaters retry starts it again", "canceled"),
        ("film.mp4: too little memory for making the proxy; it can be tried again when fewer programs run on this machine", "memory"),
        ("film.mp4: ffmpeg was ended by SIGKILL while making the proxy, as the system does when memory runs out;", "memory"),
        ("the process that worked on this ended without a message: it was killed, crashed, or ran out of memory", "killed"),
        ("film.mp4: ffmpeg was ended by SIGTERM while making the proxy; it can be tried again", "killed"),
        ("film.mp4: no room left on the disk while making the proxy; make room and try again", "disk"),
        ("/srv: the bytes that were read back differ from those that were written; check the disk", "disk"),
        ("the gold master of source video 3 is in cold storage (GLACIER). It was asked for and comes back within hours", "cold_storage"),
        ("s3://films: access denied. Give these credentials the right to read, write and delete in this bucket", "store"),
        ("there is no bucket films: correct S3_BUCKET_NAME, or make the bucket: heaters storage setup", "store"),
        ("Postgres at postgresql://heaters@db:5432/heaters does not answer (connection refused)", "database"),
        ("vimeo.com asks for a sign-in: heaters sites sign-in vimeo.com cookies.txt", "sign_in"),
        ("10.0.0.1 may not be fetched: it leads to 10.0.0.1, an internal network", "forbidden"),
        ("film.mp4 cannot be read: permission denied", "forbidden"),
        ("there is no file /films/test.mp4", "not_found"),
        ("there is no object s3://footage/a.mp4", "not_found"),
        ("no object review_proxies/video_3_proxy.mp4 in s3://heaters: restore it from the versions of the bucket", "store"),
        ("https://example.org/a.mp4 answered HTTP 404", "not_found"),
        ("there is nothing at https://example.org/a.mp4: the server answers 404", "not_found"),
        ("https://example.org/a.mp4 answered HTTP 503", "network"),
        ("the download broke off after 3 MB: timed out", "network"),
        ("The embedding model clip is not on this machine", "model"),
        ("notes.txt is not a video: it is a text", "media"),
        ("film.mp4: no frame can be decoded (of 20 packets, h264); the file is damaged, encrypted or cut off", "media"),
        ("film.mp4 is empty (0 bytes)", "media"),
        ("film.mp4: ffmpeg failed while making the proxy, for a reason that Heaters does not know (exit code 3)", "ffmpeg"),
        ("ValueError: not enough values to unpack", "defect"),
        ("Harbour: KeyError: 'a'", "defect"),
        ("it did not work", "other"),
        ("", "other"),
    ],
)
def test_a_reason_has_its_kind(reason: str, kind: str) -> None:
    assert kind_of_failure(reason) == FailureKind(kind)
