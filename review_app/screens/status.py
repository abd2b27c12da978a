"""Status, for operators: what waits, what failed and why, whether database, store and daemon work, what is stored, and the versions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

import streamlit as st

from heaters_dagster.domain.disk_room import in_bytes
from heaters_dagster.domain.errors import HeatersError
from heaters_dagster.domain.failure_kinds import FailureKind
from heaters_dagster.domain.progress import duration
from heaters_dagster.domain.stages import FURTHER_EXPORTS, STAGES
from resources.postgres.backlog import Group
from resources.upkeep.condition import Condition, load_condition
from review_app.screens import shell
from review_app.service import views
from review_app.service.review_desk import ReviewDesk

_REFRESH_SECONDS = 10
_FAILED_AT = {stage.asset: stage.words.failed for stage in STAGES} | {"further_exports": FURTHER_EXPORTS.failed}


def show(visit: shell.Visit) -> None:
    st.fragment(_status, run_every=_REFRESH_SECONDS)(visit.desk)


def _status(desk: ReviewDesk) -> None:
    try:
        found = load_condition(desk.settings, desk.database, desk.objects)
    except HeatersError as error:
        st.error(views.plain(str(error)), icon=":material/cloud_off:")
        return
    for part in found.parts:
        if part.problem:
            st.error(views.plain(f"{part.name}: {part.problem}"), icon=":material/error:")
    now = datetime.now(UTC)
    waiting, failed = ([group for group in found.groups if group.failed is wanted] for wanted in (False, True))
    _titled("What waits", groups_table(waiting, now) if waiting else "", "Nothing waits.")
    _titled("What failed", groups_table(failed, now) if failed else "", "Nothing failed.")
    if found.failed:
        rows = [
            (stage.replace("_", " "), _FAILED_AT.get(stage, ""), FailureKind(kind).words, f"{count:,}")
            for (stage, kind), count in sorted(found.failed.items())
        ]
        _titled("Why", table(("Stage", "State", "Kind of reason", "How many"), rows))
        st.page_link(shell.page("videos"), label="Source videos say what to do, and can be tried again", icon=":material/movie:")
    _titled("Parts", table(("Part", "State"), [(part.name, part.told or "see above") for part in found.parts]))
    _titled("Stored", *stored_table(found, now))
    _titled("Versions", table(("Program", "Version"), found.versions))


def _titled(title: str, body: str, otherwise: str = "") -> None:
    st.markdown(f"**{title}**")
    if body:
        st.html(body)
    else:
        st.caption(otherwise)


def groups_table(groups: Sequence[Group], now: datetime) -> str:
    """What waits or failed, in the order of the pipeline."""
    rows = []
    for group in groups:
        age = "" if group.oldest is None else duration((now - group.oldest).total_seconds())
        rows.append((group.counted, group.words, age, ", ".join(group.titles)))
    return table(("What", "State", "The oldest", "For example"), rows)


def stored_table(found: Condition, now: datetime) -> tuple[str, str]:
    """(an HTML table of what lies in the store; what is said where it was not counted yet)."""
    rows = [(one.kind, one.storage_class, f"{one.objects:,}", in_bytes(one.bytes)) for one in found.stored if one.objects]
    if not rows:
        return "", "Nothing is stored, or it was not counted yet: that is done once a day."
    total = in_bytes(sum(one.bytes for one in found.stored))
    counted_at = max(one.counted_at for one in found.stored)
    ago = duration((now - counted_at).total_seconds())
    rows.append(("together", f"counted {ago} ago", f"{sum(one.objects for one in found.stored):,}", total))
    return table(("Kind", "Storage class", "Objects", "Size"), rows), ""


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table; the first cell of a row is its heading. All text is only text in it."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )
    return f'<table class="heaters-facts heaters-status"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
