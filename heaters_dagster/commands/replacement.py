"""Give a source video another file, or fetch it again: what becomes of its clips is shown before anything changes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heaters_dagster.commands import terminal
from heaters_dagster.commands.shared import As, AsJson, VideoId, example, opened_database, reviewer_name, say_next, within
from heaters_dagster.commands.terminal import Column
from heaters_dagster.domain.looks import BITS, TOLERANCE_BITS
from heaters_dagster.domain.replacement import LEAST_SHARE_ALIKE
from heaters_dagster.domain.words import clip_state_words, counted, percent
from heaters_dagster.settings import Settings, load_settings

if TYPE_CHECKING:
    from resources.postgres.database import Database
    from resources.upkeep.replacement import CarriedOver, Comparison

app = typer.Typer()

#: Of the clips of one video, so many are listed for people.
_MOST_ROWS = 100

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would become of each clip. The new file waits then.")]
Yes = Annotated[
    bool, typer.Option("--yes", help="Do not ask. Needed in scripts. Decisions that cannot stay for certain go back to review.")
]
TrustLikeness = Annotated[
    bool,
    typer.Option(
        "--trust-likeness",
        help=f"Keep decisions also on clips that only look the same: {percent(LEAST_SHARE_ALIKE)} of their frames differ in at most "
        f"{TOLERANCE_BITS} of {BITS} bits.",
    ),
]


@app.command(epilog=example("replace 3 better.mov --dry-run"))
def replace(
    video: VideoId,
    new: Annotated[
        str | None,
        typer.Argument(metavar="NEWFILE", help="File or address of the new one. Without it: goes on with the one that waits."),
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    trust_likeness: TrustLikeness = False,
    forget: Annotated[bool, typer.Option("--give-up", help="Forget the new file that waits. The source video stays as it is.")] = False,
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Give a source video another file. Clips and decisions stay where the frames are the same.

    The new file is fetched and compared first. Then a table shows which clips are kept, move, or have no counterpart, and you are asked.
    """
    from resources.postgres.replacement_store import ReplacementStore
    from resources.postgres.reviewer_store import ReviewerStore
    from resources.postgres.source_video_store import SourceVideoStore
    from resources.sources.address_guard import AddressGuard
    from resources.sources.kept_files import keeper_of
    from resources.upkeep.replacement import begin_replacement, give_up

    settings = load_settings()
    if not forget:
        _check_can_ask(yes=yes, dry_run=dry_run, as_json=as_json)
    with opened_database(settings, video) as database:
        name = reviewer_name(ReviewerStore(database), reviewer)
        if forget:
            given_up = give_up(video, database=database, objects=_objects(settings), reviewer=name)
            _show_given_up(settings, given_up.old_id, given_up.new_id, as_json)
            return
        if new is not None:
            guard = AddressGuard(allow_private=settings.allow_private_addresses)
            with terminal.bars() as report:
                keep = keeper_of(settings, SourceVideoStore(database), report)
                begun = begin_replacement(video, new, database=database, guard=guard, reviewer=name, keep=keep)
            if not as_json:
                terminal.say(f"Submitted as source video {begun.id}, which waits to replace source video {video}.")
        waiting = ReplacementStore(database).waiting(video)
        _go_on(settings, database, waiting.new_id, name, dry_run=dry_run, yes=yes, trusts_likeness=trust_likeness, as_json=as_json)


@app.command(epilog=example("refetch 3 --max-height 1080"))
def refetch(
    video: VideoId,
    max_height: Annotated[
        int | None, typer.Option(callback=within(144, 8640), help="Tallest picture to download. Without it: HEATERS_DOWNLOAD_MAX_HEIGHT.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    trust_likeness: TrustLikeness = False,
    reviewer: As = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a source video again from where it came from, for a better quality. As heaters replace: clips and decisions stay."""
    from resources.postgres.reviewer_store import ReviewerStore
    from resources.upkeep.replacement import begin_refetch

    settings = load_settings()
    _check_can_ask(yes=yes, dry_run=dry_run, as_json=as_json)
    with opened_database(settings, video) as database:
        name = reviewer_name(ReviewerStore(database), reviewer)
        begun = begin_refetch(video, database=database, reviewer=name, max_height=max_height)
        if not as_json:
            terminal.say(f"Fetched again as source video {begun.id}, which waits to replace source video {video}.")
        _go_on(settings, database, begun.id, name, dry_run=dry_run, yes=yes, trusts_likeness=trust_likeness, as_json=as_json)


def _check_can_ask(*, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Raise BadParameter where there is something to ask and nobody to answer. Called before anything is submitted."""
    if not (yes or dry_run) and (as_json or not sys.stdin.isatty()):
        raise typer.BadParameter("Heaters cannot ask here: add --dry-run to see what would change, or --yes to replace without a question")


def _objects(settings: Settings) -> Any:
    from resources.object_store.open import open_object_store

    return open_object_store(settings)


def _go_on(
    settings: Settings, database: Database, new_id: int, reviewer: str, *, dry_run: bool, yes: bool, trusts_likeness: bool, as_json: bool
) -> None:
    """Make the proxy of the new one, compare, show, ask, and take over the decisions."""
    from heaters_dagster.commands.process_due import process_due
    from heaters_dagster.orchestration.instance import register_partitions
    from resources.object_store.work_folder import WorkFolder
    from resources.upkeep.replacement import carry_over, compare

    objects, asks = _objects(settings), not (yes or dry_run)
    register_partitions(settings, [new_id])
    with terminal.bars() as report:
        outcome = process_due(settings, only=[new_id], report=report, say=terminal.warn)
    if outcome.failures or outcome.problem:
        for failure in [*outcome.failures, *([outcome.sentence] if outcome.problem else [])]:
            terminal.complain(failure)
        raise typer.Exit(1)
    if outcome.waiting or outcome.for_sites:
        for reason in (*outcome.waiting, outcome.sentence):
            terminal.complain(reason)
        terminal.complain(f"heaters replace {new_id} goes on when the new file can be fetched.")
        raise typer.Exit(1)
    with terminal.bars() as report:
        compared = compare(
            new_id, database=database, objects=objects, work=WorkFolder(settings.work_folder), settings=settings, report=report
        )
    if not as_json:
        _show(compared)
    if dry_run:
        if as_json:
            terminal.show_json(_document(compared, None))
        else:
            old_id = compared.old.id
            terminal.say(f"Nothing has changed. heaters replace {old_id} goes on; heaters replace {old_id} --give-up forgets the new file.")
        return
    if asks:
        typer.confirm(f"Replace source video {compared.old.id}, {compared.old.title}?", abort=True, err=True)
        if compared.uncertain and not trusts_likeness:
            question = (
                f"{counted(compared.uncertain, 'decided clip looks', 'decided clips look')} the same, but not to the bit. Keep these "
                "decisions too? Otherwise they wait for review again"
            )
            trusts_likeness = typer.confirm(question, default=False, err=True)
    done = carry_over(compared, database=database, objects=objects, reviewer=reviewer, trusts_likeness=trusts_likeness)
    if as_json:
        terminal.show_json(_document(compared, done))
        return
    terminal.say(
        f"Source video {done.new_id} has taken the place of source video {compared.old.id}: {counted(done.clips, 'clip')}, "
        f"{counted(done.kept, 'decision')} kept, {done.back:,} sent back to review"
        + (f" (action {done.action_id}; to undo it: heaters review undo)" if done.action_id else "")
        + f". {done.what_stays}"
    )
    say_next(settings)


def _show(compared: Comparison) -> None:
    columns = [
        Column("clip", "reference", number=True),
        Column("frames", "frames", number=True),
        Column("decision", "decision", wraps=True),
        Column("new frames", "new_frames", number=True),
        Column("what becomes of it", "told", wraps=True),
    ]
    rows = _rows(compared)
    terminal.show_table("", columns, rows[:_MOST_ROWS])
    if len(rows) > _MOST_ROWS:
        terminal.say(f"and {len(rows) - _MOST_ROWS:,} more; --dry-run --json has all")
    terminal.say(compared.files)
    terminal.say(compared.sentence)


def _rows(compared: Comparison) -> list[dict[str, Any]]:
    rows = []
    for clip, fate in zip(compared.clips, compared.fates, strict=True):
        there = fate.start_frame is not None and fate.end_frame is not None
        rows.append(
            {
                "clip_id": clip.id,
                "reference": clip.reference,
                "start_frame": clip.start_frame,
                "end_frame": clip.end_frame,
                "frames": f"{clip.start_frame}..{clip.end_frame - 1}",
                "decision": clip_state_words(fate.clip.decision),
                "fate": str(fate.fate),
                "new_start_frame": fate.start_frame,
                "new_end_frame": fate.end_frame,
                "new_frames": f"{fate.start_frame}..{(fate.end_frame or 1) - 1}" if there else "",
                "share": round(fate.share, 4),
                "told": fate.words,
            }
        )
    return rows


def _document(compared: Comparison, done: CarriedOver | None) -> dict[str, Any]:
    names = ("clip_id", "start_frame", "end_frame", "decision", "fate", "new_start_frame", "new_end_frame", "share", "told")
    return {
        "old_id": compared.old.id,
        "new_id": compared.new.id,
        "replaced": done is not None,
        "fates": [{name: row[name] for name in names} for row in _rows(compared)],
        "kept": done.kept if done else None,
        "sent_back": done.back if done else None,
        "lost": done.lost if done else None,
        "action_id": done.action_id if done else None,
    }


def _show_given_up(settings: Settings, old_id: int, new_id: int, as_json: bool) -> None:
    from heaters_dagster.orchestration.instance import forget_partition

    forget_partition(settings, new_id)
    if as_json:
        nothing = dict.fromkeys(("kept", "sent_back", "lost", "action_id"))
        terminal.show_json({"old_id": old_id, "new_id": new_id, "replaced": False, "fates": [], **nothing})
    else:
        terminal.say(f"The new file is forgotten. Source video {old_id} stays as it is.")
