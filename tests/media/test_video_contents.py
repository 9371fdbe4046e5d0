"""What a video holds beside its film's frames: copied where it can be, else named."""

from fractions import Fraction
from pathlib import Path

import av
import cv2
import made_video
import numpy as np
import pytest
from made_video import Unchanged, make, moving

from raindrop.media import containers, segments, video
from raindrop.restoration import files

REPORTS = Path(__file__).parents[3] / "shared" / "reports" / "video"
PICTURE = cv2.imencode(".jpg", np.full((48, 48, 3), 99, np.uint8))[1].tobytes()
LIGHT = {
    "mastering-display": (
        "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
    ),
    "cll": "1000,400",
}


def derain(source, target):
    summary = files.derain_files(Unchanged(), source, target)
    assert summary.done == 1
    assert not summary.damaged
    return target


def streams(path):
    """(what, packets) of each stream, chapters' titles, tags."""
    with av.open(str(path)) as container:
        counts = dict.fromkeys(range(len(container.streams)), 0)
        for packet in container.demux():
            counts[packet.stream.index] += bool(packet.size)
        found = [
            (containers.describe(stream), counts[stream.index])
            for stream in containers.companions(container, -1)
        ]
        chapters = [chapter["metadata"]["title"] for chapter in container.chapters()]
        return found, chapters, {k.lower(): v for k, v in container.metadata.items()}


def packet(stream, data, time):
    result = av.Packet(data)
    result.stream, result.time_base = stream, Fraction(1, 1000)
    result.pts = result.dts = time
    result.duration = 100
    return result


def rich(path, cover=None):
    """Two cameras, chapters and tags; in Matroska a font, in MP4 GPS; and a cover."""
    with av.open(str(path), "w") as container:
        container.metadata.update(title="A drive", comment="wet")
        cameras = []
        for size in ((64, 96), (48, 64)):
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width = size
            cameras.append(stream)
        gps = None
        if path.suffix == ".mp4":
            gps = container.add_data_stream("bin_data")
            gps.time_base = Fraction(1, 1000)
        else:
            container.add_attachment("a.ttf", "font/ttf", b"letters" * 9)
        if cover == "attached":
            container.add_attachment("cover.jpg", "image/jpeg", PICTURE)
        container.set_chapters(
            [
                {
                    "id": number,
                    "start": 400 * number,
                    "end": 2000 * number + 400,  # the last one ends behind the film
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for number, title in enumerate(("dry", "wet"))
            ]
        )
        for number in range(8):
            for stream in cameras:
                shape = (stream.height, stream.width, 3)
                frame = av.VideoFrame.from_ndarray(np.full(shape, 9 * number, np.uint8))
                frame.pts, frame.time_base = number, Fraction(1, 10)
                container.mux(stream.encode(frame))
            if gps:
                container.mux(packet(gps, b"48.1 11.5", 100 * number))
        for stream in cameras:
            container.mux(stream.encode())
    return path


FILM, REAR = ("other video (h264, 96 x 64)", 8), ("other video (h264, 64 x 48)", 8)
FONT, COVER = ("attachment (a.ttf)", 0), ("cover picture", 1)
GPS = ("data (bin_data, GoPro MET)", 8)


@pytest.mark.parametrize(
    ("source", "extension", "kept", "named"),
    [
        ("in.mkv", ".mkv", [FILM, REAR, FONT, COVER], []),
        ("in.mkv", ".mp4", [FILM, REAR, COVER], [r"attachment (a.ttf)"]),
        ("in.mkv", ".mov", [FILM, REAR], ["attachment (a.ttf)", "cover picture"]),
        ("in.mp4", ".mp4", [FILM, REAR, GPS], []),
        ("in.mp4", ".mov", [FILM, REAR, GPS], []),
        ("in.mp4", ".mkv", [FILM, REAR], ["data (bin_data, GoPro MET)"]),
        (
            "in.mkv",
            ".webm",
            [("other video (vp9, 96 x 64)", 8)],
            ["other video (h264, 64 x 48)", "attachment (a.ttf)", "cover picture"],
        ),
        (
            "in.mkv",
            ".avi",
            [FILM],
            ["chapters", "other video", "attachment (a.ttf)", "cover picture"],
        ),
    ],
)
def test_companions(tmp_path, caplog, source, extension, kept, named):
    made = rich(tmp_path / source, cover="attached" if source == "in.mkv" else None)
    found, chapters, tags = streams(derain(made, tmp_path / f"out{extension}"))
    assert found == kept
    assert chapters == ([] if extension == ".avi" else ["dry", "wet"])
    assert tags["title"] == "A drive"
    assert tags["comment"] == "wet"
    left_out = [line for line in caplog.messages if "leaves out" in line]
    assert len(left_out) == len(named)
    for line, what in zip(left_out, named, strict=True):
        assert f"leaves out the {what}" in line
    copied = [line for line in caplog.messages if "as it is" in line]
    assert len(copied) == (REAR in kept)


def test_tags_that_a_container_does_not_keep_are_named(tmp_path, caplog):
    source = make(tmp_path / "in.mkv", moving(2, 36, 60), None)
    tagged = tmp_path / "tagged.mkv"
    with av.open(str(source)) as original, av.open(str(tagged), "w") as out:
        out.metadata.update({"title": "t", "camera": "x", "com.maker.place": "here"})
        copy = out.add_stream_from_template(original.streams.video[0])
        for one in original.demux(video=0):
            if one.size:
                one.stream = copy
                out.mux(one)
    assert streams(derain(tagged, tmp_path / "o.mov"))[2]["com.maker.place"] == "here"
    assert not caplog.messages
    derain(tagged, tmp_path / "o.avi")
    assert "leaves out the tags (" in caplog.text
    for name in ("camera", "com.maker.place"):
        assert name in caplog.text.lower()


@pytest.mark.parametrize("order", ["first", "last"])
@pytest.mark.parametrize("side", [48, 400])
def test_a_cover_that_nothing_marks_is_not_the_film(tmp_path, order, side):
    path = tmp_path / "in.mkv"
    jpeg = cv2.imencode(".jpg", np.zeros((side, side, 3), np.uint8))[1].tobytes()
    with av.open(str(path), "w") as container:
        for kind in ("cover", "film") if order == "first" else ("film", "cover"):
            if kind == "cover":
                cover = container.add_mux_stream("mjpeg", width=side, height=side)
                cover.time_base = Fraction(1, 1000)
            else:
                film = container.add_stream("libx264", rate=10)
                film.height, film.width = 64, 96
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 10)
            container.mux(film.encode(frame))
            if number == 0:
                container.mux(packet(cover, jpeg, 0))
        container.mux(film.encode())
    for extension in (".mkv", ".mp4"):
        target = derain(path, tmp_path / f"out{extension}")
        assert len(made_video.pictures(target)) == 12
        assert streams(target)[0][1] == (f"other video (mjpeg, {side} x {side})", 1)


def test_hdr(tmp_path, caplog):
    parameters = [f"{name}={value}" for name, value in LIGHT.items()]
    colour = {
        "colorspace": 9,
        "color_primaries": 9,
        "color_trc": 16,
        "color_range": 1,
    }
    source = make(
        tmp_path / "in.mkv",
        moving(3, 64, 96),
        None,
        pixels="yuv420p10le",
        options={"x264-params": ":".join(parameters)},
        **colour,
    )
    assert video.probe(source).light == LIGHT
    for extension in (".mkv", ".mp4", ".webm"):
        info = video.probe(derain(source, tmp_path / f"out{extension}"))
        assert info.colour == colour
        assert info.light == ({} if extension == ".webm" else LIGHT)
    assert "leaves out the HDR metadata" in caplog.text


class Negative(Unchanged):
    """A derainer that takes RGB alone and turns it round."""

    def run_many(self, images, **_):
        """The pictures' negatives."""
        assert {image.shape[2] for image in images} == {3}
        return [(np.iinfo(image.dtype).max - image, None) for image in images]


def transparent(path, codec, pixels):
    """Seven frames of which a part that grows lets through what is behind."""
    alpha = np.linspace(0, 255, 60, dtype=np.uint8)[None].repeat(36, 0)
    frames = [
        np.dstack([picture, np.roll(alpha, 4 * t, 0) // (t + 1)])
        for t, picture in enumerate(moving(7, 36, 60))
    ]
    vpx = codec.startswith("libvpx")
    options = {"crf": "4", "b": "2M", "auto-alt-ref": "0"} if vpx else {}
    make(path, frames, None, codec=codec, pixels=pixels, options=options)
    return np.stack(frames)[..., 3]


def frames_with_alpha(path):
    """Seconds, colour and alpha of all frames, in [0, 255]."""
    info = video.probe(path)
    assert info.alpha
    times, arrays = zip(
        *video.FrameReader(path, info, alpha=True).frames(), strict=True
    )
    array = np.stack(arrays) / (257 if info.deep else 1)
    seconds = np.array([float(time * info.time_base) for time in times])
    return seconds, array[..., :3], array[..., 3]


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("vp9.webm", "libvpx-vp9", "yuva420p"),
        ("vp8.webm", "libvpx", "yuva420p"),
        ("prores.mov", "prores_ks", "yuva444p10le"),
        ("png.mov", "png", "rgba"),
        ("animation.mov", "qtrle", "argb"),
        ("ffv1.mkv", "ffv1", "yuva420p"),
        ("huffyuv.avi", "huffyuv", "bgra"),
    ],
)
def test_transparency_stays(tmp_path, monkeypatch, caplog, name, codec, pixels):
    monkeypatch.setattr(segments, "SEGMENT", 4)
    source = tmp_path / name
    made = transparent(source, codec, pixels)
    seconds, colour, alpha = frames_with_alpha(source)
    assert np.abs(alpha - made).max() < (16 if codec.startswith("libvpx") else 2)
    exact = 0.25 if video.probe(source).deep else 0  # a step of ten bits
    for extension, loss in ((".webm", 16), (".mov", 0.5), (".mkv", exact)):
        target = tmp_path / f"out{extension}"
        summary = files.derain_files(Negative(), source, target)
        assert summary.done == 1
        assert not summary.damaged
        after, negative, alpha_after = frames_with_alpha(target)
        np.testing.assert_allclose(after, seconds, atol=0.002)
        assert np.abs(alpha_after - alpha).max() <= loss
        assert np.abs(255 - negative - colour).mean() < 6
    assert "leaves out the transparency" not in caplog.text
    for extension in (".mp4", ".avi"):
        caplog.clear()
        target = tmp_path / f"out{extension}"
        files.derain_files(Unchanged(), source, target)
        assert "leaves out the transparency" in caplog.text
        assert not video.probe(target).alpha


def test_transparency_reaches_the_right_edge(tmp_path):
    """At widths just beyond a multiple of 16 swscale may forget the last columns."""
    shown = np.array([200, 100, 50, 150], np.uint8)
    frames = np.broadcast_to(shown, (3, 36, 52, 4))
    source = make(tmp_path / "in.mkv", frames, None, codec="ffv1", pixels="yuva420p")
    _, colour, alpha = frames_with_alpha(source)
    assert np.abs(colour - shown[:3]).max() < 4
    assert np.abs(alpha - shown[3]).max() < 2


def test_interlaced_frames_become_whole(tmp_path, caplog):
    """Fields of two moments make combs; there are none in the result."""
    moments = list(moving(48, 64, 96))
    woven = []
    for first, second in zip(moments[::2], moments[1::2], strict=True):
        frame = first.copy()
        frame[1::2] = np.roll(second, 4, axis=1)[1::2]
        woven.append(frame)
    source = make(
        tmp_path / "in.ts",
        woven,
        "mp2",
        codec="mpeg2video",
        pixels="yuv420p",
        options={"flags": "+ilme+ildct", "b": "4000000", "top": "1"},
    )
    assert len(made_video.pictures(source)) == 24
    target = derain(source, tmp_path / "out.mp4")
    assert "in.ts is interlaced" in caplog.text
    results = [picture for _, picture in made_video.pictures(target)]
    assert len(results) == 24

    def combs(picture):
        rows = picture.astype(float)
        return np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean()

    for before, after in zip(woven[2:], results[2:], strict=True):
        assert combs(after) < 0.5 * combs(before)
    with av.open(str(target)) as container:
        assert not any(f.interlaced_frame for f in container.decode(video=0))


@pytest.mark.parametrize(
    ("matrix", "upright"),
    [
        ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
        ((1, 0, 0, -1), lambda picture: picture[::-1]),
        ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
        ((0, 1, 1, 0), lambda picture: picture.transpose(1, 0, 2)),
    ],
)
def test_turned_and_mirrored(tmp_path, matrix, upright):
    source = make(tmp_path / "in.mp4", moving(2, 36, 60), None)
    data = bytearray(source.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (number << 16 for number in matrix)
    numbers = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    data[start : start + 36] = b"".join((n % 2**32).to_bytes(4, "big") for n in numbers)
    turned = tmp_path / "turned.mp4"
    turned.write_bytes(data)
    for (_, one), (_, other) in zip(
        made_video.pictures(source), made_video.pictures(turned), strict=True
    ):
        np.testing.assert_array_equal(upright(one), other)


def test_each_frame_of_a_variable_rate_keeps_its_time_and_length(tmp_path):
    times = [0, 1, 2, 10, 11, 30]
    source = make(
        tmp_path / "in.mp4", moving(6, 36, 60), None, times=times, options={"bf": "0"}
    )
    target = derain(source, tmp_path / "out.mp4")
    for path in (source, target):
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            unit = stream.time_base * Fraction(30000, 1001)
            frames = list(container.decode(stream))
            assert [round(f.pts * unit) for f in frames] == times
            assert round(stream.duration * unit) == pytest.approx(31, abs=1)


@pytest.mark.parametrize(
    ("name", "extension", "kept"),
    [
        (
            "cover_first.mkv",
            ".mp4",
            [("other video (h264, 96 x 64)", 12), ("other video (mjpeg, 48 x 48)", 1)],
        ),
        (
            "front_rear.mp4",
            ".mp4",
            [("other video (h264, 96 x 64)", 12), ("other video (h264, 64 x 48)", 12)],
        ),
        ("front_rear.mp4", ".avi", [("other video (h264, 96 x 64)", 12)]),
        ("00001.mts", ".mkv", [("other video (h264, 96 x 64)", 12)]),
        (
            "vfr.mp4",
            ".mp4",
            [("other video (h264, 96 x 64)", 10), ("audio (aac)", 20)],
        ),
    ],
)
def test_reported(tmp_path, name, extension, kept):
    if not REPORTS.exists():
        pytest.skip("needs the reported files")
    target = derain(REPORTS / name, tmp_path / f"out{extension}")
    assert streams(target)[0] == kept
    if name == "vfr.mp4":
        before, after = (made_video.pictures(p) for p in (REPORTS / name, target))
        assert [time for time, _ in before] == [time for time, _ in after]
