"""What a page says when it has no clip to show: the reason, and links onward. Pure: no Streamlit, no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.words import counted, video_state_words
from review_app.service import views

_THERE = {SourceVideoState.SCENES_DETECTED, SourceVideoState.DELETED}


@dataclass(frozen=True, slots=True)
class Way:
    """A link onward. page: name of a page of this app. query: what its address has."""

    label: str
    page: str
    query: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Empty:
    title: str
    text: str
    ways: tuple[Way, ...] = ()


_SOURCE_VIDEOS = Way("Source videos", "videos")


def no_clip_to_show(asked: QueueFilter, matching: Mapping[ClipState, int], videos: Mapping[SourceVideoState, int], *, page: str) -> Empty:
    """Why a queue or a list is empty.

    matching: clips that the filter is about, by state, whatever states it asks for. videos: source videos by state; only the one that is
    asked for, when it is one. page: "review" or "clips", to which filters that are cleared lead.
    """
    total, waiting = sum(matching.values()), matching.get(ClipState.PENDING_REVIEW, 0)
    clear = Way("Clear filters", page)
    on_the_way = {state: number for state, number in videos.items() if state not in _THERE and not views.has_failed(state)}
    coming = f" {_coming(on_the_way)}" if on_the_way else ""
    if not total:
        if _narrows(asked):
            if asked.source_video_ids and coming:
                return Empty("No clips yet", coming.strip(), (Way("Source video", "videos", _query(asked)), clear))
            return Empty("No clip matches these filters", "Choose others, or see all clips.", (clear,))
        if coming:
            return Empty("No clips yet", f"{coming.strip()} Clips appear by themselves as soon as a video is cut.", (_SOURCE_VIDEOS,))
        if sum(number for state, number in videos.items() if views.has_failed(state)):
            return Empty("There are no clips", "Every source video has failed: see why, and try again.", (_SOURCE_VIDEOS,))
        return Empty("There are no clips yet", "Submit a video: it is cut into clips, and they appear here.", (_SOURCE_VIDEOS,))
    if page == "clips":
        return Empty("No clip matches these filters", f"Clips in other states: {views.clip_counts(matching)}.", (clear,))
    if waiting:
        last = (
            "The last clip that waits here is on a colleague's screen"
            if waiting == 1
            else f"The last {counted(waiting, 'clip')} are on colleagues' screens"
        )
        text = f"{last}. A clip that nobody decides comes back by itself."
        return Empty("Colleagues have the rest", text, (clear,) if _narrows(asked) else ())
    ways = (Way("Clips", "clips", _query(asked)), *((Way("Clear filters: show all waiting clips", page),) if _narrows(asked) else ()))
    text = f"{counted(total, 'clip')}: {views.clip_counts(matching)}. Ctrl+Z takes back your last decision.{coming}"
    return Empty("Nothing left to review here", text, ways)


def _coming(on_the_way: Mapping[SourceVideoState, int]) -> str:
    """`2 source videos are on their way: 1 being cut, 1 being fetched.`"""
    total = sum(on_the_way.values())
    states = ", ".join(f"{number} {video_state_words(state)}" for state, number in on_the_way.items())
    return f"{counted(total, 'source video is on its way', 'source videos are on their way')}: {states}."


def _narrows(asked: QueueFilter) -> bool:
    return bool(asked.source_video_ids or asked.text or asked.min_confidence is not None or asked.max_confidence is not None or asked.kinds)


def _query(asked: QueueFilter) -> tuple[tuple[str, str], ...]:
    return (("video", ",".join(map(str, asked.source_video_ids))),) if asked.source_video_ids else ()
