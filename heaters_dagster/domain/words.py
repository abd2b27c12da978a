"""Words for people: a number with its noun, the states of source videos and clips, and what review actions did."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import floor

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
#: (what somebody did, what an undo undid). The page has the same of single clips: review_app/player/static/decisions/words.js.
_ACTIONS: Mapping[ReviewAction, tuple[str, str]] = {
    ReviewAction.APPROVE: ("approved", "approving"),
    ReviewAction.SKIP: ("skipped", "skipping"),
    ReviewAction.ARCHIVE: ("archived", "archiving"),
    ReviewAction.GROUP: ("grouped", "grouping"),
    ReviewAction.ADD_CUT_POINT: ("added a cut", "adding a cut"),
    ReviewAction.REMOVE_CUT_POINT: ("removed a cut", "removing a cut"),
    ReviewAction.MOVE_CUT_POINT: ("moved a cut", "moving a cut"),
    ReviewAction.EDIT_CUT: ("set the kind of a cut", "setting the kind of a cut"),
    ReviewAction.UNDO: ("undid", "undoing"),
    ReviewAction.REDO: ("redid", "redoing"),
    ReviewAction.RECUT: ("cut the video anew", "cutting the video anew"),
    ReviewAction.REPLACE: ("replaced the video", "replacing the video"),
    ReviewAction.SEND_BACK: ("sent back to review", "sending back to review"),
    ReviewAction.RENAME: ("gave a new title", "giving a new title"),
    ReviewAction.DELETE: ("deleted the video", "deleting the video"),
    ReviewAction.EDIT_FACTS: ("changed facts", "changing facts"),
    ReviewAction.IMPORT_CUTS: ("imported the cuts of a list", "importing the cuts of a list"),
}
_WORDS_OF_STATES = {state.value: words for state, words in (*_VIDEO_STATES.items(), *_CLIP_STATES.items())}
#: State names that are no ordinary words, such as `review_skipped`.
_STATE_NAMES = re.compile("|".join(rf"\b{name}\b" for name in _WORDS_OF_STATES if "_" in name or name.startswith("preprocess")))


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 clip`, `3,000 clips`; with a verb: `counted(2, "clip waits", "clips wait")`. many: when it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """`96 %` of 0.96; a half goes up, as on the pages. share: a part (0..1) of all."""
    return f"{floor(100 * share + 0.5)} %"


def video_state_words(state: SourceVideoState) -> str:
    return _VIDEO_STATES[state]


def clip_state_words(state: ClipState) -> str:
    return _CLIP_STATES.get(state, state.value)


def action_words(action: ReviewAction, returned: ReviewAction | None = None) -> str:
    """What a review action did: `added a cut`. returned: what an undo undid or a redo redid: `undid adding a cut`."""
    return _ACTIONS[action][0] if returned is None else f"{_ACTIONS[action][0]} {_ACTIONS[returned][1]}"


def without_state_names(message: str) -> str:
    """A message of the domain or of a store, where states have their own names, with the words for people instead."""
    return _STATE_NAMES.sub(lambda match: _WORDS_OF_STATES[match[0]], message)
