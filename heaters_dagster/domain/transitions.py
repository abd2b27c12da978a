"""Which state may follow which, derived from the table of stages. `resources/` applies it and the database repeats it.

A working state (`downloading`, `exporting`, ...) may be entered again from itself: that is how work that was killed in the
middle is resumed. A review decision may be taken back at any time, also after export: the exported file is then obsolete.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TypeVar

from heaters_dagster.domain.errors import IllegalTransitionError
from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, SOURCE_VIDEO, VIDEO_STAGES, Stage, with_states
from heaters_dagster.domain.states import REVIEW_STATES, ClipState, SourceVideoState

S = TypeVar("S", bound=StrEnum)


def _of_stages(stages: Iterable[Stage[S]]) -> dict[S, frozenset[S]]:
    found: defaultdict[S, set[S]] = defaultdict(set)
    for stage in with_states(stages):
        states = stage.steps
        found[states.ready] |= {states.working, states.failed}
        found[states.working] |= {states.working, states.done, states.failed}
        found[states.failed] |= {states.working, states.ready}
        for done in states.again:
            found[done].add(states.working)
    return {state: frozenset(following) for state, following in found.items()}


_INGEST = _of_stages(VIDEO_STAGES)
_PIPELINE = _of_stages(CLIP_STAGES)
_FETCHED = SOURCE_VIDEO.steps

#: A source video can be deleted in every state, and then stays so: a row without files, for the audit trail. A download from a site that
#: asks for a long pause is put back before its stage, which is no failure.
SOURCE_VIDEO_TRANSITIONS: Mapping[SourceVideoState, frozenset[SourceVideoState]] = {
    **{state: _INGEST.get(state, frozenset()) | {SourceVideoState.DELETED} for state in SourceVideoState},
    _FETCHED.working: _INGEST[_FETCHED.working] | {_FETCHED.ready, SourceVideoState.DELETED},
    SourceVideoState.DELETED: frozenset(),
}
CLIP_TRANSITIONS: Mapping[ClipState, frozenset[ClipState]] = {
    state: (_PIPELINE.get(state, frozenset()) | REVIEW_STATES) - ({state} & REVIEW_STATES) for state in ClipState
}

#: Where `heaters retry` puts a failed source video or clip: the state before the stage that failed. A clip whose keyframes are gone goes
#: on from there to `keyframing`.
SOURCE_VIDEO_RETRY: Mapping[SourceVideoState, SourceVideoState] = {
    stage.steps.failed: stage.steps.ready for stage in with_states(VIDEO_STAGES)
}
CLIP_RETRY: Mapping[ClipState, ClipState] = {stage.steps.failed: stage.steps.ready for stage in with_states(CLIP_STAGES)}

#: Approved, and no file has been made yet. A clip further on has one.
BEFORE_EXPORT = EXPORTS.steps.due


def is_past(state: SourceVideoState, failed_state: SourceVideoState) -> bool:
    """Whether a source video in `state` has been through the stage that fails as `failed_state`; such a stage is only made good again."""
    stages = [stage.steps for stage in with_states(VIDEO_STAGES)]
    number = {member: position for position, states in enumerate(stages) for member in states.due}
    return number.get(state, len(stages)) > number[failed_state]


def checked_source_video_transition(old: SourceVideoState, new: SourceVideoState) -> SourceVideoState:
    """Return `new` if it may follow `old`; raise IllegalTransitionError otherwise."""
    return _checked("source video", old, new, SOURCE_VIDEO_TRANSITIONS[old])


def checked_clip_transition(old: ClipState, new: ClipState) -> ClipState:
    """Return `new` if it may follow `old`; raise IllegalTransitionError otherwise."""
    return _checked("clip", old, new, CLIP_TRANSITIONS[old])


def transition_function(name: str, transitions: Mapping[S, frozenset[S]]) -> str:
    """SQL that makes `name(old_state, new_state)` say whether a change is legal. A migration holds it; a test compares."""
    pairs = [f"('{old}', '{new}')" for old in transitions for new in sorted(transitions[old])]
    rows = ",\n        ".join(pairs)
    return (
        f"create or replace function {name}(old_state text, new_state text)\n"
        f"returns boolean language sql immutable parallel safe as $$\n    select (old_state, new_state) in (\n        {rows}\n    )\n$$"
    )


def _checked(what: str, old: S, new: S, legal: frozenset[S]) -> S:
    if new not in legal:
        raise IllegalTransitionError(f"a {what} that is {old} cannot become {new}; legal: {', '.join(sorted(legal))}")
    return new
