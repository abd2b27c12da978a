"""The Dagster instance of these settings: its home folder, and the instance for work done in this process."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg

from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.files.private_folder import private_folder, private_home
from resources.orchestrator.dagster_private import InstanceRef
from resources.orchestrator.dagster_storage import opened_with

#: The instance that hands runs to workers, in the checkout; in the wheel it has the name below.
CELERY_IN_CHECKOUT, CELERY_IN_WHEEL = "deploy/celery/dagster.yaml", "celery.yaml"


def instance_file(settings: Settings) -> Path:
    """The instance file for these settings: with a broker runs go to the workers, else they run on this machine."""
    return packaged(CELERY_IN_CHECKOUT, CELERY_IN_WHEEL) if settings.broker_url else packaged("dagster.yaml")


def packaged(name: str, in_wheel: str | None = None) -> Path:
    """`dagster.yaml` or `workspace.yaml` as shipped: in the root of the checkout, or in the wheel beside this module."""
    in_checkout = PROJECT_ROOT / name
    return in_checkout if in_checkout.is_file() else Path(__file__).parent.parent / (in_wheel or name)


def prepare_dagster_home(settings: Settings) -> Path:
    """Make `settings.dagster_home` and make its `dagster.yaml` equal to the shipped one. Returns the folder.

    A file that differs is replaced in one step, because a daemon may be reading it. To change the instance, set DAGSTER_HOME to another
    folder.
    """
    home = settings.dagster_home
    private_home(settings)
    private_folder(home)
    shipped, kept = instance_file(settings).read_bytes(), home / "dagster.yaml"
    if not kept.is_file() or kept.read_bytes() != shipped:
        fresh = home / f".dagster.yaml.{os.getpid()}"
        fresh.write_bytes(shipped)
        fresh.replace(kept)
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The persistent instance, for runs in this process: their output stays on the terminal instead of going to log files.

    Starts the embedded Postgres when needed. Raises DatabaseUnavailableError.
    """
    home = prepare_dagster_home(settings)
    storage = {"module": "resources.orchestrator.dagster_storage", "class": "HeatersStorage", "config": {}}
    no_logs = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager", "config": {}}
    ref = InstanceRef.from_dir(str(home), overrides={"storage": {"custom": storage}, "compute_logs": no_logs})
    with opened_with(settings):
        return dg.DagsterInstance.from_ref(ref)
