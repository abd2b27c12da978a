"""Gives rows the reason why a run ended that had begun on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from heaters_dagster.domain.stages import CLIP_STAGES, EXPORTS, GOLD_MASTER, PROXY_PIECES, VIDEO_STAGES, with_states
from heaters_dagster.domain.words import counted
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.export_store import ExportStore
from resources.postgres.piece_store import PieceStore
from resources.postgres.source_video_store import SourceVideoStore

_VIDEO_STAGES = {stage.asset: stage for stage in with_states(VIDEO_STAGES)}
_CLIP_STAGES = {stage.asset: stage for stage in CLIP_STAGES}


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a run ended.

    transient: whether the same may work when it is tried again. at_once: while tries are left it is due again at once, else a minute later.
    not_begun_before: it also concerns rows that have waited for the stage since before then.
    """

    message: str
    transient: bool
    at_once: bool = False
    not_begun_before: datetime | None = None


def settle(asset: str, source_video_id: int, ending: Ending, database: Database) -> list[str]:
    """Write the ending to the rows that the stage of `asset` was working on; returns what was written. Hold `Database.stage_lock`."""
    if asset in _VIDEO_STAGES:
        return _settle_video(asset, source_video_id, ending, database)
    if asset in _CLIP_STAGES:
        return _settle_clips(asset, source_video_id, ending, database)
    if asset == PROXY_PIECES.asset:
        return _settle_pieces(source_video_id, ending, database)
    return _settle_gold_master(source_video_id, ending, database) if asset == GOLD_MASTER.asset else []


def _settle_video(asset: str, source_video_id: int, ending: Ending, database: Database) -> list[str]:
    states, videos, before = _VIDEO_STAGES[asset].steps, SourceVideoStore(database), ending.not_begun_before
    video = videos.load(source_video_id)
    waits = before is not None and video.state is states.ready and video.state_changed_at < before
    if video.state is not states.working and not waits:
        return []
    video = videos.record_failure(source_video_id, states.failed, ending.message, transient=ending.transient, at_once=ending.at_once)
    return [f"source video {source_video_id}, {video.title}, is {video.state}, try {video.attempts}: {ending.message}"]


def _settle_clips(asset: str, source_video_id: int, ending: Ending, database: Database) -> list[str]:
    stage, clips, told = _CLIP_STAGES[asset], ClipStore(database), []
    title = SourceVideoStore(database).load(source_video_id).title
    for clip in clips.begun(stage, source_video_id, not_begun_before=ending.not_begun_before):
        if clips.fail(clip.id, stage, ending.message, transient=ending.transient, at_once=ending.at_once) is not None:
            told.append(f"clip {clip.sequence} of {title}: {stage.words.failed}, try {clips.attempts(clip.id, stage)}: {ending.message}")
    return told + (_settle_further_exports(source_video_id, title, ending, database) if stage is EXPORTS else [])


def _settle_further_exports(source_video_id: int, title: str, ending: Ending, database: Database) -> list[str]:
    exports, told = ExportStore(database), []
    for clip_id, profile in exports.begun(source_video_id, not_begun_before=ending.not_begun_before):
        if exports.fail(clip_id, profile, ending.message, transient=ending.transient, at_once=ending.at_once):
            told.append(f"clip {ClipStore(database).load(clip_id).sequence} of {title}: export as {profile} failed: {ending.message}")
    return told


def _settle_pieces(source_video_id: int, ending: Ending, database: Database) -> list[str]:
    """A killed process counts as a try of its piece. After a person's cancellation nobody is asked to help with this proxy again: else the
    next look would ask for the same run, or for one that makes another piece."""
    left = 0 if ending.transient else PieceStore(database).leave_to_joiner(source_video_id)
    if not left:
        return []
    title = SourceVideoStore(database).load(source_video_id).title
    return [f"{counted(left, 'piece')} of the proxy of source video {source_video_id}, {title}, left to the run that makes it"]


def _settle_gold_master(source_video_id: int, ending: Ending, database: Database) -> list[str]:
    videos = SourceVideoStore(database)
    if videos.load(source_video_id).gold_master_filepath is not None:
        return []
    video = videos.record_gold_master_failure(source_video_id, ending.message, transient=ending.transient, at_once=ending.at_once)
    return [f"gold master of source video {source_video_id}, {video.title}, try {video.gold_master_attempts}: {ending.message}"]
