"""Takes the partitions of source videos on which nothing is to be done out of Dagster when there are too many, and says which these are.

Dagster advises at most 100,000 partitions of an asset. A partition is only the name under which work can be asked for: rows, files and
materializations stay. When something becomes due again, the sensor that asks for the run adds the partition first, as it does for a new
source video, and Dagster shows its materializations as before.
"""

from __future__ import annotations

from collections.abc import Collection, Set

import dagster as dg
from sqlalchemy import text

from heaters_dagster.domain.stages import CLIP_STAGES, MAX_ATTEMPTS, with_states
from heaters_dagster.domain.states import ClipState
from heaters_dagster.partitions import source_video_partitions
from resources.orchestrator.partition_names import remove_partitions
from resources.postgres.database import Database

#: States in which a clip needs a person, or a run, now or after a while.
_TO_DO = sorted({ClipState.PENDING_REVIEW, *(state for stage in with_states(CLIP_STAGES) for state in stage.steps.due)})
_QUIET = text(
    """
    with counts as (
        select source_video_id, state, sum(clips) as clips from (
            select source_video_id, state, clips from clip_counts_by_video where state = any(:to_do)
            union all select source_video_id, state, clips from clip_count_changes where state = any(:to_do)
        ) counted group by 1, 2 having sum(clips) > 0
    )
    select id from source_videos v
    where id = any(:ids) and state = 'scenes_detected' and (gold_master_filepath is not null or gold_master_attempts >= :most_attempts)
    and not exists (select from counts where source_video_id = v.id and state <> :pending)
    order by exists (select from counts where source_video_id = v.id), state_changed_at, id limit :most
    """
)


def retire_partitions(instance: dg.DagsterInstance, database: Database, *, most: int, in_flight: Set[int] = frozenset()) -> list[int]:
    """Remove partitions until there are `most`, as far as there are quiet ones; returns the ids of their source videos.

    First those whose clips all have a decision, then those in review; of each the ones that came to review first. in_flight: source videos
    with a run that has not ended.
    """
    name = str(source_video_partitions.name)
    known = {int(key) for key in instance.get_dynamic_partitions(name) if key.isdigit()}
    if len(known) <= most:
        return []
    retired = _quiet(database, known - in_flight, len(known) - most)
    remove_partitions(instance, retired)
    return retired


def _quiet(database: Database, source_video_ids: Collection[int], most: int) -> list[int]:
    values = {
        "ids": sorted(source_video_ids),
        "most": most,
        "to_do": _TO_DO,
        "pending": ClipState.PENDING_REVIEW,
        "most_attempts": MAX_ATTEMPTS,
    }
    with database.read() as connection:
        return [row.id for row in connection.execute(_QUIET, {**values, "pending": ClipState.PENDING_REVIEW})]
