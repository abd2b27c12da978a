"""Leases of runs: a run belongs to who is responsible for it, and is ended only by its own machine or when its lease has expired."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LeaseState(StrEnum):
    """How far a run has come.

    QUEUED: it waits in Dagster's queue. LAUNCHED: it was given to a launcher or a broker, and no process works on it yet. The elected
    scheduler renews both; that it is silent says nothing about such a run, however long it waits.
    WORKING: a process works on it, or waits for a pool with it, and renews the lease. LOST: the lease was taken away.
    """

    QUEUED = "queued"
    LAUNCHED = "launched"
    WORKING = "working"
    LOST = "lost"


#: The name of the lease of the elected daemon, which is among those of runs.
SCHEDULER = "scheduler"

#: The states in which a scheduler is responsible for a run.
WAITING = (LeaseState.QUEUED, LeaseState.LAUNCHED)


@dataclass(frozen=True, slots=True)
class RunLease:
    """The lease of one run.

    host: the machine that is responsible, empty when nobody is known to be. worker: a random name of its process. process: that process,
    in words that only its own machine understands. is_expired: by the clock of the database.
    """

    run_id: str
    state: LeaseState
    host: str
    worker: str
    process: str
    is_expired: bool

    @property
    def has_begun(self) -> bool:
        """Whether a process has worked on the run: if its lease is lost, that counts as a failed try."""
        return self.state is LeaseState.WORKING

    def is_over(self, *, process_is_gone: bool) -> bool:
        """Whether the run may be ended now. process_is_gone: its own machine knows that the process has ended."""
        if self.state is LeaseState.LOST:
            return True
        return self.state is LeaseState.WORKING and (self.is_expired or process_is_gone)
