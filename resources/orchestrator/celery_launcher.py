"""Runs as tasks of Celery: the launcher hands them to the workers over Redis. Only machines with `heaters[celery]` load this.

Messages are acknowledged before their run begins. What has been lost with a worker is found by what it was working on, and asked for anew;
Redis must not start it a second time, which it would do with everything that is not acknowledged within its visibility timeout, whether
its worker lives or not. docs/orchestration.md says more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from celery import Celery
from dagster import DagsterRun, DagsterRunStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.make_app import make_app
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG, DAGSTER_CELERY_TASK_ID_TAG

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.run_queues import OTHER, queue_of
from heaters_dagster.settings import Settings
from resources.orchestrator.celery_broker import lost_messages
from resources.orchestrator.dagster_private import CheckRunHealthResult, ConfigurableClassData, LaunchRunContext, WorkerStatus
from resources.orchestrator.dagster_storage import given_settings

#: The task of Celery that executes a run.
EXECUTE_RUN = "heaters.execute_run"

#: How often, and for how long at most, a run is offered to a Redis that does not answer, before the launch fails. It is then due again.
_OFFERED = {"max_retries": 20, "interval_start": 0.2, "interval_step": 0.5, "interval_max": 2.0}


def celery_arguments(settings: Settings) -> dict[str, Any]:
    """What launcher and workers tell Celery. Raises SettingsError without a broker."""
    if settings.broker_url is None:
        raise SettingsError(
            "HEATERS_BROKER_URL is not set: set it to the Redis through which runs reach the workers, like redis://host:6379/0"
        )
    transport = {"visibility_timeout": settings.broker_visibility_seconds, "socket_keepalive": True, "health_check_interval": 10}
    source = {
        "task_acks_late": False,
        "worker_prefetch_multiplier": 1,
        # A process that works must not keep the next run from one that is free.
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_max_tasks_per_child": 50,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": transport,
        "result_backend_transport_options": transport,
        "result_expires": 7 * 86_400,
        "task_publish_retry_policy": _OFFERED,
        "task_default_queue": OTHER,
    }
    return {"broker": settings.broker_url, "backend": settings.broker_url, "include": None, "config_source": source}


def open_celery(settings: Settings) -> Celery:
    """Celery as the workers use it."""
    arguments = celery_arguments(settings)
    return make_app({**arguments, "task_default_queue": OTHER})


class HeatersCeleryLauncher(CeleryRunLauncher):  # type: ignore[misc]
    """dagster-celery's launcher with the broker of the settings, so that no address or password is in the instance.

    Each run waits on the queue of its kind. Whether a worker lives is not asked of Celery: a result stays `STARTED` when its worker dies,
    and is unknown when Redis was emptied while the worker works. The leases of runs say that, for every launcher.
    """

    def __init__(self, settings: Settings, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(default_queue=OTHER, inst_data=inst_data, **celery_arguments(settings))
        self._missing: set[str] = set()

    @classmethod
    def config_type(cls) -> Any:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> HeatersCeleryLauncher:
        return cls(given_settings(), inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        run = context.dagster_run
        if DAGSTER_CELERY_QUEUE_TAG not in run.tags:
            queue = {DAGSTER_CELERY_QUEUE_TAG: queue_of(run.tags)}
            self._instance.add_run_tags(run.run_id, queue)
            run = run.with_tags({**run.tags, **queue})
        # Not dagster-celery's task, which takes a whole instance with it: each machine has its own.
        task = self.celery.signature(EXECUTE_RUN, args=(run.run_id,), immutable=True)
        self._launch_celery_task_run(run=run, task_signature=task, routing_key=EXECUTE_RUN)

    @property
    def supports_resume_run(self) -> bool:
        """A run that lost its worker is not resumed: its work is due again, and another run does it."""
        return False

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Failed when a worker says so, which it does when the process of a run was killed; else nothing is known against it."""
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id is not None and self.celery.AsyncResult(task_id).state == "FAILURE":
            return CheckRunHealthResult(WorkerStatus.FAILED, "the process of the run was killed, crashed, or ran out of memory")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def lost_among(self, starting: Iterable[DagsterRun]) -> list[DagsterRun]:
        """Of runs that no worker has begun, those that Redis had lost at this look and at the last one; see `lost_messages`."""
        lost = lost_messages(starting, str(self.broker))
        before, self._missing = self._missing, {run.run_id for run in lost}
        return [run for run in lost if run.run_id in before]

    def get_run_worker_debug_info(self, run: DagsterRun, include_container_logs: bool | None = True) -> str | None:
        return f"queue {run.tags.get(DAGSTER_CELERY_QUEUE_TAG)}, task {run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)}"

    def terminate(self, run_id: str) -> bool:
        """Of a run that no worker has begun, nobody hears any more; else its process gets the signal by which runs are interrupted."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        begun = run.status is DagsterRunStatus.STARTED
        self._instance.report_run_canceling(run)
        if (task_id := run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)) is not None:
            self.celery.control.revoke(task_id, terminate=begun, signal="SIGTERM")
        if not begun:
            self._instance.report_run_canceled(run, "It was canceled before a worker had begun it.")
        return True
