"""Review decisions, and undo and redo to any depth, as functions from what is known to a Change.

The ledger (`review_actions`) holds every action with the clips before and after. An action *stands* until it is undone. It can be undone
while no later standing action touches its clips. So a clip is always as the newest standing action on it left it, and undoing
everything in reverse restores the first cut list exactly. What the pipeline did with an approved clip is no action: an exported clip
still counts as `review_approved`, and undoing the action that ended its approval restores `review_approved`, so that it is exported again.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from heaters_dagster.domain.clip_names import clips_by_id
from heaters_dagster.domain.cut_kinds import Transition
from heaters_dagster.domain.cuts import Change, ClipChange, ReviewAction, ReviewClip, retired, unlinked_followers
from heaters_dagster.domain.errors import BadRequestError, CutError, NothingToUndoError, StaleClipError, VerdictStandsError
from heaters_dagster.domain.states import ClipState
from heaters_dagster.domain.transitions import checked_clip_transition

#: Actions that cannot be undone, with their names in messages.
STAYS: Mapping[ReviewAction, str] = {
    ReviewAction.REPLACE: "the replacement of a source video",
    ReviewAction.RENAME: "a new title",
    ReviewAction.DELETE: "the deletion of a source video",
}

MAX_REVIEWER_NAME = 80

#: End of the name under which the command line decides where people sign in. So the ledger never names a person for what they did not do.
COMMAND_LINE = "(command line)"
_SET_ASIDE = {ClipState.REVIEW_SKIPPED: "skipped", ClipState.REVIEW_ARCHIVED: "archived"}
#: Unicode's marks that change the direction of the text around them: with them, one name could look like another.
_TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """One row of the ledger without its snapshots.

    clip_ids: clips the action depends on, empty when it changed nothing. target_action_id: what an undo undid or a redo redid.
    undone: an undo has taken it back, and no redo has followed. recut: a forced recut that stands, or the deletion of the source
    video, has since retired what it depends on. of_facts: it changed facts of the source video, or took such a change back.
    """

    id: int
    action: ReviewAction
    source_video_id: int
    clip_ids: tuple[int, ...]
    target_action_id: int | None = None
    undone: bool = False
    recut: bool = False
    of_facts: bool = False

    @property
    def is_decision(self) -> bool:
        """A reviewer's own decision that changed something; not an undo, a redo, a new title or a decision that changed nothing."""
        return self.target_action_id is None and self.action not in STAYS and bool(self.clip_ids)

    @property
    def stands(self) -> bool:
        return self.is_decision and not self.undone

    @property
    def is_change_of_facts(self) -> bool:
        """A change of facts itself; not an undo or a redo of one."""
        return self.of_facts and self.target_action_id is None


def approve(clips: Iterable[ReviewClip], *, export_profile: str | None = None) -> Change:
    """Approve each of `clips`; those approved already are left alone, unless `export_profile` asks for another kind of export."""
    return Change(
        ReviewAction.APPROVE,
        tuple(
            _decided(clip, ClipState.REVIEW_APPROVED, export_profile=export_profile or clip.export_profile)
            for clip in map(_checked_live, clips)
            if not clip.is_approved or (export_profile or clip.export_profile) != clip.export_profile
        ),
    )


def skip(clips: Iterable[ReviewClip], *, beside: Iterable[ReviewClip] = ()) -> Change:
    """Skip each of `clips`. They leave their groups, and clips of `beside` that are grouped with them leave those groups too."""
    return _put_aside(ReviewAction.SKIP, ClipState.REVIEW_SKIPPED, clips, beside)


def archive(clips: Iterable[ReviewClip], *, beside: Iterable[ReviewClip] = ()) -> Change:
    """Archive each of `clips`: as `skip`, and their files are deleted. They stay live: the video is still covered by its clips."""
    return _put_aside(ReviewAction.ARCHIVE, ClipState.REVIEW_ARCHIVED, clips, beside)


def send_back(clips: Iterable[ReviewClip], *, beside: Iterable[ReviewClip] = ()) -> Change:
    """Make each of `clips` wait for review again. They leave their groups, and clips of `beside` that are grouped with them do too."""
    return _put_aside(ReviewAction.SEND_BACK, ClipState.PENDING_REVIEW, clips, beside)


def group(clips: Iterable[ReviewClip], clip_id: int) -> Change:
    """Group a clip with the live clip before it: both become approved, the later one points at the earlier.

    clips: at least those two. Raises CutError when there is no clip before it, and VerdictStandsError when one of the two was skipped or
    archived: a reviewer who groups says that the two belong together, and may never have seen that verdict.
    """
    around = [clip for clip in clips if clip.is_live]
    clip = next((clip for clip in around if clip.id == clip_id), None)
    if clip is None:
        raise StaleClipError(f"clip id:{clip_id} is no longer in the cut list: other cuts have replaced it")
    previous = next((other for other in around if other.end_frame == clip.start_frame), None)
    if previous is None:
        raise CutError(f"clip id:{clip_id} is the first of its source video; there is no clip before it to group it with")
    if clip.grouped_with_clip_id == previous.id:
        return Change(ReviewAction.GROUP, ())
    for one in (previous, clip):
        verdict = _SET_ASIDE.get(one.state)
        if verdict is not None:
            raise VerdictStandsError(_saved_id(one), verdict)
    state = clip.state if clip.is_approved else checked_clip_transition(clip.state, ClipState.REVIEW_APPROVED)
    linked = ClipChange(clip, replace(clip, state=state, grouped_with_clip_id=previous.id, version=clip.version + 1))
    first = () if previous.is_approved else (_decided(previous, ClipState.REVIEW_APPROVED),)
    return Change(ReviewAction.GROUP, (*first, linked))


def undone(changes: Iterable[ClipChange], current: Mapping[int, ReviewClip]) -> Change:
    """Take an action back. changes: what it did, as saved, so every clip has its id. current: those clips as they are now.

    Clips that the action made are retired; they keep their ids and sequences for a redo. Raises StaleClipError when a clip is not as the
    action left it (see `changed_since`).
    """
    return _returned(ReviewAction.UNDO, [(change.after, change.before or retired(change.after)) for change in changes], current)


def redone(changes: Iterable[ClipChange], current: Mapping[int, ReviewClip]) -> Change:
    """Do an undone action again, with the same clips.

    Raises StaleClipError when a clip is not as the undo left it, or a group would be broken by what has changed beside it.
    """
    return _returned(ReviewAction.REDO, [(change.before or retired(change.after), change.after) for change in changes], current)


def changed_since(expected: Iterable[ReviewClip], current: Mapping[int, ReviewClip], *, wanted: Iterable[ReviewClip] = ()) -> list[int]:
    """Ids of the clips that are missing from `current` or have another decision than in `expected`; pipeline progress does not count.

    wanted: the clips as they shall be afterwards. The list also has clips that would then break a group with one of `wanted`: they are
    grouped with it, or it with them.
    """
    changed = [
        clip_id for clip in expected if (clip_id := _saved_id(clip)) not in current or _decision_of(clip) != _decision_of(current[clip_id])
    ]
    targets = {_saved_id(clip): clip for clip in wanted}
    after = {**current, **targets}
    for clip_id, clip in after.items():
        previous = clip.grouped_with_clip_id
        if previous is None or targets.keys().isdisjoint((clip_id, previous)) or _can_lead(after.get(previous), clip):
            continue
        changed.append(previous if clip_id in targets else clip_id)
    return changed


def next_to_undo(newest_first: Iterable[LedgerEntry], *, source_video_id: int | None = None, with_facts: bool = False) -> LedgerEntry:
    """The action that "undo" means, among one reviewer's own ledger entries. with_facts: a change of facts counts too.

    Raises NothingToUndoError.
    """
    for entry in newest_first:
        stands = entry.stands or (with_facts and entry.is_change_of_facts and not entry.undone)
        if stands and not entry.recut and source_video_id in (None, entry.source_video_id):
            return entry
    raise NothingToUndoError("nothing to undo: you have no decision that still stands")


def next_to_redo(newest_first: Iterable[LedgerEntry], *, source_video_id: int | None = None, with_facts: bool = False) -> int:
    """Id of the action that "redo" means: the last undone one, unless its reviewer has decided anew since.

    with_facts: as for `next_to_undo`. Raises NothingToUndoError.
    """
    redone_since: dict[int, int] = {}
    for entry in newest_first:
        target = entry.target_action_id
        if entry.is_decision or (with_facts and entry.is_change_of_facts):
            break
        counts = entry.clip_ids or (with_facts and entry.of_facts)
        if target is None or not counts or entry.recut or source_video_id not in (None, entry.source_video_id):
            continue
        if entry.action == ReviewAction.REDO:
            redone_since[target] = redone_since.get(target, 0) + 1
        elif redone_since.get(target, 0):
            redone_since[target] -= 1
        else:
            return target
    raise NothingToUndoError("nothing to redo: nothing was undone since your last new decision")


def in_the_way(entry: LedgerEntry, others: Iterable[LedgerEntry]) -> LedgerEntry | None:
    """The newest standing later action on the same clips: it must be undone before `entry` can be undone or redone. None when free."""
    touched = set(entry.clip_ids)
    later = [other for other in others if other.id > entry.id and other.stands and touched.intersection(other.clip_ids)]
    return max(later, key=lambda other: other.id, default=None)


def loses_export(before: ReviewClip, after: ReviewClip) -> bool:
    """Whether the exported file of `before`, if there is one, is wrong for `after`: other frames, another profile, or not approved."""
    return before.is_approved and not _still_exported(before, after)


def snapshot(clip: ReviewClip) -> dict[str, Any]:
    """`clip` as JSON for the ledger; its state is the decision, without the pipeline's progress."""
    return {
        "id": clip.id,
        "source_video_id": clip.source_video_id,
        "sequence": clip.sequence,
        "start_frame": clip.start_frame,
        "end_frame": clip.end_frame,
        "state": str(clip.decision),
        "is_live": clip.is_live,
        "version": clip.version,
        "grouped_with_clip_id": clip.grouped_with_clip_id,
        "confidence": clip.confidence,
        "export_profile": clip.export_profile,
        "transition": None if clip.transition is None else clip.transition.to_json(),
    }


def clip_of_snapshot(data: Mapping[str, Any]) -> ReviewClip:
    """The clip that `snapshot` wrote; other members are ignored. Those of before kinds were stored have no transition."""
    told = data.get("transition")
    values = {name: data[name] for name in ReviewClip.__dataclass_fields__ if name != "transition"}
    return ReviewClip(**{**values, "state": ClipState(data["state"]), "transition": told and Transition.from_json(told)})


def checked_reviewer_name(name: str) -> str:
    """`name` without outer blanks. Raises BadRequestError when it is empty, too long, or has characters that hide or reverse text."""
    tidy = " ".join(name.split())
    hidden = any(unicodedata.category(letter) in {"Cc", "Cs", "Co", "Cn"} or letter in _TURNING for letter in tidy)
    if not 1 <= len(tidy) <= MAX_REVIEWER_NAME or hidden:
        raise BadRequestError(
            f"a reviewer's name has 1 to {MAX_REVIEWER_NAME} printable characters; this is {name[: MAX_REVIEWER_NAME + 1]!r}"
        )
    return tidy


def name_at_command_line(name: str) -> str:
    """`Grace` -> `Grace (command line)`; a name that already ends in this way stays."""
    tidy = checked_reviewer_name(name)
    return tidy if is_name_at_command_line(tidy) else checked_reviewer_name(f"{tidy} {COMMAND_LINE}")


def is_name_at_command_line(name: str) -> bool:
    return " ".join(name.split()).casefold().endswith(COMMAND_LINE)


def _checked_live(clip: ReviewClip) -> ReviewClip:
    if not clip.is_live:
        raise StaleClipError(f"clip id:{clip.id} is no longer in the cut list: other cuts have replaced it")
    return clip


def _decided(clip: ReviewClip, state: ClipState, **columns: Any) -> ClipChange:
    new = state if clip.state == state else checked_clip_transition(clip.state, state)
    return ClipChange(clip, replace(clip, state=new, version=clip.version + 1, **columns))


def _put_aside(action: ReviewAction, state: ClipState, clips: Iterable[ReviewClip], beside: Iterable[ReviewClip]) -> Change:
    leaving = [clip for clip in map(_checked_live, clips) if clip.state != state]
    decided = [_decided(clip, state, grouped_with_clip_id=None) for clip in leaving]
    return Change(action, (*decided, *unlinked_followers(beside, leaving)))


def _returned(action: ReviewAction, steps: list[tuple[ReviewClip, ReviewClip]], current: Mapping[int, ReviewClip]) -> Change:
    stale = changed_since([expected for expected, _ in steps], current, wanted=[target for _, target in steps])
    if stale:
        raise StaleClipError(f"{clips_by_id(stale)} changed since; {action} would overwrite that")
    changes = []
    for expected, target in steps:
        now = current[_saved_id(target)]
        profile = now.export_profile if expected.export_profile == target.export_profile else target.export_profile
        goal = replace(target, state=target.decision, export_profile=profile, version=now.version + 1)
        goal = replace(goal, transition=_transition_after(expected, goal, now))
        changes.append(ClipChange(now, replace(goal, state=now.state) if _still_exported(now, goal) else goal))
    return Change(action, tuple(changes))


def _transition_after(expected: ReviewClip, goal: ReviewClip, now: ReviewClip) -> Transition | None:
    """Only an action that changed what the cut is brings it back. Snapshots of before kinds were stored say nothing of it."""
    if expected.transition != goal.transition:
        return goal.transition
    return now.transition and now.transition.around(goal.start_frame, start_frame=0, end_frame=goal.end_frame)


def _still_exported(before: ReviewClip, after: ReviewClip) -> bool:
    return before.is_approved and after.is_approved and _export_of(before) == _export_of(after)


def _export_of(clip: ReviewClip) -> tuple[object, ...]:
    return clip.is_live, clip.start_frame, clip.end_frame, clip.export_profile


def _can_lead(previous: ReviewClip | None, clip: ReviewClip) -> bool:
    """Whether `clip` can be grouped with `previous`."""
    return previous is not None and previous.is_live and previous.is_approved and previous.end_frame == clip.start_frame


def _decision_of(clip: ReviewClip) -> tuple[object, ...]:
    return clip.is_live, clip.start_frame, clip.end_frame, clip.decision, clip.grouped_with_clip_id


def _saved_id(clip: ReviewClip) -> int:
    if clip.id is None:
        raise ValueError("a clip in the ledger has an id")
    return clip.id
