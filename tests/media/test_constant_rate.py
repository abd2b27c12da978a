import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from heaters_dagster.domain.cut_list_rates import frame_places, rate_without_loss
from heaters_dagster.domain.errors import InvalidMediaError
from resources.media.constant_rate import write_constant_rate
from resources.media.frame_index_reader import read_frame_index
from tests.media_files import barcode_video, barcodes, frame_times
from tests.proxy_files import make_proxy_file


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("variable")
    return make_proxy_file(barcode_video(folder / "v.mp4", frames=60, vfr=True), folder / "proxy.mp4")


def test_each_frame_of_the_file_is_the_one_that_is_shown_then(proxy: Path, tmp_path: Path) -> None:
    index = read_frame_index(proxy)
    pts = np.append(index.pts, index.header.end_pts)
    rate, lost = rate_without_loss(index.pts, index.header.time_base)
    places = frame_places(pts, index.header.time_base, rate)
    assert lost == 0
    write_constant_rate(proxy, tmp_path / "constant.mp4", places, rate)
    shown = barcodes(tmp_path / "constant.mp4")
    assert shown == [frame for frame in range(60) for _ in range(int(places[frame + 1] - places[frame]))]
    assert sorted(set(shown)) == list(range(60)), "no frame is lost"
    steps = np.diff(frame_times(tmp_path / "constant.mp4"))
    assert np.allclose(steps, float(1 / rate), atol=1e-4)
    with av.open(str(tmp_path / "constant.mp4")) as made, av.open(str(proxy)) as given:
        assert made.streams.video[0].average_rate == rate
        assert [bytes(packet) for packet in made.demux(audio=0) if packet.size] == [
            bytes(packet) for packet in given.demux(audio=0) if packet.size
        ], "the sound is the proxy's own"
    assert [path.name for path in tmp_path.iterdir()] == ["constant.mp4"]


def test_a_proxy_with_other_frames_than_its_index_is_refused(proxy: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidMediaError, match="the proxy has 60 frames, its index 59 frames"):
        write_constant_rate(proxy, tmp_path / "constant.mp4", np.arange(60), Fraction(30))
    assert list(tmp_path.iterdir()) == []


def test_a_proxy_that_cannot_be_read_is_named_and_so_is_what_was_to_be_made_of_it(tmp_path: Path) -> None:
    (tmp_path / "proxy.mp4").write_bytes(b"no video")
    told = "constant.mp4 cannot be made from proxy.mp4: its contents are damaged or of the wrong kind; make the proxy again"
    with pytest.raises(InvalidMediaError, match=re.escape(told)):
        write_constant_rate(tmp_path / "proxy.mp4", tmp_path / "constant.mp4", np.arange(60), Fraction(30))
    assert [path.name for path in tmp_path.iterdir()] == ["proxy.mp4"]
