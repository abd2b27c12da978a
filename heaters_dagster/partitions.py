"""How the pipeline is cut up: one partition per source video."""

from __future__ import annotations

import dagster as dg

#: Key: `str(source_video.id)`. The sensors add a key in the same tick in which they first request a run for it.
source_video_partitions = dg.DynamicPartitionsDefinition(name="source_videos")
