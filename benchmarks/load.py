"""200 simulated reviewers and 100,000 clips against one review app: decisions lost or doubled, how long one takes, where it begins to fail.

Each reviewer sends what a browser on the Review page sends, over a connection that stays open: the queue when few clips are left, a sync
every four seconds with the clips it holds and knows, and a decision with its request key and the versions that it has seen. One in fifty
decisions is sent twice, as after a reload. In the end the ledger is counted. App, Postgres and the simulated reviewers share the machine;
what each of them costs is told for each request, because that changes less than the times do when others use the machine too.

`python -m benchmarks.load SECONDS REVIEWERS` measures shorter or with others, without writing to the report.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import text

from benchmarks.many_clips import cut_source_video, store_frame_indexes
from benchmarks.processes import memory_mb, processor_seconds, with_children
from benchmarks.scratch import scratch_database
from benchmarks.table import Row, at_most
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.postgres import embedded_postgres
from resources.postgres.database import Database
from resources.postgres.reviewer_store import ReviewerStore
from review_app.server.routes import TOKEN_HEADER
from review_app.service.links import Session, open_links
from tests.served_review_app import ServedReviewApp

REVIEWERS = 200
VIDEOS = 50
CLIPS_IN_VIDEO = 2_000
SECONDS = 300.0
#: Between two decisions of one reviewer, on average: somebody who watches a few seconds of each clip.
PAUSE_SECONDS = 3.3
#: Pauses of the steps with which the limit is looked for, and how long each step takes.
FASTER_PAUSES = (2.2, 1.65, 1.1, 0.8)
STEP_SECONDS = 20.0
_WARM_UP_SECONDS = 10.0
#: Of the Review page (feed.js).
_AHEAD = 6
_REFILL_BELOW = 4
_SYNC_SECONDS = 4.0
_TWICE = 0.02
_TIMEOUT_SECONDS = 15.0
_LOOK_SECONDS = 1.0
#: Of the review app, as docs/operate/database.md has it.
_CONNECTIONS = 16
_ACTIONS = ("approve",) * 62 + ("skip",) * 20 + ("archive",) * 8 + ("add_cut_point",) * 5 + ("undo",) * 5


@dataclass(slots=True)
class Seen:
    """What came of the requests. times: kind of request -> seconds of each. acknowledged: request keys of answered decisions."""

    times: dict[str, list[float]] = field(default_factory=dict)
    acknowledged: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def milliseconds(self, kind: str, percent: float) -> float:
        return float(np.percentile(np.array(self.times.get(kind, [0.0])), percent)) * 1000


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of time, and of processor time of each side; the most connections of the app."""

    at: float
    app: float
    postgres: float
    crowd: float
    connections: int


class Reviewer:
    """One reviewer's page: its queue, its clips, its connection."""

    def __init__(self, number: int, token: str, port: int, seen: Seen) -> None:
        self._number = number
        self._random = random.Random(number)
        self._token = token
        self._port = port
        self.seen = seen
        self.pause = PAUSE_SECONDS
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()
        self._queue: list[int] = []
        self._clips: dict[int, dict[str, Any]] = {}
        self._decided: list[str] = []
        self._count = 0

    async def work(self) -> None:
        """Until it is cancelled."""
        await asyncio.sleep(self._random.uniform(0, min(self.pause, _SYNC_SECONDS)))
        await self._load()
        syncing = asyncio.create_task(self._keep_in_step())
        try:
            while True:
                await asyncio.sleep(self._random.expovariate(1 / self.pause))
                await self._decide()
        finally:
            syncing.cancel()

    async def _keep_in_step(self) -> None:
        while True:
            await asyncio.sleep(_SYNC_SECONDS)
            near = [clip for clip in self._clips.values() if clip["id"] in self._queue[:_AHEAD]]
            body = {"hold": self._queue[:_AHEAD], "known": {str(clip["id"]): clip["version"] for clip in near}}
            answer = await self._ask("sync", "POST", "/api/sync", body)
            if answer is not None:
                self._learn(answer)
                lost = {one["clip_id"] for one in answer.get("lost", ())} | set(answer.get("retired", ()))
                self._queue = [clip_id for clip_id in self._queue if clip_id not in lost]

    async def _load(self) -> None:
        answer = await self._ask("queue", "GET", f"/api/queue?limit={_AHEAD}")
        if answer is not None:
            self._learn(answer)
            self._queue = list(dict.fromkeys([*self._queue, *answer["queue"]]))

    def _learn(self, answer: dict[str, Any]) -> None:
        for clip in answer.get("clips", ()):
            self._clips[clip["id"]] = clip
        for clip_id in answer.get("retired", ()):
            self._clips.pop(clip_id, None)
        if len(self._clips) > 200:
            kept = set(self._queue)
            self._clips = {clip_id: clip for clip_id, clip in self._clips.items() if clip_id in kept}

    async def _decide(self) -> None:
        action = self._random.choice(_ACTIONS)
        self._count += 1
        key = f"load-{self._number}-{self._count}"
        if action == "undo" and self._decided:
            body: dict[str, Any] = {"request_key": key, "action": "undo", "target": self._decided.pop(), "versions": {}}
        else:
            while self._queue and self._queue[0] not in self._clips:
                self._queue.pop(0)
            if not self._queue:
                await self._load()
                return
            clip = self._clips[self._queue.pop(0)]
            versions = {str(clip["id"]): clip["version"]}
            action = "approve" if action == "undo" else action
            body = {
                "request_key": key,
                "action": action,
                "clip_id": clip["id"],
                "source_video_id": clip["source_video_id"],
                "versions": versions,
            }
            if action == "add_cut_point":
                body["frame"] = (clip["start_frame"] + clip["end_frame"]) // 2
        answer = await self._sent(body)
        if answer is not None:
            self.seen.acknowledged.append(key)
            self._learn(answer)
            if body["action"] in {"approve", "skip", "archive"}:
                self._decided.append(key)
        if len(self._queue) < _REFILL_BELOW:
            await self._load()

    async def _sent(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """As the outbox sends it: again under its key until there is an answer."""
        for _ in range(20):
            answer = await self._ask("decision", "POST", "/api/decisions", body)
            if answer is not None and self._random.random() < _TWICE:
                answer = await self._ask("decision sent again", "POST", "/api/decisions", body)
            if answer is not None:
                return None if "error" in answer else answer
            await asyncio.sleep(1.0)
        return None

    async def _ask(self, kind: str, method: str, address: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer; None when there was none. A refusal in words is an answer with `error`."""
        async with self._lock:
            began = time.perf_counter()
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    status, answer = await self._exchange(method, address, body)
            except (OSError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
                self.seen.failed[f"{kind}: {type(error).__name__}"] += 1
                self._streams = None
                return None
        self.seen.times.setdefault(kind, []).append(time.perf_counter() - began)
        if status >= 500 or status == 401:
            self.seen.failed[f"{kind}: {status}"] += 1
            return None
        if status >= 400:
            self.seen.refused[f"{kind}: {status}"] += 1
        return answer

    async def _exchange(self, method: str, address: str, body: dict[str, Any] | None) -> tuple[int, dict[str, Any]]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._streams
        data = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {address} HTTP/1.1",
            f"Host: 127.0.0.1:{self._port}",
            f"{TOKEN_HEADER}: {self._token}",
            "Sec-Fetch-Site: same-origin",
            "Content-Type: application/json",
            f"Content-Length: {len(data)}",
            "Accept-Encoding: gzip, deflate, br, zstd",
        ]
        head = "\r\n".join([*lines, "", ""])
        writer.write(head.encode() + data)
        answered = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = int(answered.split(" ", 2)[1])
        length = next(int(line.partition(":")[2]) for line in answered.split("\r\n") if line.startswith("content-length:"))
        data = await reader.readexactly(length)
        return status, json.loads(gzip.decompress(data) if "content-encoding: gzip" in answered else data)


def run(seconds: float = SECONDS, reviewers: int = REVIEWERS, *, pauses: Sequence[float] = FASTER_PAUSES) -> list[Row]:
    with scratch_database() as (settings, database):
        videos = [cut_source_video(database, clips=CLIPS_IN_VIDEO, clip_frames=100) for _ in range(VIDEOS)]
        store_frame_indexes(open_object_store(settings), videos, frames=CLIPS_IN_VIDEO * 100)  # a cut needs the time of its frame
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("vacuum analyze")
        served = ServedReviewApp(settings)
        try:
            served.start()
            return asyncio.run(_measured(served, settings, database, seconds, reviewers, pauses))
        finally:
            served.kill()


async def _measured(
    served: ServedReviewApp, settings: Settings, database: Database, seconds: float, reviewers: int, pauses: Sequence[float]
) -> list[Row]:
    assert served.process is not None
    app, postgres = served.process.pid, embedded_postgres.running_pid(settings.postgres_folder)
    assert postgres is not None
    links, people = open_links(settings), ReviewerStore(database)
    named = [people.named(f"Reviewer {number}") for number in range(reviewers)]
    warm = Seen()
    crowd = [Reviewer(number, links.session_token(Session(one.id, one.name)), served.port, warm) for number, one in enumerate(named)]
    before = memory_mb(app)
    tasks = [asyncio.create_task(one.work()) for one in crowd]
    await asyncio.sleep(min(_WARM_UP_SECONDS, seconds / 3))
    main = Seen()
    for one in crowd:
        one.seen = main

    def spent() -> Cost:
        return Cost(time.monotonic(), processor_seconds([app]), processor_seconds(with_children(postgres)), time.process_time(), 0)

    began, connections = spent(), 0
    while time.monotonic() - began.at < seconds:
        await asyncio.sleep(_LOOK_SECONDS)
        connections = max(connections, _connections(database))
    ended = spent()
    cost = Cost(ended.at - began.at, ended.app - began.app, ended.postgres - began.postgres, ended.crowd - began.crowd, connections)
    memory = memory_mb(app)
    steps: list[tuple[float, Seen]] = []
    for pause in pauses:
        step = Seen()
        for one in crowd:
            one.seen, one.pause = step, pause
        await asyncio.sleep(STEP_SECONDS)
        steps.append((len(step.acknowledged) / STEP_SECONDS, step))
        if step.milliseconds("decision", 95) > 1000 or step.failed:
            break
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for error in done:
        if isinstance(error, Exception):
            raise error
    await asyncio.sleep(1.0)  # what was on its way reaches the ledger
    every = [warm, main, *(step for _, step in steps)]
    failed = Counter[str]()
    for seen in every:
        failed.update(seen.failed)
    lost, doubled = _compared(database, [key for seen in every for key in seen.acknowledged])
    return _rows(main, steps, cost, reviewers, (before, memory), (lost, doubled), failed)


def _rows(
    main: Seen,
    steps: Sequence[tuple[float, Seen]],
    cost: Cost,
    reviewers: int,
    memory: tuple[float, float],
    ledger: tuple[int, int],
    failed: Counter[str],
) -> list[Row]:
    took = cost.at
    rate = len(main.acknowledged) / took
    refused = ", ".join(f"{count} {what}" for what, count in main.refused.items()) or "none"
    count = sum(map(len, main.times.values()))
    requests = count / took
    p95 = main.milliseconds("decision", 95)
    rows = [
        at_most(
            "decisions lost",
            ledger[0],
            "",
            0,
            f"answered and not in the ledger; {len(main.acknowledged):,} in {took:.0f} s, {reviewers} reviewers",
        ),
        at_most("decisions doubled", ledger[1], "", 0, "one in fifty was sent twice under its key"),
        Row("decisions", rate, "a second", note=f"{requests:.0f} requests a second in all; refused: {refused}"),
        Row("a decision, 50th percentile", main.milliseconds("decision", 50), "ms"),
        at_most("a decision, 95th percentile", p95, "ms", 300, "the whole request, while everybody else works"),
        Row("a decision, 99th percentile", main.milliseconds("decision", 99), "ms"),
        Row("a sync, 95th percentile", main.milliseconds("sync", 95), "ms"),
        Row("the queue, 95th percentile", main.milliseconds("queue", 95), "ms"),
        Row("processor of the review app", cost.app / took, "cores", note=f"{cost.app / count * 1000:.1f} ms for each request"),
        Row("processor of Postgres", cost.postgres / took, "cores", note=f"{cost.postgres / count * 1000:.1f} ms for each request"),
        Row(
            "processor of the simulated reviewers", cost.crowd / took, "cores", note=f"{cost.crowd / count * 1000:.1f} ms for each request"
        ),
        at_most(
            "connections of the review app",
            cost.connections,
            "",
            _CONNECTIONS,
            f"the most seen; load of the machine {os.getloadavg()[1]:.1f}",
        ),
        Row("memory of the review app", memory[1], "MB", note=f"{memory[0]:.0f} MB before the first reviewer"),
    ]
    failures = sum(failed.values())
    rows.append(Row("requests without an answer", failures, "", note=", ".join(f"{count} {what}" for what, count in failed.items())))
    for reached, step in steps:
        p50, p95 = (step.milliseconds("decision", percent) for percent in (50, 95))
        rows.append(
            Row(
                f"at {reached:.0f} decisions a second, 95th percentile",
                p95,
                "ms",
                note=f"median {p50:.0f} ms, {sum(step.failed.values())} failed",
            )
        )
    return rows


def _compared(database: Database, acknowledged: Sequence[str]) -> tuple[int, int]:
    """(how many of these request keys the ledger lacks, how many decisions it has more than once)."""
    with database.read() as connection:
        keys = list(connection.scalars(text("select request_key from review_actions where request_key like 'load-%'")))
        twice = connection.scalar(
            text(
                "select count(*) from (select a.clip_ids from review_actions a where a.action in ('approve', 'skip', 'archive') "
                "and not a.undone "
                "group by a.clip_ids having count(*) > 1) again"
            )
        )
    return len(set(acknowledged) - set(keys)), len(keys) - len(set(keys)) + int(twice or 0)


def _connections(database: Database) -> int:
    """To the database, of other processes than this one."""
    others = "backend_type = 'client backend' and application_name <> current_setting('application_name')"
    with database.read() as connection:
        query = f"select count(*) from pg_stat_activity where datname = current_database() and {others}"
        return int(connection.scalar(text(query)) or 0)


if __name__ == "__main__":
    from benchmarks.table import markdown

    chosen = [float(argument) for argument in sys.argv[1:]]
    print(markdown(run(chosen[0] if chosen else SECONDS, int(chosen[1]) if len(chosen) > 1 else REVIEWERS, pauses=chosen[2:])))
