"""The instance files of deploy/: each is loaded as Dagster loads it, and says what the settings and the other files say."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._config import process_config, resolve_to_config_type
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.run_coordinator import SubmitRunContext
from dagster_aws.ecs import EcsRunLauncher
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import get_user_defined_k8s_config
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
from kubernetes.client.models import V1PodSpec

from heaters_dagster.commands.up.machines import check_shared
from heaters_dagster.commands.up.worker import run_worker
from heaters_dagster.domain.errors import SettingsError
from heaters_dagster.domain.run_queues import LARGE_ABOVE_PIXELS, OTHER, QUEUES, queue_limits, queue_of
from heaters_dagster.domain.stages import Job
from heaters_dagster.domain.states import SourceVideoState
from heaters_dagster.orchestration.instance import instance_file
from heaters_dagster.settings import PROJECT_ROOT, Settings, setting_names, settings_that_look_wrong
from resources.orchestrator.celery_launcher import HeatersCeleryLauncher, open_celery
from resources.orchestrator.dagster_storage import HeatersRunCoordinator, HeatersStorage, opened_with
from resources.postgres.database import Database
from resources.postgres.source_video_store import SourceVideoStore
from resources.upkeep.readiness import LIVE_PATH, READY_PATH
from tests.command_blocks import problem_of
from tests.pipeline_rows import video_in

FOLDERS = {"one machine": ".", "celery": "deploy/celery", "kubernetes": "deploy/kubernetes", "ecs": "deploy/ecs"}
BROKER = "redis://:hidden-password@broker.example:6379/0"


@pytest.fixture
def settings(tmp_path: Path, database: Database) -> Settings:
    return Settings(home=tmp_path, database_url=database.url, broker_url=BROKER)


def written(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PROJECT_ROOT / FOLDERS[name] / "dagster.yaml").read_text())
    return loaded


def tags_of_jobs(name: str) -> Mapping[str, Mapping[str, Any]]:
    return dict(written(name)["run_coordinator"]["config"].get("tags_of_jobs", {}))


@pytest.mark.parametrize("name", FOLDERS)
def test_each_instance_file_is_loaded_and_keeps_what_all_have(name: str, settings: Settings) -> None:
    with opened_with(settings):
        instance = dg.DagsterInstance.from_config(str(PROJECT_ROOT / FOLDERS[name]))
        assert isinstance(instance.run_coordinator, HeatersRunCoordinator)
        assert isinstance(instance.get_ref().storage, HeatersStorage)
        config = instance.get_concurrency_config()
    most, limits = queue_limits(settings.runs_at_once, settings.machines)
    assert config.run_queue_config is not None
    assert (config.run_queue_config.max_concurrent_runs, config.run_queue_config.tag_concurrency_limits) == (most, limits)
    assert config.pool_config.default_pool_limit == 64
    assert instance.run_monitoring_enabled
    # A killed run frees its slots, in every deployment.
    assert instance.get_settings("run_monitoring")["free_slots_after_run_end_seconds"] == 5
    own = {"run_launcher", "run_coordinator", "run_monitoring"}
    assert {key: value for key, value in written(name).items() if key not in own} == {
        key: value for key, value in written("one machine").items() if key not in own
    }
    assert BROKER not in str(instance.get_ref())


def test_a_broker_in_the_settings_is_enough_to_hand_runs_to_workers(settings: Settings) -> None:
    assert instance_file(settings) == PROJECT_ROOT / "deploy/celery/dagster.yaml"
    assert instance_file(replace(settings, broker_url=None)) == PROJECT_ROOT / "dagster.yaml"
    wheel = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"]["deploy/celery/dagster.yaml"] == "heaters_dagster/celery.yaml"


def test_what_celery_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = open_celery(settings).conf
    assert (conf.broker_url, conf.result_backend) == (BROKER, BROKER)
    # Early: what Redis gives out again must never be a run that works. One run for each free process, and none put by.
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier, conf.worker_disable_prefetch) == (False, 1, True)
    assert conf.broker_transport_options["visibility_timeout"] == settings.broker_visibility_seconds == 86_400
    monkeypatch.setenv("HEATERS_BROKER_URL", BROKER)
    launcher = HeatersCeleryLauncher(settings)
    assert launcher.celery.conf.broker_transport_options == conf.broker_transport_options


def test_each_kind_of_run_has_a_queue_that_some_worker_listens_to() -> None:
    assert {queue_of({"heaters/job": job.value}) for job in Job} == {"export", "ingest", "enrich", "archive_master", OTHER}
    assert queue_of({"heaters/job": "archive_master", "heaters/weight": "large"}) == "archive_master_large"
    assert queue_of({}) == queue_of({"heaters/job": "mece_audit"}) == OTHER
    heard = {queue for queues in QUEUES.values() for queue in queues}
    assert {queue_of({"heaters/job": job.value, "heaters/weight": weight}) for job in Job for weight in ("", "large")} <= heard
    # Within a kind the limit is that of all machines, and there is always room for an export.
    most, limits = queue_limits({"export": 2, "ingest": 3}, machines=4)
    assert most == 28
    assert [(limit["value"], limit["limit"]) for limit in limits[:2]] == [("export", 8), ("ingest", 12)]
    assert {"key": "heaters/large_master", "limit": 2} in queue_limits({"archive_master": 1}, machines=4, large_masters=2)[1]


def valid(launcher: type, config: Mapping[str, Any]) -> None:
    done = process_config(resolve_to_config_type(launcher.config_type()), config)  # type: ignore[attr-defined]
    assert done.success, done.errors


def test_kubernetes_runs_get_their_resources_and_the_chart_the_same_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEATERS_NAMESPACE", "HEATERS_IMAGE"):
        monkeypatch.setenv(name, "said-by-the-secret")
    launcher = written("kubernetes")["run_launcher"]["config"]
    valid(K8sRunLauncher, launcher)
    given = tags_of_jobs("kubernetes")
    assert {*given} == {"export", "ingest", "ingest/large", "archive_master", "archive_master/large", "enrich", "other"}
    for tags in given.values():
        read = get_user_defined_k8s_config({key: json.dumps(value) for key, value in tags.items()})
        assert read.container_config["resources"]["limits"]["memory"]
    assert given["enrich"]["dagster-k8s/config"]["pod_spec_config"]["node_selector"]

    values = yaml.safe_load((PROJECT_ROOT / "deploy/kubernetes/values.yaml").read_text())
    parts = [values["dagsterWebserver"], values["dagsterDaemon"], *values["dagster-user-deployments"]["deployments"]]
    for part in parts:
        assert {"name": "DAGSTER_HOME", "value": launcher["dagster_home"]} in part["env"]
        assert part["volumes"][0]["configMap"]["name"] == launcher["instance_config_map"]
        assert part["volumeMounts"][0]["mountPath"] == launcher["dagster_home"]
        assert [one["name"] for one in part["envSecrets"]] == launcher["env_secrets"]
    assert values["global"]["serviceAccountName"] == launcher["service_account_name"]
    # The chart's pods would wait for ever for the Postgres that it does not bring.
    waiting = [values[part]["checkDbReadyInitContainer"] for part in ("dagsterWebserver", "dagsterDaemon")]
    assert (values["postgresql"]["enabled"], waiting) == (False, [False, False])


def test_kubernetes_gets_the_review_app_and_the_schema_from_the_same_image_and_settings() -> None:
    job, review, service = yaml.safe_load_all((PROJECT_ROOT / "deploy/kubernetes/heaters.yaml").read_text())
    values = yaml.safe_load((PROJECT_ROOT / "deploy/kubernetes/values.yaml").read_text())
    image = "{repository}:{tag}".format(**values["dagsterWebserver"]["image"])
    for manifest in (job, review):
        pod = manifest["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        k8s_model_from_dict(V1PodSpec, k8s_snake_case_dict(V1PodSpec, pod))  # refuses a field that Kubernetes does not have
        assert container["image"] == image
        assert container["envFrom"] == [{"secretRef": one} for one in values["dagsterWebserver"]["envSecrets"]]
        assert {one["name"] for one in container["env"]} <= set(setting_names())
        assert (container["command"][0], problem_of(container["command"][1:])) == ("heaters", None)
    review_container = review["spec"]["template"]["spec"]["containers"][0]
    assert review_container["ports"][0]["containerPort"] == Settings().review_port
    assert {review_container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("readiness", "liveness")} == {READY_PATH, LIVE_PATH}
    assert service["spec"]["selector"] == review["spec"]["selector"]["matchLabels"]


def told_of_service(name: str, port: int) -> dict[str, str]:
    """What Kubernetes adds to the environment of every pod of a namespace for a service in it.

    Source: Kubernetes, Service, Discovering services, Environment variables.
    """
    prefix, address = name.upper().replace("-", "_"), f"tcp://10.96.0.7:{port}"
    link = f"{prefix}_PORT_{port}_TCP"
    told = {f"{prefix}_SERVICE_HOST": "10.96.0.7", f"{prefix}_SERVICE_PORT": str(port), f"{prefix}_SERVICE_PORT_HTTP": str(port)}
    return told | {f"{prefix}_PORT": address, link: address, f"{link}_PROTO": "tcp", f"{link}_PORT": str(port), f"{link}_ADDR": "10.96.0.7"}


def test_what_kubernetes_says_of_the_services_is_no_setting() -> None:
    with pytest.raises(SettingsError, match="HEATERS_REVIEW_PORT"):
        Settings.from_environment(told_of_service("heaters-review", 80))
    *_, service = yaml.safe_load_all((PROJECT_ROOT / "deploy/kubernetes/heaters.yaml").read_text())
    values = yaml.safe_load((PROJECT_ROOT / "deploy/kubernetes/values.yaml").read_text())
    assert "helm -n heaters install heaters " in (PROJECT_ROOT / "docs/operate/install.md").read_text()
    services = {
        service["metadata"]["name"]: service["spec"]["ports"][0]["port"],
        "heaters-webserver": values["dagsterWebserver"]["service"]["port"],  # the chart puts the name of the release before it
    } | {one["name"]: one["port"] for one in values["dagster-user-deployments"]["deployments"]}
    assert len(services) == 3
    told = {variable: value for name, port in services.items() for variable, value in told_of_service(name, port).items()}
    assert Settings.from_environment(told) == Settings.from_environment({})
    assert settings_that_look_wrong(told) == []


def test_every_part_on_kubernetes_listens_where_an_account_without_rights_may() -> None:
    review = list(yaml.safe_load_all((PROJECT_ROOT / "deploy/kubernetes/heaters.yaml").read_text()))[1]
    values = yaml.safe_load((PROJECT_ROOT / "deploy/kubernetes/values.yaml").read_text())
    web = values["dagsterWebserver"]
    ports = [web["service"]["port"], *(one["port"] for one in values["dagster-user-deployments"]["deployments"])]
    ports += [port["containerPort"] for port in review["spec"]["template"]["spec"]["containers"][0]["ports"]]
    assert all(port >= 1024 for port in ports), ports
    assert web["readinessProbe"]["httpGet"]["port"] == "http", "the chart's name for that port, whatever its number"


def test_the_images_start_whatever_command_a_launcher_gives_them() -> None:
    """Dagster's launchers and its chart give `dagster api ...` as arguments: an entry point of the image would stand before it."""
    instructions = [line.split()[0] for line in (PROJECT_ROOT / "deploy/docker/Dockerfile").read_text().splitlines() if line.strip()]
    assert "ENTRYPOINT" not in instructions
    script = PROJECT_ROOT / "deploy/docker/requirements.py"
    listed = subprocess.run([sys.executable, str(script), "code"], capture_output=True, text=True, check=True).stdout
    launchers = {"dagster-celery", "dagster-k8s", "dagster-aws"}
    assert launchers <= {line.split("==")[0] for line in listed.splitlines()}


#: Processors of a Fargate task -> least and most memory, in MiB.
FARGATE = {512: (1024, 4096), 1024: (2048, 8192), 2048: (4096, 16384), 4096: (8192, 30720), 8192: (16384, 61440)}


def test_ecs_runs_get_sizes_that_fargate_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HEATERS_RUN_TASK_DEFINITION", "HEATERS_DATABASE_URL_ARN", "HEATERS_SECRET_KEY_ARN"):
        monkeypatch.setenv(name, "said-by-the-task")
    valid(EcsRunLauncher, written("ecs")["run_launcher"]["config"])
    for tags in tags_of_jobs("ecs").values():
        least, most = FARGATE[int(tags["ecs/cpu"])]
        assert least <= int(tags["ecs/memory"]) <= most
        assert 21 <= int(tags.get("ecs/ephemeral_storage", 21)) <= 200


def test_extras_and_chart_are_of_the_release_of_dagster() -> None:
    project = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(line.partition(";")[0].split("==") for line in project["dependencies"] if "==" in line)
    for extra, library in (("celery", "dagster-celery"), ("k8s", "dagster-k8s"), ("ecs", "dagster-aws")):
        assert f"{library}=={pinned['dagster-postgres']}" in project["optional-dependencies"][extra]
    assert f"--version {pinned['dagster']} " in (PROJECT_ROOT / "docs/operate/install.md").read_text()


def test_the_queue_gives_each_run_what_its_launcher_needs(settings: Settings, database: Database) -> None:
    probe = {"video": {"width": 3840, "height": 2160}}
    large = video_in(database, SourceVideoState.DOWNLOADED, probe=probe)
    assert SourceVideoStore(database).load(large.id).media.frame_pixels > LARGE_ABOVE_PIXELS
    small = video_in(database, SourceVideoState.DOWNLOADED)
    with opened_with(settings), dg.DagsterInstance.from_config(str(PROJECT_ROOT / FOLDERS["ecs"])) as instance:
        coordinator = instance.run_coordinator

        def tags_of(job: str, key: int) -> Mapping[str, str]:
            origin = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("heaters"), "__repository__"), job)
            tags = {"dagster/partition": str(key)}
            run = instance.create_run_for_job(_nothing(job), tags=tags, status=dg.DagsterRunStatus.NOT_STARTED, remote_job_origin=origin)
            return coordinator.submit_run(SubmitRunContext(run, None)).tags  # type: ignore[arg-type]

        master = tags_of("archive_master", large.id)
        assert (master["heaters/weight"], master["ecs/memory"], queue_of(master)) == ("large", "16384", "archive_master_large")
        assert master["heaters/large_master"] == "yes", "which HEATERS_LARGE_MASTERS counts over all machines"
        assert {"heaters/weight", "heaters/large_master"}.isdisjoint(tags_of("archive_master", small.id))
        assert "heaters/large_master" not in tags_of("ingest", large.id)
        export = tags_of("export", large.id)
        assert (export.get("heaters/weight"), export["ecs/memory"], export["dagster/priority"]) == (None, "2048", "30")
        assert '"capacityProvider": "heaters-gpu"' in tags_of("enrich", small.id)["ecs/run_task_kwargs"]


def _nothing(job: str) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job(name=job)
    def does_nothing() -> None:
        nothing()

    return does_nothing


def test_a_machine_that_works_with_others_says_what_it_lacks(settings: Settings) -> None:
    whole = replace(settings, bucket="films", secret_key="the same on all machines")
    check_shared(whole)
    for lacks, told in (("broker_url", "HEATERS_BROKER_URL"), ("database_url", "HEATERS_DATABASE_URL"), ("bucket", "S3_BUCKET_NAME"),
                        ("secret_key", "HEATERS_SECRET_KEY")):  # fmt: skip
        with pytest.raises(SettingsError, match=f"^{told} is not set: machines share"):
            run_worker(replace(whole, **{lacks: None}), [])  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"^exports is no kind of work: write some of export, ingest"):
        run_worker(whole, ["exports"])
