"""What happens at fixed times: clean-up of temporary files and of Dagster's old records, the nightly backup and audit, embeddings
that the present model lacks, a look at web sites, and, where it is switched on, the detector against what reviewers did."""

import dagster as dg

from heaters_dagster.orchestration.jobs import (
    backup,
    dagster_clean_up,
    embedding_backfill,
    evaluate_detector,
    mece_audit,
    temp_clean_up,
    web_sites_check,
)

temp_clean_up_hourly = dg.ScheduleDefinition(
    name="temp_clean_up_hourly",
    job=temp_clean_up,
    cron_schedule="7 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every hour: remove the temporary files of processes that have ended, and uploads that are already in the store.",
)

backup_nightly = dg.ScheduleDefinition(
    name="backup_nightly",
    job=backup,
    cron_schedule="13 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: back up both databases and the list of objects that they need, and delete the backups that are not kept.",
)

mece_audit_nightly = dg.ScheduleDefinition(
    name="mece_audit_nightly",
    job=mece_audit,
    cron_schedule="23 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: check that clips cover their source video exactly once, and that rows and stored files agree.",
)

embedding_backfill_nightly = dg.ScheduleDefinition(
    name="embedding_backfill_nightly",
    job=embedding_backfill,
    cron_schedule="43 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: make clips due that have no vector of the present model or whose embedding failed.",
)

web_sites_check_nightly = dg.ScheduleDefinition(
    name="web_sites_check_nightly",
    job=web_sites_check,
    cron_schedule="53 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: warn when yt-dlp is old or cannot solve challenges, and when a sign-in has ended or soon ends.",
)

dagster_clean_up_nightly = dg.ScheduleDefinition(
    name="dagster_clean_up_nightly",
    job=dagster_clean_up,
    cron_schedule="13 4 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night: remove the details of old runs from Dagster's tables, and old runs that made nothing.",
)

#: Off until somebody wants it: it reads the scores of every reviewed source video, and says something only where people correct cuts.
evaluate_detector_weekly = dg.ScheduleDefinition(
    name="evaluate_detector_weekly",
    job=evaluate_detector,
    cron_schedule="33 4 * * 0",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Sunday, when it is switched on: compare the detector's cuts with what reviewers did to them.",
)

SCHEDULES = (
    temp_clean_up_hourly,
    dagster_clean_up_nightly,
    backup_nightly,
    mece_audit_nightly,
    embedding_backfill_nightly,
    web_sites_check_nightly,
    evaluate_detector_weekly,
)
