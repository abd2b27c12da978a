"""What a stage has made of the clips of a source video, as a text that changes when anything of it changes."""

from __future__ import annotations

from sqlalchemy import Connection, Select, Text, and_, cast, func, literal, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from heaters_dagster.domain.stages import EMBEDDINGS, Stage, WorkState
from heaters_dagster.domain.states import ClipState
from resources.postgres.tables import clip_artifacts, clip_work, clips, embeddings


def version_of_made(connection: Connection, stage: Stage[ClipState], source_video_id: int) -> str:
    """Of files their manifests, which have their hashes; of embeddings the vectors; else which clips the stage is done with, and when.

    Only of live clips: decisions on the others have nothing to do with it.
    """
    made = _made(stage).subquery()
    of_video = and_(clips.c.id == made.c.clip_id, clips.c.source_video_id == source_video_id, clips.c.is_live)
    lines = select(func.md5(func.concat_ws(" ", made.c.clip_id, made.c.what)).label("line")).join_from(made, clips, of_video).subquery()
    whole = func.string_agg(lines.c.line, aggregate_order_by(literal(" "), lines.c.line))
    return str(connection.scalar(select(func.md5(func.coalesce(whole, "")))))


def _made(stage: Stage[ClipState]) -> Select[tuple[int, str]]:
    """(clip_id, what) of everything that the stage made."""
    if stage.artifact is not None:
        of_file = func.concat_ws(" ", clip_artifacts.c.key, cast(clip_artifacts.c.manifest, Text)).label("what")
        is_file = and_(clip_artifacts.c.kind == stage.artifact, clip_artifacts.c.state == "live")
        return select(clip_artifacts.c.clip_id, of_file).where(is_file)
    if stage is EMBEDDINGS:
        vector = func.md5(func.vector_send(embeddings.c.embedding))
        return select(embeddings.c.clip_id, func.concat_ws(" ", embeddings.c.model, embeddings.c.strategy, vector).label("what"))
    done = and_(clip_work.c.stage == stage.asset, clip_work.c.state == WorkState.DONE.value)
    return select(
        clip_work.c.clip_id, func.concat_ws(" ", clip_work.c.version, clip_work.c.made_with, clip_work.c.changed_at).label("what")
    ).where(done)
