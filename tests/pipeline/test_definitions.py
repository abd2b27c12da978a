"""What Dagster gets from us: exactly these assets, jobs and checks, and all of it loads as the code server loads it."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.instance import InstanceRef
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

from benchmarks import stages_that_do_nothing
from heaters_dagster.definitions import heaters_definitions
from heaters_dagster.domain.stages import ASSETS_OF_JOB, Job, beside
from heaters_dagster.orchestration.instance import open_instance, packaged, prepare_dagster_home
from heaters_dagster.settings import PROJECT_ROOT, Settings, child_environment
from resources.postgres.database import Database

UPSTREAM = {
    "source_video": set(),
    "proxy": {"source_video"},
    "proxy_pieces": {"source_video"},
    "keyframe_offsets": {"source_video"},
    "gold_master": {"source_video"},
    "virtual_clips": {"proxy", "keyframe_offsets"},
    "exports": {"virtual_clips"},
    "keyframes": {"exports"},
    "embeddings": {"keyframes"},
    "archived_clips": {"virtual_clips"},
}
#: Made of all source videos at once.
OF_ALL = {"detector_evaluation": {"virtual_clips"}}
#: Stages of clips that work beside these are what the table of stages says, no more and no less.
UPSTREAM |= {stage.asset: set(stage.needs) for stage in beside()}
#: Reported by a sensor, made by no run.
REPORTS = {"work_waiting"}


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return heaters_definitions()


def name(key: dg.AssetKey) -> str:
    return key.to_user_string()


def test_there_are_exactly_these_assets(definitions: dg.Definitions) -> None:
    assert {name(key) for key in definitions.resolve_asset_graph().get_all_asset_keys()} == set(UPSTREAM) | set(OF_ALL) | REPORTS


def test_the_graph_says_what_follows_what(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for asset, upstream in UPSTREAM.items():
        parents = {name(key) for key in graph.get(dg.AssetKey(asset)).parent_keys}
        assert upstream <= parents, asset
        assert parents <= set(UPSTREAM) - {asset}, asset
    for asset, upstream in OF_ALL.items():
        assert {name(key) for key in graph.get(dg.AssetKey(asset)).parent_keys} == upstream


def test_every_asset_of_a_source_video_is_partitioned_and_all_are_described_grouped_and_owned(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        if name(spec.key) not in REPORTS | set(OF_ALL):
            assert isinstance(spec.partitions_def, dg.DynamicPartitionsDefinition), spec.key
            assert spec.partitions_def.name == "source_videos"
        assert spec.description, spec.key
        assert spec.group_name in {"ingest", "review", "archive", "delivery", "search"}, spec.key
        assert spec.owners, spec.key
        assert spec.kinds, spec.key


def test_the_jobs_are_those_that_the_decision_names(definitions: dg.Definitions) -> None:
    for job, assets in ASSETS_OF_JOB.items():
        resolved = definitions.resolve_job_def(job.value)
        assert {name(key) for key in resolved.asset_layer.selected_asset_keys} == set(assets)
    assert {job.name for job in definitions.resolve_all_job_defs() if not job.name.startswith("__")} == {
        *(job.value for job in Job),
        "temp_clean_up",
        "dagster_clean_up",
        "backup",
        "mece_audit",
        "embedding_backfill",
        "web_sites_check",
        "subscribed_lists",
        "evaluate_detector",
    }


def test_each_promise_has_its_check(definitions: dg.Definitions) -> None:
    assert {(name(key.asset_key), key.name) for key in definitions.resolve_asset_graph().asset_check_keys} == {
        ("proxy", "same_frames_at_the_same_times"),
        ("keyframe_offsets", "entries_decode_alone"),
        ("gold_master", "master_equals_original"),
        ("virtual_clips", "clips_are_mece"),
        ("exports", "files_equal_the_proxy"),
        ("work_waiting", "approved_clips_have_files"),
    }


def test_every_schedule_but_the_evaluation_runs_by_itself(definitions: dg.Definitions) -> None:
    schedules = {schedule.name: schedule.default_status for schedule in definitions.get_repository_def().schedule_defs}
    assert schedules.pop("evaluate_detector_weekly") is dg.DefaultScheduleStatus.STOPPED
    assert set(schedules) == {
        "temp_clean_up_hourly", "dagster_clean_up_nightly", "backup_nightly",
        "mece_audit_nightly", "embedding_backfill_nightly", "web_sites_check_nightly",
    }  # fmt: skip
    assert set(schedules.values()) == {dg.DefaultScheduleStatus.RUNNING}


def test_encodes_wait_for_each_other(definitions: dg.Definitions) -> None:
    pools = {asset: definitions.resolve_assets_def(dg.AssetKey(asset)).op.pool for asset in UPSTREAM}
    assert {asset: pool for asset, pool in pools.items() if pool} == {
        "proxy": "encode",
        "keyframe_offsets": "encode",
        "proxy_pieces": "encode",
        "gold_master": "gold_master",
    }


def test_the_definitions_travel_to_the_webserver(definitions: dg.Definitions) -> None:
    assert len(serialize_value(RepositorySnap.from_def(definitions.get_repository_def()))) > 10_000


def test_the_simulation_has_the_jobs_of_every_stage_and_loads(definitions: dg.Definitions) -> None:
    simulated = {job.name for job in stages_that_do_nothing.defs.resolve_all_job_defs()}
    of_stages = {job.name for job in definitions.resolve_all_job_defs()} - {"evaluate_detector"}
    assert simulated == of_stages


@pytest.mark.parametrize("file", ["dagster.yaml", "workspace.yaml"])
def test_the_files_that_dagster_reads_are_in_the_root_and_in_the_wheel(file: str) -> None:
    assert packaged(file) == PROJECT_ROOT / file
    import tomllib

    wheel = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"][file] == f"heaters_dagster/{file}"


@pytest.mark.parametrize(
    ("arguments", "told"), [(["check", "defs"], "All definitions loaded successfully"), (["list", "defs"], "archived_clips")]
)
def test_dagsters_newer_program_knows_the_project(arguments: list[str], told: str, database: Database, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, database_url=database.url)  # without a database it would start one, and leave it running
    environment = {**child_environment(settings), "VIRTUAL_ENV": sys.prefix}
    done = subprocess.run(
        [str(Path(sys.prefix) / "bin" / "dg"), *arguments], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, told in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_workspace_names_a_module_and_no_folder() -> None:
    (location,) = yaml.safe_load(packaged("workspace.yaml").read_text())["load_from"]
    assert location == {"python_module": {"module_name": "heaters_dagster.definitions", "location_name": "heaters"}}


def test_an_instance_file_that_the_operator_changed_is_kept_and_that_is_said(tmp_path: Path) -> None:
    settings, shipped, said = Settings(home=tmp_path), packaged("dagster.yaml").read_bytes(), list[str]()
    home = prepare_dagster_home(settings, say=said.append)
    file, base = home / "dagster.yaml", home / "dagster.yaml.shipped"
    assert (home, file.read_bytes(), base.read_bytes()) == (tmp_path / "dagster", shipped, shipped)
    assert prepare_dagster_home(settings, say=said.append) == home
    assert said == []

    file.write_bytes(shipped + b"# of the operator\n")
    prepare_dagster_home(settings, say=said.append)
    assert file.read_bytes() == shipped + b"# of the operator\n"
    assert said == [f"{file} was changed by you and is used as it is"]

    base.write_bytes(b"# an older Heaters\n")
    prepare_dagster_home(settings, say=said.append)
    assert file.read_bytes() == shipped + b"# of the operator\n"
    assert said[1:] == [said[0], f"the dagster.yaml that comes with Heaters has changed: see {base}, and take from it what you want"]
    assert base.read_bytes() == shipped


def test_an_instance_file_of_an_older_heaters_is_replaced(tmp_path: Path) -> None:
    settings, shipped, said = Settings(home=tmp_path), packaged("dagster.yaml").read_bytes(), list[str]()
    home = prepare_dagster_home(settings)
    for name in ("dagster.yaml", "dagster.yaml.shipped"):
        (home / name).write_bytes(b"# an older Heaters\n")
    prepare_dagster_home(settings, say=said.append)
    assert (home / "dagster.yaml").read_bytes() == shipped
    assert said == []
    (home / "dagster.yaml.shipped").unlink()  # 0.1 kept none
    (home / "dagster.yaml").write_bytes(b"# of 0.1\n")
    prepare_dagster_home(settings, say=said.append)
    assert (home / "dagster.yaml").read_bytes() == shipped
    assert (home / "dagster.yaml.before").read_bytes() == b"# of 0.1\n"
    assert sorted(file.name for file in home.iterdir()) == ["dagster.yaml", "dagster.yaml.before", "dagster.yaml.shipped"]


def test_the_instance_file_is_one_that_dagster_takes(tmp_path: Path) -> None:
    reference = InstanceRef.from_dir(str(prepare_dagster_home(Settings(home=tmp_path))))
    assert (reference.storage_data.module_name, reference.storage_data.class_name) == (
        "resources.orchestrator.dagster_storage",
        "HeatersStorage",
    )
    assert reference.settings["telemetry"] == {"enabled": False}
    assert reference.settings["run_monitoring"]["max_resume_run_attempts"] == 0


def test_runs_are_kept_in_the_database_of_the_settings(settings: Settings) -> None:
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("source_videos", ["1", "2"])
        pool = instance.event_log_storage.get_pool_config()
        assert (pool.default_pool_limit, pool.pool_granularity.value) == (64, "op")
    with open_instance(settings) as again:
        assert again.get_dynamic_partitions("source_videos") == ["1", "2"]


@pytest.mark.slow
def test_dagster_in_the_root_finds_the_same_storage_with_nothing_exported(settings: Settings, tmp_path: Path) -> None:
    """`dagster` run in a folder with our dagster.yaml and without DAGSTER_HOME, as a newcomer types it."""
    (tmp_path / "dagster.yaml").write_bytes(packaged("dagster.yaml").read_bytes())
    with open_instance(settings) as instance:
        instance.add_dynamic_partitions("source_videos", ["77"])
    environment = {key: value for key, value in child_environment(settings).items() if key != "DAGSTER_HOME"}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "--select", "archived_clips", "-m", "heaters_dagster.definitions"]
    known = subprocess.run([*command, "--partition", "77"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    unknown = subprocess.run([*command, "--partition", "78"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert known.returncode == 0, known.stderr
    assert "partition key `78`" in unknown.stderr
    with open_instance(settings) as instance:
        (record,) = instance.get_run_records()
        assert record.dagster_run.is_success
        assert instance.get_materialized_partitions(dg.AssetKey("archived_clips")) == {"77"}
