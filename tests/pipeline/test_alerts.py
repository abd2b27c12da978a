"""Alerts, from real rows to real servers: once when they begin and once when they are over, also when a channel fails or all is killed."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import JobFailureData
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from heaters_dagster import cli
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.alerts import Cause
from heaters_dagster.domain.disk_room import RoomWait
from heaters_dagster.domain.due import FAILED_STARTS_BEFORE_A_PAUSE
from heaters_dagster.domain.run_tags import LOST_TAG
from heaters_dagster.domain.stages import EXPORTS, MAX_ATTEMPTS, Job
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.failing_starts import failing_starts
from heaters_dagster.orchestration.instance import open_instance
from heaters_dagster.settings import Settings, load_settings
from resources.object_store.open import open_object_store
from resources.orchestrator.dagster_resources import dagster_resources
from resources.postgres.alert_store import AlertStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from resources.postgres.failing_starts import load_failing_starts
from resources.postgres.room_waits import RoomWaitStore
from resources.postgres.source_video_store import SourceVideoStore
from resources.sources import ytdlp_release
from resources.sources.ytdlp_release import OLD_DAYS, installed
from resources.upkeep.alerts import OF_THE_REVIEW_APP, look_and_tell, send_test
from resources.upkeep.condition import load_condition
from review_app.server.daemon_watch import watch_the_daemon
from tests.alert_receivers import MailReceiver, WebReceiver, certificate
from tests.begun_steps import begin_step
from tests.pipeline_rows import cut_video, reviews, video_in

pytestmark = pytest.mark.folder
#: Not yt-dlp, whose age depends on the day.
CAUSES = frozenset(Cause) - {Cause.YTDLP}
Typed = Callable[[Settings, str], tuple[int, str, str]]
"""A line that is typed after `heaters` -> exit code, what is said, what is complained of."""


@pytest.fixture
def web() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def slack() -> Iterator[WebReceiver]:
    receiver = WebReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def mail() -> Iterator[MailReceiver]:
    receiver = MailReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def all_channels(settings: Settings, web: WebReceiver, slack: WebReceiver, mail: MailReceiver) -> Settings:
    return replace(
        settings,
        alert_webhook=web.url,
        alert_slack=slack.url,
        alert_mail="ada@example.org, ben@example.org",
        smtp_url=f"smtp://heaters%40example.org:p%40ss-of-the-test@127.0.0.1:{mail.port}",
        shared_review_url="https://review.example.org",
    )


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    monkeypatch.setattr(cli.terminal, "out", cli.terminal.Console(width=300))
    monkeypatch.setattr(cli.terminal, "err", cli.terminal.Console(stderr=True, width=300))

    def answer(settings: Settings, line: str) -> tuple[int, str, str]:
        for name, value in settings.to_environment().items():
            monkeypatch.setenv(name, value)
        load_settings.cache_clear()
        code = cli.run(line.split())
        return code, *capsys.readouterr()

    yield answer
    load_settings.cache_clear()


def fail(database: Database, title: str = "Harbour") -> int:
    video = video_in(database, SourceVideoState.DOWNLOADING, title=title)
    SourceVideoStore(database).record_failure(video.id, SourceVideoState.DOWNLOAD_FAILED, f"there is no file /{title}", transient=False)
    return video.id


def send_now(database: Database) -> None:
    """As if the pause after a failed message were over."""
    with database.begin() as connection:
        connection.exec_driver_sql("update alert_messages set next_try_at = now()")


def test_an_alert_is_told_by_every_channel_once_when_it_begins_and_once_when_it_is_over(
    all_channels: Settings, database: Database, web: WebReceiver, slack: WebReceiver, mail: MailReceiver
) -> None:
    title = "Harbour <!channel> & co"
    video = fail(database, title)
    fail(database, "Market")
    told = look_and_tell(all_channels, database, CAUSES)
    assert (told.sent, told.troubles) == (3, ())
    assert look_and_tell(all_channels, database, CAUSES).sentence == "nothing has changed"

    (posted,) = web.received
    assert posted["subject"] == "Heaters: 2 new alerts"
    assert [(one["cause"], one["what"], one["state"]) for one in posted["alerts"]] == [
        ("failed", f"source_video:{video}", "begun"),
        ("failed", f"source_video:{video + 1}", "begun"),
    ]
    assert web.headers[0]["idempotency-key"] == f"heaters-{posted['id']}"
    assert f"NEW: source video {video}, {title}: fetching failed for good: there is no file /{title}. To do: " in posted["text"]
    assert posted["text"].endswith("https://review.example.org")
    assert "Harbour &lt;!channel&gt; &amp; co" in slack.received[0]["text"]
    (letter,) = mail.mails
    assert (letter["Subject"], letter["From"], letter["To"]) == (
        "Heaters: 2 new alerts",
        "heaters@example.org",
        "ada@example.org, ben@example.org",
    )
    assert letter["Message-ID"].startswith("<heaters-")
    assert mail.recipients == [["ada@example.org", "ben@example.org"]]
    assert base64.b64decode(mail.signed_in[0]) == b"\0heaters@example.org\0p@ss-of-the-test"

    SourceVideoStore(database).retry(video)
    assert look_and_tell(all_channels, database, CAUSES).sent == 3
    assert look_and_tell(all_channels, database, CAUSES).sent == 0
    assert [one["state"] for one in web.received[1]["alerts"]] == ["over"]
    assert web.received[1]["subject"] == "Heaters: 1 over"
    assert len(web.received) == len(slack.received) == len(mail.mails) == 2


def test_a_channel_that_fails_stops_no_other_is_said_and_gets_its_messages_later(
    all_channels: Settings, database: Database, web: WebReceiver, slack: WebReceiver, mail: MailReceiver
) -> None:
    web.status, mail.refuses = 500, True
    fail(database)
    told = look_and_tell(all_channels, database, CAUSES)
    assert told.sent == 1
    assert dict(told.troubles) == {
        "webhook": "the server answered HTTP 500",
        "mail": "the mail server refused the message (SMTPRecipientsRefused)",
    }
    assert look_and_tell(all_channels, database, CAUSES).sentence == "nothing has changed", "it is tried again after a minute"
    assert [trouble.channel for trouble in AlertStore(database).troubles()] == ["mail", "webhook"]
    send_now(database)
    web.status = 307  # a redirect is not followed: the address is that of the operator
    assert dict(look_and_tell(all_channels, database, CAUSES).troubles)["webhook"] == "the server answered HTTP 307"
    send_now(database)
    web.status, mail.refuses = 204, False
    assert look_and_tell(all_channels, database, CAUSES).sent == 2
    assert len({posted["id"] for posted in web.received}) == 1
    assert len(slack.received) == 1
    assert AlertStore(database).troubles() == []


def test_a_server_that_is_silent_or_gone_is_given_up_in_time_and_its_address_is_never_said(
    all_channels: Settings, database: Database, web: WebReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.upkeep.alert_channels.ANSWER_SECONDS", 0.3)
    web.seconds = 1.0
    gone = replace(all_channels, alert_slack="http://127.0.0.1:9/a-secret-path", smtp_url="smtp://127.0.0.1:9")
    fail(database)
    troubles = dict(look_and_tell(gone, database, CAUSES).troubles)
    assert troubles["webhook"] == "the server did not answer in time"
    assert troubles["slack"] == "the server cannot be reached (ConnectionError)"
    assert troubles["mail"] == "the mail server cannot be reached (Connection refused)"
    with database.read() as connection:
        kept = str(connection.exec_driver_sql("select * from alert_messages").all())
    assert "secret" not in kept
    assert "127.0.0.1" not in kept


def test_killed_between_sending_and_noting_it_the_message_is_sent_again_with_the_same_number(
    settings: Settings, database: Database, web: WebReceiver
) -> None:
    fail(database)
    own = replace(settings, alert_webhook=web.url)
    program = """
from heaters_dagster.domain.alerts import Cause
from heaters_dagster.settings import load_settings
from resources.postgres.database import open_database
from resources.upkeep.alerts import look_and_tell
look_and_tell(load_settings(), open_database(load_settings()), frozenset(Cause) - {Cause.YTDLP})
"""
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **own.to_environment()})
    web.before_answer = lambda: os.kill(process.pid, signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    web.before_answer = lambda: None
    deadline = time.monotonic() + 20  # Postgres notices the death of the session, and its lock is free
    while (told := look_and_tell(own, database, CAUSES)).is_elsewhere and time.monotonic() < deadline:
        time.sleep(0.1)
    assert told.sent == 1
    assert [posted["id"] for posted in web.received] == [web.received[0]["id"]] * 2
    assert [len(posted["alerts"]) for posted in web.received] == [1, 1]
    assert look_and_tell(own, database, CAUSES).sent == 0


def test_mail_and_password_go_encrypted_to_a_server_that_is_trusted_only(
    all_channels: Settings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, authority = certificate(tmp_path)
    plain = MailReceiver()
    at = f"ada:p%40ss@0.0.0.0:{plain.port}"  # this machine, by an address that is no loopback address
    without = replace(all_channels, alert_webhook=None, alert_slack=None, smtp_url=f"smtp://{at}")
    refused = "the mail server offers no encryption; add ?tls=no to HEATERS_SMTP_URL to do without"
    assert send_test(without, database) == {"mail": refused}
    assert (plain.signed_in, plain.mails) == ([], []), "neither password nor mail was sent"
    nobody = replace(without, smtp_url=f"smtp://0.0.0.0:{plain.port}?tls=no")
    assert send_test(nobody, database) == {"mail": None}
    assert (plain.encrypted, len(plain.mails)) == ([("DATA", False)], 1)
    plain.close()
    for is_smtps in (False, True):
        server = MailReceiver(context, is_smtps=is_smtps)
        address = f"{'smtps' if is_smtps else 'smtp'}://ada:p%40ss@127.0.0.1:{server.port}"
        own = replace(all_channels, alert_webhook=None, alert_slack=None, smtp_url=address)
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        told = send_test(own, database)["mail"]
        assert str(told).startswith("the certificate of the mail server is not trusted here: ")
        assert (server.signed_in, server.mails) == ([], [])
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        assert send_test(own, database) == {"mail": None}
        assert server.encrypted == [("AUTH", True), ("DATA", True)]
        assert base64.b64decode(server.signed_in[0]) == b"\0ada\0p@ss"
        server.knows_nobody = True
        refused = "the mail server does not accept the user and password of HEATERS_SMTP_URL (535)"
        assert send_test(own, database) == {"mail": refused}
        assert len(server.mails) == 1
        server.close()


def test_a_channel_that_is_set_later_hears_once_of_what_goes_on(
    settings: Settings, database: Database, web: WebReceiver, slack: WebReceiver
) -> None:
    first = fail(database, "Harbour")
    with_web = replace(settings, alert_webhook=web.url)
    assert look_and_tell(with_web, database, CAUSES).sent == 1
    with_both = replace(with_web, alert_slack=slack.url)
    fail(database, "Market")
    assert look_and_tell(with_both, database, CAUSES).sent == 3
    assert look_and_tell(with_both, database, CAUSES).sent == 0
    earlier, new = (posted["text"] for posted in slack.received)
    assert earlier.startswith("*Heaters: 1 open alert*\nOPEN since 20")
    assert "Harbour: fetching failed for good: there is no file /Harbour. To do: heaters status VIDEO says more" in earlier
    assert new.startswith("*Heaters: 1 new alert*\nNEW: ")
    assert [len(posted["alerts"]) for posted in web.received] == [1, 1]
    SourceVideoStore(database).retry(first)
    assert look_and_tell(with_web, database, CAUSES).sent == 1
    assert look_and_tell(with_both, database, CAUSES).sent == 0, "slack knows the other one, and this is over"


def test_each_cause_is_found_and_is_over(settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    videos, clips = SourceVideoStore(database), ClipStore(database)
    late, failing = cut_video(database), cut_video(database, gold_master=False)
    room = RoomWaitStore(database)
    release = installed()
    for days, causes in ((OLD_DAYS, set()), (OLD_DAYS + 1, {("ytdlp", "")}), (0, set())):
        today = release.made + timedelta(days)
        monkeypatch.setattr(ytdlp_release, "date", type("Calendar", (date,), {"today": classmethod(lambda of, today=today: today)}))
        look_and_tell(settings, database, {Cause.YTDLP})
        assert {alert.key for alert in AlertStore(database).load_open()} == causes
    room.put({late[0].source_video_id: [RoomWait("proxy", 5_000_000_000, 1_000_000_000)]})
    look_and_tell(settings, database, {Cause.NO_ROOM})
    (full,) = AlertStore(database).load_open()
    assert full.key == ("no_room", "")
    assert full.words.startswith(f"1 piece of work waits for room on the disk; source video {late[0].source_video_id}: ")
    room.forget([(late[0].source_video_id, "proxy")])
    with open_instance(settings) as instance:
        now = time.time()
        instance.add_daemon_heartbeat(DaemonHeartbeat(now - 400, "SENSOR", "one", []))

        @dg.job
        def export() -> None: ...

        run = instance.create_run_for_job(export)
        instance.add_run_tags(run.run_id, {LOST_TAG: "its machine"})

        def open_alerts() -> set[tuple[str, str]]:
            look_and_tell(replace(settings, alert_dagster_gb=limit), database, CAUSES)
            return {alert.key for alert in AlertStore(database).load_open()}

        limit = 20.0
        assert open_alerts() == {("daemon", ""), ("lease_lost", "")}
        instance.add_daemon_heartbeat(DaemonHeartbeat(now, "SENSOR", "one", []))
        with database.begin() as connection:
            connection.exec_driver_sql("update dagster.runs set update_timestamp = update_timestamp - interval '20 minutes'")
        assert open_alerts() == set()

        reviews(database).approve([late[0].id, failing[0].id], reviewer="ada")
        with database.begin() as connection:
            connection.exec_driver_sql("set local session_replication_role = replica")
            connection.exec_driver_sql(f"update clips set state_changed_at = now() - interval '6 minutes' where id = {late[0].id}")
        assert clips.claim(failing[0].id, EXPORTS, ["final_clips/a.mp4"]) is not None
        clips.fail(failing[0].id, EXPORTS, "the file is damaged", transient=False)
        for _ in range(MAX_ATTEMPTS):
            videos.record_gold_master_failure(failing[0].source_video_id, "the download broke off", transient=True)
        canceled = video_in(database, SourceVideoState.DOWNLOADING)
        told = "canceled in Dagster by a person; heaters retry starts it again"
        videos.record_failure(canceled.id, SourceVideoState.DOWNLOAD_FAILED, told, transient=False)
        in_a_moment = video_in(database, SourceVideoState.DOWNLOADING)
        videos.record_failure(in_a_moment.id, SourceVideoState.DOWNLOAD_FAILED, "the download broke off", transient=True)
        limit = 0.000001
        assert open_alerts() == {
            ("not_exported", ""),
            ("failed", f"exports:{failing[0].source_video_id}"),
            ("failed", f"gold_master:{failing[0].source_video_id}"),
            ("database_size", ""),
        }
        for number in range(10):
            fail(database, f"lost {number}")
        assert ("many_failures", "not_found") in open_alerts()


def test_a_job_whose_runs_cannot_begin_is_an_alert_until_one_begins_its_work(settings: Settings, database: Database, typed: Typed) -> None:
    """The readers of programs with Dagster and without it say the same; so do `heaters status` and the page Status."""
    video, objects = video_in(database, SourceVideoState.NEW), open_object_store(settings)
    definitions = heaters_definitions(settings)

    def on_the_page() -> list[str]:
        return [str(part.problem) for part in load_condition(settings, database, objects).parts if part.name == "Starts of runs"]

    with open_instance(settings) as instance:

        def run() -> dg.DagsterRun:
            return instance.create_run_for_job(
                definitions.resolve_job_def(Job.INGEST),
                tags={"dagster/partition": str(video.id)},
                asset_selection=frozenset({dg.AssetKey("source_video")}),
                status=dg.DagsterRunStatus.STARTED,
            )

        for number in range(FAILED_STARTS_BEFORE_A_PAUSE):
            assert (load_failing_starts(settings), on_the_page()) == ({}, []), number
            error = SerializableErrorInfo(f"cannot import name 'Later{number}' from 'heaters'\n", [], "ImportError")
            instance.report_run_failed(run(), "the run failed", JobFailureData(error))
        seen, told = failing_starts(instance, Job.INGEST), load_failing_starts(settings)
        assert seen is not None
        assert list(told) == [Job.INGEST]
        assert replace(told[Job.INGEST], seconds=0.0) == replace(seen, seconds=0.0)
        assert told[Job.INGEST].seconds == pytest.approx(seen.seconds, abs=2)
        sentence = "runs of the job ingest cannot begin: the last 3 runs failed before the work began "
        sentence += "(cannot import name 'Later2' from 'heaters')"
        assert on_the_page() == [f"{sentence}. One run is tried every five minutes, and then all"]
        look_and_tell(settings, database, CAUSES)
        assert [(alert.key, alert.words) for alert in AlertStore(database).load_open()] == [(("failing_starts", "ingest"), sentence)]

        for of_one in ("", f" {video.id}"):
            (row,) = json.loads(typed(settings, f"status{of_one} --json")[1])
            assert row["failing_starts"] == [sentence]
            assert sentence in typed(settings, f"status{of_one}")[2]

        begun = run()
        begin_step(instance, begun, "source_video")
        instance.report_run_failed(begun, "its site answers 404")
        assert (failing_starts(instance, Job.INGEST), load_failing_starts(settings), on_the_page()) == (None, {}, [])
        look_and_tell(settings, database, CAUSES)
        assert AlertStore(database).load_open() == []


def test_the_store_that_cannot_be_used_is_an_alert_and_the_review_app_looks_for_the_daemon_only(
    settings: Settings, database: Database
) -> None:
    (settings.home / "objects").write_text("a file where the folder should be")
    fail(database)
    assert look_and_tell(settings, database, OF_THE_REVIEW_APP).sentence == "nothing has changed"
    look_and_tell(settings, database, CAUSES)
    known = {alert.key for alert in AlertStore(database).load_open()}
    assert ("store", "") in known
    look_and_tell(settings, database, OF_THE_REVIEW_APP)
    assert {alert.key for alert in AlertStore(database).load_open()} == known, "what it does not look for is not over"


def test_the_review_app_tells_that_the_daemon_is_silent_and_that_it_is_back(
    settings: Settings, database: Database, web: WebReceiver
) -> None:
    def wait_for(messages: int) -> None:
        deadline = time.monotonic() + 60
        while len(web.received) < messages and time.monotonic() < deadline:
            time.sleep(0.05)

    with open_instance(settings) as instance:
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 400, "SENSOR", "one", []))
        end = watch_the_daemon(replace(settings, alert_webhook=web.url), every_seconds=0.1)
        try:
            wait_for(1)
            instance.add_daemon_heartbeat(DaemonHeartbeat(time.time(), "SENSOR", "one", []))
            wait_for(2)
        finally:
            end.set()
    assert [[(one["cause"], one["state"]) for one in posted["alerts"]] for posted in web.received] == [
        [("daemon", "begun")],
        [("daemon", "over")],
    ]
    assert "Dagster's daemon has been silent for 7 minutes" in web.received[0]["text"]


def test_the_sensor_tells_and_reports_the_freshness_check_when_it_changes(
    all_channels: Settings, database: Database, web: WebReceiver
) -> None:
    definitions = heaters_definitions(all_channels)
    sensor = definitions.get_repository_def().get_sensor_def("alerts")
    clip = cut_video(database)[0]
    reviews(database).approve([clip.id], reviewer="ada")
    with dg.DagsterInstance.ephemeral() as instance:

        def tick(cursor: str | None) -> dg.SensorResult:
            resources = dict(dagster_resources(all_channels))
            with dg.build_sensor_context(instance=instance, cursor=cursor, definitions=definitions, resources=resources) as context:
                result = sensor(context)
            assert isinstance(result, dg.SensorResult)
            return result

        first = tick(None)
        (fresh,) = first.asset_events
        assert isinstance(fresh, dg.AssetCheckEvaluation)
        assert (fresh.check_name, fresh.passed) == ("approved_clips_have_files", True)
        assert tick(first.cursor).asset_events == []
        with database.begin() as connection:
            connection.exec_driver_sql("set local session_replication_role = replica")
            connection.exec_driver_sql(f"update clips set state_changed_at = now() - interval '6 minutes' where id = {clip.id}")
        web.status = 500
        late = tick(first.cursor)
        (stale,) = late.asset_events
        assert isinstance(stale, dg.AssetCheckEvaluation)
        assert not stale.passed
        assert "1 clip was approved more than five minutes ago" in str(stale.description)
        assert "webhook failed and is tried again: the server answered HTTP 500" in str(late.skip_reason)
        assert any("approved more than five minutes ago" in posted["text"] for posted in web.received)


def test_the_command_sends_a_test_message_and_says_which_channel_does_not_take_it(
    settings: Settings,
    database: Database,
    web: WebReceiver,
    slack: WebReceiver,
    typed: Typed,
) -> None:
    code, _, told = typed(settings, "alerts test")
    assert (code, "HEATERS_ALERT_WEBHOOK" in told) == (2, True)
    slack.status = 404
    code, said, told = typed(replace(settings, alert_webhook=web.url, alert_slack=slack.url), "alerts test")
    assert (code, said, told) == (1, "webhook: sent\n", "heaters: slack: the server answered HTTP 404\n")
    assert web.received[0]["text"] == "This is a test: alerts of Heaters arrive here."
    assert typed(settings, "alerts list")[1].startswith("No alert is open")
    fail(database)
    look_and_tell(settings, database, CAUSES)
    code, said, told = typed(settings, "alerts list")
    assert (code, "fetching failed for good" in said) == (0, True)
    assert "open since" in said
    assert "heaters status VIDEO says more; when the cause is gone: heaters retry VIDEO" in " ".join(said.split())
    assert said.endswith("Alerts are told by: slack, webhook.\n")
    assert told == "slack: 1 message could not be sent, 1 of them for good: the server answered HTTP 404\n"
