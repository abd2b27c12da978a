"""The private parts of Dagster that a worker uses to execute a run; see `dagster_private.py`. Only workers load them."""

from dagster._cli.api import _execute_run_command_body as execute_run_by_id
from dagster._utils.interrupts import capture_interrupts

__all__ = ["capture_interrupts", "execute_run_by_id"]
