"""The rows of a clip's objects in `clip_artifacts`: written before the object, live when it is there, obsolete when nobody needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, func, select
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import PermanentError
from heaters_dagster.domain.export_profile import ExportState
from resources.postgres.database import lock_key
from resources.postgres.tables import clip_artifacts, clip_exports, clips, embeddings


def files_turn(clip_id: int) -> str:
    """The name of the turn (`Database.turn`) of whoever deletes objects of a clip."""
    return f"files of clip {clip_id}"


def wait_for_files(connection: Connection, clip_id: int) -> None:
    """Wait until nobody deletes objects of the clip, and keep others from it for as long as the transaction lasts.

    Only who makes files waits here, before it has any row: a decision on the clip never waits for the object store.
    """
    connection.execute(select(func.pg_advisory_xact_lock(lock_key(files_turn(clip_id), 0))))


#: Column values of a clip without a file. Write them in the same statement as the state, because some states require a file.
VIRTUAL: Mapping[str, Any] = {"is_virtual": True, "clip_filepath": None}


@dataclass(frozen=True, slots=True)
class MadeObject:
    """An object that a stage has published. size in bytes. manifest: see domain/manifest.py."""

    key: str
    byte_size: int
    manifest: Mapping[str, Any]

    @property
    def live_values(self) -> dict[str, Any]:
        """Of its row, now that it is there."""
        return {"state": "live", "byte_size": self.byte_size, "manifest": dict(self.manifest)}


def begin_writing(connection: Connection, clip_id: int, kind: str | None, key: str) -> None:
    """Write the row of an object that is about to be made. Raises PermanentError when the key belongs to another clip."""
    row = insert(clip_artifacts).values(clip_id=clip_id, kind=kind, key=key, state="writing", manifest={})
    row = row.on_conflict_do_update(
        index_elements=["key"],
        set_={"state": "writing", "created_at": func.now()},
        where=(clip_artifacts.c.clip_id == clip_id) & (clip_artifacts.c.kind == kind),
    )
    if connection.execute(row.returning(clip_artifacts.c.id)).first() is None:
        raise PermanentError(f"clip id:{clip_id} cannot use the object key {key}: it belongs to another clip")


def keep_file(connection: Connection, key: str | None) -> None:
    """The file at `key`, which was to be replaced, stays; None: there is none."""
    mine = (clip_artifacts.c.key == key) & (clip_artifacts.c.state == "writing")
    connection.execute(clip_artifacts.update().where(mine).values(state="live"))


def forget_files(connection: Connection, clip_ids: Sequence[int]) -> None:
    """Make the live files of clips obsolete and delete their embeddings. What was asked for beside their first files stays asked for.

    The rows of the clips must be locked and still have their profiles; the caller writes VIRTUAL to them.
    Rows in `writing` stay: the stage that wrote them sees the new version and makes them obsolete, or it has died and `clean_up` does.
    """
    live = clip_artifacts.c.clip_id.in_(clip_ids) & (clip_artifacts.c.state == "live")
    connection.execute(clip_artifacts.update().where(live).values(state="obsolete"))
    connection.execute(embeddings.delete().where(embeddings.c.clip_id.in_(clip_ids)))
    of_clips = clip_exports.c.clip_id.in_(clip_ids)
    is_first = (clips.c.id == clip_exports.c.clip_id) & (clips.c.export_profile == clip_exports.c.profile)
    connection.execute(clip_exports.delete().where(of_clips, exists().where(is_first)))
    asked = {"state": ExportState.ASKED, "attempts": 0, "error": None, "key": None, "version": None, "made_at": None, "made_with": None}
    connection.execute(clip_exports.update().where(of_clips).values(**asked, changed_at=func.now()))
