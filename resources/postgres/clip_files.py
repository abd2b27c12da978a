"""What happens to a clip's files and vectors when they no longer show what the clip is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from resources.postgres.tables import clip_artifacts, embeddings

#: Column values of a clip without a file. Write them in the same statement as the state, because some states require a file.
VIRTUAL: Mapping[str, Any] = {"is_virtual": True, "clip_filepath": None}


def forget_files(connection: Connection, clip_ids: Sequence[int]) -> None:
    """Make the live files of clips obsolete and delete their embeddings.

    The rows of the clips must be locked; the caller writes VIRTUAL to them.
    Rows in `writing` stay: the stage that wrote them sees the new version and makes them obsolete, or it has died and `clean_up` does.
    """
    live = clip_artifacts.c.clip_id.in_(clip_ids) & (clip_artifacts.c.state == "live")
    connection.execute(clip_artifacts.update().where(live).values(state="obsolete"))
    connection.execute(embeddings.delete().where(embeddings.c.clip_id.in_(clip_ids)))
