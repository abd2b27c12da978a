"""I/O adapters as plain classes; only the wing `orchestrator` imports Dagster."""

import os

import heaters_dagster as heaters_dagster  # first of all: it says how many threads numpy has

# Set before torch loads OpenMP: otherwise its threads use processor time while they wait. When ffmpeg uses all processors too, the same
# batch of frames then takes several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
