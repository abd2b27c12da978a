"""Registries: built-in entries by their files, those of installed packages by entry points, and broken packages that stop nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from heaters_dagster.domain import scenes
from heaters_dagster.domain.cut_lists import CutListFormat
from heaters_dagster.domain.errors import SettingsError, UnknownNameError
from heaters_dagster.domain.keys import scenes_key
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.registries import CUT_LIST_FORMATS, DETECTORS, REGISTRIES, Registry
from heaters_dagster.settings import PROJECT_ROOT, Settings
from resources.object_store.interface import ObjectStore
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
from tests.installed_packages import install, install_example
from tests.media_files import barcode_video, barcodes, make_video
from tests.proxy_files import SOURCES, local_copy, stored_video

GROUP = "heaters.cut_list_formats"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the search path into which packages are installed."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


def formats() -> Registry[CutListFormat]:
    """The registry of cut-list formats as a new process has it."""
    return Registry(
        "cut-list format", CutListFormat, package="resources.clips.cut_lists", constant="CUT_LIST_FORMAT", group="heaters.cut_list_formats"
    )


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda registry: registry.group)
def test_every_built_in_entry_has_the_name_of_its_file_and_is_documented(registry: Registry) -> None:
    assert registry.built_in
    assert [registry.load(name).name for name in registry.built_in] == list(registry.built_in)
    names = ", ".join(f"`{name}`" for name in registry.built_in)
    assert f"| {registry.what} | {names} |" in (PROJECT_ROOT / "docs" / "commands.md").read_text()
    assert f"`{registry.group}`" in (PROJECT_ROOT / "docs" / "extending.md").read_text()


def test_loading_every_built_in_entry_loads_neither_dagster_nor_a_large_library() -> None:
    """The review app loads entries, and it must start fast."""
    script = (
        "import sys\nfrom heaters_dagster.registries import REGISTRIES\n"
        "print(len([registry.load(name) for registry in REGISTRIES for name in registry.built_in]))\n"
        "print({'dagster', 'torch', 'scenedetect', 'sentence_transformers', 'opentimelineio', 'cv2', 'streamlit'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert done.stdout.split() == [str(sum(len(registry.built_in) for registry in REGISTRIES)), "set()"]


def test_an_installed_package_adds_an_entry(site: Path) -> None:
    install_example(site)
    found = formats()
    assert found.names == (*found.built_in, "chapters")
    assert "chapters" in found
    assert found.load("chapters").suffix == ".txt"
    assert found.origin("chapters") == "heaters-example 1.0"
    assert found.problems() == ()


@pytest.mark.parametrize(
    ("module", "told"),
    [
        ("import no_such_library\n", "No module named 'no_such_library'"),
        ("raise RuntimeError('needs\\na licence')\n", "needs a licence"),
        ("", "has no attribute 'FORMAT'"),
        ("FORMAT = 'csv'\n", "it is a str, not a CutListFormat"),
        ("from resources.clips.cut_lists.csv import CUT_LIST_FORMAT as FORMAT\n", "it calls itself 'csv'"),
    ],
)
def test_a_broken_package_is_told_in_a_sentence_and_stops_nothing_else(site: Path, module: str, told: str) -> None:
    install_example(site)
    name = f"broken_{abs(hash(module))}"
    (site / f"{name}.py").write_text(module)
    install(site, "heaters-broken", "0.3", {GROUP: {"reel": f"{name}:FORMAT"}})
    found = formats()
    with pytest.raises(SettingsError) as refused:
        found.load("reel")
    assert str(refused.value).startswith("the cut-list format 'reel' of heaters-broken 0.3 cannot be used: ")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert found.problems() == (str(refused.value),)
    assert found.find("reel") is None
    assert [one.name for one in found.usable()] == [*found.built_in, "chapters"]


def test_a_name_means_one_thing(site: Path) -> None:
    install_example(site)
    install(site, "heaters-other", "2", {GROUP: {"chapters": "nowhere:X", "csv": "nowhere:X", "My-Format": "nowhere:X"}})
    found = formats()
    assert found.names == found.built_in
    assert found.load("csv").title == CUT_LIST_FORMATS.load("csv").title
    assert found.problems() == (
        "the cut-list format 'My-Format' of heaters-other 2 is left out: a name has lower-case letters, digits and '_'",
        "the cut-list format 'chapters' is left out, because heaters-example 1.0 and heaters-other 2 bring it: remove all but one",
        "the cut-list format 'csv' of heaters-other 2 is left out: a built-in one has this name",
    )


def test_a_name_that_is_nowhere_is_refused_with_those_there_are(site: Path) -> None:
    install_example(site)
    with pytest.raises(
        UnknownNameError, match=f"'aaf' is not a cut-list format; write one of: {', '.join(CUT_LIST_FORMATS.built_in)}, chapters"
    ):
        formats().load("aaf")


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def heaters(site: Path, settings: Settings) -> Command:
    """The real command line, which finds the packages in `site`."""

    def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **settings.to_environment(), "PYTHONPATH": str(site), "COLUMNS": "200", **variables}
        program = Path(sys.executable).with_name("heaters")
        return subprocess.run([program, *words], env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_the_command_line_uses_what_an_installed_package_adds(
    heaters: Command, site: Path, tmp_path: Path, database: Database, object_store: ObjectStore
) -> None:
    source = barcode_video(tmp_path / "holiday.mp4", frames=60)
    video = stored_video(source, tmp_path, database=database, objects=object_store, cuts=(20, 40), approved=False)
    install_example(site)
    install(site, "heaters-broken", "0.3", {GROUP: {"reel": "no_such_module:FORMAT"}})

    listed = heaters("cutlist", str(video.id), "--format", "chapters")
    assert listed.stdout.splitlines() == [f"0:00:0{second} {video.title}, part {part}" for part, second in enumerate((0, 0, 1), start=1)]
    assert heaters("cutlist", str(video.id), "--format", "edl").stdout.startswith("TITLE: ")
    broken = heaters("cutlist", str(video.id), "--format", "reel")
    assert (broken.returncode, broken.stdout) == (2, "")
    assert broken.stderr.strip() == (
        "heaters: the cut-list format 'reel' of heaters-broken 0.3 cannot be used: No module named 'no_such_module'. "
        "Repair, update or remove that package"
    )
    unknown = heaters("cutlist", str(video.id), "--format", "aaf")
    assert unknown.returncode == 2
    assert f"write one of: {', '.join(CUT_LIST_FORMATS.built_in)}, chapters, reel" in unknown.stderr


def test_a_detector_of_an_installed_package_cuts_a_video(
    heaters: Command, site: Path, tmp_path: Path, database: Database, object_store: ObjectStore
) -> None:
    source = make_video(tmp_path / "holiday.mp4", frames=60, scenes=(20, 40))
    video = stored_video(source, tmp_path, database=database, objects=object_store, approved=False)
    install_example(site)

    cut = heaters("recut", str(video.id), "--json", HEATERS_DETECTOR="picture_change")
    assert cut.returncode == 0, cut.stderr
    assert [clip["start_frame"] for clip in json.loads(cut.stdout)] == [0, 20, 40]
    stored = scenes.decoded(object_store.get_bytes(scenes_key(video.id)))
    assert stored.settings == scenes.CutSettings("picture_change", 20.0, 2)
    assert set(stored.scores) == {"example_picture_change"}
    # Where the package is not installed, the cuts still say what they were made with, and other detectors work.
    assert scenes.told_boundaries(stored, {"detector": "picture_change", "threshold": 30.0, "min_clip_frames": 2}, lambda name: None) == ()
    gone = heaters("recut", str(video.id), PYTHONPATH="")
    assert gone.returncode == 2
    assert f"'picture_change' is not a detector; write one of: {DETECTORS.built_in[0]}, " in gone.stderr
    assert heaters("recut", str(video.id), "--detector", "content", PYTHONPATH="").returncode == 0

    refused = heaters("status", HEATERS_DETECTOR="eyes")
    assert refused.returncode == 2
    assert f"write one of: {', '.join(DETECTORS.built_in)}, picture_change" in refused.stderr


EXPORT = """
import json, sys
from assets.exports import export_due, export_problems
from heaters_dagster.domain.manifest import ExportManifest
from heaters_dagster.settings import load_settings
from resources.object_store.open import open_object_store
from resources.object_store.work_folder import WorkFolder
from resources.postgres.clip_store import ClipStore
from resources.postgres.database import Database
settings = load_settings()
database, objects, work = Database.connect(settings.database_url), open_object_store(settings), WorkFolder(settings.work_folder)
done, clips, video = export_due(int(sys.argv[1]), database=database, objects=objects, work=work), ClipStore(database), int(sys.argv[1])
files = [one for clip in clips.load_live(video) for one in clips.artifacts(clip.id, kind="export")]
problems = [text for one in files for text in export_problems(ExportManifest.from_json(one.manifest), objects=objects, work=work)]
print(json.dumps([done.failed, problems]))
"""


def exported(video_id: int, settings: Settings, path: str) -> tuple[dict[str, str], list[str]]:
    """(Failures by clip id, problems of all files) of an export in a process that finds the packages in `path`."""
    environment = {**os.environ, **settings.to_environment(), "PYTHONPATH": path}
    command = [sys.executable, "-c", EXPORT, str(video_id)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=PROJECT_ROOT, check=False)
    assert done.returncode == 0, done.stderr
    failed, problems = json.loads(done.stdout)
    return failed, problems


def test_an_export_profile_of_an_installed_package_makes_a_file_with_proof(
    heaters: Command, site: Path, tmp_path: Path, database: Database, object_store: ObjectStore, settings: Settings
) -> None:
    video = stored_video(SOURCES["variable"](tmp_path), tmp_path, database=database, objects=object_store, cuts=(13,))
    install_example(site)
    refused = heaters("export", f"{video.id}:2", "--profile", "tape")
    assert refused.returncode == 2
    assert "'tape' is not an export profile; write one of: delivery, gold_master, stream_copy, prores" in refused.stderr
    assert heaters("export", f"{video.id}:2", "--profile", "prores").returncode == 0
    assert exported(video.id, settings, str(site)) == ({}, [])

    clips = ClipStore(database)
    clip = clips.load_live(video.id)[1]
    made = {one.key.rpartition("/")[2]: one for one in clips.artifacts(clip.id, kind="export")}
    assert set(made) == {f"video_{video.id}_clip_002.mp4", f"video_{video.id}_clip_002_prores.mov"}
    assert clip.clip_filepath == f"final_clips/video_{video.id}_clip_002.mp4"
    prores = made[f"video_{video.id}_clip_002_prores.mov"]
    manifest = ExportManifest.from_json(prores.manifest)
    assert (manifest.profile, manifest.frame_count) == ("prores", clip.frame_count)
    assert manifest.duration_seconds == pytest.approx(clip.end_time_seconds - clip.start_time_seconds)
    file = local_copy(object_store, prores.key, tmp_path)
    assert barcodes(file) == list(range(clip.start_frame, clip.end_frame))
    with av.open(str(file)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["prores", "pcm_s16le"]

    # The package is gone: the file can still be checked, another one is refused in words.
    assert heaters("export", f"{video.id}:2", "--profile", "prores").returncode == 0
    failed, problems = exported(video.id, settings, "")
    assert failed == {
        str(clip.id): "the export profile 'prores' is not installed any more. Install the package that brings it, then: "
        f"heaters retry --clip {video.id}:2. For a file now: heaters export {video.id}:2 --profile stream_copy"
    }
    assert problems == []
