"""A bucket is set as Heaters needs it, again and again, and the rights that Heaters asks for are those of the calls that it makes."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from heaters_dagster.domain.bucket_rights import PRODUCT_CALLS, SETUP_CALLS, least_policy
from heaters_dagster.domain.bucket_rules import BLOCKED, Transition
from heaters_dagster.domain.errors import SettingsError, StoreRefusedError
from heaters_dagster.domain.keys import PREFIXES, proxy_key
from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.object_store import s3, sent_object
from resources.object_store.bucket_setup import BucketSetup
from resources.object_store.open import open_object_store
from tests.buckets import Asked, BucketServer, refusal, standing_between


def changes(settings: Settings) -> list[str]:
    return [part.what for part in BucketSetup(settings).parts() if part.wanted]


def set_up(settings: Settings) -> None:
    for part in BucketSetup(settings).parts():
        if part.change is not None:
            part.change()


def test_a_bucket_is_made_and_set_and_then_nothing_is_left_to_do(tmp_path: Path, buckets: BucketServer) -> None:
    """In production, beside a bucket for development that nobody touches."""
    client: Any = buckets.client
    settings = Settings(
        home=tmp_path,
        app_env="production",
        prod_bucket="heaters-production",
        dev_bucket="heaters-development",
        s3_endpoint_url=buckets.url,
        shared_review_url="https://review.example.org",
        review_names=("review.intern",),
        s3_kms_key="alias/heaters",
        s3_tags=("team=film",),
        s3_transitions=("gold_masters:DEEP_ARCHIVE:180", "gold_masters:GLACIER_IR:10", "originals:STANDARD_IA:30"),
    )
    assert changes(settings) == ["bucket", "public access", "browsers (CORS)", "lifecycle", "encryption", "tags"]
    assert [one["Name"] for one in client.list_buckets()["Buckets"] if "production" in one["Name"]] == [], "a look changes nothing"
    set_up(settings)
    assert changes(settings) == []
    set_up(settings)
    bucket = "heaters-production"
    assert client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"] == BLOCKED
    assert client.get_bucket_cors(Bucket=bucket)["CORSRules"][0]["AllowedOrigins"] == [
        "https://review.example.org",
        "https://review.intern",
    ]
    rules = {rule["ID"]: rule for rule in client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]}
    assert {rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for rule in rules.values()} == {7}
    assert {rule["Filter"]["Prefix"] for rule in rules.values()} == {*PREFIXES, "dagster/", "heaters/", "pieces/", "uploads/"}
    assert {name: rule["Expiration"]["Days"] for name, rule in rules.items() if "Expiration" in rule} == {
        "heaters-uploads": 30,
        "heaters-pieces": 30,
        "heaters-heaters": 1,
    }, "nothing else is ever removed by itself"
    assert [(one["Days"], one["StorageClass"]) for one in rules["heaters-gold_masters"]["Transitions"]] == [
        (10, "GLACIER_IR"),
        (180, "DEEP_ARCHIVE"),
    ]
    assert client.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "team", "Value": "film"}]
    (encryption,) = client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "alias/heaters"}
    assert "heaters-development" not in [one["Name"] for one in client.list_buckets()["Buckets"]]
    client.delete_bucket(Bucket=bucket)


def test_what_others_have_set_stays_and_what_was_changed_is_set_again(tmp_path: Path, buckets: BucketServer) -> None:
    client: Any = buckets.client
    settings = Settings(home=tmp_path, bucket=buckets.new_bucket(), s3_endpoint_url=buckets.url, s3_tags=("team=film",))
    bucket = str(settings.bucket)
    theirs = {"ID": "backups", "Filter": {"Prefix": "backups/"}, "Status": "Enabled", "Expiration": {"Days": 400}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [theirs]})
    other_page = {"AllowedOrigins": ["https://other.example.org"], "AllowedMethods": ["PUT"]}
    client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [other_page]})
    client.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": [{"Key": "owner", "Value": "ada"}]})
    assert changes(settings) == ["public access", "browsers (CORS)", "lifecycle", "tags"]
    set_up(settings)
    assert changes(settings) == []
    assert client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"][0]["Filter"] == {"Prefix": "backups/"}
    assert [rule["AllowedOrigins"] for rule in client.get_bucket_cors(Bucket=bucket)["CORSRules"]] == [
        ["http://127.0.0.1:8501", "http://localhost:8501"],
        ["https://other.example.org"],
    ]
    assert {tag["Key"] for tag in client.get_bucket_tagging(Bucket=bucket)["TagSet"]} == {"owner", "team"}

    moved = replace(settings, s3_transitions=("originals:STANDARD_IA:60",), review_port=9000)
    assert changes(moved) == ["browsers (CORS)", "lifecycle"]
    set_up(moved)
    assert changes(moved) == []
    assert len(client.get_bucket_cors(Bucket=bucket)["CORSRules"]) == 2, "the rule of before was ours"
    client.delete_public_access_block(Bucket=bucket)
    assert changes(moved) == ["public access"]


def test_a_server_that_knows_less_and_credentials_that_may_not_look(tmp_path: Path, buckets: BucketServer) -> None:
    with standing_between(buckets) as between:

        def answer(asked: Asked) -> Any:
            if "publicAccessBlock" in asked.path:
                return refusal(501, "NotImplemented")
            return refusal(403, "AccessDenied") if "lifecycle" in asked.path else asked

        between.before = answer
        parts = {
            part.what: part
            for part in BucketSetup(Settings(home=tmp_path, bucket=buckets.new_bucket(), s3_endpoint_url=between.url)).parts()
        }
    assert (parts["public access"].told, parts["public access"].change) == ("this server does not know such a thing", None)
    assert (parts["lifecycle"].told, parts["lifecycle"].change) == ("these credentials may not look at it", None)
    assert parts["browsers (CORS)"].change is not None


def test_without_a_bucket_nothing_is_set_up(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"objects lie in .*objects\. Name a bucket in S3_PROD_BUCKET_NAME or S3_BUCKET_NAME"):
        BucketSetup(Settings(home=tmp_path, app_env="production", dev_bucket="only-for-development"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("originals:GLACIER:30", "originals can move to STANDARD_IA"),
        ("holidays:GLACIER:30", "one of the prefixes"),
        ("originals:STANDARD_IA:7", "from 30 to"),
        ("gold_masters:GLACIER", "whole number of days"),
    ],
)
def test_only_what_can_wait_may_move_to_a_class_that_has_to_be_restored(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Transition.parsed(text)


# rights


def test_the_policy_allows_every_call_that_the_program_can_make() -> None:
    """Every name of a call of S3 in the program, and in the part of Dagster that keeps logs in the bucket, is in one of the two tables."""
    client: Any = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
    calls: dict[str, str] = client.meta.method_to_api_mapping
    logs = importlib.util.find_spec("dagster_aws.s3.compute_log_manager")
    assert logs is not None
    assert logs.origin is not None
    files = [path for folder in ("assets", "heaters_dagster", "resources", "review_app") for path in (PROJECT_ROOT / folder).rglob("*.py")]
    made: set[str] = set()
    for path in (*files, Path(logs.origin)):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                made |= {calls[node.attr]} if node.attr in calls else set(_TRANSFERS.get(node.attr, ()))
            if isinstance(node, ast.Name):
                made |= set(_TRANSFERS.get(node.id, ()))
            if isinstance(node, ast.Constant) and node.value in calls:  # for paginators and presigned links
                made.add(calls[node.value])
    assert made == {*PRODUCT_CALLS, *SETUP_CALLS}


_IN_PARTS = ("CreateMultipartUpload", "CompleteMultipartUpload", "AbortMultipartUpload")
#: boto3's transfers -> the calls that they make.
_TRANSFERS = {
    "download_fileobj": ("HeadObject", "GetObject"),
    "upload_fileobj": ("PutObject", "UploadPart", *_IN_PARTS),
    "_transfer": ("HeadObject", "CopyObject", "UploadPartCopy", *_IN_PARTS),
}


@pytest.fixture(scope="module")
def strict_server() -> Iterator[str]:
    """A server that holds every call to the policies of IAM; a process of its own, because that is a switch for the whole process."""
    server = subprocess.Popen(
        [sys.executable, "-u", "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"],
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield next(line.split()[-1] for line in server.stdout if "Running on http://127" in line)
    finally:
        server.kill()
        server.wait()


def test_with_the_least_policy_everything_works_and_with_less_it_does_not(
    strict_server: str, tmp_path: Path, buckets: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as moto can: it holds every call to the policy of its user, and does not know conditions."""
    monkeypatch.setattr(sent_object, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(s3, "PART_BYTES", 5 << 20)
    iam: Any = boto3.client("iam", endpoint_url=strict_server)
    boto3.client("s3", endpoint_url=strict_server).create_bucket(Bucket="footage")
    settings = Settings(home=tmp_path, bucket="footage", s3_endpoint_url=strict_server, s3_tags=("team=film",))
    iam.create_user(UserName="heaters")
    boto3.client("s3", endpoint_url=strict_server).create_bucket(Bucket="vault")
    policy = least_policy("footage", has_tags=True, backups="s3://vault/nightly/")
    iam.put_user_policy(UserName="heaters", PolicyName="least", PolicyDocument=json.dumps(policy))
    # The same user without one right.
    less = json.loads(json.dumps(policy))
    less["Statement"][1]["Action"].remove("s3:ListMultipartUploadParts")
    iam.create_user(UserName="less")
    iam.put_user_policy(UserName="less", PolicyName="less", PolicyDocument=json.dumps(less))
    keys = {name: iam.create_access_key(UserName=name)["AccessKey"] for name in ("heaters", "less")}
    urllib.request.urlopen(
        urllib.request.Request(f"{strict_server}/moto-api/reset-auth", data=b"0", headers={"Content-Type": "text/plain"})
    ).read()

    def as_user(name: str) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys[name]["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys[name]["SecretAccessKey"])

    as_user("heaters")
    store = open_object_store(settings)
    big = tmp_path / "big"
    big.write_bytes(bytes(6 << 20))
    store.check()
    store.put_file(proxy_key(1), big)
    store.get_file(proxy_key(1), tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == big.read_bytes()
    assert [found.key for found in store.list()] == [proxy_key(1)]
    store.restore(proxy_key(1), days=1, tier="Standard")
    store.sweep()
    assert store.delete(proxy_key(1))
    assert store.info(proxy_key(1)) is None
    assert BucketSetup(settings).missing_rights() == []
    assert [part.is_known for part in BucketSetup(settings).parts()] == [True] * 5
    # Backups in a bucket of their own.
    vault = open_object_store(replace(settings, bucket="vault"))
    kept = "nightly/backups/20261127T021300Z/rows.zip"
    vault.put_file(kept, big)
    assert [found.key for found in vault.list("nightly/backups/")] == [kept]
    assert vault.delete(kept)
    assert vault.info(kept) is None
    for elsewhere in (vault, open_object_store(replace(settings, bucket="elsewhere"))):
        with pytest.raises(StoreRefusedError, match="access denied"):
            elsewhere.put_bytes(proxy_key(1), b"x")
    as_user("less")
    assert BucketSetup(settings).missing_rights() == ["ListParts"]


def test_places_from_which_videos_come_are_in_the_policy_and_only_watched_ones_may_be_changed() -> None:
    policy = least_policy("b", kms_key="alias/k", read_places=["s3://footage/in"], moved_places=["s3://arrivals/new/"])
    statements = {statement["Sid"]: statement for statement in policy["Statement"]}
    assert statements["HeatersPlace1Objects"]["Resource"] == ["arn:aws:s3:::arrivals/new/*"]
    assert {"s3:DeleteObject", "s3:PutObject"} <= set(statements["HeatersPlace1Objects"]["Action"])
    assert statements["HeatersPlace2Objects"] == {
        "Sid": "HeatersPlace2Objects",
        "Effect": "Allow",
        "Action": ["s3:GetObject"],
        "Resource": ["arn:aws:s3:::footage/in*"],
    }
    assert statements["HeatersKey"]["Condition"] == {"ForAnyValue:StringEquals": {"kms:ResourceAliases": "alias/k"}}
    assert "s3:PutObjectTagging" not in statements["HeatersObjects"]["Action"]
