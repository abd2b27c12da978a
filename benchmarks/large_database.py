"""A database after years of use, in rows alone: 1,000,000 live clips in 20,000 source videos, 800,000 review actions.

It is written in a few statements with the triggers of this session off, which takes a minute or two; what the triggers would have kept
(the counts of clips) is then counted once. The embedded Postgres lets its owner do that.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from resources.postgres.database import Database

VIDEOS = 20_000
CLIPS_IN_VIDEO = 50
CLIP_FRAMES = 100
REVIEWERS = 25
MODEL, STRATEGY = "clip-ViT-B-32", "multi"

#: Of a hundred clips so many are in each state; those that are not pending have an action in the ledger.
_STATES = (("embedded", 45), ("review_skipped", 22), ("review_archived", 12), ("export_failed", 1), ("pending_review", 20))

_PLACES = "Harbour, Market, Station, Garden, Forest, River, Theatre, Kitchen, Library, Airport, Bridge, Museum, Farm, Beach"
_KINDS = "interview, rehearsal, concert, tour, lecture, documentary, commercial, outtakes, drone shots, parade"

_SOURCE_VIDEOS = """
insert into source_videos (
    source, title, state, original_filepath, original_bytes, content_sha256, probe, proxy_filepath, frame_index_filepath, frame_count,
    duration_seconds, scenes_filepath, scene_settings, gold_master_filepath, next_clip_sequence, created_at, updated_at)
select '/videos/' || n || '/' || lower(title) || '.mov', title || ' ' || n, 'scenes_detected', 'originals/video_' || n || '.mov',
    1000000000 + n * 4096, encode(sha256(n::text::bytea), 'hex'), probe, 'review_proxies/video_' || n || '_proxy.mp4',
    'metadata/video_' || n || '_keyframes.json', :frames, :frames / 25.0, 'metadata/video_' || n || '_scenes.json',
    '{"detector": "transnetv2", "threshold": 0.5}', 'gold_masters/video_' || n || '_master.mkv', :clips + 1,
    now() - interval '2 years' + n * interval '50 minutes', now() - interval '1 day'
from (
    select n, places[1 + n % cardinality(places)] || ' ' || kinds[1 + n / 16 % cardinality(kinds)] as title
    from generate_series(1, :videos) n, (select string_to_array(:places, ', ') as places, string_to_array(:kinds, ', ') as kinds) words
) named, (
    select jsonb_build_object('container', 'mov', 'streams', jsonb_agg(jsonb_build_object(
        'index', i, 'codec', 'prores', 'width', 1920, 'height', 1080, 'pixel_format', 'yuv422p10le', 'frame_rate', '25/1',
        'tags', repeat('made by a camera ', 8)))) as probe
    from generate_series(0, 5) i
) probed
order by n
"""

_CLIPS = """
insert into clips (
    source_video_id, sequence, start_frame, end_frame, start_time_seconds, end_time_seconds, state, confidence, cut_point_version,
    is_virtual, clip_filepath, last_modified_by_user_id, error, attempts, created_at, updated_at)
select v, s, (s - 1) * :frames, s * :frames, (s - 1) * :frames / 25.0, s * :frames / 25.0, state,
    case when s % 17 > 0 then (hashint8(v * 1000 + s) & 65535) / 65535.0 end, case when state = 'pending_review' then 1 else 2 end,
    state <> 'embedded', case when state = 'embedded' then 'final_clips/video_' || v || '_clip_' || to_char(s, 'FM000') || '.mp4' end,
    case when state <> 'pending_review' then 1 + v % :reviewers end, case when state = 'export_failed' then 'the disk was full' end,
    case when state = 'export_failed' then 6 else 0 end, now() - interval '1 year', now() - interval '1 day'
from (
    select v, s, (cast(:hundred as text[]))[1 + (hashint8(v * 64 + s) & 65535) % 100] as state
    from generate_series(1, :videos) v, generate_series(1, :clips) s
) made
order by v, s
"""

_ACTIONS = """
insert into review_actions (reviewer_id, source_video_id, action, clip_ids, before, after, request_key, created_at)
select last_modified_by_user_id, source_video_id,
    case state when 'review_skipped' then 'skip' when 'review_archived' then 'archive' else 'approve' end, array[id],
    ('{"' || id || '": {"state": "pending_review", "version": 1' || shot)::jsonb,
    ('{"' || id || '": {"state": "' || state || '", "version": 2' || shot)::jsonb,
    'key-' || id, now() - interval '700 days' + id * interval '60 seconds'
from (
    select *, format(', "id": %s, "source_video_id": %s, "sequence": %s, "start_frame": %s, "end_frame": %s, "start_time_seconds": %s, '
        '"end_time_seconds": %s, "is_live": true, "export_profile": "stream_copy", "grouped_with_clip_id": null}}', id, source_video_id,
        sequence, start_frame, end_frame, start_time_seconds, end_time_seconds) as shot
    from clips where state <> 'pending_review'
) decided
order by id
"""

_FILES = """
insert into clip_artifacts (clip_id, kind, key, state, byte_size, manifest, created_at, updated_at)
select id, kind, case kind when 'export' then clip_filepath
        else 'keyframes/video_' || source_video_id || '_clip_' || to_char(sequence, 'FM000') || '_mid.jpg' end,
    'live', 1000000, '{"frame_count": 100}', now() - interval '1 year', now() - interval '1 year'
from clips, unnest(array['export', 'keyframe']) kind where clips.state = 'embedded'
order by id
"""

#: Of a hundred cuts so many have each kind; None: cut before kinds were stored.
_CUT_KINDS = (("hard", 60), ("dissolve", 8), ("fade", 4), ("wipe", 1), ("jump", 2), ("hand", 5), (None, 20))

_KINDS_OF_CUTS = """
update clips set cut_kind = told.kind,
    cut_first_frame = case when told.kind in ('dissolve', 'fade', 'wipe') then start_frame - 6 end,
    cut_last_frame = case when told.kind in ('dissolve', 'fade', 'wipe') then start_frame + 5 end
from (select id, (cast(:hundred as text[]))[1 + (hashint8(id * 31) & 65535) % 100] as kind from clips) told
where clips.id = told.id and told.kind is not null and clips.start_frame > 0
"""

#: As it is today, also in an older schema: there it was an index of ranges, which takes a minute to build and is dropped by a migration.
_NO_OVERLAP = """
exclude using gist (box(point(source_video_id, start_frame), point(source_video_id, end_frame - 1)) with &&)
    where (is_live) deferrable initially immediate
"""

#: Eight numbers each: the index of vectors is no part of this, and 450,000 of 512 would take an hour.
_EMBEDDINGS = """
insert into embeddings (clip_id, model, strategy, dimensions, embedding)
select id, :model, :strategy, 8, '[1,0,0,0,0,0,0,0]'::vector from clips where state = 'embedded' order by id
"""


def fill(database: Database, *, videos: int = VIDEOS, clips_in_video: int = CLIPS_IN_VIDEO) -> None:
    """Fill an empty database of this schema or an older one. videos: how many source videos, each of `clips_in_video` clips."""
    sizes = {"videos": videos, "clips": clips_in_video, "reviewers": REVIEWERS}
    hundred = [state for state, share in _STATES for _ in range(share)]
    with database.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("set local maintenance_work_mem = '512MB'"))
        # Built at the end they take a tenth of the time.
        later = _without_slow_indexes(connection)
        connection.execute(
            text("insert into reviewers (name) select 'Reviewer ' || n from generate_series(1, :reviewers) n"), {"reviewers": REVIEWERS}
        )
        connection.execute(
            text(_SOURCE_VIDEOS),
            {"videos": videos, "clips": clips_in_video, "frames": clips_in_video * CLIP_FRAMES, "places": _PLACES, "kinds": _KINDS},
        )
        connection.execute(text(_CLIPS), {**sizes, "frames": CLIP_FRAMES, "hundred": hundred})
        connection.execute(text(_ACTIONS))
        connection.execute(text(_FILES))
        connection.execute(text(_EMBEDDINGS), {"model": MODEL, "strategy": STRATEGY})
        for statement in later:
            connection.exec_driver_sql(statement)
        for recount in ("heaters_recount_clips()", "heaters_recount_source_videos()"):
            if connection.scalar(text("select to_regprocedure(:recount) is not null"), {"recount": recount}):
                connection.execute(text(f"select {recount}"))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))


def tell_kinds(database: Database) -> None:
    """Give most cuts a kind, and dissolves, fades and wipes a range, as a detector of today leaves them. For the schema of today."""
    with database.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("set local maintenance_work_mem = '512MB'"))
        later = _without_slow_indexes(connection)
        hundred = [kind for kind, share in _CUT_KINDS for _ in range(share)]
        connection.execute(text(_KINDS_OF_CUTS), {"hundred": hundred})
        for statement in later:
            connection.exec_driver_sql(statement)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze clips"))


def _without_slow_indexes(connection: Connection) -> list[str]:
    """Drop what is slow to keep up row by row; returns the statements that make it again."""
    indexes = connection.execute(
        text(
            "select indexname, indexdef from pg_indexes where schemaname = current_schema() "
            "and tablename in ('clips', 'review_actions') and indexname like '%\\_idx'"
        )
    ).all()
    for index in indexes:
        connection.exec_driver_sql(f"drop index {index.indexname}")
    connection.exec_driver_sql("alter table clips drop constraint clips_no_overlap")
    return [*(index.indexdef for index in indexes), f"alter table clips add constraint clips_no_overlap {_NO_OVERLAP}"]
