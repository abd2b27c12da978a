"""Kinds of cuts, least confident clips first, and cut lists, at 1,000,000 live clips."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benchmarks.many_clips import FRAME_RATE, cut_source_video, store_frame_indexes
from benchmarks.table import Row, at_most
from heaters_dagster.domain.cut_kinds import CutKind
from heaters_dagster.domain.cut_list_media import MediaKind
from heaters_dagster.domain.keys import proxy_key
from heaters_dagster.domain.review_queue import NO_KIND, QueueFilter, QueueOrder
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.subtitles import Line
from heaters_dagster.registries import CUT_LIST_FORMATS
from heaters_dagster.settings import Settings
from resources.clips.cut_list_writer import CutListChoices, gathered_cut_list
from resources.object_store.open import open_object_store
from resources.postgres.database import Database
from resources.postgres.review_queue_store import ReviewQueueStore

LONG_CLIPS, CLIP_FRAMES = 20_000, 40
#: Of its subtitles: one for every two clips.
LONG_LINES = LONG_CLIPS // 2
_DEEP_PAGES = 20
_TIMES = 10


def queues(database: Database) -> list[Row]:
    """What the queue and the grid ask for, by kind and by confidence; also far behind the first page."""
    queue = ReviewQueueStore(database)
    every = tuple(ClipState)

    def grid(chosen: QueueFilter) -> None:
        queue.page(chosen, limit=60)
        queue.progress(chosen, reviewer="Reviewer 1")

    def deep(chosen: QueueFilter) -> None:
        after = None
        for _ in range(_DEEP_PAGES):
            shown = queue.page(chosen, after=after, limit=60)
            after = shown[-1].position

    def taken(chosen: QueueFilter) -> None:
        queue.take(chosen, reviewer="Reviewer 1", count=10)

    common, rare = (CutKind.HARD.value,), (CutKind.WIPE.value,)
    pages: dict[str, tuple[Callable[[QueueFilter], None], QueueFilter]] = {
        "Clips by kind": (grid, QueueFilter(states=every, order=QueueOrder.KIND)),
        "Clips at hard cuts": (grid, QueueFilter(states=every, kinds=common)),
        "Clips at wipes": (grid, QueueFilter(states=every, kinds=rare)),
        "Clips of unknown kind, by confidence": (grid, QueueFilter(states=every, kinds=(NO_KIND,), order=QueueOrder.CONFIDENCE)),
        "Clips at wipes of low confidence, by confidence": (
            grid,
            QueueFilter(states=every, kinds=rare, max_confidence=0.5, order=QueueOrder.CONFIDENCE),
        ),
        "Clips at hard cuts of low confidence": (grid, QueueFilter(states=every, kinds=common, max_confidence=0.5)),
        "queue, least confident first": (taken, QueueFilter(order=QueueOrder.CONFIDENCE)),
        "queue of wipes, least confident first": (taken, QueueFilter(kinds=rare, order=QueueOrder.CONFIDENCE)),
        "queue of wipes": (taken, QueueFilter(kinds=rare)),
        "queue by kind": (taken, QueueFilter(order=QueueOrder.KIND)),
        f"{_DEEP_PAGES} pages by kind": (deep, QueueFilter(states=every, order=QueueOrder.KIND)),
        f"{_DEEP_PAGES} pages, least confident first": (deep, QueueFilter(order=QueueOrder.CONFIDENCE)),
    }
    return [
        at_most(f"{name}, longest of {_TIMES}", max(_ms(partial(asked, chosen)) for _ in range(_TIMES)), "ms", 500)
        for name, (asked, chosen) in pages.items()
    ]


def cut_lists(settings: Settings, database: Database) -> list[Row]:
    """The lists of one source video of very many clips, with subtitles, in every form."""
    video = cut_source_video(database, clips=LONG_CLIPS, clip_frames=CLIP_FRAMES)
    objects = open_object_store(settings)
    objects.put_bytes(proxy_key(video), b"a list does not read the pictures")
    store_frame_indexes(objects, [video], frames=LONG_CLIPS * CLIP_FRAMES)
    choices = CutListChoices(media=MediaKind.PROXY, names_alone=True)
    began = time.perf_counter()
    gathered = gathered_cut_list(video, choices, database=database, settings=settings, objects=objects)
    rows = [at_most(f"cut list of {LONG_CLIPS:,} clips, gathered", time.perf_counter() - began, "s", 2)]
    step = LONG_CLIPS * CLIP_FRAMES / FRAME_RATE / LONG_LINES
    lines = tuple(Line(number * step, (number + 0.9) * step, f"line {number}") for number in range(LONG_LINES))
    said = replace(gathered, source=replace(gathered.source, lines=lines))
    for form in CUT_LIST_FORMATS.usable():
        began = time.perf_counter()
        written = said.written(form)
        took = time.perf_counter() - began
        note = f"with {LONG_LINES:,} subtitles; {sum(map(len, written.texts)) / 1e6:.1f} MB"
        rows.append(at_most(f"written as {form.name}", took, "s", 10, note))
    return rows


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000
