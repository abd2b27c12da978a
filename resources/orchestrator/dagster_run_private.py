"""The private parts of Dagster that a worker uses to execute a run; see `dagster_private.py`. Only workers load them."""

from dagster._cli.api import _execute_run_command_body as execute_run_by_id
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import unpack_value
from dagster._utils.interrupts import capture_interrupts

__all__ = ["ExecuteRunArgs", "capture_interrupts", "execute_run_by_id", "unpack_value"]
