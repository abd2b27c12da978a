"""From rows to what the pages show. Pure: no Streamlit, no database."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from heaters_dagster.domain.cut_kinds import GIVEN_KINDS, UNKNOWN_KIND, CutKind, Transition
from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.export_profile import ExportState
from heaters_dagster.domain.fact_fields import change_words
from heaters_dagster.domain.progress import Progress, duration
from heaters_dagster.domain.review import STAYS
from heaters_dagster.domain.review_queue import NO_KIND
from heaters_dagster.domain.stages import (
    EXPORTS,
    FURTHER_EXPORTS,
    GOLD_MASTER,
    PROXY,
    SOURCE_VIDEO,
    VIDEO_STAGES,
    VIRTUAL_CLIPS,
    with_states,
)
from heaters_dagster.domain.stages import beside as stages_beside
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.timecode import ClockOfVideo
from heaters_dagster.domain.words import action_words, counted, percent, video_state_words
from heaters_dagster.domain.words import clip_state_words as state_words
from resources.postgres.clip_store import Clip
from resources.postgres.review_store import HistoryEntry
from resources.postgres.source_video_lists import VideoCounts
from resources.postgres.source_video_store import SourceVideo

if TYPE_CHECKING:
    from resources.upkeep.replacement import Comparison

#: Stage -> how far along a source video is, 0..1: while it waits for the stage, and while the stage works on it.
_PROGRESS = {SOURCE_VIDEO: (0.0, 0.1), PROXY: (0.3, 0.5), VIRTUAL_CLIPS: (0.8, 0.9)}
_OF_INGEST = [(stage.steps, _PROGRESS[stage]) for stage in with_states(VIDEO_STAGES)]
#: State -> how far along a source video is, 0..1.
_FRACTIONS: Mapping[SourceVideoState, float] = {
    **{states.ready: ready for states, (ready, _) in _OF_INGEST},
    **{states.working: working for states, (_, working) in _OF_INGEST},
    VIRTUAL_CLIPS.steps.done: 1.0,
    **{states.failed: working for states, (_, working) in _OF_INGEST},
    SourceVideoState.DELETED: 0.0,
}
_EXPORT_STATES: Mapping[ExportState, str] = {
    ExportState.ASKED: "asked for",
    ExportState.WAITING: f"waiting {EXPORTS.words.waiting}",
    ExportState.WORKING: EXPORTS.words.working,
    ExportState.DONE: "exported",
    ExportState.FAILED: EXPORTS.words.failed,
}
#: The longest hover preview.
PREVIEW_FRAMES = 250
_NAMED_SHOTS = 3
#: Of the clips of a source video that is to be replaced.
_FATES_SHOWN = 100
_LINKED_CLIPS = 6
#: Of one action, for the history; with more clips its rows say how many had each state.
MOST_SNAPSHOTS = 20
_MARKDOWN = str.maketrans({character: f"\\{character}" for character in "\\`*_{}[]()<>#+-.!|~$:&"})
#: Streamlit draws these as one sign (`--` as a dash), escaped or not, where they stand alone. A sign without width keeps them apart.
_DRAWN_AS_ONE = re.compile(r"(?<!\S)(<->|->|<-|--|>=|<=|~=)(?!\S)")
_WORD_JOINER = "\u2060"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """A review action as the history shows it.

    when: seconds since 1970, shown in the reader's own time zone. clips: (id, number in its source video) of the first of the `clip_count`;
    each leads to the clip in Review. undone: it is taken back. why_not: why the reader cannot take it back, None when that is possible.
    """

    id: int
    when: float
    who: str
    what: str
    source_video: str
    clips: tuple[tuple[int, int | None], ...]
    clip_count: int
    before: str
    after: str
    undone: bool
    why_not: str | None


def plain(text: str) -> str:
    """`text` escaped for Markdown: every character is shown as it is, in tags and formulas too."""
    apart = _DRAWN_AS_ONE.sub(lambda found: _WORD_JOINER.join(found[0]), text)
    return apart.translate(_MARKDOWN).replace("\n", " ")


def clock(seconds: float | None) -> str:
    """`1:02:03.4`, without hours when there are none."""
    if seconds is None:
        return ""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}:{minutes:02d}" if hours else f"{minutes}") + f":{rest // 10:02d}.{rest % 10}"


def video_words(video: SourceVideo) -> str:
    """Its state. A source video that holds the bytes of another one has not failed, though it goes no further."""
    return video_state_words(video.state) if video.duplicate_of_id is None else f"the same as source video {video.duplicate_of_id}"


def video_fraction(video: SourceVideo, now: Progress | None = None) -> float:
    """0..1, for a bar: how far the work in progress is (see `progress_in`), else how far the source video is on its way to review."""
    return _FRACTIONS[video.state] if now is None or now.fraction is None else now.fraction


def waiting_words(video: SourceVideo, now: datetime) -> str:
    """Under the bar of a source video that is on its way."""
    if video.state in {states.working for states, *_ in _OF_INGEST}:
        return f"being worked on for {duration((now - video.state_changed_at).total_seconds())}"
    return "the pipeline goes on with it by itself while heaters up or heaters process runs"


def room_words(waits: Mapping[str, RoomWait]) -> str:
    """What the source video, or its clips, wait for on the disk; empty when nothing waits. The gold master has a line of its own."""
    return next((wait.words for asset, wait in waits.items() if asset != GOLD_MASTER.asset), "")


def reviewed_fraction(counts: Mapping[ClipState, int]) -> float:
    """0..1: how many of the clips somebody has decided on."""
    total = sum(counts.values())
    return 1 - counts.get(ClipState.PENDING_REVIEW, 0) / total if total else 0.0


def reviewed_words(counts: Mapping[ClipState, int]) -> str:
    total = sum(counts.values())
    return f"{total - counts.get(ClipState.PENDING_REVIEW, 0)} of {counted(total, 'clip')} reviewed"


def video_counts(counts: VideoCounts) -> str:
    """`12 source videos: 9 ready for review, 1 fetching failed`."""
    return f"{counted(counts.total, 'source video')}: {counts.words}"


def has_failed(state: SourceVideoState | ClipState) -> bool:
    return state.value.endswith("_failed")


def export_words(state: ExportState) -> str:
    return _EXPORT_STATES[state]


def clip_words(state: ClipState, beside: str = "") -> str:
    """beside: what stages beside the others say of the clip."""
    words = state_words(state)
    return f"{words} · {beside}" if beside else words


def work_has_failed(beside: Mapping[str, int]) -> bool:
    """Whether a stage beside the others, or a further export, failed. beside: what is said of them -> of how many clips."""
    return FURTHER_EXPORTS.failed in beside or any(stage.words.failed in beside for stage in stages_beside())


def clip_state_words() -> dict[str, str]:
    """All states of clips with their words, for the browser."""
    return {state.value: clip_words(state) for state in ClipState}


def cut_kind_words() -> dict[str, str]:
    """The kinds that a person may give a cut, with their words, for the browser; in the order in which they are offered."""
    return {kind.value: kind.words for kind in GIVEN_KINDS}


def kind_words(kind: str) -> str:
    """One of KINDS, as a filter offers it."""
    return UNKNOWN_KIND if kind == NO_KIND else CutKind(kind).words


def source_time_json(clock: ClockOfVideo | None) -> dict[str, Any] | None:
    """The timecode of a source video for the player; None: it has none."""
    if clock is None:
        return None
    time = clock.time
    return {
        "first_frame": time.first_frame,
        "rate": [time.rate.numerator, time.rate.denominator],
        "drop_frame": time.drop_frame,
        "reel": time.reel,
        "begins_seconds": clock.begins_seconds,
    }


def clip_note(clip: Clip, clock: ClockOfVideo | None = None) -> str:
    """Timecode of its first frame, length, the kind of its first cut where it is more than a hard one, and confidence, for a card.

    clock: of its source video; None: it has no timecode.
    """
    told = [] if clock is None else [clock.at(clip.start_time_seconds)]
    told.append(f"{clip.end_time_seconds - clip.start_time_seconds:.1f} s")
    told += [clip.transition.kind.words] if clip.transition and clip.transition.kind not in {CutKind.HARD, CutKind.END} else []
    return " · ".join([*told, *([] if clip.confidence is None else [f"{percent(clip.confidence)} sure"])])


def stale_words(fresh: Sequence[Clip], title: str, reviewer: str, named: Collection[int]) -> str:
    """What a colleague did to the clips that a decision was for.

    fresh: the clips in their place now, in the source video `title`. named: the ids that the decision named.
    """
    if len(fresh) == 1 and fresh[0].id in named:
        clip = fresh[0]
        frames = f"frames {clip.start_frame}–{clip.end_frame - 1}"
        return f"{reviewer} has changed clip {clip.sequence} of {title} since you saw it: it has {frames} and is {clip_words(clip.state)}."
    there = ", ".join(
        f"clip {clip.sequence} with frames {clip.start_frame}–{clip.end_frame - 1}, {clip_words(clip.state)}"
        for clip in fresh[:_NAMED_SHOTS]
    )
    if len(fresh) > _NAMED_SHOTS:
        there += f" and {counted(len(fresh) - _NAMED_SHOTS, 'clip')} more"
    return f"{reviewer} has changed the cuts of {title} here. In their place: {there}."


def verdict_words(clip: Clip, title: str, verdict: str, reviewer: str | None) -> str:
    """Why a clip cannot be grouped: this one was skipped or archived (`verdict`)."""
    who = f" by {reviewer}" if reviewer else ""
    return (
        f"clip {clip.sequence} of {title} was {verdict}{who}, and a group would approve it. "
        f"Approve clip {clip.sequence} first if the two belong together."
    )


def selection_words(action: ReviewAction, decided: int, left_alone: int, named: Sequence[str]) -> str:
    """The result of a decision on a selection. left_alone: clips that had changed since they were selected.

    named: what was done to some of them.
    """
    done = f"{counted(decided, 'clip')} {action_words(action)}." if decided else "No clip was changed."
    if not left_alone:
        return done
    them = (
        "1 clip was changed after you selected it, so it stays as it is"
        if left_alone == 1
        else f"{counted(left_alone, 'clip')} were changed after you selected them, so they stay as they are"
    )
    more = f" And {left_alone - len(named):,} more." if named and left_alone > len(named) else ""
    return f"{done} {them}{': ' + '; '.join(named) if named else ''}.{more}"


def clip_counts(counts: Mapping[ClipState, int], beside: Mapping[str, int] | None = None) -> str:
    """`3 waiting, 5 approved`, in the order of the states; then what stages beside the others say of how many: `2 to be measured`."""
    of_states = [f"{counts[state]} {clip_words(state)}" for state in ClipState if counts.get(state)]
    return ", ".join([*of_states, *(f"{number} {words}" for words, number in (beside or {}).items())])


def fates_table(compared: Comparison) -> str:
    """An HTML table: what becomes of each clip of a source video that is to be replaced; the first ones, and how many more there are."""
    rows = []
    for clip, fate in zip(compared.clips[:_FATES_SHOWN], compared.fates, strict=False):
        new = f"{fate.start_frame}–{(fate.end_frame or 1) - 1}" if fate.start_frame is not None else ""
        cells = (f"{clip.start_frame}–{clip.end_frame - 1}", clip_words(fate.clip.decision), new, fate.words)
        rows.append(f'<tr><th scope="row">{clip.sequence}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Clip", "Frames", "Decision", "New frames", "What becomes of it"))
    more = f"<p>and {len(compared.clips) - _FATES_SHOWN:,} more</p>" if len(compared.clips) > _FATES_SHOWN else ""
    return f'<table class="heaters-exports"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>{more}'


def history_rows(entries: Sequence[HistoryEntry], *, reader: str) -> list[HistoryRow]:
    """Rows of the ledger, in the order given. reader: name of whoever looks at it."""
    return [
        HistoryRow(
            id=entry.id,
            when=entry.created_at.timestamp(),
            who=entry.reviewer,
            what=entry.words,
            source_video=f"{entry.source_video_id}. {entry.source_video_title}",
            clips=tuple((clip_id, _number(entry, clip_id)) for clip_id in entry.clip_ids[:_LINKED_CLIPS]),
            clip_count=len(entry.clip_ids),
            before=_side(entry, "before"),
            after=_side(entry, "after"),
            undone=entry.undone,
            why_not=_why_not(entry, reader),
        )
        for entry in entries
    ]


def _why_not(entry: HistoryEntry, reader: str) -> str | None:
    """Why the reader cannot take an action back, where the action itself is the reason."""
    if entry.action in {ReviewAction.UNDO, ReviewAction.REDO}:
        return ""
    if entry.action in STAYS:
        return "cannot be taken back"
    if not entry.clip_ids and entry.action is not ReviewAction.EDIT_FACTS:
        return "changed nothing"
    return None if entry.reviewer == reader else f"only {entry.reviewer} can take it back"


def _number(entry: HistoryEntry, clip_id: int) -> int | None:
    """Of the clip in its source video, as every page and file has it."""
    shots = (side.get(str(clip_id)) or {} for side in (entry.after, entry.before))
    number = next((shot["sequence"] for shot in shots if "sequence" in shot), None)
    return None if number is None else int(str(number))


def _side(entry: HistoryEntry, side: str) -> str:
    """What an action has changed, before or after it: frames of clips, or facts of a source video."""
    if "facts" in entry.details:
        return change_words(entry.details["facts"][side]["values"])
    snapshots, counts = (entry.before, entry.before_counts) if side == "before" else (entry.after, entry.after_counts)
    if entry.action is ReviewAction.EDIT_CUT:
        return _cuts(entry, snapshots)
    frames = _frames(snapshots, counts)
    # An undo or redo of what a cut is leaves frames and states as they are.
    same = entry.action in {ReviewAction.UNDO, ReviewAction.REDO} and frames == _frames(entry.before, entry.before_counts)
    return (same and frames == _frames(entry.after, entry.after_counts) and _cuts(entry, snapshots)) or frames


def _cuts(entry: HistoryEntry, snapshots: Mapping[str, Mapping[str, Any] | None]) -> str:
    """`cut at 120: dissolve, frames 116..123`, of the cuts that the action has changed."""
    told = {clip_id: snapshot.get("transition") for clip_id, snapshot in snapshots.items() if snapshot is not None}
    before, after = ({clip_id: (one or {}).get("transition") for clip_id, one in side.items()} for side in (entry.before, entry.after))
    changed = [clip_id for clip_id in told if before.get(clip_id) != after.get(clip_id)]
    return ", ".join(
        f"cut at {(snapshots[clip_id] or {})['start_frame']}: {Transition.from_json(one).words if (one := told[clip_id]) else UNKNOWN_KIND}"
        for clip_id in changed
    )


def _frames(snapshots: Mapping[str, Mapping[str, object] | None], counts: Mapping[str, int] | None) -> str:
    """`0–51 waiting, 52–121 approved`; more than three clips are counted. counts: clips by state, where there are too many snapshots."""
    if counts is not None:
        return clip_counts({ClipState(state): number for state, number in counts.items()})
    live = [shot for shot in snapshots.values() if shot is not None and shot.get("is_live", True)]
    shots = sorted(live, key=lambda shot: int(str(shot["start_frame"])))
    if len(shots) > _NAMED_SHOTS:
        return clip_counts(Counter(ClipState(str(shot["state"])) for shot in shots))
    return ", ".join(
        f"{shot['start_frame']}–{int(str(shot['end_frame'])) - 1} {clip_words(ClipState(str(shot['state'])))}" for shot in shots
    )
