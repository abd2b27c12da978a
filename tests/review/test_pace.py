"""Slow and endless senders on real sockets, and connections that are kept: nobody is held up, and nobody meets a reset."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psycopg
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore
from review_app.__main__ import KEEP_ALIVE_SECONDS
from review_app.server.pace import Pace, PatientProtocol
from review_app.server.routes import ASKING_THREADS, DECIDING_THREADS, TOKEN_HEADER, review_routes
from review_app.service.links import Session
from review_app.service.review_desk import ReviewDesk
from review_app.service.upload_room import MAX_UPLOADS
from tests.conftest import SomeClips
from tests.this_machine import eventually

WINDOW_SECONDS = 0.6


class _Impatient(PatientProtocol):
    header_seconds = 0.6
    silent_seconds = 0.6


@pytest.fixture
def port(desk: ReviewDesk) -> Iterator[int]:
    """The routes on a real port, with small limits."""
    app = Starlette(routes=review_routes(lambda: desk), middleware=[Middleware(Pace, window_seconds=WINDOW_SECONDS)])
    config = uvicorn.Config(app, port=0, http=_Impatient, timeout_keep_alive=KEEP_ALIVE_SECONDS, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield int(listener.getsockname()[1])
    server.should_exit = True
    thread.join()


def headers(desk: ReviewDesk, **more: object) -> bytes:
    ada = ReviewerStore(desk.database).named("Ada")
    lines = {"Host": "localhost", TOKEN_HEADER: desk.links.session_token(Session(ada.id, ada.name)), **more}
    return "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items()).encode() + b"\r\n"


def answer_on(connection: socket.socket) -> tuple[int, dict[str, str], dict[str, object]]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, dict(response.getheaders()), json.loads(response.read())


def left_over(settings: Settings) -> list[object]:
    return [path for folder in (settings.uploads_folder, settings.work_folder) for path in folder.rglob("*")]


@pytest.mark.parametrize("sent", [b"", b"GET /api/health HT", b"GET /api/health HTTP/1.1\r\nHost: localhost\r\nX-Half: "])
def test_a_connection_that_does_not_come_to_the_end_of_its_header_lines_is_ended(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(sent)
        assert connection.recv(100) == b""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for _ in range(2):  # the limit ends with the header lines: a connection may be silent between requests
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_on(connection)[0] == 200
            time.sleep(2 * _Impatient.header_seconds)


def test_header_lines_that_come_one_by_one_do_not_win_time(port: int) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=0.1) as connection, suppress(ConnectionError):
        connection.sendall(b"GET /api/health HTTP/1.1\r\n")
        while time.monotonic() - began < 20:
            connection.sendall(b"X-Line: x\r\n")
            with suppress(TimeoutError):
                assert connection.recv(10) == b""
                break
    assert time.monotonic() - began < 20


def test_a_message_that_comes_too_slowly_is_refused_in_words(port: int, desk: ReviewDesk) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST /api/decisions HTTP/1.1\r\n" + headers(desk, Content_Length=50) + b'{"half')
        status, _, body = answer_on(connection)
    assert (status, body["code"]) == (408, "too_slow")


def test_an_upload_that_stops_gives_its_room_back_and_leaves_nothing(port: int, desk: ReviewDesk, settings: Settings) -> None:
    connections = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(MAX_UPLOADS)]
    head = headers(desk, Content_Length=10**7, X_Heaters_File_Name="a.mp4")
    for connection in connections:
        connection.sendall(b"POST /api/uploads HTTP/1.1\r\n" + head + b"YUV4MPEG2 ")
    told = [answer_on(connection)[2]["error"] for connection in connections]
    assert {str(words).split(";")[0] for words in told} == {"a.mp4: the browser went away, or was too slow, after 10 bytes"}
    with desk.upload_room.admitted(1):
        pass
    assert left_over(settings) == []
    for connection in connections:
        connection.close()


def test_what_is_no_video_is_answered_while_its_sender_is_still_sending(port: int, desk: ReviewDesk, settings: Settings) -> None:
    """300 MB came before anybody looked; and an answer that is followed by a reset must not be lost."""
    head = headers(desk, Content_Length=300_000_000, X_Heaters_File_Name="a.mp4")
    sent, chunk = 0, bytes(64 * 1024)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(b"POST /api/uploads HTTP/1.1\r\n" + head)
        try:
            while sent < 300_000_000:
                connection.sendall(chunk)
                sent += len(chunk)
        except ConnectionError:
            pass
        status, sent_headers, body = answer_on(connection)
    assert (status, sent_headers["connection"]) == (415, "close")
    assert str(body["error"]).startswith("a.mp4 is not a video")
    assert sent < 60_000_000
    assert left_over(settings) == []


def test_an_upload_without_a_declared_size_is_taken(port: int, desk: ReviewDesk) -> None:
    film = b"YUV4MPEG2 W16 H16 F1:1 C420jpeg\nFRAME\n" + bytes(16 * 16 * 3 // 2)
    head = headers(desk, Transfer_Encoding="chunked", X_Heaters_File_Name="a.y4m")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"POST /api/uploads HTTP/1.1\r\n" + head + f"{len(film):x}\r\n".encode() + film + b"\r\n0\r\n\r\n")
        assert answer_on(connection)[0] == 201


def test_work_that_waits_for_the_database_holds_few_threads_and_none_that_says_that_the_program_is_well(
    port: int, desk: ReviewDesk, database: Database, some_clips: SomeClips
) -> None:
    """Decisions and questions have threads of their own, five and three; the others wait in the program, not in the database."""
    chosen = some_clips(*range(10, 90, 10))
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"

    def post(number: int) -> tuple[int, bool]:
        clip = chosen[number]
        body = {"request_key": f"k{number}", "action": "approve", "clip_id": clip.id, "source_video_id": clip.source_video_id}
        data = json.dumps({**body, "versions": {str(clip.id): clip.cut_point_version}}).encode()
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"POST /api/decisions HTTP/1.1\r\n" + head(len(data)) + data)
            status, _, answer = answer_on(connection)
        return status, "error" not in answer

    def ask(number: int) -> tuple[int, bool]:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(b"GET /api/queue HTTP/1.1\r\n" + head(0))
            status, _, answer = answer_on(connection)
        return status, "clips" in answer

    ada, address = headers(desk), database.url.replace("+psycopg", "")

    def head(length: int) -> bytes:
        return ada.removesuffix(b"\r\n") + f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n".encode()

    with ThreadPoolExecutor(18) as threads, psycopg.connect(address) as blocking:
        blocking.execute("lock table clips in access exclusive mode")
        decided, asked = [threads.submit(post, number) for number in range(9)], [threads.submit(ask, number) for number in range(9)]
        with psycopg.connect(address, autocommit=True) as looking:

            def waiting() -> int:
                return int(looking.execute(waits).fetchall()[0][0])

            try:
                assert eventually(lambda: waiting() >= DECIDING_THREADS + ASKING_THREADS), waiting()
                for _ in range(10):
                    assert waiting() == DECIDING_THREADS + ASKING_THREADS
                    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                        connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                        assert answer_on(connection)[0] == 200
            finally:
                blocking.rollback()
        assert [one.result() for one in (*decided, *asked)] == [(200, True)] * 18
    assert (DECIDING_THREADS, ASKING_THREADS) == (5, 3), "measured: see the comment beside them, and docs/benchmarks.md"


def test_a_connection_is_kept_for_longer_than_browsers_keep_it(port: int, desk: ReviewDesk) -> None:
    """uvicorn's 5 s end it just as the page's next sync is on its way: that met a reset."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for pause in (5.2, 0.0):
            connection.sendall(b"POST /api/sync HTTP/1.1\r\n" + headers(desk, Content_Length=2) + b"{}")
            assert answer_on(connection)[0] == 200
            time.sleep(pause)
    assert KEEP_ALIVE_SECONDS > 300
