"""`work_waiting`: a report and no file, so that Dagster, too, shows what waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from assets import metadata, pictures
from resources.postgres.backlog import Group, failed_count

#: Not made by a run; the sensor `what_waits` reports it. Each figure is a plot over time in Dagster.
work_waiting = dg.AssetSpec(
    "work_waiting",
    group_name="review",
    description="What waits and what failed at this moment: how many, how much, since when, and of which source videos.",
    kinds={"postgres"},
)


def backlog_metadata(groups: Sequence[Group]) -> Mapping[str, dg.MetadataValue]:
    """The figures of a report, and all of it as a table."""
    waiting = {what: sum(group.count for group in groups if group.what == what and not group.failed) for what in _KINDS}
    oldest = min((group.oldest for group in groups if group.oldest is not None), default=None)
    return {
        **{f"{what} that wait": dg.MetadataValue.int(count) for what, count in waiting.items()},
        "failed": dg.MetadataValue.int(failed_count(groups)),
        "size of what waits": dg.MetadataValue.text(metadata.size(sum(group.byte_size for group in groups if group.what == _KINDS[0]))),
        **({"oldest": dg.MetadataValue.timestamp(oldest)} if oldest is not None else {}),
        "report": dg.MetadataValue.md(_table(groups)),
    }


_KINDS = ("source videos", "clips", "gold masters")


def _table(groups: Sequence[Group]) -> str:
    rows = [
        (
            group.counted,
            group.words,
            metadata.size(group.byte_size) if group.byte_size else "",
            group.oldest.isoformat(" ", "minutes") if group.oldest else "",
            ", ".join(group.titles),
        )
        for group in groups
    ]
    return pictures.table(("how many", "what for", "size", "oldest", "source videos"), rows)
