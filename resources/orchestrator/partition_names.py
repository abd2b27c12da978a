"""The names of source videos' partitions in Dagster's table, many at a time.

Dagster's own interface removes one name with each statement, 10 ms each, and adds any number with one statement, which is a text of 20 MB
when there are 200,000.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import dagster as dg

from heaters_dagster.partitions import source_video_partitions
from resources.orchestrator.dagster_private import DynamicPartitionsTable, SqlEventLogStorage

_NAMES_IN_STATEMENT = 1_000
_DEFINITION = str(source_video_partitions.name)


def add_partitions(instance: dg.DagsterInstance, source_video_ids: Iterable[int]) -> None:
    """Add the partitions of these source videos, as far as they are not there."""
    for names in _in_parts(sorted(source_video_ids)):
        instance.add_dynamic_partitions(_DEFINITION, names)


def remove_partitions(instance: dg.DagsterInstance, source_video_ids: Collection[int]) -> list[int]:
    """Remove the partitions of these source videos; returns those that were there. Their materializations stay."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    table = DynamicPartitionsTable.c
    there: list[int] = []
    for names in _in_parts(sorted(source_video_ids)):
        mine = (table.partitions_def_name == _DEFINITION) & table.partition.in_(names)
        with storage.index_connection() as connection:
            found = connection.execute(DynamicPartitionsTable.delete().where(mine).returning(table.partition))
            there += [int(name) for (name,) in found]
    return sorted(there)


def _in_parts(source_video_ids: list[int]) -> Iterator[list[str]]:
    for first in range(0, len(source_video_ids), _NAMES_IN_STATEMENT):
        yield [str(one) for one in source_video_ids[first : first + _NAMES_IN_STATEMENT]]
