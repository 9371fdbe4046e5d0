import re

import av
import numpy as np
import pytest
import tiny_generator
from made_video import Unchanged, make, moving, packets, pictures

from raindrop.errors import UserError
from raindrop.media import segments, video
from raindrop.restoration import files
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.files import Options

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def derainer():
    return Derainer(tiny_generator.loaded(residual=True))


@pytest.mark.parametrize("size", [(37, 61), (36, 61), (48, 64)])
@pytest.mark.parametrize("extension", [".mp4", ".mkv"])
def test_size_count_rate_and_sound_stay(tmp_path, derainer, size, extension):
    source = make(tmp_path / f"in{extension}", moving(60, *size))
    target = tmp_path / "out" / f"out{extension}"
    summary = files.derain_files(derainer, source, target)
    assert summary.done == 1
    assert summary.pixels == 60 * size[0] * size[1]
    before, after = video.probe(source), video.probe(target)
    assert after.size == size
    assert after.rate == pytest.approx(before.rate, rel=1e-4)
    times = [
        [float(time * info.time_base) for time, _ in pictures(path)]
        for path, info in ((source, before), (target, after))
    ]
    assert len(times[0]) == 60
    np.testing.assert_allclose(times[1], times[0], atol=1e-3)
    assert packets(source, "audio") == packets(target, "audio")
    assert [p.name for p in target.parent.iterdir()] == [target.name]


def test_webm_and_variable_rate(tmp_path, derainer, monkeypatch):
    times = np.cumsum(RNG.integers(1, 5, 12)).tolist()
    source = make(tmp_path / "12:30.mkv", moving(12, 37, 61), "libopus", times=times)
    target = tmp_path / "12:31.webm"
    # By themselves such names look like a protocol's.
    monkeypatch.chdir(tmp_path)
    files.derain_files(derainer, source.name, target.name)
    assert video.probe(target).size == (37, 61)
    assert [t for t, _ in pictures(target)] == [t for t, _ in pictures(source)]
    assert packets(source, "audio") == packets(target, "audio")


@pytest.mark.parametrize("extension", [".avi", ".mkv", ".mp4"])
def test_stamps_that_do_not_rise_and_avi(tmp_path, derainer, extension):
    times = np.cumsum(RNG.integers(1, 5, 20)).tolist()
    again = make(tmp_path / "once.ts", moving(10, 36, 60), "mp2").read_bytes() * 2
    (tmp_path / "twice.ts").write_bytes(again)
    for source in (
        tmp_path / "twice.ts",
        make(tmp_path / "b_frames.avi", moving(20, 36, 60), "mp2"),
        make(tmp_path / "variable.mp4", moving(20, 36, 60), "mp2", times=times),
    ):
        target = tmp_path / f"{source.stem}_out{extension}"
        files.derain_files(derainer, source, target)
        info = video.probe(target)
        assert len(pictures(target)) == 20
        assert (np.diff([time for time, _ in pictures(target)]) > 0).all()
        assert packets(source, "audio") == packets(target, "audio")
        if extension == ".avi":
            assert info.time_base == 1 / info.rate
            assert info.rate == pytest.approx(video.probe(source).rate, rel=1e-4)


RGB = {"codec": "ffv1", "pixels": "bgr0"}
BT709 = {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1}
BT601 = {"colorspace": 5, "color_primaries": 5, "color_trc": 6, "color_range": 2}


@pytest.mark.parametrize(
    ("made", "colour"),
    [
        ({}, {}),
        (BT709, BT709),
        (BT601, BT601),
        (RGB, {"colorspace": 1, "color_range": 1}),
    ],
)
def test_colours_and_their_tags_stay(tmp_path, made, colour):
    source = make(tmp_path / "in.mkv", moving(5, 36, 60), None, **made)
    info = video.probe(source)
    for name, value in colour.items():
        assert info.colour[name] == value
    target = tmp_path / "out.mp4"
    originals = pictures(source)
    with segments.Segments({"result": target}, source, info, {}) as parts:
        for time, picture in originals:
            parts.append(time, {"result": picture})
        parts.finish_segment()
        parts.join()
    assert video.probe(target).colour == info.colour
    for (_, a), (_, b), original in zip(
        originals, pictures(target), moving(5, 36, 60), strict=True
    ):
        assert np.abs(a.astype(int) - original).mean() < 3
        assert np.abs(a.astype(int) - b).mean() < 4
        assert np.abs((a.astype(int) - b).mean(axis=(0, 1))).max() < 2


def test_phone_video_is_turned_upright(tmp_path):
    source = make(tmp_path / "in.mp4", moving(3, 36, 60), None)
    data = bytearray(source.read_bytes())
    # The matrix of the track header: a quarter turn clockwise.
    start = data.index(b"tkhd") + 4 + 40
    assert data[start : start + 4] == b"\0\1\0\0"
    turn = [0, 1 << 16, 0, -(1 << 16) % 2**32, 0, 0, 0, 0, 1 << 30]
    data[start : start + 36] = b"".join(n.to_bytes(4, "big") for n in turn)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    assert video.probe(turned).size == (60, 36)
    for (_, a), (_, b) in zip(pictures(source), pictures(turned), strict=True):
        np.testing.assert_array_equal(np.rot90(a, -1), b)


@pytest.mark.parametrize("temporal", [0.0, 0.7])
def test_interrupted_video_goes_on(tmp_path, derainer, monkeypatch, temporal):
    monkeypatch.setattr(segments, "SEGMENT", 8)
    source = make(tmp_path / "in.mp4", moving(30, 37, 61))
    options = Options(temporal=temporal, compare=True)
    append, given = segments.Segments.append, []

    def note(self, time, views):
        given.append((time, views["result"]))
        append(self, time, views)

    monkeypatch.setattr(segments.Segments, "append", note)
    files.derain_files(derainer, source, tmp_path / "whole.mp4", options)
    whole = list(given)
    given.clear()

    def stop_at_20(self, *args):
        if len(given) == 19:
            raise KeyboardInterrupt
        note(self, *args)

    target = tmp_path / "out.mp4"
    monkeypatch.setattr(segments.Segments, "append", stop_at_20)
    with pytest.raises(KeyboardInterrupt):
        files.derain_files(derainer, source, target, options)
    assert not target.exists()
    del given[16:]  # two segments were finished
    monkeypatch.setattr(segments.Segments, "append", note)
    files.derain_files(derainer, source, target, options)
    for one, other in zip(whole, given, strict=True):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])
    # Not bit by bit: x264 of odd sizes is not always the same.
    for one, (time, picture) in zip(whole, pictures(target), strict=True):
        assert one[0] == time
        assert np.abs(one[1].astype(int) - picture).mean() < 8
    assert len(pictures(tmp_path / "out.mp4.compare.mp4")) == 30
    assert not list(tmp_path.glob(".*"))


def test_one_process_a_video(tmp_path, derainer):
    source = make(tmp_path / "in.mp4", moving(4, 36, 60), None)
    target = tmp_path / "out.mp4"
    info = video.probe(source)
    with segments.Segments({"result": target}, source, info, {}):
        summary = files.derain_files(derainer, source, target)
        assert (summary.done, summary.skipped) == (0, 1)
        assert "another process" in str(summary)
        assert not target.exists()
    assert files.derain_files(derainer, source, target).done == 1
    assert not list(tmp_path.glob(".*"))


def test_a_video_that_changes_under_the_hands_is_refused(tmp_path, monkeypatch):
    source = make(tmp_path / "in.mp4", moving(4, 36, 60), None)
    append = segments.Segments.append

    def grow(self, *args):
        with open(source, "ab") as file:
            file.write(b"more")
        append(self, *args)

    monkeypatch.setattr(segments.Segments, "append", grow)
    with pytest.raises(UserError, match="changed while it was read"):
        files.derain_files(Unchanged(), source, tmp_path / "out.mp4")
    assert [p.name for p in tmp_path.iterdir()] == ["in.mp4"]


def test_other_weights_do_not_go_on(tmp_path, derainer):
    source = make(tmp_path / "in.mp4", moving(4, 36, 60), None)
    info = video.probe(source)
    for weights, done in (("a", 0), ("a", 1), ("b", 0)):
        with segments.Segments(
            {"result": tmp_path / "out.mp4"}, source, info, {"weights": weights}
        ) as parts:
            assert parts.done == done
            if not done:
                parts.append(0, {"result": next(moving(1, 36, 60))})
                parts.finish_segment()


def test_what_cannot_be_is_said(tmp_path, derainer):
    source = make(tmp_path / "in.mp4", moving(20, 36, 60))
    (tmp_path / "cut.mp4").write_bytes(source.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"cut.mp4"):
        files.derain_files(derainer, tmp_path / "cut.mp4", tmp_path / "o.mp4")
    with pytest.raises(UserError, match="ends in"):
        files.derain_files(derainer, source, tmp_path / "o.wmv")
    parts = [
        make(tmp_path / "part.ts", moving(20, *size)).read_bytes()
        for size in ((36, 60), (64, 96))
    ]
    (tmp_path / "grows.ts").write_bytes(b"".join(parts))
    with pytest.raises(UserError, match=r"frame 20, from 60 x 36 to 96 x 64"):
        files.derain_files(derainer, tmp_path / "grows.ts", tmp_path / "o.mkv")
    assert not list(tmp_path.glob("o.*"))


def test_what_the_output_cannot_hold_is_said_and_left_out(tmp_path, derainer, caplog):
    deep = make(tmp_path / "deep.mkv", moving(2, 36, 60), pixels="yuv420p10le")
    source = make(tmp_path / "in.mov", moving(2, 36, 60), "pcm_s16le")
    unknown = tmp_path / "unknown.mov"
    unknown.write_bytes(source.read_bytes().replace(b"sowt", b"apac"))
    for path, target, warnings in (
        (deep, "o.webm", ["8 bits.*10", r"audio \(aac\).*webm.*\.mkv would keep it"]),
        (source, "o.avi", []),
        (unknown, "o.mov", [r"audio \(unknown\) of .*unknown\.mov.*\.mov cannot hold"]),
    ):
        caplog.clear()
        files.derain_files(derainer, path, tmp_path / target)
        for message, pattern in zip(caplog.messages, warnings, strict=True):
            assert re.search(pattern, message)
        with av.open(str(tmp_path / target)) as container:
            assert len(container.streams.audio) == (not warnings)
