"""Look what is wrong, write what has changed, and tell people by the channels that the settings have."""

from __future__ import annotations

import logging
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from heaters_dagster.domain.alerts import Cause, Changes
from heaters_dagster.domain.errors import HeatersError, SettingsError
from heaters_dagster.domain.words import counted
from heaters_dagster.event_log import tell
from heaters_dagster.settings import Settings
from resources.postgres.alert_store import AlertMessage, AlertStore
from resources.postgres.database import Database
from resources.upkeep.alert_channels import Send, alert_channels, check_channels
from resources.upkeep.alert_conditions import look

#: Of each channel at one time, so that a sensor's tick does not become long.
_MOST_MESSAGES = 3
#: The sensor cannot tell that its own daemon is silent: the review app looks for this.
OF_THE_DAEMON = frozenset(Cause)
OF_THE_REVIEW_APP = frozenset({Cause.DAEMON})


@dataclass(frozen=True, slots=True)
class Told:
    """What one look led to. is_elsewhere: another process did it at this moment. sent: messages. troubles: channel -> why it failed."""

    changes: Changes
    sent: int = 0
    troubles: tuple[tuple[str, str], ...] = ()
    is_elsewhere: bool = False

    @property
    def sentence(self) -> str:
        if self.is_elsewhere:
            return "another process looks at this moment"
        said = [counted(len(self.changes.begun), "alert begins", "alerts begin")] if self.changes.begun else []
        said += [counted(len(self.changes.over), "is over", "are over")] if self.changes.over else []
        said += [counted(self.sent, "message was sent", "messages were sent")] if self.sent else []
        said += [f"{channel} failed and is tried again: {error}" for channel, error in self.troubles]
        return "; ".join(said) or "nothing has changed"


def look_and_tell(settings: Settings, database: Database, causes: Collection[Cause] = OF_THE_DAEMON) -> Told:
    """One look. A channel that fails stops neither this nor the others; its messages are sent later."""
    with database.turn("alerts", patience_seconds=0.1) as is_mine:
        if not is_mine:
            return Told(Changes((), ()), is_elsewhere=True)
        store, channels = AlertStore(database), alert_channels(settings)
        changed = store.settle(look(settings, database, causes, store.load_open()), channels, where=settings.shared_review_url)
        for condition in changed.begun:
            tell("alert begins", level=logging.WARNING, cause=condition.cause.value, what=condition.what, words=condition.words)
        for alert in changed.over:
            tell("alert over", cause=alert.cause, what=alert.what, words=alert.words)
        due: dict[str, list[AlertMessage]] = {}
        for message in store.due(channels, limit=_MOST_MESSAGES):
            due.setdefault(message.channel, []).append(message)
        if not due:
            return Told(changed)
        with ThreadPoolExecutor(len(due)) as threads:
            results = list(threads.map(lambda name: (name, *_sent(store, channels[name], due[name])), due))
        return Told(changed, sum(count for _, count, _ in results), tuple((name, error) for name, _, error in results if error))


def send_test(settings: Settings, database: Database) -> dict[str, str | None]:
    """Send a test message by every channel: name -> why it failed, None when it was sent. Raises SettingsError when there is no channel."""
    check_channels(settings)
    channels = alert_channels(settings)
    if not channels:
        raise SettingsError("no channel is set for alerts: set HEATERS_ALERT_WEBHOOK, HEATERS_ALERT_SLACK or HEATERS_ALERT_MAIL")
    body = "This is a test: alerts of Heaters arrive here."
    store = AlertStore(database)
    messages = store.add_message(channels, "Heaters: test", body)
    results = {message.channel: _sent(store, channels[message.channel], [message])[1] for message in messages}
    store.give_up([message.id for message in messages if results[message.channel]])  # a test that comes late would only confuse
    return results


def _sent(store: AlertStore, send: Send, messages: Collection[AlertMessage]) -> tuple[int, str | None]:
    """How many were sent, and why the next one was not. After a failure the channel rests."""
    for number, message in enumerate(messages):
        try:
            send(message)
        except Exception as error:  # whatever it is, the alerts by other channels go on
            said = str(error) if isinstance(error, HeatersError) else f"it could not be sent ({type(error).__name__})"
            store.failed(message.id, said)
            return number, said
        store.sent(message.id)
    return len(messages), None
