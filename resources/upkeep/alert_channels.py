"""The ways to people: a webhook, Slack's incoming webhook, e-mail. Their addresses are secrets: whoever has one can write there.

They are set by the operator, who may well use a server of the own network; so they do not go through the address guard, which is for
addresses of strangers. No redirect is followed, so that nothing goes where the operator did not say.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any
from urllib.parse import unquote, urlsplit

from heaters_dagster.domain.errors import DownloadError, HeatersError, SettingsError
from heaters_dagster.settings import Settings, is_loopback
from resources.postgres.alert_store import AlertMessage

CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
Send = Callable[[AlertMessage], None]
_SMTP_PORT, _SMTPS_PORT = 587, 465


class AlertNotSentError(DownloadError):
    """A channel did not take a message. Its words never hold the channel's address."""


def alert_channels(settings: Settings) -> dict[str, Send]:
    """Name of each channel that the settings have -> what sends a message by it, or raises AlertNotSentError."""
    found: dict[str, Send] = {}
    if settings.alert_webhook is not None:
        found["webhook"] = lambda message: _post(settings.alert_webhook or "", _for_programs(message, settings), f"heaters-{message.id}")
    if settings.alert_slack is not None:
        found["slack"] = lambda message: _post(settings.alert_slack or "", {"text": _for_slack(message)}, f"heaters-{message.id}")
    if settings.alert_mail is not None:
        found["mail"] = lambda message: _mail(message, settings)
    return found


def check_channels(settings: Settings) -> None:
    """Raise SettingsError for settings of channels that cannot work together."""
    if settings.alert_mail is not None and settings.smtp_url is None:
        raise SettingsError("HEATERS_ALERT_MAIL needs HEATERS_SMTP_URL, the server that takes the mail: smtp://user:password@host:587")
    if settings.smtp_url is not None:
        parts = urlsplit(settings.smtp_url)
        if parts.scheme == "smtp" and parts.password and parts.query == "tls=no" and not is_loopback(parts.hostname or ""):
            raise SettingsError("HEATERS_SMTP_URL would send the password without encryption: leave out tls=no")


def _post(address: str, body: Any, key: str) -> None:
    import requests

    headers = {"User-Agent": "Heaters", "Idempotency-Key": key}
    try:
        answer = requests.post(address, json=body, headers=headers, timeout=(CONNECT_SECONDS, ANSWER_SECONDS), allow_redirects=False)
    except requests.Timeout:
        raise AlertNotSentError("the server did not answer in time") from None
    except requests.RequestException as error:
        raise AlertNotSentError(f"the server cannot be reached ({type(error).__name__})") from None
    with answer:
        if not 200 <= answer.status_code < 300:
            raise AlertNotSentError(f"the server answered HTTP {answer.status_code}")


def _for_programs(message: AlertMessage, settings: Settings) -> dict[str, object]:
    return {
        "id": message.id,
        "from": "heaters",
        "subject": message.subject,
        "text": message.body,
        "alerts": list(message.changes),
        "review_url": settings.shared_review_url,
    }


def _for_slack(message: AlertMessage) -> str:
    """Slack reads &, < and > as the beginnings of links and mentions: a title must not ring the whole channel."""
    text = f"*{message.subject}*\n{message.body}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mail(message: AlertMessage, settings: Settings) -> None:
    check_channels(settings)
    parts = urlsplit(settings.smtp_url or "")
    host, recipients = parts.hostname or "", [part.strip() for part in (settings.alert_mail or "").split(",")]
    user = unquote(parts.username or "")
    sender = settings.alert_mail_from or (user if "@" in user else recipients[0])
    mail = EmailMessage()
    mail["Subject"], mail["From"], mail["To"] = message.subject, sender, ", ".join(recipients)
    mail["Date"], mail["Message-ID"] = formatdate(), f"<heaters-{message.id}@{parseaddr(sender)[1].rpartition('@')[2] or 'localhost'}>"
    mail.set_content(message.body)
    context = ssl.create_default_context()
    try:
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or _SMTPS_PORT, timeout=ANSWER_SECONDS, context=context)
        else:
            server = smtplib.SMTP(host, parts.port or _SMTP_PORT, timeout=ANSWER_SECONDS)
        with server:
            server.ehlo()
            if parts.scheme == "smtp" and parts.query != "tls=no":
                if not server.has_extn("starttls") and not is_loopback(host):
                    raise AlertNotSentError("the mail server offers no encryption; add ?tls=no to HEATERS_SMTP_URL to do without")
                if server.has_extn("starttls"):
                    server.starttls(context=context)
            if user:
                server.login(user, unquote(parts.password or ""))
            server.send_message(mail)
    except HeatersError:
        raise
    except smtplib.SMTPAuthenticationError as error:
        raise AlertNotSentError(f"the mail server does not accept the user and password of HEATERS_SMTP_URL ({error.smtp_code})") from None
    except smtplib.SMTPResponseException as error:
        raise AlertNotSentError(f"the mail server answered {error.smtp_code}") from None
    except smtplib.SMTPException as error:
        raise AlertNotSentError(f"the mail server refused the message ({type(error).__name__})") from None
    except ssl.SSLCertVerificationError as error:
        raise AlertNotSentError(f"the certificate of the mail server is not trusted here: {error.verify_message}") from None
    except OSError as error:
        raise AlertNotSentError(f"the mail server cannot be reached ({error.strerror or type(error).__name__})") from None
