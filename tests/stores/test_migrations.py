"""The schema and the way to it, on a real Postgres: every migration up and down, and old and new programs side by side."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.engine import make_url

from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.states import ClipState
from heaters_dagster.settings import Settings
from resources.postgres.database import Database, open_database
from resources.postgres.migrations import (
    FIRST_SIDE_BY_SIDE,
    MIGRATIONS,
    SchemaState,
    alembic_config,
    check_schema,
    contracted,
    migrate,
    oldest_program,
    schema_state,
)
from tests.conftest import SomeClips
from tests.pipeline_rows import reviewer_names, reviews
from tests.schema_catalog import Catalog, what_breaks


class TestMigrations:
    def test_the_newest_revision_by_file_name_is_the_head_that_alembic_knows(self) -> None:
        newest = sorted((MIGRATIONS / "versions").glob("[0-9]*_*.py"))[-1]
        assert ScriptDirectory.from_config(alembic_config()).get_current_head() == newest.name.split("_", 1)[0]

    def test_a_new_migration_gets_the_next_number(self, database: Database, tmp_path: Path) -> None:
        shutil.copytree(MIGRATIONS, tmp_path / "sql")
        config = alembic_config()
        config.set_main_option("script_location", str(tmp_path / "sql"))
        newest = int(sorted((MIGRATIONS / "versions").glob("[0-9]*_*.py"))[-1].name.split("_", 1)[0])
        with database.engine.begin() as connection:
            config.attributes["connection"] = connection
            command.revision(config, "more", autogenerate=True)
        assert (tmp_path / "sql" / "versions" / f"{newest + 1:04d}_more.py").is_file()

    def test_migrations_do_not_import_the_program(self) -> None:
        for path in (MIGRATIONS / "versions").glob("*.py"):
            imported = [line for line in path.read_text().splitlines() if line.startswith(("import ", "from "))]
            assert not [line for line in imported if any(name in line for name in ("heaters", "resources", "assets"))], path

    def test_the_tables_in_code_are_those_in_the_database(self, database: Database) -> None:
        run_alembic(database, command.check)

    @pytest.mark.parametrize(
        "change",
        [
            "alter table clips add column extra integer",
            "alter table clips alter column confidence type numeric",
            "drop index clips_live_order_idx",
            "drop index embeddings_hnsw_768_idx",
            "alter table clips alter column state drop not null",
            "alter table clips drop constraint clips_grouped_with_clip_id_fkey",
        ],
    )
    def test_the_check_would_notice(self, database: Database, change: str) -> None:
        with database.begin() as connection:
            connection.execute(text(change))
        with pytest.raises(Exception, match="New upgrade operations detected"):
            run_alembic(database, command.check)

    def test_down_and_up_again(self, database: Database) -> None:
        before = everything(database)
        run_alembic(database, lambda config: command.downgrade(config, "base"))
        assert {kind for kind, _ in everything(database)} <= {"table alembic_version"}
        migrate(database)
        assert everything(database) == before

    def test_rows_of_before_keep_their_age(self, database: Database, some_clips: SomeClips) -> None:
        some_clips(50)
        run_alembic(database, lambda config: command.downgrade(config, "0004"))
        with database.begin() as connection:
            connection.execute(text("set local session_replication_role = replica"))
            for table in ("clips", "source_videos"):
                connection.execute(text(f"update {table} set updated_at = updated_at - interval '1 hour'"))
            connection.execute(text("update source_videos set gold_master_attempts = 2"))
        migrate(database)
        with database.read() as connection:
            for column in ("clips.state_changed_at", "source_videos.state_changed_at", "source_videos.gold_master_failed_at"):
                query = text(f"select bool_and(now() - {column} between '1 hour' and '2 hours') from clips, source_videos")
                assert connection.scalar(query), column

    def test_cuts_of_before_have_the_kinds_that_can_be_known(self, database: Database, some_clips: SomeClips) -> None:
        clip, _ = some_clips(60)
        reviews(database).add_cut_point(clip.source_video_id, 30, reviewer="ann")
        written = text("select id, updated_at from clips order by id")
        with database.read() as connection:
            before = list(connection.execute(written))
        run_alembic(database, lambda config: command.downgrade(config, "0041"))
        migrate(database)
        with database.read() as connection:
            kinds = text("select start_frame, cut_kind from clips where is_live order by start_frame")
            assert list(connection.execute(kinds)) == [(0, "end"), (30, "hand"), (60, None)]
            assert list(connection.execute(written)) == before

    def test_clips_of_before_have_their_work_written_down(self, database: Database, some_clips: SomeClips) -> None:
        for state in ClipState:
            some_clips(state=state)
        with database.read() as connection:
            query = text(
                "select clip_id, stage, w.state, w.attempts, w.error, version from clip_work w join clips on id = clip_id where is_live"
            )
            before = set(connection.execute(query))
        run_alembic(database, lambda config: command.downgrade(config, "0012"))
        migrate(database)
        with database.read() as connection:
            assert set(connection.execute(query)) == before

    def test_files_of_before_stay_the_exports_of_their_clips_under_their_keys(self, database: Database, some_clips: SomeClips) -> None:
        for state in ClipState:
            some_clips(state=state)
        exports = text("select clip_id, profile, state, key, version, made_at is not null as made from clip_exports order by clip_id")
        files = text("select id, clip_filepath, cut_point_version from clips where not is_virtual order by id")
        run_alembic(database, lambda config: command.downgrade(config, "0017"))
        with database.begin() as connection:
            # The first was exported as delivery, under the one key that there was, and is being exported again from the gold master.
            first, *others = connection.execute(files).all()
            connection.execute(text("update clips set export_profile = 'gold_master' where id = :id"), {"id": first.id})
            manifest = text("update clip_artifacts set state = 'writing', manifest = :manifest where key = :key")
            connection.execute(manifest, {"key": first.clip_filepath, "manifest": '{"profile": "delivery", "cut_point_version": 1}'})
        migrate(database)
        with database.read() as connection:
            assert connection.execute(exports).all() == [
                (first.id, "delivery", "done", first.clip_filepath, 1, True),
                *((row.id, "stream_copy", "done", row.clip_filepath, row.cut_point_version, True) for row in others),
            ]
        assert len(others) == 6

    def test_several_threads_that_start_at_once_migrate_once(self, empty: Database) -> None:
        failures: list[Exception] = []

        def start() -> None:
            try:
                migrate(empty)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert reviewer_names(empty) == []

    def test_several_processes_that_start_at_once_migrate_once(self, empty: Database) -> None:
        code = (
            "import sys; from resources.postgres.database import Database; from resources.postgres.migrations import migrate\n"
            "migrate(Database.connect(sys.argv[1]))"
        )
        starters = [subprocess.Popen([sys.executable, "-c", code, empty.url]) for _ in range(3)]
        assert [starter.wait() for starter in starters] == [0, 0, 0]
        assert reviewer_names(empty) == []

    def test_a_server_without_pgvector_is_named_with_the_remedy(self, empty: Database) -> None:
        with empty.begin() as connection:
            connection.execute(text("create role plain login"))
            connection.execute(text("create schema plain authorization plain"))
        try:
            with pytest.raises(SettingsError, match="Heaters needs pgvector: install it on the server and, as an administrator, type"):
                migrate(as_role(empty, "plain"))
        finally:
            with empty.begin() as connection:
                connection.execute(text("drop owned by plain; drop role plain"))

    def test_the_developers_alembic_command_finds_the_migrations(self) -> None:
        root = MIGRATIONS.parent
        done = subprocess.run([sys.executable, "-m", "alembic", "heads"], cwd=root, capture_output=True, text=True, check=True)
        assert "(head)" in done.stdout

    def test_alembic_is_not_imported_when_there_is_nothing_to_do(self, database: Database) -> None:
        code = (
            "import sys; from resources.postgres.database import Database; from resources.postgres.migrations import migrate\n"
            "migrate(Database.connect(sys.argv[1])); print('alembic' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code, database.url], capture_output=True, text=True, check=True)
        assert done.stdout == "False\n"


class TestSideBySide:
    """While a deployment is renewed, programs of before and after use one database."""

    def test_no_migration_breaks_the_program_of_before_unless_it_says_since_when_nobody_needs_it(self, empty: Database) -> None:
        versions = {path.name.split("_", 1)[0]: path for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py")}
        run_alembic(empty, lambda config: command.upgrade(config, FIRST_SIDE_BY_SIDE))
        before = catalog(empty)
        for revision in sorted(one for one in versions if one > FIRST_SIDE_BY_SIDE):
            run_alembic(empty, lambda config, revision=revision: command.upgrade(config, revision))
            after, path = catalog(empty), versions[revision]
            needed = contracted(path)
            assert needed is None or FIRST_SIDE_BY_SIDE <= needed < revision, f"{path.name}: contracts names an earlier revision"
            if needed is None:
                breaks = what_breaks(before, after) - harmless(path)
                assert not breaks, f"{path.name} breaks programs of before ({sorted(breaks)}): docs/how-to-add.md says what to do"
            before = after

    @pytest.mark.parametrize(
        ("change", "broken"),
        [
            ("alter table clips drop column confidence", {"gone clips.confidence"}),
            ("drop table given_thumbnails", {"gone given_thumbnails.thumbnail_filepath", "gone given_thumbnails.source_video_id"}),
            ("alter table source_videos rename column title to name", {"gone source_videos.title", "required source_videos.name"}),
            ("alter table clips alter column confidence type numeric", {"changed clips.confidence", "rule clips.clips_confidence_check"}),
            ("alter table clips alter column confidence set not null", {"changed clips.confidence"}),
            ("alter table clips add column extra integer not null", {"required clips.extra"}),
            ("alter table clips add constraint more check (confidence < 2)", {"rule clips.more"}),
            ("create unique index one_title on source_videos (title)", {"rule source_videos.one_title"}),
            ("drop function heaters_videos_with_word(text)", {"gone heaters_videos_with_word(word text)"}),
            ("alter table clips add column extra integer", set()),
            ("alter table clips add column extra integer not null default 0", set()),
            ("create table more (id bigint primary key, other integer not null)", set()),
            ("alter table clips alter column confidence drop not null", set()),
            ("create index more on clips (confidence)", set()),
        ],
    )
    def test_what_breaks_the_program_of_before_is_noticed(self, database: Database, change: str, broken: set[str]) -> None:
        with database.engine.connect() as connection:
            before = Catalog.read(connection)
            connection.execute(text(change))
            assert what_breaks(before, Catalog.read(connection)) == broken
            connection.rollback()

    def test_the_program_of_before_goes_on_with_a_newer_schema_that_only_adds(self, database: Database) -> None:
        state = state_of(database)
        assert (state.revision, state.works, state.is_newer) == (state.newest, True, False)
        assert state.oldest_program == oldest_program()
        with database.begin() as connection:
            connection.execute(text("alter table reviewers add column shoe_size integer not null default 40"))
            connection.execute(text("update alembic_version set version_num = '9999'"))
        migrate(database)
        check_schema(database)
        add_reviewer(database, "Ann")
        assert reviewer_names(database) == ["Ann"]
        assert state_of(database).revision == "9999", "it is left as the newer program has made it"

    def test_a_newer_schema_that_needs_a_newer_program_is_left_alone(self, database: Database) -> None:
        with database.begin() as connection:
            connection.execute(text("update alembic_version set version_num = '9999'"))
            connection.execute(text("update schema_compatibility set oldest_program = '9998'"))
        for step in (migrate, check_schema):
            with pytest.raises(SettingsError, match=r"at revision 9999, which this Heaters does not know .*update Heaters"):
                step(database)

    def test_a_program_that_may_not_migrate_says_what_to_type(self, empty: Database, tmp_path: Path) -> None:
        settings = Settings(home=tmp_path, database_url=empty.url.replace("+psycopg", ""), migrates=False)
        with pytest.raises(SettingsError, match=r"at revision none, and this Heaters needs .*: type heaters migrate"):
            open_database(settings)
        assert empty_of_tables(empty)
        migrate(empty)
        open_database(settings).dispose()


def harmless(migration: Path) -> set[str]:
    """What a migration says of its changes of rules: `harmless = {"rule clips.some_check": "why it breaks nobody"}`."""
    for line in ast.parse(migration.read_text()).body:
        if isinstance(line, ast.Assign) and [getattr(target, "id", None) for target in line.targets] == ["harmless"]:
            return set(ast.literal_eval(line.value))
    return set()


def catalog(database: Database) -> Catalog:
    with database.read() as connection:
        return Catalog.read(connection)


def state_of(database: Database) -> SchemaState:
    with database.read() as connection:
        return schema_state(connection)


def empty_of_tables(database: Database) -> bool:
    with database.read() as connection:
        return not connection.scalar(text("select count(*) from pg_tables where schemaname = 'public'"))


def add_reviewer(database: Database, name: str) -> None:
    with database.begin() as connection:
        connection.execute(text("insert into reviewers (name) values (:name)"), {"name": name})


def run_alembic(database: Database, run: Any) -> None:
    with database.engine.begin() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        run(config)


def everything(database: Database) -> set[tuple[str, str]]:
    """Tables, columns, indexes, constraints, functions and triggers that are not the system's or an extension's."""
    queries = {
        "table": "select relname || relkind::text from pg_class where relnamespace = 'public'::regnamespace",
        "column": "select table_name || column_name || data_type || coalesce(column_default, '') || is_nullable "
        "from information_schema.columns where table_schema = 'public'",
        "constraint": "select conname || pg_get_constraintdef(oid) from pg_constraint where connamespace = 'public'::regnamespace",
        "function": "select proname || prosrc from pg_proc where pronamespace = 'public'::regnamespace and proname like 'heaters%'",
        "trigger": "select tgname || pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
    }
    with database.read() as connection:
        found = {(kind, row) for kind, query in queries.items() for row in connection.scalars(text(query))}
    return {("table alembic_version" if "alembic_version" in row else kind, row) for kind, row in found}


def as_role(database: Database, role: str) -> Database:
    url = make_url(database.url).update_query_dict({"options": f"-crole={role} -csearch_path={role}"})
    return Database.connect(url.render_as_string(hide_password=False))
