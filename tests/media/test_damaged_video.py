"""Videos that are damaged or cut off: what decodes is delivered, the rest is said."""

from fractions import Fraction
from pathlib import Path

import av
import made_video
import numpy as np
import pytest
from made_video import Unchanged, make, make_kind, moving

from benchmarks import fuzz_videos
from raindrop.errors import UserError
from raindrop.media import segments, video
from raindrop.restoration import files

REPORTS = Path(__file__).parents[3] / "shared" / "reports" / "video"


def derain(source, target):
    """The result's info and frames, and what was said of damage."""
    summary = files.derain_files(Unchanged(), source, target)
    assert summary.done == 1
    assert not [p for p in target.parent.iterdir() if p.name.startswith(".")]
    told = "; ".join(what for _, what in summary.damaged)
    return video.probe(target), made_video.pictures(target), told


def spoil(path, *numbers):
    """Overwrites all but the start of the film's packets of these numbers."""
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        for number in numbers:
            start = packets[number].pos + 6
            size = packets[number].size - 6
            noise = np.random.default_rng(number).bytes(size)
            content[start : start + size] = noise
    spoilt = path.with_name(f"spoilt_{path.name}")
    spoilt.write_bytes(content)
    return spoilt


def seconds(info, frames):
    return np.array([float(time * info.time_base) for time, _ in frames])


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("dashcam.mp4", 36, ["13-14 (1.08-1.17 s), 16 (1.33 s)", "repeat"]),
        ("cut_end.avi", 30, ["30 of 48 frames"]),
        ("cut_end_faststart.mp4", 31, ["31 of 48 frames"]),
    ],
)
@pytest.mark.parametrize("extension", [".mp4", ".mkv", ".avi"])
def test_reported(tmp_path, name, count, words, extension):
    if not REPORTS.exists():
        pytest.skip("needs the reported files")
    _, frames, told = derain(REPORTS / name, tmp_path / f"out{extension}")
    assert len(frames) == count
    for word in words:
        assert word in told


@pytest.mark.parametrize(
    "kind",
    [
        *("h264_mp4", "h264_ts", "h264_avi", "hevc_mkv", "mpeg4_avi", "mjpeg_mov"),
        *("mjpeg_avi", "prores_mov", "vp9_webm"),
    ],
)
@pytest.mark.parametrize("spoilt", [(10, 11), (0,), (23,)])
def test_every_frame_stays_at_its_time(tmp_path, kind, spoilt):
    """In the middle, first, last: as many frames, the sound in step, and said."""
    if kind == "h264_ts" and spoilt == (0,):
        pytest.skip("what `spoil` takes from there is all that tells of the film")
    source = make_kind(tmp_path, kind)
    whole, whole_frames, told = derain(source, tmp_path / "whole.mkv")
    assert not told
    bad = spoil(source, *spoilt)
    info, frames, told = derain(bad, tmp_path / "spoilt.mkv")
    assert "frame" in told
    assert len(frames) == len(whole_frames)
    expected = seconds(whole, whole_frames)
    np.testing.assert_allclose(seconds(info, frames), expected, atol=0.002)
    assert made_video.packets(bad, "audio") == made_video.packets(
        tmp_path / "spoilt.mkv", "audio"
    )


def test_lost_frames_repeat_the_one_before(tmp_path):
    source = make_kind(tmp_path, "mjpeg_mov")
    _, whole, _ = derain(source, tmp_path / "whole.mkv")
    for spoilt, shown in ([(5, 6), 4], [(0, 1), 2]):
        _, frames, told = derain(spoil(source, *spoilt), tmp_path / f"{shown}.mkv")
        assert f"{spoilt[0]}-{spoilt[1]} ({spoilt[0] / 25:.2f}-" in told
        for number in spoilt:
            difference = frames[number][1].astype(int) - whole[shown][1]
            assert np.abs(difference).mean() < 4
        assert np.abs(frames[10][1].astype(int) - whole[10][1]).mean() < 4


def test_damage_at_a_variable_rate(tmp_path):
    times = [0, 1, 2, 40, 41, 42, 43, 90, 91]
    source = make(
        tmp_path / "in.mp4",
        moving(9, 36, 60),
        times=times,
        rate=Fraction(25),
        options={"bf": "0", "g": "3"},
    )
    info, frames, told = derain(spoil(source, 1, 4), tmp_path / "out.mkv")
    shown = seconds(info, frames)
    assert np.round(25 * (shown - shown[0])).tolist() == times
    assert "1 (0.04 s), 4 (1.64 s)" in told


def test_a_second_run_resumes_behind_the_damage(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT", 8)
    bad = spoil(make_kind(tmp_path, "h264_mp4"), 3, 20)
    _, whole, told = derain(bad, tmp_path / "whole.mp4")
    append, count = segments.Segments.append, []

    def stop(self, *args):
        count.append(1)
        if len(count) == 12:
            raise KeyboardInterrupt
        append(self, *args)

    monkeypatch.setattr(segments.Segments, "append", stop)
    with pytest.raises(KeyboardInterrupt):
        derain(bad, tmp_path / "out.mp4")
    _, frames, again = derain(bad, tmp_path / "out.mp4")
    assert again == told
    assert len(count) == 12 + 16
    for one, other in zip(whole, frames, strict=True):
        assert one[0] == other[0]
        # What FFmpeg puts in the place of damaged blocks may be anything.
        assert np.abs(one[1].astype(int) - other[1]).mean() < 4


@pytest.mark.parametrize(
    "kind", ["h264_faststart", "h264_mkv", "mjpeg_avi", "vp9_webm", "wmv", "h264_ts"]
)
def test_cut_off(tmp_path, kind):
    source = make_kind(tmp_path, kind)
    _, whole, _ = derain(source, tmp_path / "whole.mkv")
    content = source.read_bytes()
    cut = source.with_name(f"cut{source.suffix}")
    cut.write_bytes(content[: len(content) * 59 // 100])
    _, frames, told = derain(cut, tmp_path / "cut_off.mkv")
    assert "ends after" in told or "cut off" in told
    assert 5 < len(frames) < 20
    for (_, one), (_, other) in zip(frames, whole, strict=False):
        assert np.abs(one.astype(float) - other).mean() < 25


def test_frames_that_avi_leaves_out_are_not_missing(tmp_path):
    times = [0, 1, 2, 5, 6, 7, 8, 12]
    source = make(
        tmp_path / "in.avi",
        moving(8, 36, 60),
        None,
        Fraction(25),
        times,
        codec="mjpeg",
        pixels="yuvj420p",
    )
    info, frames, told = derain(source, tmp_path / "out.mkv")
    assert not told
    assert np.round(25 * seconds(info, frames)).tolist() == times


def test_nothing_to_decode_is_one_line(tmp_path):
    source = make_kind(tmp_path, "mjpeg_mov", count=4)
    all_bad = spoil(source, 0, 1, 2, 3)
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mkv").write_text("no video\n" * 100)
    for path in (all_bad, *(tmp_path / n for n in ("empty.mp4", "text.mkv"))):
        with pytest.raises(UserError, match=path.name) as caught:
            files.derain_files(Unchanged(), path, tmp_path / "out.mkv")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.mkv").exists()
    assert not list(tmp_path.glob(".*"))


def test_fuzzed(tmp_path):
    """A few of the cases of benchmarks/fuzz_videos.py."""
    kinds = ["h264_mp4", "h264_ts", "hevc_mkv", "mpeg4_avi", "mjpeg_avi", "vp9_webm"]
    for kind, counts, wrong in fuzz_videos.fuzz(kinds, 8, 3, tmp_path):
        assert not wrong
        assert sum(counts.values()) == 8, kind
