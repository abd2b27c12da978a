"""What processes that died have left half done."""

from __future__ import annotations

from contextlib import suppress

from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.settings import Settings
from resources.object_store.open import open_object_store
from resources.work_folder import WorkFolder


def sweep_leftovers(settings: Settings) -> None:
    """Remove temporary folders and half-written objects of processes that are gone; those of living ones stay.

    A store that is away is not complained of here: the stages that need it say so.
    """
    WorkFolder(settings.work_folder).sweep()
    with suppress(HeatersError):
        open_object_store(settings).sweep()
