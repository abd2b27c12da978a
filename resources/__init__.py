"""I/O adapters as plain classes; only dagster_resources.py imports Dagster."""

import os

# Before torch loads OpenMP: otherwise its threads spin while they wait for each other. While ffmpeg uses every processor too, the same
# batch of frames then takes several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
