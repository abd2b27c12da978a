"""Reasons as people read them."""

import pytest

from heaters_dagster.domain.reasons import titled, without_objects

URLLIB3 = (
    "HTTPConnectionPool(host='127.0.0.1', port=1): Max retries exceeded with url: /closed.mp4 (Caused by NewConnectionError("
    "'<resources.guarded_ytdlp._GuardedHTTPConnection object at 0x7f1a>: Failed to establish a new connection: [Errno 111] refused'))"
)
HUGGINGFACE = (
    "(MaxRetryError(\"HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /x (Caused by"
    " NameResolutionError(\\\"HTTPSConnection(host='huggingface.co', port=443): Failed to resolve 'huggingface.co'"
    " ([Errno -3] failure)\\\"))\"), '(Request ID: 1)')"
)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (URLLIB3, "Failed to establish a new connection: [Errno 111] refused"),
        ("it broke off: _GuardedHTTPConnection(host='127.0.0.1', port=1): timed out", "it broke off: timed out"),
        ("('Connection aborted.', RemoteDisconnected('Remote end closed it'))", "Connection aborted: Remote end closed it"),
        (HUGGINGFACE, "Failed to resolve 'huggingface.co' ([Errno -3] failure)"),
        ("AWSHTTPSConnectionPool(host='bucket', port=443): Read timed out.", "Read timed out"),
        ("a.mp4: no video stream (it holds 'text').", "a.mp4: no video stream (it holds 'text')."),
    ],
)
def test_a_reason_holds_no_python_object(said: str, read: str) -> None:
    assert without_objects(said) == read


@pytest.mark.parametrize(
    ("title", "reason", "read"),
    [
        ("closed", "the address does not answer", "closed: the address does not answer"),
        ("Harbour", "harbour.mp4 is not a video", "harbour.mp4 is not a video"),
        ("a", "an error", "a: an error"),
        ("x (1)", "x (1): no room", "x (1): no room"),
    ],
)
def test_a_reason_names_the_video_once(title: str, reason: str, read: str) -> None:
    assert titled(title, reason) == read
