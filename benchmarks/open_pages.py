"""Memory of the review app for each open page: real pages of Streamlit over their websockets, 20 and then 200 of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.many_clips import cut_source_video
from benchmarks.processes import memory_mb, processor_seconds
from benchmarks.scratch import scratch_database
from benchmarks.table import Row
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore
from review_app.service.links import Session, open_links
from tests.served_review_app import ServedReviewApp

PAGES = (20, 200)
_PATIENCE_SECONDS = 120.0
#: Pages that are opened at the same time.
_AT_ONCE = 4
#: How long the open pages are left alone while their processor time is measured.
_IDLE_SECONDS = 20.0
#: Streamlit keeps a closed page for two minutes, in case its browser comes back.
_FORGOTTEN_SECONDS = 150.0


def run(pages: Sequence[int] = PAGES) -> list[Row]:
    with scratch_database() as (settings, database):
        for _ in range(5):
            cut_source_video(database, clips=2_000, clip_frames=100)
        served = ServedReviewApp(settings)
        try:
            served.start()
            return asyncio.run(_measured(served, settings, database, pages))
        finally:
            served.kill()


async def _measured(served: ServedReviewApp, settings: Settings, database: Database, pages: Sequence[int]) -> list[Row]:
    assert served.process is not None
    pid = served.process.pid
    opened: list[_Page] = []

    async def open_more(count: int) -> None:
        """Until so many are open."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                opened.append(await _Page.open(served.port, *_somebody(settings, database, number)))

        await asyncio.gather(*(one(number) for number in range(len(opened), count)))

    before = memory_mb(pid)
    await open_more(1)  # with it the app loads what every page needs
    first = memory_mb(pid)
    rows = [Row("memory with one open page", first, "MB", note=f"{before:.0f} MB before it")]
    for count in pages:
        await open_more(count)
        began, spent, memory = time.monotonic(), processor_seconds([pid]), memory_mb(pid)
        await asyncio.sleep(_IDLE_SECONDS)
        busy = (processor_seconds([pid]) - spent) / (time.monotonic() - began)
        each = f"{(memory - first) / (count - 1):.2f} MB for each page after the first"
        rows.append(Row(f"memory with {count} open pages", memory, "MB", note=each))
        rows.append(Row(f"processor with {count} open pages that nobody uses", busy, "cores"))
    for page in opened:
        await page.close()
    await asyncio.sleep(_FORGOTTEN_SECONDS)
    rows.append(Row("memory when all are closed", memory_mb(pid), "MB", note=f"after {_FORGOTTEN_SECONDS:.0f} s"))
    await open_more(len(opened) + pages[-1])
    rows.append(Row(f"memory with {pages[-1]} other pages after them", memory_mb(pid), "MB"))
    return rows


class _Page:
    """A page as a browser has it: everything that the server sends is read."""

    def __init__(self, socket: ClientConnection, name: str) -> None:
        self._socket = socket
        self._name = name.encode()
        self._has_name = False
        self._shown = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int, name: str, cookie: str) -> _Page:
        """Returns when the page is shown, with the name of who has opened it."""
        headers = {"Cookie": cookie, "Origin": f"http://127.0.0.1:{port}"}
        address = f"ws://127.0.0.1:{port}/_stcore/stream"
        socket = await connect(address, subprotocols=["streamlit"], additional_headers=headers, max_size=None)  # type: ignore[list-item]
        page = cls(socket, name)
        asked = BackMsg()
        asked.rerun_script.query_string = ""
        await page._socket.send(asked.SerializeToString())
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await page._shown.wait()
        if not page._has_name:
            raise RuntimeError(f"the page of {name} was not shown")
        return page

    async def _read(self) -> None:
        async for data in self._socket:
            received = data if isinstance(data, bytes) else data.encode()
            self._has_name = self._has_name or self._name in received
            message = ForwardMsg()
            message.ParseFromString(received)
            if message.WhichOneof("type") == "script_finished":
                self._shown.set()

    async def close(self) -> None:
        await self._socket.close()
        await self._reading


def _somebody(settings: Settings, database: Database, number: int) -> tuple[str, str]:
    """A reviewer's name, and the cookie by which the app knows them."""
    links = open_links(settings)
    reviewer = ReviewerStore(database).named(f"Reviewer {number}")
    return reviewer.name, f"{links.cookie}={links.remembered_token(Session(reviewer.id, reviewer.name))}"


if __name__ == "__main__":
    from benchmarks.table import markdown

    print(markdown(run()))
