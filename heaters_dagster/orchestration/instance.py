"""The Dagster instance of these settings: its home folder, and the instance for work done in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import dagster as dg

from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.files.private_folder import private_folder, private_home
from resources.object_store.work_folder import written_beside
from resources.orchestrator.dagster_private import InstanceRef
from resources.orchestrator.dagster_storage import opened_with
from resources.orchestrator.partition_names import add_partitions, remove_partitions

#: The instance that hands runs to workers, in the checkout; in the wheel it has the name below.
CELERY_IN_CHECKOUT, CELERY_IN_WHEEL = "deploy/celery/dagster.yaml", "celery.yaml"


def instance_file(settings: Settings) -> Path:
    """The instance file for these settings: with a broker runs go to the workers, else they run on this machine."""
    return packaged(CELERY_IN_CHECKOUT, CELERY_IN_WHEEL) if settings.broker_url else packaged("dagster.yaml")


def packaged(name: str, in_wheel: str | None = None) -> Path:
    """`dagster.yaml` or `workspace.yaml` as shipped: in the root of the checkout, or in the wheel beside this module."""
    in_checkout = PROJECT_ROOT / name
    return in_checkout if in_checkout.is_file() else Path(__file__).parent.parent / (in_wheel or name)


def prepare_dagster_home(settings: Settings, *, say: Callable[[str], object] = lambda text: None) -> Path:
    """Make `settings.dagster_home` with its `dagster.yaml`. Returns the folder. say: gets sentences for the operator.

    The file is a copy of the shipped one, and is replaced when that has changed. Beside it, `dagster.yaml.shipped` is the shipped one as
    it was when the copy was made: a file that differs from it was changed by the operator, and is left alone. Files are replaced in one
    step, because a daemon may be reading them.
    """
    home = settings.dagster_home
    private_home(settings)
    private_folder(home)
    shipped, file, base = instance_file(settings).read_bytes(), home / "dagster.yaml", home / "dagster.yaml.shipped"
    before, based_on = _bytes(file), _bytes(base)
    if before is not None and based_on is not None and before not in {based_on, shipped}:
        say(f"{file} was changed by you and is used as it is")
        if based_on != shipped:
            say(f"the dagster.yaml that comes with Heaters has changed: see {base}, and take from it what you want")
            _replace(base, shipped)
        return home
    if before is not None and based_on is None and before != shipped:  # an older Heaters wrote over it at each start
        _replace(home / "dagster.yaml.before", before)
        say(f"{file} was replaced by the one that comes with this Heaters; what it was is in dagster.yaml.before beside it")
    if based_on != shipped:
        _replace(base, shipped)
    if before != shipped:
        _replace(file, shipped)
    return home


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _replace(path: Path, content: bytes) -> None:
    with written_beside(path, private=True) as part:
        part.write_bytes(content)


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


def register_partitions(settings: Settings, source_video_ids: Iterable[int]) -> None:
    """Add the partitions of source videos to Dagster, so that they can be used before a sensor has looked."""
    with open_instance(settings) as instance:
        add_partitions(instance, source_video_ids)


def forget_partition(settings: Settings, source_video_id: int) -> None:
    """Remove the partition of a source video that is gone, so that Dagster no longer offers it."""
    with open_instance(settings) as instance:
        remove_partitions(instance, [source_video_id])
