from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaters_dagster.domain.cut_kinds import CutKind
from heaters_dagster.domain.errors import BadRequestError
from heaters_dagster.domain.review_queue import (
    NO_KIND,
    QueueFilter,
    QueueOrder,
    QueueProgress,
    decisions_per_hour,
    filter_of_query,
    query_of_filter,
)
from heaters_dagster.domain.states import ClipState

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)

fractions = st.none() | st.floats(0, 1)
filters = st.builds(
    lambda bounds, **rest: QueueFilter(
        min_confidence=bounds[0] if None in bounds else min(bounds), max_confidence=bounds[1] if None in bounds else max(bounds), **rest
    ),
    bounds=st.tuples(fractions, fractions),
    source_video_ids=st.sets(st.integers(1, 2**63 - 1), max_size=3).map(lambda ids: tuple(sorted(ids))),
    states=st.lists(st.sampled_from(sorted(ClipState)), min_size=1, max_size=4, unique=True).map(tuple) | st.just(tuple(ClipState)),
    text=st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=50).map(lambda text: " ".join(text.split())),
    kinds=st.lists(st.sampled_from([*CutKind, NO_KIND]), max_size=3, unique=True).map(lambda kinds: tuple(map(str, kinds))),
    order=st.sampled_from(list(QueueOrder)),
)


@given(filters)
def test_a_filter_comes_back_from_the_address_it_is_shared_by(chosen: QueueFilter) -> None:
    assert filter_of_query(query_of_filter(chosen)) == chosen
    assert filter_of_query(parse_qs(urlencode(query_of_filter(chosen)))) == chosen


def test_no_parameters_mean_pending_clips_video_after_video() -> None:
    assert filter_of_query({}) == QueueFilter(states=(ClipState.PENDING_REVIEW,), order=QueueOrder.SOURCE_VIDEO)
    assert query_of_filter(QueueFilter()) == {}


def test_parameters_may_be_repeated_or_separated_by_commas() -> None:
    expected = QueueFilter(source_video_ids=(2, 3), states=(ClipState.EXPORTED, ClipState.REVIEW_SKIPPED))
    assert filter_of_query({"video": "3, 2,3", "state": "exported,review_skipped", "page": "7"}) == expected
    assert filter_of_query({"video": ["3", "2"], "state": ["exported", "review_skipped"]}) == expected


def test_any_state_is_every_state() -> None:
    assert filter_of_query({"state": "any"}).states == tuple(ClipState)
    assert query_of_filter(QueueFilter(states=tuple(ClipState))) == {"state": "any"}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"video": "0"}, "video='0' is not the number of a source video"),
        ({"video": "-1"}, "video='-1'"),
        ({"video": "1;drop table clips"}, "is not the number"),
        ({"video": "٣"}, "is not the number"),
        ({"video": "9" * 400}, "is not the number"),
        ({"state": "done"}, "state='done' is not one of: any, pending_review"),
        ({"state": "any,exported"}, "state='any'"),
        ({"kind": "zoom"}, "kind='zoom' is not one of: hard, dissolve, fade, wipe, jump, hand, end, unknown"),
        ({"min_confidence": "1.2"}, "min_confidence='1.2' is not a number from 0 to 1"),
        ({"max_confidence": "nan"}, "max_confidence='nan'"),
        ({"max_confidence": "low"}, "max_confidence='low'"),
        ({"min_confidence": "0.9", "max_confidence": "0.1"}, "no clip can match"),
        ({"order": "random"}, "order='random' is not one of: created, source_video, confidence"),
        ({"text": "x" * 201}, "up to 200 characters"),
        ({"text": "a\x00b"}, "contains control characters"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(query: dict[str, str], message: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        filter_of_query(query)
    assert message in str(caught.value)


def test_progress_tells_how_long_it_will_take() -> None:
    progress = QueueProgress(done=30, left=10, per_hour=120)
    assert progress.fraction == 0.75
    assert progress.seconds_left == 300
    assert QueueProgress(done=0, left=0, per_hour=0).fraction == 1
    assert QueueProgress(done=0, left=4, per_hour=0).seconds_left is None


def test_the_rate_counts_the_last_hour_only() -> None:
    decided = [(NOW - timedelta(minutes=90), 500), (NOW - timedelta(minutes=60), 10), (NOW, 20)]
    assert decisions_per_hour(decided, NOW) == 30
    assert decisions_per_hour([(NOW - timedelta(minutes=61), 5)], NOW) == 0


def test_a_reviewer_who_has_just_begun_is_not_told_thousands() -> None:
    assert decisions_per_hour([(NOW - timedelta(seconds=1), 2)], NOW) == 24
    assert decisions_per_hour([(NOW - timedelta(minutes=30), 10), (NOW, 10)], NOW) == 40
