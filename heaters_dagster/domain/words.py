"""Words for people: a number with its noun, the states of source videos and clips, and what review actions did."""

from __future__ import annotations

import re
from collections.abc import Mapping

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.stages import CLIP_STAGES, VIDEO_STAGES, VIRTUAL_CLIPS, with_states
from heaters_dagster.domain.states import ClipState, SourceVideoState

_OF_INGEST = [(stage.steps, stage.words) for stage in with_states(VIDEO_STAGES)]
_OF_CLIPS = [(stage.steps, stage.words) for stage in with_states(CLIP_STAGES)]
_VIDEO_STATES: Mapping[SourceVideoState, str] = {
    **{states.ready: f"waiting {words.waiting}" for states, words in _OF_INGEST},
    **{states.working: words.working for states, words in _OF_INGEST},
    VIRTUAL_CLIPS.steps.done: VIRTUAL_CLIPS.words.done or "",
    **{states.failed: words.failed for states, words in _OF_INGEST},
    SourceVideoState.DELETED: "deleted",
}
#: A state that is not here is called by its name.
_CLIP_STATES: Mapping[ClipState, str] = {
    ClipState.PENDING_REVIEW: "waiting",
    ClipState.REVIEW_APPROVED: "approved",
    ClipState.REVIEW_SKIPPED: "skipped",
    ClipState.REVIEW_ARCHIVED: "archived",
    **{states.done: words.done for states, words in _OF_CLIPS if words.done is not None},
    **{states.failed: words.failed for states, words in _OF_CLIPS},
}
_ACTIONS: Mapping[ReviewAction, str] = {
    ReviewAction.APPROVE: "approved",
    ReviewAction.SKIP: "skipped",
    ReviewAction.ARCHIVE: "archived",
    ReviewAction.GROUP: "grouped",
    ReviewAction.ADD_CUT_POINT: "added a cut",
    ReviewAction.REMOVE_CUT_POINT: "removed a cut",
    ReviewAction.MOVE_CUT_POINT: "moved a cut",
    ReviewAction.EDIT_CUT: "said what a cut is",
    ReviewAction.UNDO: "took back",
    ReviewAction.REDO: "did again",
    ReviewAction.RECUT: "cut the video anew",
    ReviewAction.REPLACE: "replaced the video",
    ReviewAction.SEND_BACK: "sent back to review",
    ReviewAction.RENAME: "gave a new title",
    ReviewAction.DELETE: "deleted the video",
    ReviewAction.EDIT_FACTS: "changed facts",
    ReviewAction.IMPORT_CUTS: "imported the cuts of a list",
}
_WORDS_OF_STATES = {state.value: words for state, words in (*_VIDEO_STATES.items(), *_CLIP_STATES.items())}
#: State names that are no ordinary words, such as `review_skipped`.
_STATE_NAMES = re.compile("|".join(rf"\b{name}\b" for name in _WORDS_OF_STATES if "_" in name or name.startswith("preprocess")))


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 clip`, `3,000 clips`; with a verb: `counted(2, "clip waits", "clips wait")`. many: when it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def video_state_words(state: SourceVideoState) -> str:
    return _VIDEO_STATES[state]


def clip_state_words(state: ClipState) -> str:
    return _CLIP_STATES.get(state, state.value)


def action_words(action: ReviewAction) -> str:
    """What a review action did: `added a cut`."""
    return _ACTIONS[action]


def without_state_names(message: str) -> str:
    """A message of the domain or of a store, where states have their own names, with the words for people instead."""
    return _STATE_NAMES.sub(lambda match: _WORDS_OF_STATES[match[0]], message)
