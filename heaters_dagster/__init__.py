"""Heaters: long videos into reviewed, frame-exact, searchable clips (the Dagster code location)."""

import os

# Set before numpy loads OpenBLAS: otherwise its second thread uses processor time for 25 ms after each product of matrices while it waits
# for the next one. All products of Heaters are small: with one thread those of a batch of TransNetV2 take less than 1 ms, and the waiting
# was a third of its time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
