"""Vectors in pgvector: one per clip, model and strategy. They are searched by cosine distance with an HNSW index."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pgvector.sqlalchemy import Vector
from sqlalchemy import Float, TextClause, cast, delete, func, literal, literal_column, select, text, true
from sqlalchemy.dialects.postgresql import insert

from heaters_dagster.domain.errors import NotFoundError
from heaters_dagster.domain.stages import EMBEDDINGS, states_from
from resources.postgres import clip_work
from resources.postgres.database import Database
from resources.postgres.tables import clips, embeddings, source_videos


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A clip and its cosine similarity, -1..1; higher means more alike."""

    clip_id: int
    source_video_id: int
    sequence: int
    title: str
    start_time_seconds: float
    end_time_seconds: float
    clip_filepath: str | None
    score: float


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two clips that look nearly the same; `clip_id` is the lower id. score: cosine similarity."""

    clip_id: int
    other_clip_id: int
    score: float


class EmbeddingStore:
    """Saves and searches clip vectors; every query stays within one model and strategy."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def finish_embedding(
        self, clip_id: int, *, version: int, model: str, strategy: str, vector: NDArray[np.float32], made_with: str | None = None
    ) -> bool:
        """Save the vector of a clip in state `embedding` and make it `embedded`, in one transaction.

        vector: (d,), norm 1; it replaces an older one. made_with: see `ClipStore.again`. Returns False and saves nothing when the clip no
        longer has `version`.
        """
        statement = insert(embeddings).values(
            clip_id=clip_id, model=model, strategy=strategy, dimensions=len(vector), embedding=vector.tolist()
        )
        saved = statement.on_conflict_do_update(
            index_elements=["clip_id", "model", "strategy"],
            set_={"embedding": statement.excluded.embedding, "dimensions": statement.excluded.dimensions, "created_at": func.now()},
        )
        with self._database.begin() as connection:
            return clip_work.finish(connection, clip_id, EMBEDDINGS, version, also=lambda own: own.execute(saved), made_with=made_with)

    def vector(self, clip_id: int, *, model: str, strategy: str | None = None) -> NDArray[np.float32]:
        """(d,) the stored vector. Raises NotFoundError when the clip has none of that model."""
        query = select(embeddings.c.embedding).where(embeddings.c.clip_id == clip_id, embeddings.c.model == model)
        if strategy is not None:
            query = query.where(embeddings.c.strategy == strategy)
        with self._database.read() as connection:
            found = connection.execute(query.order_by(embeddings.c.created_at.desc()).limit(1)).scalar()
        if found is None:
            raise NotFoundError(f"clip id:{clip_id} has no embedding by {model}; heaters process makes one for each exported clip")
        return np.asarray(found, dtype=np.float32)

    def models(self) -> dict[str, int]:
        """Model -> number of clips that have a vector of it."""
        query = select(embeddings.c.model, func.count(embeddings.c.clip_id.distinct()).label("clips")).group_by(embeddings.c.model)
        with self._database.read() as connection:
            return {row.model: row.clips for row in connection.execute(query)}

    def search(
        self,
        vector: NDArray[np.float32],
        *,
        model: str,
        limit: int = 20,
        source_video_id: int | None = None,
        title_contains: str | None = None,
        not_clip_id: int | None = None,
    ) -> list[SearchHit]:
        """The `limit` nearest clips, best first.

        The index scan goes on until enough rows pass the filters (`hnsw.iterative_scan`), but pgvector ends it after 20,000 vectors or
        when its memory is used up. So when there are too few rows, all rows that pass the filters are scanned.
        A clip with vectors of several strategies is listed once, with the best of them. The state of the clip does not matter: its vectors
        are deleted when its approval ends, and a clip that is exported or embedded again keeps its vectors until the new ones exist.
        """
        size = len(vector)
        distance = cast(embeddings.c.embedding, Vector(size)).cosine_distance(literal(vector.tolist(), Vector(size)))
        conditions = [
            embeddings.c.dimensions == text(str(size)),
            embeddings.c.model == model,
            clips.c.is_live,
            clips.c.source_video_id == source_video_id if source_video_id is not None else true(),
            clips.c.id != not_clip_id if not_clip_id is not None else true(),
            source_videos.c.title.icontains(title_contains, autoescape=True) if title_contains else true(),
        ]
        query = (
            select(
                clips.c.id,
                clips.c.source_video_id,
                clips.c.sequence,
                source_videos.c.title,
                clips.c.start_time_seconds,
                clips.c.end_time_seconds,
                clips.c.clip_filepath,
                cast(1 - distance, Float).label("score"),
            )
            .select_from(
                embeddings.join(clips, clips.c.id == embeddings.c.clip_id).join(
                    source_videos, source_videos.c.id == clips.c.source_video_id
                )
            )
            .where(*conditions)
            .limit(limit * 3)
        )
        with self._database.begin() as connection:
            connection.execute(text("set local hnsw.iterative_scan = strict_order"))
            rows = connection.execute(query.order_by(distance)).all()
            if len(rows) < limit * 3:
                # No index gives this order, so Postgres cannot use one that stops early.
                rows = connection.execute(query.order_by(distance + literal_column("0"))).all()
        hits: dict[int, SearchHit] = {}
        for row in rows:
            hits.setdefault(row.id, SearchHit(*row))
        return list(hits.values())[:limit]

    def near_duplicates(self, *, model: str, at_least: float = 0.97, limit: int = 100, neighbours: int = 5) -> list[NearDuplicate]:
        """Pairs of live clips whose similarity is at least `at_least`, most alike first.

        Each clip is compared with its nearest neighbours.
        """
        sizes = select(embeddings.c.dimensions).where(embeddings.c.model == model).distinct()
        with self._database.begin() as connection:
            connection.execute(text("set local hnsw.iterative_scan = strict_order"))
            found = [
                row
                for size in connection.scalars(sizes).all()
                for row in connection.execute(_near_pairs(size, neighbours), {"model": model, "at_least": at_least, "limit": limit})
            ]
        ranked = sorted(found, key=lambda row: (-row.score, row.first, row.second))[:limit]
        return [NearDuplicate(row.first, row.second, row.score) for row in ranked]

    def without_embedding(self, *, model: str, strategy: str, after_id: int = 0, limit: int | None = None) -> list[tuple[int, int]]:
        """(clip id, source video id) of embedded clips without a vector of this model and strategy, as after a change of model.

        By id. after_id: the last of the page before.
        """
        has = (
            select(literal(1))
            .where(embeddings.c.clip_id == clips.c.id, embeddings.c.model == model, embeddings.c.strategy == strategy)
            .exists()
        )
        query = select(clips.c.id, clips.c.source_video_id).where(clips.c.is_live, clips.c.state.in_(sorted(states_from(EMBEDDINGS))), ~has)
        query = query.where(clips.c.id > after_id).limit(limit)
        with self._database.read() as connection:
            return [(clip_id, source_video_id) for clip_id, source_video_id in connection.execute(query.order_by(clips.c.id))]

    def forget(self, clip_id: int) -> int:
        """Delete the vectors of a clip that no longer has an export; returns how many there were."""
        with self._database.begin() as connection:
            return connection.execute(delete(embeddings).where(embeddings.c.clip_id == clip_id)).rowcount


def _near_pairs(size: int, neighbours: int) -> TextClause:
    """Each pair once, with its most similar vectors. The vector size is written into the statement, because each size has its own index."""
    return text(
        f"""
        select least(e.clip_id, n.clip_id) as first, greatest(e.clip_id, n.clip_id) as second, max(n.score) as score
        from embeddings e
        join clips c on c.id = e.clip_id and c.is_live
        cross join lateral (
            select o.clip_id, 1 - (o.embedding::vector({size}) <=> e.embedding::vector({size})) as score
            from embeddings o
            join clips oc on oc.id = o.clip_id and oc.is_live
            where o.dimensions = {size} and o.model = :model and o.clip_id <> e.clip_id
            order by o.embedding::vector({size}) <=> e.embedding::vector({size})
            limit {neighbours * 3}
        ) n
        where e.dimensions = {size} and e.model = :model and n.score >= :at_least
        group by 1, 2
        order by score desc
        limit :limit
        """
    )
