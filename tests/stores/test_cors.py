"""Whether browsers may read a bucket, asked of a real server as a browser asks."""

from __future__ import annotations

from resources.object_store.cors import cors_problem
from resources.object_store.interface import ObjectStore
from resources.object_store.s3 import S3ObjectStore
from tests.buckets import BucketServer, without_cors

ORIGIN = "https://review.example.org"


def test_a_bucket_that_allows_the_page_has_no_problem_and_keeps_nothing(buckets: BucketServer) -> None:
    store = S3ObjectStore(buckets.new_bucket(), endpoint_url=buckets.url)
    assert cors_problem(store, ORIGIN) is None
    assert list(store.list()) == []


def test_a_bucket_without_rules_is_told_with_the_rules_to_set(buckets: BucketServer) -> None:
    with without_cors(buckets) as url:
        problem = cors_problem(S3ObjectStore(buckets.new_bucket(), endpoint_url=url), ORIGIN)
    assert problem is not None
    assert problem.startswith(
        f"browsers may not read the bucket from {ORIGIN}, so reviewers see no picture. heaters storage setup sets these CORS rules: "
    )
    assert f'"AllowedOrigins": ["{ORIGIN}"]' in problem


def test_a_folder_is_read_through_the_review_app(object_store: ObjectStore) -> None:
    assert cors_problem(object_store, ORIGIN) is None
