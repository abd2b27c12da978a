"""What Redis knows of runs and workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

from celery import Celery
from dagster import DagsterRun
from dagster_celery.tags import DAGSTER_CELERY_QUEUE_TAG
from kombu.exceptions import OperationalError
from redis import Redis, RedisError

from heaters_dagster.domain.errors import TransientError
from heaters_dagster.domain.run_queues import QUEUES, queue_of

#: Where kombu keeps the messages that were taken and are not acknowledged.
_TAKEN = "unacked"
#: What it writes between the name of a queue and a priority.
_PRIORITY = b"\x06\x16"


class BrokerUnavailableError(TransientError):
    """Redis does not answer."""


def listening(app: Celery) -> Mapping[str, tuple[str, ...]]:
    """Machine -> the kinds of work that its workers listen for. Waits a second for their answers. Raises BrokerUnavailableError."""
    try:
        answers = app.control.inspect(timeout=1.0).active_queues() or {}
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerUnavailableError(f"Redis at HEATERS_BROKER_URL does not answer: {error}") from error
    heard: dict[str, set[str]] = {}
    for name, queues in answers.items():
        names = {queue["name"] for queue in queues}
        heard.setdefault(name.partition("@")[2], set()).update(kind for kind, wanted in QUEUES.items() if names & set(wanted))
    return {host: tuple(kind for kind in QUEUES if kind in kinds) for host, kinds in sorted(heard.items())}


def lost_messages(runs: Iterable[DagsterRun], broker_url: str) -> list[DagsterRun]:
    """Of runs that no worker has begun, those of which Redis has no message: it was emptied, or a worker died just as it took it.

    Those that a worker takes at this moment, or that are being handed over, may be among them: ask twice, some seconds apart. Nothing is
    lost while Redis does not answer.
    """
    with suppress(RedisError), Redis.from_url(broker_url, socket_timeout=5) as redis:
        messages: dict[str, bytes] = {}

        def waiting(queue: str) -> bytes:
            if queue not in messages:
                lists = [name for name in redis.scan_iter(f"{queue}*", _type="list") if name.split(_PRIORITY)[0] == queue.encode()]
                messages[queue] = b"".join(message for name in lists for message in redis.lrange(name, 0, -1))
            return messages[queue]

        taken = b"".join(redis.hvals(_TAKEN))
        return [run for run in runs if not (run.run_id.encode() in taken or run.run_id.encode() in waiting(_queue(run)))]
    return []


def _queue(run: DagsterRun) -> str:
    return run.tags.get(DAGSTER_CELERY_QUEUE_TAG) or queue_of(run.tags)
