"""What everything costs at 1,000,000 live clips in 20,000 source videos with 800,000 review actions."""

from __future__ import annotations

import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from sqlalchemy import select, text

from benchmarks import growth_cuts, large_database
from benchmarks.growth_migrations import migrated, taken_back
from benchmarks.growth_pages import pages_shown
from benchmarks.scratch import scratch_database
from benchmarks.table import Row, at_most, markdown
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.review_queue import QueueFilter, QueueOrder
from heaters_dagster.domain.states import ClipState
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.orchestration.janitor import settled_look
from heaters_dagster.partitions import source_video_partitions
from heaters_dagster.settings import Settings
from resources.postgres.database import Database
from resources.postgres.embedding_store import EmbeddingStore
from resources.postgres.review_queue_store import ReviewQueueStore
from resources.postgres.review_store import ReviewStore
from resources.postgres.reviewer_store import ReviewerStore
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideoStore
from resources.postgres.tables import clips
from resources.sources.address_guard import AddressGuard
from resources.sources.submission import submit
from review_app.server.routes import TOKEN_HEADER
from review_app.service.links import Session, open_links
from review_app.service.views import MOST_SNAPSHOTS
from tests.served_review_app import ServedReviewApp

REVIEWERS = 25
DECISIONS = 300
DECISIONS_OF_EACH = 20
SECONDS_BETWEEN_DECISIONS = 1.0
FILES = 1_000
FILE_BYTES = 3_000_000
WAITING = 1_000
PAGES = ["Source videos", "Clips", "History", "Review"]
MANY_CLIPS = 20_000
#: The schema of Heaters 0.1.0.
OLD_SCHEMA = "0004"
SMALL_VIDEOS = 200
_WARM_UP = 20
_HEATERS = "from heaters_dagster.cli import main; main()"
_AUDIT = """
import re, time
from heaters_dagster.settings import load_settings
from resources.object_store.open import open_object_store
from resources.postgres.database import open_database
from resources.upkeep.audit import audit
settings = load_settings()
database = open_database(settings)
began = time.monotonic()
audit(database, open_object_store(settings))
print(time.monotonic() - began, re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1))
"""
_SUBMIT = """
import re, sys
from heaters_dagster.cli import run
code = run(["submit", sys.argv[1]])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read()).group(1), file=sys.stderr)
sys.exit(code)
"""
_EVERY_STATE = tuple(ClipState)
_APPROVED = """
update clips set state = 'review_approved', cut_point_version = cut_point_version + 1 where id in (
    select min(id) from clips where is_live and state = 'pending_review' and cut_point_version = 1 group by source_video_id
    order by min(id) desc limit :many)
"""


def run() -> list[Row]:
    """Each group is printed when it is done."""
    with scratch_database() as (settings, database):
        large_database.fill(database, videos=SMALL_VIDEOS)
        _, small_audit = _audited(settings)
    rows: list[Row] = []
    with scratch_database() as (settings, database):
        taken_back(database, OLD_SCHEMA)
        first: list[Callable[[], list[Row]]] = [partial(_filled, database), partial(_migrations, database), partial(_kinds, database)]
        for group in first + groups(settings, database, small_audit):
            print(f"load {os.getloadavg()[0]:.1f}, {time.strftime('%H:%M:%S')}", flush=True)
            found = group()
            print(markdown(found), flush=True)
            rows += found
    return rows


def groups(settings: Settings, database: Database, small_audit: float) -> list[Callable[[], list[Row]]]:
    """What is measured on a filled database. small_audit: MB that the audit of a small one takes."""
    return [
        partial(_decisions, database),
        partial(_many, database),
        partial(_pages, database),
        partial(growth_cuts.queues, database),
        partial(_looks, settings, database),
        partial(_reviewers, settings, database),
        partial(_programs, settings, database, small_audit),
        partial(_submissions, settings, database),
        partial(growth_cuts.cut_lists, settings, database),
    ]


def _filled(database: Database) -> list[Row]:
    began = time.monotonic()
    large_database.fill(database)
    return [Row("filling the database in the schema of 0.1.0", time.monotonic() - began, "s")]


def _kinds(database: Database) -> list[Row]:
    began = time.monotonic()
    large_database.tell_kinds(database)
    return [Row("giving the cuts kinds", time.monotonic() - began, "s")]


def _decisions(database: Database) -> list[Row]:
    """As the review page asks for them: the transaction, and the progress of the queue after it."""
    reviews, queue = ReviewStore(database, lambda source_video_id, frames: []), ReviewQueueStore(database)
    chosen = _pending(database, _WARM_UP + DECISIONS, seed=1)
    decided = [_ms(partial(reviews.approve, clip_id, reviewer="Reviewer 1")) for clip_id in chosen][_WARM_UP:]
    undone = [_ms(partial(reviews.undo, "Reviewer 1")) for _ in range(DECISIONS)]
    counted = [_ms(partial(queue.progress, QueueFilter(), reviewer="Reviewer 1")) for _ in range(50)]
    filters = (QueueFilter(text="harbour"), QueueFilter(max_confidence=0.5), QueueFilter(source_video_ids=(7, 700)))
    filtered = [_ms(partial(queue.progress, one, reviewer="Reviewer 1")) for one in filters for _ in range(10)]
    took = [f"median {_percentile(times, 50):.1f} ms, {DECISIONS} times" for times in (decided, undone)]
    return [
        at_most("decision in the database, 99th percentile", _percentile(decided, 99), "ms", 20, took[0]),
        at_most("its undo, 99th percentile", _percentile(undone, 99), "ms", 20, took[1]),
        Row("progress of the whole queue, median", _percentile(counted, 50), "ms"),
        Row("progress with a filter, longest", max(filtered), "ms", note="words of 1,250 videos; half of the confidences; two videos"),
    ]


def _many(database: Database) -> list[Row]:
    """One decision on as many clips as the grid selects at once."""
    reviews = ReviewStore(database, lambda source_video_id, frames: [])
    seen = dict.fromkeys(_pending(database, MANY_CLIPS, seed=3), 1)
    decided = _ms(partial(reviews.decide_unchanged, ReviewAction.APPROVE, seen, reviewer="Reviewer 2")) / 1000
    undone = _ms(partial(reviews.undo, "Reviewer 2")) / 1000
    return [Row(f"decision on {MANY_CLIPS:,} clips", decided, "s", note=_load()), Row("its undo", undone, "s", note=_load())]


def _load() -> str:
    return f"load of the machine {os.getloadavg()[0]:.1f}"


def _reviewers(settings: Settings, database: Database) -> list[Row]:
    """Whole requests of 25 people who decide about once a second each, from the served review app."""
    served = ServedReviewApp(settings)
    try:
        served.start()
        people = [ReviewerStore(database).named(f"Reviewer {number}") for number in range(1, REVIEWERS + 1)]
        chosen = _pending(database, REVIEWERS * DECISIONS_OF_EACH, seed=2)
        links = open_links(settings)
        tokens = [links.session_token(Session(person.id, person.name)) for person in people]
        queues = [_asked(served, token, "GET", "/api/queue?limit=10") for token in tokens[:1] * 3 + tokens]

        def review(number: int) -> list[float]:
            pause = random.Random(number)
            took = []
            for place in range(DECISIONS_OF_EACH):
                clip_id = chosen[number * DECISIONS_OF_EACH + place]
                body = {"request_key": f"growth-{clip_id}", "action": "skip", "clip_id": clip_id, "versions": {str(clip_id): 1}}
                time.sleep(SECONDS_BETWEEN_DECISIONS * 2 * pause.random())
                took.append(_asked(served, tokens[number], "POST", "/api/decisions", json.dumps(body)))
            return took

        with ThreadPoolExecutor(REVIEWERS) as pool:
            took = [one for each in pool.map(review, range(REVIEWERS)) for one in each]
        shown = pages_shown(served, links.remembered_token(Session(people[0].id, people[0].name)), PAGES, times=5)
    finally:
        served.kill()
    note = f"{len(took)} decisions, each about {SECONDS_BETWEEN_DECISIONS:g} s after the one before; median {_percentile(took, 50):.1f} ms"
    return [
        at_most("decision of 25 reviewers at once, 95th percentile", _percentile(took, 95), "ms", 100, note),
        at_most("queue's first clips, 95th percentile", _percentile(queues[3:], 95), "ms", 200, "the request for the queue"),
        *(
            at_most(
                f"page {name} in Chromium, median",
                one.milliseconds,
                "ms",
                500,
                f"click to last change; {one.sent_bytes / 1000:.0f} kB sent",
            )
            for name, one in shown.items()
        ),
    ]


def _asked(served: ServedReviewApp, token: str, method: str, path: str, body: str | None = None) -> float:
    headers = {TOKEN_HEADER: token, "Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
    connection = http.client.HTTPConnection("127.0.0.1", served.port)
    connection.connect()
    began = time.perf_counter()
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    said = answer.read()
    took = (time.perf_counter() - began) * 1000
    connection.close()
    if answer.status != 200:
        raise RuntimeError(said.decode())
    return took


def _pages(database: Database) -> list[Row]:
    """What a page reads each time it is shown or refreshed."""
    lists, queue = SourceVideoLists(database), ReviewQueueStore(database)
    reviews = ReviewStore(database, lambda source_video_id, frames: [])

    def source_videos(words: str) -> None:
        lists.counts(text=words)
        lists.newest(text=words, limit=21)

    def grid(chosen: QueueFilter) -> None:
        queue.page(chosen, limit=60)
        queue.progress(chosen, reviewer="Reviewer 1")

    by_confidence = QueueFilter(states=_EVERY_STATE, order=QueueOrder.CONFIDENCE)
    pages: dict[str, Callable[[], object]] = {
        "Source videos": lambda: source_videos(""),
        "Source videos, found by words": lambda: source_videos("harbour"),
        "Clips by confidence": lambda: grid(by_confidence),
        "Clips by confidence, of words and states": lambda: grid(
            QueueFilter(text="harbour", states=(ClipState.REVIEW_SKIPPED, ClipState.EXPORT_FAILED), order=QueueOrder.CONFIDENCE)
        ),
        "History": lambda: reviews.history(most_snapshots=MOST_SNAPSHOTS),
        "History of a clip": lambda: reviews.history(clip_id=777, most_snapshots=MOST_SNAPSHOTS),
        "History of a source video": lambda: reviews.history(source_video_id=777, most_snapshots=MOST_SNAPSHOTS),
        "menu of source videos in the filter": lambda: lists.titles(text="harbour", limit=100),
    }
    return [at_most(f"{name}, longest of 10", max(_ms(page) for _ in range(10)), "ms", 500) for name, page in pages.items()]


def _looks(settings: Settings, database: Database) -> list[Row]:
    """What every sensor does every five seconds, with all partitions known to Dagster."""
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions(str(source_video_partitions.name), [str(number) for number in range(1, large_database.VIDEOS + 1)])
        settled_look(instance, settings, database)
        quiet = [_ms(lambda: settled_look(instance, settings, database)) for _ in range(20)]
        with database.begin() as connection:
            many = {"many": WAITING}
            connection.execute(text("insert into source_videos (source, title) select '/new', 'new' from generate_series(1, :many)"), many)
        busy = [_ms(lambda: settled_look(instance, settings, database)) for _ in range(20)]
        with database.begin() as connection:
            connection.execute(text("delete from source_videos where source = '/new'"))
            connection.execute(text(_APPROVED), many)
        approved = [_ms(lambda: settled_look(instance, settings, database)) for _ in range(20)]
    measured = {"nothing due": quiet, f"{WAITING:,} waiting": busy, f"{WAITING:,} with approved clips": approved}
    return [
        at_most(f"a sensor's look, {what}, median", _percentile(took, 50), "ms", 50, f"longest {max(took):.0f} ms")
        for what, took in measured.items()
    ]


def _programs(settings: Settings, database: Database, small_audit: float) -> list[Row]:
    environment = {**os.environ, "HEATERS_HOME": str(settings.home)}
    status = _program(["-c", _HEATERS, "status"], environment)
    listed = _program(["-c", _HEATERS, "status", "--json"], environment)
    seconds, full = _audited(settings)
    doctor = _program(["-c", _HEATERS, "doctor"], environment, may_complain=True)
    search = EmbeddingStore(database)
    without = [_ms(lambda: search.without_embedding(model=large_database.MODEL, strategy=large_database.STRATEGY)) for _ in range(3)]
    return [
        at_most("heaters status", status, "s", 2, "the whole program, its start with it"),
        Row("heaters status --json, all of them", listed, "s"),
        Row("heaters doctor", doctor, "s", note="with all 1,000,000 objects missing; loads the models too"),
        at_most(
            "memory that the audit takes more than of a hundredth",
            full - small_audit,
            "MB",
            20,
            f"{full:.0f} MB of the process, {small_audit:.0f} MB with {SMALL_VIDEOS} source videos; all objects are missing; "
            f"it takes {seconds:.0f} s",
        ),
        at_most("search for clips without vectors, longest of 3", max(without), "ms", 1000),
    ]


def _program(arguments: Sequence[str], environment: dict[str, str], *, may_complain: bool = False) -> float:
    """Seconds of a Python program. may_complain: it may end with exit code 1."""
    began = time.perf_counter()
    process = subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, cwd=tempfile.gettempdir())
    if process.returncode not in ({0, 1} if may_complain else {0}):
        raise RuntimeError(f"{arguments} ended with {process.returncode}")
    return time.perf_counter() - began


def _audited(settings: Settings) -> tuple[float, float]:
    """(seconds, largest memory in MB) of a program that makes an audit and nothing else.

    Linux tells the memory of the program itself: getrusage would tell at least that of the process that started it.
    """
    environment = {**os.environ, "HEATERS_HOME": str(settings.home)}
    done = subprocess.run([sys.executable, "-c", _AUDIT], env=environment, capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        raise RuntimeError(done.stderr)
    seconds, kilobytes = done.stdout.split()
    return float(seconds), int(kilobytes) / 1024


def _submissions(settings: Settings, database: Database) -> list[Row]:
    videos = SourceVideoStore(database)
    rows = []
    kinds = (("of one size", 0, 0), ("of different sizes", 4096, 0), ("of one size, alike in every sample", 0, 100_000))
    for name, step, differs_at in kinds:
        folder = settings.home / f"files {step} {differs_at}"
        folder.mkdir()
        for number in range(FILES):
            with (folder / f"{number}.mp4").open("wb") as file:
                file.truncate(FILE_BYTES + step * number)
                file.seek(differs_at)
                file.write(random.Random(number + step).randbytes(4096))
        began = time.perf_counter()
        taken = submit([str(folder)], videos, guard=AddressGuard())
        seconds = time.perf_counter() - began
        if len({item.video.id for item in taken if item.video is not None}) != FILES:
            raise RuntimeError("files that differ were taken for one")
        rows.append(at_most(f"{FILES:,} files {name} submitted", seconds, "s", 20))
        shutil.rmtree(folder)
    return rows + _submitted_by_program(settings)


def _submitted_by_program(settings: Settings) -> list[Row]:
    """`heaters submit FOLDER`: rows and Dagster's partitions, with the start of the program; and what its memory grows by."""
    memory = []
    for files in (FILES // 10, FILES):
        folder = settings.home / f"program {files}"
        folder.mkdir()
        for number in range(files):
            (folder / f"{number}.mp4").write_bytes(random.Random(files * 10_000 + number).randbytes(FILE_BYTES // 100))
        began = time.perf_counter()
        environment = {**os.environ, "HEATERS_HOME": str(settings.home)}
        done = subprocess.run(
            [sys.executable, "-c", _SUBMIT, str(folder)], env=environment, capture_output=True, text=True, cwd=tempfile.gettempdir()
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(done.stderr)
        memory.append(int(done.stderr.split()[-1]) / 1024)
        shutil.rmtree(folder)
    return [
        at_most(f"heaters submit of {FILES:,} files, to rows and partitions", seconds, "s", 60, "the whole program, its start with it"),
        at_most(f"memory that it takes more than for {FILES // 10} files", memory[1] - memory[0], "MB", 20, f"{memory[1]:.0f} MB"),
    ]


def _migrations(database: Database) -> list[Row]:
    found = migrated(database, after=OLD_SCHEMA)
    held = [(*one.read_held, *one.write_held) for one in found]
    notes = [
        f"nobody reads {read} for {reading:.1f} s, nobody writes {wrote} for {writing:.1f} s" for reading, read, writing, wrote in held
    ]
    took = sum(one.seconds for one in found)
    return [
        *(Row(f"migration {one.revision}", one.seconds, "s", note=note) for one, note in zip(found, notes, strict=True)),
        Row(f"all migrations from {OLD_SCHEMA}", took, "s"),
    ]


def _pending(database: Database, count: int, *, seed: int) -> list[int]:
    with database.read() as connection:
        query = select(clips.c.id).where(clips.c.is_live, clips.c.state == "pending_review", clips.c.cut_point_version == 1)
        found = list(connection.scalars(query.order_by(clips.c.id)))
    return random.Random(seed).sample(found, count)


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(np.array(values), percent))
