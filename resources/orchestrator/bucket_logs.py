"""Keeps the output of Dagster's steps in the bucket.

A file of its own, because importing dagster-aws takes most of a second in every run.
"""

from __future__ import annotations

from dagster_aws.s3.compute_log_manager import S3ComputeLogManager

from heaters_dagster.domain.keys import LOGS_PREFIX
from resources.orchestrator.dagster_private import LocalComputeLogManager


class BucketLogs(S3ComputeLogManager):  # type: ignore[misc]
    """dagster-aws's manager; `logs` holds the output of steps that still run.

    A failed upload is noted in the run's log and fails no step.
    """

    def __init__(self, logs: LocalComputeLogManager, bucket: str, endpoint_url: str | None, kms_key: str | None = None) -> None:
        super().__init__(
            bucket,
            inst_data=logs.inst_data,
            prefix=LOGS_PREFIX,
            endpoint_url=endpoint_url,
            skip_empty_files=True,
            upload_extra_args={"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key} if kms_key else None,
        )
        self._local_manager = logs
