"""The exports of clips in Postgres, for those who ask for them, make them and offer them; see `clip_exports`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy import ARRAY, Connection, Text, and_, any_, bindparam, select, tuple_

from heaters_dagster.domain.errors import IllegalTransitionError
from heaters_dagster.domain.export_profile import ExportProfile
from heaters_dagster.domain.states import APPROVED_STATES, ClipState
from heaters_dagster.registries import EXPORT_PROFILES
from resources.postgres import clip_exports, clip_work
from resources.postgres.clip_exports import ClipExport
from resources.postgres.clip_files import MadeObject, wait_for_files
from resources.postgres.clip_rows import Clip
from resources.postgres.database import Database
from resources.postgres.tables import clip_exports as export_rows
from resources.postgres.tables import clips

__all__ = ["ClipExport", "ExportStore"]


class ExportStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def request(self, clip_id: int, profile: str) -> Clip:
        """Ask for an export of an approved clip with `profile`, beside those it has, or for that one anew; a file serves until then.

        Raises IllegalTransitionError when the clip is not approved, UnknownNameError for a profile that is not there, SettingsError for
        one that cannot be used.
        """
        EXPORT_PROFILES.load(profile)
        with self._database.begin() as connection:
            return request(connection, clip_id, profile)

    def of_clips(self, clip_ids: Collection[int]) -> dict[int, list[ClipExport]]:
        """Clip id -> its exports by profile: those that have a file, and those that were asked for beside the first one."""
        with self._database.read() as connection:
            return clip_exports.of_clips(connection, clip_ids)

    def key_for(self, clip: Clip, profile: ExportProfile) -> str:
        """The object key for an export of a clip; see `clip_exports.key_for`."""
        with self._database.read() as connection:
            return clip_exports.key_for(connection, clip, profile)

    def unmade_from_master(self, source_video_ids: Collection[int]) -> set[int]:
        """Those of these source videos of which a file from the gold master is still to be made, or failed."""
        with self._database.read() as connection:
            return clip_exports.unmade_from_master(connection, source_video_ids)

    # Further exports. Hold `Database.stage_lock("exports", source_video_id)` from before `claim` until after `finish`.

    def due(self, source_video_id: int) -> list[tuple[Clip, str]]:
        """(Clip, profile) of the further exports of a source video that can be made now, the longest waiting first."""
        with self._database.read() as connection:
            return clip_exports.due(connection, source_video_id)

    def begun(self, source_video_id: int, *, not_begun_before: datetime | None = None) -> list[tuple[int, str]]:
        """(Clip id, profile) of further exports that were begun. not_begun_before: also those that have waited since before then."""
        with self._database.read() as connection:
            return clip_exports.begun(connection, source_video_id, not_begun_before)

    def claim(self, clip_id: int, profile: str, key: str) -> Clip | None:
        """Begin a further export and write the row of its object; None when it is not due any more."""
        with self._database.begin() as connection:
            wait_for_files(connection, clip_id)
            clip = clip_work.locked(connection, clip_id)
            return clip if clip_exports.claim(connection, clip, profile, key) else None

    def finish(self, clip_id: int, profile: str, version: int, made: MadeObject, *, made_with: str | None = None) -> bool:
        """Write down that a further export is made. version: `cut_point_version` of the claimed clip. made_with: see `begin_again`.

        False when a reviewer changed the clip meanwhile: what was made is then obsolete.
        """
        with self._database.begin() as connection:
            return clip_exports.finish(connection, clip_work.locked(connection, clip_id), profile, version, made, made_with)

    def begin_again(self, source_video_id: int, made_with: Mapping[str, str]) -> list[int]:
        """Ask anew for the exports that were made otherwise than now; see `clip_exports.begin_again`."""
        with self._database.begin() as connection:
            return clip_exports.begin_again(connection, source_video_id, made_with)

    def fail(
        self, clip_id: int, profile: str, message: str, *, transient: bool, expected_version: int | None = None, at_once: bool = False
    ) -> bool:
        """Write down why a further export failed. A temporary failure counts one try; any other uses up all of them.

        at_once: the process that worked on it has ended. While tries are left it stays in its state, and is due again at once.

        False, and nothing is changed, when it is not asked for any more or the clip is no longer of `expected_version`.
        """
        with self._database.begin() as connection:
            clip = clip_work.locked(connection, clip_id)
            if expected_version is not None and clip.cut_point_version != expected_version:
                return False
            return clip_exports.fail(connection, clip, profile, message, transient=transient, at_once=at_once)


def request(connection: Connection, clip_id: int, profile: str) -> Clip:
    """See `ExportStore.request`. Of the profile only the name is used."""
    clip = clip_work.locked(connection, clip_id)
    if not clip.is_live or clip.state not in APPROVED_STATES:
        is_now = clip_work.described(clip)
        raise IllegalTransitionError(f"clip id:{clip_id} is not approved (its state: {is_now}), so it is not exported; approve it first")
    if clip_exports.ask(connection, clip, profile):
        return clip
    columns = {"state": ClipState.REVIEW_APPROVED.value, "error": None, "attempts": 0, "export_profile": profile}
    return clip_work.written(connection, clip_id, {**columns, "cut_point_version": clip.cut_point_version + 1})


def request_lost(connection: Connection, keys: Collection[str], numbers: Collection[tuple[int, int]]) -> list[int]:
    """Ask anew for the exports that have one of these keys, and for the first export of the clips with these numbers.

    numbers: (source video, number) of clips whose stills are gone: they are made again from the new file. Returns the ids of the clips.
    """
    own, clip = export_rows.c, clips.c
    approved = and_(clip.is_live, clip.state.in_(sorted(APPROVED_STATES)))
    of_keys = select(own.clip_id, own.profile).join_from(export_rows, clips, clip.id == own.clip_id)
    is_one = own.key == any_(bindparam("keys", sorted(keys), ARRAY(Text)))
    wanted = {(row.clip_id, row.profile) for row in connection.execute(of_keys.where(approved, is_one))}
    if numbers:
        of_numbers = select(clip.id, clip.export_profile).where(
            approved, ~clip.is_virtual, tuple_(clip.source_video_id, clip.sequence).in_(sorted(numbers))
        )
        wanted |= {(row.id, row.export_profile) for row in connection.execute(of_numbers)}
    for clip_id, profile in sorted(wanted):
        request(connection, clip_id, profile)
    return sorted({clip_id for clip_id, _ in wanted})
