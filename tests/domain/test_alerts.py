"""What begins, what is over, and the words of a message."""

from datetime import UTC, datetime

from heaters_dagster.domain.alerts import ADVICE, MANY, Cause, Changes, Condition, Look, OpenAlert, changes, many_failures, message, subject

SINCE = datetime(2026, 11, 27, 10, 31, tzinfo=UTC)
LOST = Condition(Cause.FAILED, "proxy:3", "source video 3, Harbour: making the proxy failed for good: the disk is full")
STORE = Condition(Cause.STORE, "", "nothing can be stored: there is no bucket")


def known(condition: Condition, number: int = 1) -> OpenAlert:
    return OpenAlert(number, condition.cause.value, condition.what, condition.words, SINCE)


def look(*conditions: Condition, looked_at: set[Cause] | None = None, complete: set[Cause] | None = None) -> Look:
    at = frozenset(Cause) if looked_at is None else frozenset(looked_at)
    return Look(conditions, at, at if complete is None else frozenset(complete))


def test_a_condition_begins_once_goes_on_silently_and_is_over_once() -> None:
    assert changes(look(LOST, LOST), []) == Changes((LOST,), ())
    other_words = Condition(LOST.cause, LOST.what, "in other words")
    assert not changes(look(other_words), [known(LOST)])
    assert changes(look(), [known(LOST)]) == Changes((), (known(LOST),))
    assert changes(look(STORE), [known(LOST)]) == Changes((STORE,), (known(LOST),))


def test_nothing_is_over_that_was_not_looked_for_or_not_all_seen() -> None:
    assert not changes(look(looked_at={Cause.DAEMON}), [known(LOST)])
    assert not changes(look(complete={Cause.STORE}), [known(LOST)])
    assert not changes(look(STORE, looked_at={Cause.DAEMON}), [])


def test_many_failures_of_one_kind_begin_at_ten_and_are_over_below_five() -> None:
    open_key = {(Cause.MANY_FAILURES.value, "network")}
    assert many_failures({"network": MANY - 1, "disk": MANY}, set()) == [
        Condition(Cause.MANY_FAILURES, "disk", "10 source videos and clips have failed for the reason disk")
    ]
    assert len(many_failures({"network": MANY // 2}, open_key)) == 1
    assert many_failures({"network": MANY // 2 - 1}, open_key) == []


def test_a_message_says_what_and_what_to_do_in_lines_of_bounded_length() -> None:
    hostile = Condition(Cause.FAILED, "proxy:4", "source video 4, a\nBcc: all@example.org\x1b[31m\u202e" + "x" * 900)
    changed = Changes((LOST, hostile), (known(STORE),))
    assert subject(changed) == "Heaters: 2 new alerts, 1 over"
    first, second, third, where = message(changed, where="https://review.example.org").splitlines()
    assert first == f"NEW: {LOST.words}. To do: {ADVICE[Cause.FAILED]}"
    assert second.startswith("NEW: source video 4, a Bcc: all@example.org [31m xxx")
    assert len(second) < 500
    assert third == f"OVER: {STORE.words} (since 2026-11-27 10:31 UTC)"
    assert where == "https://review.example.org"
    many = Changes(tuple(Condition(Cause.FAILED, f"proxy:{number}", "a") for number in range(37)), ())
    assert message(many).splitlines()[-1] == "... and 17 more: heaters alerts list"
    assert len(message(many).splitlines()) == 21


def test_every_cause_has_its_advice() -> None:
    assert set(ADVICE) == set(Cause)
