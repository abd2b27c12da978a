"""The tables for SQLAlchemy Core. The migrations in `sql/` define the schema; `alembic check` compares the two.

Exclusion constraints, triggers and functions are written by hand in the migrations: autogenerate does not see all of them.
"""

from __future__ import annotations

from pgvector.sqlalchemy import Vector
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    cast,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from heaters_dagster.domain.cut_kinds import CutKind
from heaters_dagster.domain.export_profile import FIRST_PROFILE, ExportState
from heaters_dagster.domain.stages import EXPORTS, MAX_ATTEMPTS, WorkState, states_from
from heaters_dagster.domain.states import ClipState, SourceVideoState
from heaters_dagster.domain.transitions import CLIP_RETRY

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def _one_of(column: str, values: list[str]) -> str:
    return f"{column} in ({', '.join(repr(value) for value in values)})"


def _id() -> Column[int]:
    return Column("id", BigInteger, Identity(always=True), primary_key=True)


def _now(name: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())


def _state_changed_at() -> Column[object]:
    """A trigger writes it; programs cannot."""
    told = "since when it is in this state; one more failed try begins it anew"
    return Column("state_changed_at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment=told)


reviewers = Table(
    "reviewers",
    metadata,
    _id(),
    Column("name", Text, nullable=False, unique=True),
    Column("oidc_subject", Text, unique=True),
    _now("created_at"),
    _now("last_seen_at"),
    CheckConstraint("oidc_subject is null or not lower(name) like '%(command line)'", name="command_line"),
)

_FORCED = "a source video of its own, also when another one holds the same bytes"
source_videos = Table(
    "source_videos",
    metadata,
    _id(),
    Column("source", Text, nullable=False, comment="as submitted: path, web address, s3:// address"),
    Column("confined_to", Text, comment="folder that the file must lie in, without links on the way; null: anywhere"),
    Column("title", Text, nullable=False),
    Column("state", Text, nullable=False, server_default="new"),
    Column("error", Text, comment="why the last stage failed, in words for a person"),
    Column(
        "attempts",
        Integer,
        nullable=False,
        server_default="0",
        comment="failed tries of the current stage; after a transient failure the sensor tries again",
    ),
    Column(
        "warnings",
        JSONB,
        nullable=False,
        server_default=text("'[]'"),
        comment="list of sentences: what was odd about the file and what was done",
    ),
    Column("original_filepath", Text, comment="object key"),
    Column("original_bytes", BigInteger),
    Column("content_sha256", Text, comment="hex, of the original's bytes"),
    Column("duplicate_of_id", BigInteger, ForeignKey("source_videos.id")),
    Column("probe", JSONB, comment="what the original is: container, streams, frame rate, colour, rotation, start"),
    Column("proxy_filepath", Text, comment="object key"),
    Column("frame_index_filepath", Text, comment="object key of the frame index"),
    Column("frame_count", Integer, comment="decoded frames of the proxy; clips cover [0, frame_count)"),
    Column("duration_seconds", Float),
    Column("scenes_filepath", Text, comment="object key of scores and boundaries"),
    Column("scene_settings", JSONB, comment="detector, threshold, minimum length that made the cuts"),
    Column("gold_master_filepath", Text, comment="object key"),
    Column("gold_master_sha256", Text),
    Column("gold_master_bytes", BigInteger, comment="size of the file that was proven lossless"),
    Column("gold_master_error", Text, comment="why the last try at the gold master failed"),
    Column("gold_master_attempts", Integer, nullable=False, server_default="0", comment="failed tries at the gold master"),
    Column("gold_master_failed_at", DateTime(timezone=True), comment="when the last try at the gold master failed"),
    Column("next_clip_sequence", Integer, nullable=False, server_default="1"),
    Column("source_bytes", BigInteger, comment="size of the submitted file when its fingerprint was taken"),
    Column("source_modified_ns", BigInteger, comment="when the submitted file was last modified then, in nanoseconds since 1970"),
    Column(
        "source_fingerprint",
        Text,
        comment="hex, of the size and of samples of the submitted file's bytes; two files that differ in it differ",
    ),
    Column("source_sha256", Text, comment="hex, of all bytes of the submitted file; taken when another file has its fingerprint"),
    Column(
        "chapters_as_cuts",
        Boolean,
        nullable=False,
        server_default=text("false"),
        comment="its chapters begin clips, beside what a detector finds",
    ),
    Column("site", Text, Computed("heaters_site(source)", persisted=True), comment="host of a web address, whose downloads take turns"),
    Column("forced", Boolean, nullable=False, server_default=text("false"), comment=_FORCED),
    _now("created_at"),
    _now("updated_at"),
    _state_changed_at(),
    CheckConstraint(_one_of("state", [s.value for s in SourceVideoState]), name="state"),
    CheckConstraint("frame_count is null or frame_count > 0", name="frame_count"),
    CheckConstraint("state <> 'scenes_detected' or frame_count is not null", name="frame_count_known"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("gold_master_attempts >= 0", name="gold_master_attempts"),
    CheckConstraint("jsonb_typeof(warnings) = 'array'", name="warnings"),
    CheckConstraint("content_sha256 ~ '^[0-9a-f]{64}$'", name="content_sha256"),
    CheckConstraint("next_clip_sequence >= 1", name="next_clip_sequence"),
    CheckConstraint("duration_seconds >= 0 and duration_seconds < 'infinity'", name="duration_seconds"),
    CheckConstraint(
        "duplicate_of_id is null or (duplicate_of_id <> id and state in ('new', 'downloading', 'downloaded', 'download_failed'))",
        name="duplicate",
    ),
    Index(
        "source_videos_content_sha256_key",
        "content_sha256",
        unique=True,
        postgresql_where=text("content_sha256 is not null and duplicate_of_id is null and not forced"),
    ),
    Index("source_videos_forced_idx", "content_sha256", postgresql_where=text("forced")),
    Index("source_videos_state_age_idx", "state", "duplicate_of_id", "state_changed_at", "id"),
    Index("source_videos_gold_master_failed_idx", "id", postgresql_where=text("gold_master_error is not null")),
    Index("source_videos_site_idx", "site", "id", postgresql_where=text("state = 'new'")),
    Index("source_videos_deleted_idx", "state_changed_at", postgresql_where=text("state = 'deleted'")),
    Index("source_videos_source_idx", "source", postgresql_using="hash"),
    Index(
        "source_videos_without_gold_master_idx",
        "id",
        postgresql_where=text("gold_master_filepath is null and duplicate_of_id is null and original_filepath is not null"),
    ),
    Index(
        "source_videos_source_fingerprint_idx",
        "source_fingerprint",
        "source_sha256",
        postgresql_where=text("source_fingerprint is not null"),
    ),
    Index("source_videos_original_bytes_idx", "original_bytes", "source_fingerprint", postgresql_where=text("original_bytes is not null")),
    Index(
        "source_videos_unfinished_idx",
        "id",
        postgresql_where=text("state in ('new', 'downloading', 'downloaded', 'preprocessing', 'preprocessed', 'detecting_scenes')"),
    ),
)

stage_progress = Table(
    "stage_progress",
    metadata,
    Column("source_video_id", BigInteger, primary_key=True, autoincrement=False),
    Column("asset", Text, primary_key=True),
    Column("stage", Text, nullable=False, comment="the part of its work that the figures are about"),
    Column("done", Float, nullable=False),
    Column("total", Float),
    Column("unit", Text, nullable=False),
    Column("elapsed_seconds", Float, nullable=False),
    Column("part", Text, nullable=False, server_default=text("''"), comment="what of it is worked on now, in words"),
    _now("updated_at"),
    Column("progressed_at", DateTime(timezone=True), comment="when the figures last changed; null while it waits for its turn"),
    Column("host", Text, nullable=False, server_default=text("''"), comment="the machine on which it works"),
    comment="a stage that works now; true only while its process holds the lock of the stage",
    prefixes=["UNLOGGED"],
)

clips = Table(
    "clips",
    metadata,
    _id(),
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id"), nullable=False),
    Column("sequence", Integer, nullable=False, comment="per source video, never reused; the nnn of the object key"),
    Column("start_frame", Integer, nullable=False),
    Column("end_frame", Integer, nullable=False, comment="exclusive"),
    Column("start_time_seconds", Float, nullable=False, comment="of start_frame, by the frame index"),
    Column("end_time_seconds", Float, nullable=False, comment="when the last frame's showing ends"),
    Column(
        "cut_points", JSONB, Computed("heaters_cut_points(start_frame, end_frame, start_time_seconds, end_time_seconds)", persisted=True)
    ),
    Column("source_video_order", Integer, Computed("start_frame", persisted=True), comment="sorts the clips of a source video"),
    Column("state", Text, nullable=False, server_default="pending_review"),
    Column("error", Text),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column(
        "is_live",
        Boolean,
        nullable=False,
        server_default=text("true"),
        comment="false: replaced by a cut point operation, kept for the audit trail",
    ),
    Column("is_virtual", Boolean, nullable=False, server_default=text("true")),
    Column("clip_filepath", Text, comment="object key of the export"),
    Column("confidence", Float, comment="of the weaker of its two detected boundaries, 0..1; null: no detected boundary"),
    Column(
        "cut_kind",
        Text,
        comment="what the cut is at which the clip begins; null: found before kinds were stored, or by a detector that tells none",
    ),
    Column("cut_first_frame", Integer, comment="first frame of the transition at which the clip begins; null: without one"),
    Column("cut_last_frame", Integer, comment="last frame of that transition; it may lie before the clip"),
    Column("grouped_with_clip_id", BigInteger, ForeignKey("clips.id")),
    Column(
        "cut_point_version",
        Integer,
        nullable=False,
        server_default="1",
        comment="rises with every review action on the clip; stale writes are refused by it",
    ),
    Column(
        "export_profile",
        Text,
        nullable=False,
        server_default=FIRST_PROFILE,
        comment="name of a profile in the registry of export profiles",
    ),
    Column("created_by_user_id", BigInteger, ForeignKey("reviewers.id")),
    Column("last_modified_by_user_id", BigInteger, ForeignKey("reviewers.id")),
    Column("leased_by_user_id", BigInteger, ForeignKey("reviewers.id")),
    Column("lease_expires_at", DateTime(timezone=True)),
    _now("created_at"),
    _now("updated_at"),
    _state_changed_at(),
    UniqueConstraint("source_video_id", "sequence"),
    CheckConstraint(_one_of("state", [s.value for s in ClipState]), name="state"),
    CheckConstraint("start_frame >= 0 and end_frame > start_frame", name="frame_range"),
    CheckConstraint(
        "start_time_seconds > '-infinity' and start_time_seconds < end_time_seconds and end_time_seconds < 'infinity'", name="time_range"
    ),
    CheckConstraint("grouped_with_clip_id <> id", name="grouped"),
    CheckConstraint("confidence between 0 and 1", name="confidence"),
    CheckConstraint("is_live or state = 'review_archived'", name="retired"),
    CheckConstraint("sequence >= 1", name="sequence"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("cut_point_version >= 1", name="cut_point_version"),
    CheckConstraint("(leased_by_user_id is null) = (lease_expires_at is null)", name="lease"),
    CheckConstraint("is_virtual or clip_filepath is not null", name="filepath_required_when_physical"),
    CheckConstraint(
        f"not is_virtual or not {_one_of('state', [s.value for s in ClipState if s in states_from(EXPORTS)])}",
        name="physical_when_exported",
    ),
    CheckConstraint("not is_virtual or source_video_order is not null", name="mece_ordering"),
    CheckConstraint("export_profile ~ '^[a-z][a-z0-9_]*$'", name="export_profile"),
    CheckConstraint(_one_of("cut_kind", [kind.value for kind in CutKind]), name="cut_kind"),
    CheckConstraint("(cut_kind = 'end') = (start_frame = 0)", name="cut_end"),
    CheckConstraint(
        "(cut_first_frame is null) = (cut_last_frame is null) and (cut_first_frame is null or ("
        "cut_kind is not null and cut_kind <> 'end' and cut_first_frame between 0 and start_frame "
        "and cut_last_frame between cut_first_frame and end_frame - 1 and cut_last_frame >= start_frame - 1))",
        name="cut_range",
    ),
    Index("clips_live_order_idx", "source_video_id", "start_frame", postgresql_where=text("is_live")),
    Index("clips_live_state_idx", "state", "source_video_id", "start_frame", postgresql_where=text("is_live")),
    Index("clips_live_confidence_idx", "state", "confidence", "id", postgresql_where=text("is_live")),
    Index("clips_live_created_idx", "state", "id", postgresql_where=text("is_live")),
    Index(
        "clips_live_kind_confidence_idx",
        "state",
        "cut_kind",
        "id",
        postgresql_include=["confidence"],
        postgresql_where=text("is_live"),
    ),
    Index(
        "clips_to_retry_idx",
        "state",
        "source_video_id",
        postgresql_where=text(f"is_live and {_one_of('state', [s.value for s in CLIP_RETRY])} and attempts < {MAX_ATTEMPTS}"),
    ),
)

review_actions = Table(
    "review_actions",
    metadata,
    _id(),
    Column("reviewer_id", BigInteger, ForeignKey("reviewers.id"), nullable=False),
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id"), nullable=False),
    Column("action", Text, nullable=False),
    Column("clip_ids", ARRAY(BigInteger), nullable=False),
    Column("before", JSONB, nullable=False, comment="snapshots of the clips before, by clip id; null for a clip the action made"),
    Column("after", JSONB, nullable=False),
    Column("target_action_id", BigInteger, ForeignKey("review_actions.id"), comment="undo and redo: the action undone or redone"),
    Column("undone", Boolean, nullable=False, server_default=text("false")),
    Column("request_key", Text, unique=True, comment="chosen by the sender; the same decision sent twice is applied once"),
    _now("created_at"),
    Column(
        "details",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="rename: the titles; edit_facts: the facts before and after; delete: what the source video was",
    ),
    CheckConstraint(
        "action in ('approve', 'skip', 'archive', 'group', 'add_cut_point', 'remove_cut_point', 'move_cut_point', 'edit_cut', "
        "'undo', 'redo', 'recut', "
        "'replace', 'send_back', 'rename', 'delete', 'edit_facts', 'import_cuts')",
        name="action",
    ),
    CheckConstraint("(action in ('undo', 'redo')) = (target_action_id is not null)", name="target"),
    Index("review_actions_reviewer_idx", "reviewer_id", "id"),
    Index("review_actions_source_video_idx", "source_video_id", "id"),
    Index("review_actions_standing_idx", "reviewer_id", "id", postgresql_where=text("not undone and target_action_id is null")),
    Index("review_actions_created_idx", "created_at"),
    Index("review_actions_reviewer_created_idx", "reviewer_id", "created_at"),
    Index("review_actions_action_idx", "action", "id"),
    Index("review_actions_target_idx", "target_action_id", "id", postgresql_where=text("target_action_id is not null")),
    Index("review_actions_recut_idx", "id", postgresql_where=text("action in ('recut', 'delete')")),
    Index("review_actions_clip_ids_idx", "clip_ids", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
)

cut_point_operations = Table(
    "cut_point_operations",
    metadata,
    _id(),
    Column("review_action_id", BigInteger, ForeignKey("review_actions.id"), nullable=False),
    Column("source_video_id", BigInteger, ForeignKey("source_videos.id"), nullable=False),
    Column("operation_type", Text, nullable=False),
    Column("frame_number", Integer, nullable=False),
    Column("old_frame_number", Integer),
    Column("user_id", BigInteger, ForeignKey("reviewers.id"), nullable=False),
    Column("affected_clip_ids", ARRAY(BigInteger), nullable=False),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'")),
    _now("created_at"),
    CheckConstraint("operation_type in ('add', 'remove', 'move')", name="operation_type"),
    CheckConstraint("(operation_type = 'move') = (old_frame_number is not null)", name="old_frame_number"),
    Index("cut_point_operations_source_video_idx", "source_video_id", "id"),
)

clip_artifacts = Table(
    "clip_artifacts",
    metadata,
    _id(),
    Column("clip_id", BigInteger, ForeignKey("clips.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column(
        "key",
        Text,
        nullable=False,
        unique=True,
        comment="object key; the row is written before the object, so that no object is without a row",
    ),
    Column("state", Text, nullable=False, server_default="writing"),
    Column("byte_size", BigInteger),
    Column(
        "manifest",
        JSONB,
        nullable=False,
        server_default=text("'{}'"),
        comment="proof: frame range, frame count, first and last frame hash, audio offset",
    ),
    _now("created_at"),
    _now("updated_at"),
    CheckConstraint("kind ~ '^[a-z_]+$'", name="kind"),
    CheckConstraint("state in ('writing', 'live', 'obsolete', 'deleted')", name="state"),
    Index("clip_artifacts_clip_idx", "clip_id", "kind"),
    Index("clip_artifacts_obsolete_idx", "clip_id", postgresql_where=text("state in ('writing', 'obsolete')")),
)

clip_work = Table(
    "clip_work",
    metadata,
    Column("clip_id", BigInteger, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True),
    Column("stage", Text, primary_key=True, comment="name of its asset"),
    Column("state", Text, nullable=False, server_default=WorkState.WAITING.value),
    Column(
        "attempts", Integer, nullable=False, server_default="0", comment="failed tries; a temporary failure is tried again by the sensor"
    ),
    Column("error", Text, comment="why the last try failed, in words for a person"),
    Column("version", Integer, nullable=False, comment="cut_point_version of the clip that it worked on"),
    Column("made_with", Text, comment="version and settings of the stage that made it; null: made before this was kept"),
    _now("changed_at"),
    CheckConstraint(_one_of("state", [s.value for s in WorkState]), name="state"),
    CheckConstraint("attempts >= 0", name="attempts"),
    Index("clip_work_open_idx", "stage", "state", "clip_id", postgresql_where=text("state <> 'done'")),
    comment="what each stage did to each clip",
)

clip_exports = Table(
    "clip_exports",
    metadata,
    Column("clip_id", BigInteger, ForeignKey("clips.id", ondelete="CASCADE"), primary_key=True),
    Column("profile", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default=ExportState.ASKED.value, comment="asked: waits until the clip has its first file"),
    Column(
        "attempts", Integer, nullable=False, server_default="0", comment="failed tries; a temporary failure is tried again by the sensor"
    ),
    Column("error", Text, comment="why the last try failed, in words for a person"),
    Column("key", Text, ForeignKey("clip_artifacts.key"), unique=True, comment="object key; its size and manifest are in clip_artifacts"),
    Column("version", Integer, comment="cut_point_version of the clip that the file was made from"),
    _now("asked_at"),
    Column(
        "changed_at",
        DateTime(timezone=True),
        nullable=False,
        server_default=func.now(),
        comment="since when it is in this state; one more failed try begins it anew",
    ),
    Column("made_at", DateTime(timezone=True), comment="null: there is no file yet"),
    Column("made_with", Text, comment="the export profile and the file that it was made from; null: made before this was kept"),
    CheckConstraint("profile ~ '^[a-z][a-z0-9_]*$'", name="profile"),
    CheckConstraint(_one_of("state", [s.value for s in ExportState]), name="state"),
    CheckConstraint("attempts >= 0", name="attempts"),
    CheckConstraint("(made_at is null or key is not null) and (state <> 'done' or made_at is not null)", name="made"),
    Index(
        "clip_exports_to_make_idx",
        "clip_id",
        postgresql_where=text(f"state in ('asked', 'waiting', 'working') or (state = 'failed' and attempts < {MAX_ATTEMPTS})"),
    ),
    comment="the exports of each clip, made or asked for; that of clips.export_profile has a row once it is made",
)

embeddings = Table(
    "embeddings",
    metadata,
    _id(),
    Column("clip_id", BigInteger, ForeignKey("clips.id"), nullable=False),
    Column("model", Text, nullable=False),
    Column("strategy", Text, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("embedding", Vector(), nullable=False),
    _now("created_at"),
    UniqueConstraint("clip_id", "model", "strategy"),
    CheckConstraint("vector_dims(embedding) = dimensions", name="dimensions"),
)

for _size in (512, 768, 1024):
    Index(
        f"embeddings_hnsw_{_size}_idx",
        cast(embeddings.c.embedding, Vector(_size)).label("sized"),
        postgresql_using="hnsw",
        postgresql_ops={"sized": "vector_cosine_ops"},
        postgresql_where=text(f"dimensions = {_size}"),
    )

__all__ = [
    "clip_artifacts",
    "clip_exports",
    "clip_work",
    "clips",
    "cut_point_operations",
    "embeddings",
    "metadata",
    "review_actions",
    "reviewers",
    "source_videos",
]
