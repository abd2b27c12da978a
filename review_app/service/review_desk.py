"""The answers of the player's JSON routes: gathers rows, calls the review store, and gives the result in the player's words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from heaters_dagster.domain.cuts import ReviewAction
from heaters_dagster.domain.errors import (
    BadRequestError,
    CutError,
    IllegalTransitionError,
    NotFoundError,
    NothingToUndoError,
    PermanentError,
    SettingsError,
    StaleClipError,
    VerdictStandsError,
)
from heaters_dagster.domain.review_queue import QueueFilter
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.clips.clip_media import ClipMedia
from resources.media.frame_index_reader import FrameIndexes
from resources.object_store.interface import ObjectStore
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_counts import counts_by_state, scope_of
from resources.postgres.clip_lookup import ClipLookup
from resources.postgres.clip_store import Clip, ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.review_page_store import ReviewPageStore
from resources.postgres.review_queue_store import ReviewQueueStore
from resources.postgres.review_store import ReviewResult, ReviewStore, StaleClipsError
from resources.postgres.source_video_lists import SourceVideoLists
from resources.postgres.source_video_store import SourceVideo, SourceVideoStore
from resources.postgres.subscription_store import SubscriptionStore
from resources.postgres.watched_store import WatchedStore
from review_app.service import incoming, views
from review_app.service.addresses import Addresses
from review_app.service.empty_states import Empty, no_clip_to_show
from review_app.service.links import Links, Session
from review_app.service.page_rows import PageRows
from review_app.service.recent_progress import RecentProgress, progress_json
from review_app.service.selection import MAX_MATCHING, packed, unpacked
from review_app.service.upload_room import UploadRoom

MAX_QUEUE = 50
#: Clips that one answer describes: a decision may have been on thousands, and a page asks for what it shows.
_MAX_TOLD = 100
#: Clips of a selection of which it is said what a colleague made of them.
_NAMED = 3
_ON_SELECTIONS = frozenset({ReviewAction.APPROVE, ReviewAction.SKIP, ReviewAction.ARCHIVE})


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an HTTP answer."""

    status: int
    body: Mapping[str, Any]


class ReviewDesk:
    """One per process; safe to share between threads."""

    def __init__(self, *, settings: Settings, database: Database, objects: ObjectStore, links: Links) -> None:
        self.settings = settings
        self.database = database
        self.objects = objects
        self.links = links
        self.indexes = FrameIndexes(objects)
        self.media = ClipMedia(objects, self.indexes, settings.home / "review_cache")
        self.videos = SourceVideoStore(database)
        self.lists = SourceVideoLists(database)
        self.subscriptions = SubscriptionStore(database)
        self.watched = WatchedStore(database)
        self.clips = ClipStore(database)
        self.exports = ExportStore(database)
        self.names = ClipLookup(database)
        self.reviews = ReviewStore(database, self.indexes.times)
        self.queue_store = ReviewQueueStore(database, lease_seconds=settings.lease_seconds)
        self.upload_room = UploadRoom(settings.uploads_folder, WorkFolder.of(settings).room, to_bucket=settings.object_bucket is not None)
        self.addresses = Addresses(settings, links)
        self._around = ReviewPageStore(database)
        self._rows = PageRows(settings=settings, database=database, objects=objects, addresses=self.addresses)
        self._progress = RecentProgress(self.queue_store)

    def queue(self, session: Session, chosen: QueueFilter, *, limit: int, open_clip_id: int | None = None) -> Answer:
        """The next clips, leased to the reviewer, with their neighbours and videos; `open_clip_id` first when it is given.

        A clip that was cut anew since is opened where it began.
        """
        limit = min(max(limit, 1), MAX_QUEUE)
        opened, note = (None, None) if open_clip_id is None else self._opened(session, open_clip_id)
        taken = self.queue_store.take_ids(chosen, reviewer=session.reviewer, count=limit)
        ids = list(dict.fromkeys([*([opened] if opened is not None else []), *taken]))[:limit]
        with self.database.reading():
            around = self._around.around(ids)
            beside = self.clips.words_beside(around)
            videos = self._videos_of(around)
            progress = self._progress.recent(chosen, session.reviewer)
            has_decided = self._around.has_decided(session.reviewer_id)
        return Answer(
            200,
            {
                "queue": ids,
                "has_decided": has_decided,
                "clips": self._rows.clips_json(around, beside),
                "videos": self._rows.videos_json(videos),
                "progress": progress_json(progress),
                "lease_seconds": self.settings.lease_seconds,
                **({"opened": opened} if opened is not None else {}),
                **({"note": note} if note else {}),
                **({} if ids else {"empty": self._empty_json(chosen)}),
            },
        )

    def why_empty(self, chosen: QueueFilter, *, page: str) -> Empty:
        """What the queue or the grid says when it has no clip. Read only then."""
        with self.database.read() as connection:
            matching = counts_by_state(connection, scope_of(connection, chosen))
        only = chosen.source_video_ids[0] if len(chosen.source_video_ids) == 1 else None
        return no_clip_to_show(chosen, matching, self.lists.counts(only=only).by_state, page=page)

    def _empty_json(self, chosen: QueueFilter) -> dict[str, Any]:
        empty = self.why_empty(chosen, page="review")
        addresses = [
            f"/{'' if way.page == 'review' else way.page}" + (f"?{urlencode(way.query)}" if way.query else "") for way in empty.ways
        ]
        ways = [{"label": way.label, "url": address} for way, address in zip(empty.ways, addresses, strict=True)]
        return {"title": empty.title, "text": empty.text, "ways": ways}

    def _opened(self, session: Session, clip_id: int) -> tuple[int | None, str | None]:
        """(id of the clip to begin with, a note about it). When the clip itself is gone, the clip in its place."""
        try:
            held = self.queue_store.open(clip_id, reviewer=session.reviewer)
        except NotFoundError:
            return None, "The clip in the address does not exist. Here are the clips that wait for review."
        if not held.clip.is_live:
            start = held.clip.start_frame
            there = next(clip.id for clip in self.clips.load_live(held.clip.source_video_id) if clip.start_frame <= start < clip.end_frame)
            return self._opened(session, there)[0], (
                f"Clip {held.clip.sequence} of {held.source_video_title} was cut again. Here is the clip that now begins there."
            )
        if held.leased_by not in {None, session.reviewer}:
            return clip_id, f"{held.leased_by} is on this clip too."
        return clip_id, None

    def video(self, source_video_id: int, frame: int | None = None) -> Answer:
        """A source video with fresh signed links; with `frame` also the clip that holds it, and its neighbours."""
        (body,) = self._rows.videos_json([self.videos.load(source_video_id)])
        if frame is None:
            return Answer(200, body)
        clip = self._around.clip_at(source_video_id, frame)
        if clip is None:
            raise NotFoundError(f"no clip of {body['title']} holds frame {frame}: it has the frames 0 to {(body['frame_count'] or 0) - 1}")
        return Answer(200, {**body, "clip_id": clip.id, "clips": self._rows.told([clip.id])})

    def sync(self, session: Session, *, hold: Sequence[int], known: Mapping[int, int], chosen: QueueFilter) -> Answer:
        """Lease `hold` where nobody else does, and say which of the clips {id: version} others have changed."""
        with self.database.reading():
            leases = self.queue_store.leases({*hold, *known}, reviewer=session.reviewer)
            changed = [lease for lease in leases.values() if known.get(lease.clip_id, lease.version) != lease.version]
            told = self._around.around([lease.clip_id for lease in changed])
            beside = self.clips.words_beside(told)
            progress = self._progress.recent(chosen, session.reviewer)
        held = {lease.clip_id for clip_id in hold if (lease := leases.get(clip_id)) and lease.is_live and lease.holder == session.reviewer}
        due = [clip_id for clip_id in hold if clip_id in leases and leases[clip_id].is_due]
        if due:
            held = held - set(due) | set(self.queue_store.renew(due, reviewer=session.reviewer))
        theirs = {clip_id: leases[clip_id].holder for clip_id in hold if clip_id in leases and clip_id not in held}
        return Answer(
            200,
            {
                "held": sorted(held),
                "lost": [
                    {"clip_id": clip_id, "reviewer": name} for clip_id, name in theirs.items() if name not in {None, session.reviewer}
                ],
                "clips": self._rows.clips_json(told, beside),
                "retired": [lease.clip_id for lease in changed if not lease.is_live],
                "progress": progress_json(progress),
            },
        )

    def select_all(self, chosen: QueueFilter) -> Answer:
        """All clips that match, as a selection to decide on. Raises BadRequestError when there are too many."""
        seen = self.queue_store.versions(chosen, limit=MAX_MATCHING + 1)
        if len(seen) > MAX_MATCHING:
            raise BadRequestError(
                f"more than {MAX_MATCHING:,} clips match, and so many are decided at once at most: choose narrower filters"
            )
        return Answer(200, {"count": len(seen), "newest": max(seen, default=0), "selection": packed(seen)})

    def decide(self, session: Session, body: Mapping[str, Any], chosen: QueueFilter) -> Answer:
        """Apply one decision. The same `request_key` again gives the same outcome and changes nothing."""
        named: list[int] = []
        try:
            if "selection" in body:
                return self._decide_selection(session, body, unpacked(incoming.words(body, "selection")), chosen)
            versions = incoming.versions(body, "versions")
            named = sorted(versions)
            if len(ticked := _ticked(body)) > 1 and versions.keys() >= ticked:
                return self._decide_selection(session, body, {clip_id: versions[clip_id] for clip_id in sorted(ticked)}, chosen)
            result = self._applied(session, body, versions)
            if body.get("action") in {"undo", "redo"}:
                # The clips that it brings back are on the page before the next sync could lease them.
                self.queue_store.renew([clip.id for clip in result.live_clips][:MAX_QUEUE], reviewer=session.reviewer)
        except StaleClipsError as error:
            return self._refused(409, "stale", self._stale_words(error, named), [*named, *(clip.id for clip in error.clips)])
        except StaleClipError as error:
            return self._refused(409, "stale", self.in_words(str(error)), named)
        except VerdictStandsError as error:
            return self._refused(422, "illegal", self._verdict_words(error), [*named, error.clip_id])
        except BadRequestError as error:
            return self._refused(400, "illegal", self.in_words(str(error)), named)
        except (CutError, NothingToUndoError, IllegalTransitionError) as error:
            return self._refused(422, "illegal", self.in_words(str(error)), named)
        except NotFoundError as error:
            return self._refused(404, "not_found", self.in_words(str(error)), [])
        except SettingsError:
            raise  # the settings of the database or the store are wrong, not the decision
        except PermanentError as error:
            return self._refused(422, "illegal", self.in_words(str(error)), named)
        versions = {clip.id: clip.cut_point_version for clip in result.clips}
        done = {}
        with self.database.reading():
            around = self._around.around([clip.id for clip in result.clips[:_MAX_TOLD]])
            beside = self.clips.words_beside(around)
            progress = self._progress.counted(chosen, session.reviewer)
        if result.replayed or body.get("action") in {"undo", "redo"}:
            assert result.action_id is not None  # a browser's decision has a request key, and so an entry of its own
            taken = self._around.action_taken(result.action_id)
            # When the answer is requested again, a clip may have changed since: the sender of the decision has not seen that change.
            versions = dict(taken.versions)
            done = {} if taken.undone is None else {"done": self._done_json(*taken.undone)}
        return Answer(
            200,
            {
                "ok": True,
                "replayed": result.replayed,
                "action_id": result.action_id,
                "action": str(result.action),
                "clips": self._rows.clips_json(around, beside),
                "changed": [clip.id for clip in result.live_clips],
                "retired": [clip.id for clip in result.clips if not clip.is_live],
                "versions": versions,
                "progress": progress_json(progress),
                **done,
            },
        )

    def _decide_selection(self, session: Session, body: Mapping[str, Any], seen: Mapping[int, int], chosen: QueueFilter) -> Answer:
        """One action on all clips of a selection that are as they were when it was made; what became of the others is said.

        seen: clip id -> version.
        """
        try:
            action = ReviewAction(incoming.words(body, "action"))
        except ValueError:
            action = ReviewAction.UNDO
        if action not in _ON_SELECTIONS:
            raise BadRequestError(f"a selection can be approved, skipped or archived, not {str(body['action'])[:40]!r}")
        request_key = incoming.words(body, "request_key")
        done = self.reviews.decide_unchanged(action, seen, reviewer=session.reviewer, request_key=request_key, most_told=_NAMED)
        if done.result is not None and done.result.replayed:
            # What had changed then is not known any more; what the action did is.
            decided = len(seen.keys() & {clip.id for clip in done.result.clips})
            told = views.selection_words(action, decided, len(seen) - decided, [])
        else:
            decided = len(seen) - len(done.left_alone)
            named = [self.in_words(words) for words in list(done.left_alone.values())[:_NAMED]]
            told = views.selection_words(action, decided, len(done.left_alone), named)
        return Answer(
            200,
            {
                "ok": True,
                "replayed": bool(done.result and done.result.replayed),
                "action_id": done.result.action_id if done.result else None,
                "action": str(action),
                "decided": decided,
                "told": told,
                "progress": progress_json(self._progress.counted(chosen, session.reviewer)),
            },
        )

    def _applied(self, session: Session, body: Mapping[str, Any], versions: Mapping[int, int]) -> ReviewResult:
        reviews, action = self.reviews, body.get("action")
        request_key = incoming.words(body, "request_key")
        given: dict[str, Any] = {"reviewer": session.reviewer, "request_key": request_key, "expected_version": versions or None}
        match action:
            case "approve" | "skip" | "archive":
                decide: Callable[..., ReviewResult] = getattr(reviews, action)
                clip_ids = incoming.numbers(body, "clip_ids") if "clip_ids" in body else [incoming.number(body, "clip_id")]
                given["expected_version"] = {**versions, **self._unseen_but_free(session, request_key, set(clip_ids) - set(versions))}
                return decide(clip_ids, **given)
            case "group":
                return reviews.group(incoming.number(body, "clip_id"), **given)
            case "add_cut_point":
                return reviews.add_cut_point(incoming.number(body, "source_video_id"), incoming.number(body, "frame"), **given)
            case "remove_cut_point":
                return reviews.remove_cut_point(incoming.number(body, "source_video_id"), incoming.number(body, "frame"), **given)
            case "move_cut_point":
                video, frame, new_frame = (incoming.number(body, name) for name in ("source_video_id", "frame", "new_frame"))
                return reviews.move_cut_point(video, frame, new_frame, **given)
            case "edit_cut":
                video, frame = incoming.number(body, "source_video_id"), incoming.number(body, "frame")
                return reviews.edit_cut(video, frame, incoming.transition(body), **given)
            case "undo" | "redo":
                target = None if body.get("target") is None else incoming.words(body, "target")
                action_id = None if target is None else self._around.action_of_request(target)
                if target is not None and action_id is None:
                    raise NothingToUndoError(f"the decision to {action} never reached the server")
                again: Callable[..., ReviewResult] = getattr(reviews, action)
                return again(session.reviewer, action_id=action_id, request_key=request_key)
            case _:
                raise BadRequestError(f"{str(action)[:40]!r} is not a review action")

    def _unseen_but_free(self, session: Session, request_key: str, clip_ids: Collection[int]) -> dict[int, int]:
        """Versions for clips that the sender named without a version: only for clips without a colleague's verdict."""
        if not clip_ids or self._around.action_of_request(request_key) is not None:
            return {}
        found = self.clips.load_many(sorted(clip_ids))
        theirs = [
            clip
            for clip in found
            if clip.state is not ClipState.PENDING_REVIEW and clip.last_modified_by_user_id not in {None, session.reviewer_id}
        ]
        if theirs:
            raise StaleClipsError(f"clip id:{theirs[0].id} was decided by somebody else", theirs)
        return {clip.id: clip.cut_point_version for clip in found}

    def in_words(self, message: str) -> str:
        """A message of the domain or of a store with clips by the numbers that every page shows."""
        return self.names.in_words(message)

    def _stale_words(self, error: StaleClipsError, named: Collection[int]) -> str:
        """What became of the clips, by the numbers that the page shows."""
        changed_by = next((clip.last_modified_by_user_id for clip in error.clips if clip.last_modified_by_user_id is not None), None)
        if changed_by is None:
            return self.in_words(str(error))
        return views.stale_words(error.clips, self.videos.load(error.clips[0].source_video_id).title, self._rows.name(changed_by), named)

    def _verdict_words(self, error: VerdictStandsError) -> str:
        clip = self.clips.load(error.clip_id)
        return views.verdict_words(clip, self.videos.load(clip.source_video_id).title, error.verdict, error.by)

    def _done_json(
        self, action: str, before: Mapping[str, Mapping[str, Any] | None], after: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """The action that an undo took back or a redo did again, with its clips before and after, so that the page can name it."""
        shown = ("id", "source_video_id", "sequence", "start_frame", "end_frame", "state")
        live = [[clip for clip in side.values() if clip is not None and clip.get("is_live", True)] for side in (before, after)]
        sides = [[{**{name: clip[name] for name in shown}, "cut": clip.get("transition")} for clip in side[:_MAX_TOLD]] for side in live]
        title = self.videos.load(next(iter(after.values()))["source_video_id"]).title if after else ""
        count = {"count": len(live[1])} if len(live[1]) > _MAX_TOLD else {}
        return {"action": action, "before": sides[0], "after": sides[1], "title": title, **count}

    def _refused(self, status: int, code: str, error: str, clip_ids: Collection[int]) -> Answer:
        known = self.clips.load_many(sorted(set(clip_ids))[: incoming.MAX_SELECTED]) if clip_ids else []
        return Answer(
            status,
            {
                "error": error,
                "code": code,
                "clips": self._rows.told([clip.id for clip in known]),
                "retired": [clip.id for clip in known if not clip.is_live],
            },
        )

    def _videos_of(self, clips: Sequence[Clip]) -> list[SourceVideo]:
        return [self.videos.load(source_video_id) for source_video_id in dict.fromkeys(clip.source_video_id for clip in clips)]

    def segment_bytes(self, source_video_id: int, start_frame: int, end_frame: int) -> int:
        """Bytes of the proxy between these frames, sound included. Raises CutError outside the video, NotFoundError."""
        first = self.indexes.slice(source_video_id, start_frame, start_frame + 1)
        last = self.indexes.slice(source_video_id, end_frame - 1, end_frame)
        return int(last.byte_offset[-1] + last.byte_size[-1] - first.byte_offset[0])


def _ticked(body: Mapping[str, Any]) -> set[int]:
    """The clips that were ticked for one verdict; empty for every other message."""
    return set(incoming.numbers(body, "clip_ids")) if "clip_ids" in body and str(body.get("action")) in _ON_SELECTIONS else set()
