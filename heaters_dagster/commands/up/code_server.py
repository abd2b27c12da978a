"""`python -m heaters_dagster.commands.up.code_server ADDRESS`: Dagster's code server, whose run workers start from a warm process.

ADDRESS is the path of a Unix socket, or HOST:PORT.

Dagster's own starts each run in a fresh Python, which loads everything anew: two seconds of processor time before the work begins. Here
a process of the standard library (`multiprocessing.forkserver`) has loaded it once and runs nothing, and each run worker is its fork.
If that process could not load something, run workers load it themselves; if it was killed, the next run starts it again.
"""

from __future__ import annotations

import sys

_DEFINITIONS = "heaters_dagster.definitions"

#: What a run worker needs. Dagster and the assets load more when they first need it, which would be in every worker.
WARM_MODULES = (
    _DEFINITIONS,
    "dagster._grpc.impl",
    "dagster_postgres",
    "resources.orchestrator.dagster_storage",
)

#: How long interrupted runs may take to write their end, when a server of its own (`heaters serve code`) is told to end.
PATIENCE_SECONDS = 15.0

#: gRPC's main thread wakes ten times a second so that a signal is noticed on old Pythons; those of today notice it at once.
_LONGEST_WAIT_SECONDS = 60.0


def main(definitions: str = _DEFINITIONS) -> int:
    """definitions: the module that has them. Returns the exit code."""
    # Imported here and not above, because every run worker imports this module again.
    import logging
    import multiprocessing
    import threading
    import time
    from contextlib import suppress
    from multiprocessing import forkserver
    from typing import Any

    from grpc import _common as grpc_waits  # type: ignore[import-untyped]

    from heaters_dagster import event_log
    from heaters_dagster.settings import load_settings
    from resources.orchestrator.dagster_daemon_private import (
        DagsterApiServer,
        DagsterGrpcServer,
        FuturesAwareThreadPoolExecutor,
        LoadableTargetOrigin,
        configure_loggers,
        setup_interrupt_handlers,
    )

    host, _, port = sys.argv[1].rpartition(":")
    is_socket = sys.argv[1].startswith("/")

    class WarmServer(DagsterApiServer):
        def __init__(self, **given: Any) -> None:
            super().__init__(**given)
            self._mp_ctx = multiprocessing.get_context("forkserver")  # type: ignore[assignment]

        def cleanup(self) -> None:
            if not is_socket:  # under `heaters up` the supervisor ends the runs
                self._hand_over()
            super().cleanup()

        def _hand_over(self) -> None:
            """Interrupt the runs of this server, so that another one, or the next, takes up their work at once."""
            from dagster import DagsterInstance

            from heaters_dagster.orchestration.janitor import announce_end

            with self._execution_lock:
                running = dict(self._executions)
            for run_id, (process, instance_ref) in running.items():
                with DagsterInstance.from_ref(instance_ref) as instance:
                    run = instance.get_run_by_id(run_id)
                    if process.is_alive() and run is not None and not run.is_finished:
                        announce_end(instance, run, "the code server was ended")
                        self._termination_events[run_id].set()
            deadline = time.monotonic() + PATIENCE_SECONDS
            for process, _ in running.values():
                process.join(max(deadline - time.monotonic(), 0.0))
                process.kill()

    forkserver.set_forkserver_preload([definitions, *WARM_MODULES])
    forkserver.ensure_running()
    grpc_waits.MAXIMUM_WAIT_TIMEOUT = _LONGEST_WAIT_SECONDS
    setup_interrupt_handlers()
    configure_loggers(log_level="WARNING")
    event_log.set_up(load_settings(), "code", owns_output=True)
    logger, ended, threads = logging.getLogger("dagster.code_server"), threading.Event(), FuturesAwareThreadPoolExecutor()
    place = LoadableTargetOrigin(executable_path=sys.executable, module_name=definitions)
    servicer = WarmServer(server_termination_event=ended, logger=logger, server_threadpool_executor=threads, loadable_target_origin=place)
    server = DagsterGrpcServer(
        server_termination_event=ended,
        dagster_api_servicer=servicer,
        logger=logger,
        threadpool_executor=threads,
        **({"socket": sys.argv[1]} if is_socket else {"host": host, "port": int(port)}),
    )
    with suppress(KeyboardInterrupt):
        server.serve()  # type: ignore[no-untyped-call]
    return 0


if __name__ == "__main__":
    sys.exit(main())
