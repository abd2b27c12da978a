"""Alerts and the messages about them.

What begins or is over, and the messages that tell it, are written in one transaction, and only then are the messages sent. So a process
that is killed loses none; killed between sending and noting it, it sends that message again (at least once), with the same number.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select, text

from heaters_dagster.domain.alerts import Cause, Changes, Look, OpenAlert, changes, message, one_line, standing_message, subject
from heaters_dagster.domain.words import counted
from resources.postgres.database import Database
from resources.postgres.knowing_tables import alert_messages, alerts

#: After this a message is news no more.
_GIVEN_UP_AFTER = "1 day"
_KEPT = "90 days"


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """A message that is to be sent. changes: what a program reads instead of the text."""

    id: int
    channel: str
    subject: str
    body: str
    changes: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ChannelTrouble:
    """Messages of a channel that could not be sent yet, and why."""

    channel: str
    messages: int
    error: str
    given_up: int


class AlertStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    def load_open(self) -> list[OpenAlert]:
        """Those that go on, the oldest first."""
        with self._database.read() as connection:
            return _load_open(connection)

    def ended(self, *, limit: int = 20) -> list[tuple[OpenAlert, datetime]]:
        """Those that are over, with when, the newest first."""
        own = alerts.c
        query = select(alerts).where(own.over_at.is_not(None)).order_by(own.over_at.desc(), own.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [(_open_alert(row), row.over_at) for row in connection.execute(query)]

    def settle(self, look: Look, channels: Collection[str], *, where: str | None = None) -> Changes:
        """Write what begins and what is over, and a message about it for each channel. where: see `domain.alerts.message`.

        A channel that was not there when an alert began is told of it now, once.
        """
        with self._database.begin() as connection:
            connection.execute(text("lock table alerts in share row exclusive mode"))
            changed = changes(look, _load_open(connection))
            self._tell_of_standing(connection, channels, {alert.id for alert in changed.over}, where)
            if not changed:
                return changed
            own = alerts.c
            for condition in changed.begun:
                values = {"cause": condition.cause.value, "what": condition.what, "words": one_line(condition.words)}
                connection.execute(alerts.insert().values(**values, told_to=sorted(channels)))
            ended = [alert.id for alert in changed.over]
            connection.execute(alerts.update().where(own.id.in_(ended)).values(over_at=func.now()))
            connection.execute(alerts.delete().where(own.over_at < func.now() - text(f"interval '{_KEPT}'")))
            self._add(connection, channels, subject(changed), message(changed, where=where), _for_programs(changed))
            return changed

    def _tell_of_standing(self, connection: Connection, channels: Collection[str], ended: Collection[int], where: str | None) -> None:
        own = alerts.c
        for channel in sorted(channels):
            is_untold = own.over_at.is_(None) & ~own.told_to.contains([channel])
            rows = connection.execute(select(alerts).where(is_untold).order_by(own.begun_at, own.id))
            untold = [_open_alert(row) for row in rows if row.id not in ended]
            if not untold:
                continue
            title = f"Heaters: {counted(len(untold), 'open alert')}"
            self._add(connection, [channel], title, standing_message(untold, where=where), [_begun(one) for one in untold])
            told = alerts.update().where(own.id.in_([one.id for one in untold]))
            connection.execute(told.values(told_to=func.array_append(own.told_to, channel)))

    def add_message(self, channels: Collection[str], title: str, body: str) -> list[AlertMessage]:
        """A message about no alert, to be sent at once by who adds it."""
        with self._database.begin() as connection:
            ids = self._add(connection, channels, title, body, [])
            # It is not sent by others meanwhile.
            connection.execute(_later(ids, "5 minutes"))
            return [_message(row) for row in connection.execute(select(alert_messages).where(alert_messages.c.id.in_(ids)))]

    def due(self, channels: Collection[str], *, limit: int) -> list[AlertMessage]:
        """Messages to send now, the oldest first, up to `limit` of each channel. Those of other channels are given up."""
        own = alert_messages.c
        waits = own.sent_at.is_(None) & own.given_up_at.is_(None)
        with self._database.begin() as connection:
            too_old = own.created_at < func.now() - text(f"interval '{_GIVEN_UP_AFTER}'")
            given_up = waits & (too_old | own.channel.notin_(sorted(channels)))
            connection.execute(alert_messages.update().where(given_up).values(given_up_at=func.now()))
            connection.execute(alert_messages.delete().where(own.created_at < func.now() - text(f"interval '{_KEPT}'")))
            found: list[AlertMessage] = []
            for channel in sorted(channels):
                query = select(alert_messages).where(waits, own.channel == channel, own.next_try_at <= func.now())
                found += [_message(row) for row in connection.execute(query.order_by(own.id).limit(limit))]
            return found

    def sent(self, message_id: int) -> None:
        with self._database.begin() as connection:
            values = {"sent_at": func.now(), "tries": alert_messages.c.tries + 1, "error": None}
            connection.execute(alert_messages.update().where(alert_messages.c.id == message_id).values(**values))

    def failed(self, message_id: int, error: str) -> None:
        """It is tried again: after a minute, two, four ... and at most about an hour."""
        own = alert_messages.c
        wait = func.make_interval(0, 0, 0, 0, 0, 0, 60.0 * func.power(2, func.least(own.tries, 6)))
        with self._database.begin() as connection:
            values = {"tries": own.tries + 1, "error": one_line(error), "next_try_at": func.now() + wait}
            connection.execute(alert_messages.update().where(own.id == message_id).values(**values))

    def give_up(self, message_ids: Collection[int]) -> None:
        """They are not tried again."""
        with self._database.begin() as connection:
            connection.execute(alert_messages.update().where(alert_messages.c.id.in_(message_ids)).values(given_up_at=func.now()))

    def troubles(self) -> list[ChannelTrouble]:
        """Channels by which messages of the last two days could not be sent."""
        own = alert_messages.c
        query = select(own.channel, func.count(), func.max(own.error), func.count(own.given_up_at)).where(_could_not_be_sent())
        query = query.group_by(own.channel)
        with self._database.read() as connection:
            return [ChannelTrouble(row[0], int(row[1]), row[2], int(row[3])) for row in connection.execute(query.order_by(own.channel))]

    def _add(
        self, connection: Connection, channels: Collection[str], title: str, body: str, changed: Sequence[Mapping[str, Any]]
    ) -> list[int]:
        rows = [{"channel": channel, "subject": title, "body": body, "changes": list(changed)} for channel in sorted(channels)]
        if not rows:
            return []
        return list(connection.scalars(alert_messages.insert().returning(alert_messages.c.id), rows))


def open_by_cause(connection: Connection) -> dict[str, int]:
    """Cause -> open alerts; 0 for a cause without one, so that a figure falls to 0."""
    query = select(alerts.c.cause, func.count()).where(alerts.c.over_at.is_(None)).group_by(alerts.c.cause)
    return {cause.value: 0 for cause in Cause} | {row[0]: int(row[1]) for row in connection.execute(query)}


def unsent_by_channel(connection: Connection) -> dict[str, int]:
    """Channel -> messages that could not be sent, of the last two days."""
    query = select(alert_messages.c.channel, func.count()).where(_could_not_be_sent()).group_by(alert_messages.c.channel)
    return {row[0]: int(row[1]) for row in connection.execute(query)}


def _could_not_be_sent() -> ColumnElement[bool]:
    own = alert_messages.c
    return own.sent_at.is_(None) & own.error.is_not(None) & (own.created_at > func.now() - text("interval '2 days'"))


def _later(ids: Collection[int], how_much: str) -> Any:
    own = alert_messages.c
    return alert_messages.update().where(own.id.in_(ids)).values(next_try_at=func.now() + text(f"interval '{how_much}'"))


def _for_programs(changed: Changes) -> list[dict[str, Any]]:
    begun = [{"cause": one.cause.value, "what": one.what, "state": "begun", "words": one_line(one.words)} for one in changed.begun]
    return [*begun, *(_begun(one) | {"state": "over"} for one in changed.over)]


def _begun(one: OpenAlert) -> dict[str, Any]:
    since = one.begun_at.isoformat(timespec="seconds")
    return {"cause": one.cause, "what": one.what, "state": "begun", "words": one.words, "since": since}


def _load_open(connection: Connection) -> list[OpenAlert]:
    own = alerts.c
    return [_open_alert(row) for row in connection.execute(select(alerts).where(own.over_at.is_(None)).order_by(own.begun_at, own.id))]


def _open_alert(row: Any) -> OpenAlert:
    return OpenAlert(row.id, row.cause, row.what, row.words, row.begun_at)


def _message(row: Any) -> AlertMessage:
    return AlertMessage(row.id, row.channel, row.subject, row.body, row.changes)
