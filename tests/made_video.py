"""Small videos with sound, made for tests, and what is in a video."""

from fractions import Fraction

import av
import numpy as np

from raindrop.media import video


class Unchanged:
    """A derainer that changes nothing."""

    identity, tile, frame, steps = "unchanged", 0, 0, 0
    exact_shapes = fast = False
    again = True  # of pictures

    def padded_size(self, size):
        """As it is."""
        return size

    def batch_size(self, shape, count):
        """Frames at once."""
        return min(count, 8)

    def run_many(self, images, **_):
        """The same pictures, without maps."""
        assert not self.again, "a second pass flickers in videos"
        return [(image, None) for image in images]


def moving(count, height, width):
    """Smooth pictures that move, as encoders expect; colourful."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    for t in range(count):
        waves = [np.sin(x / 9 + t / 5), np.cos(y / 7 - t / 6), np.sin((x + y) / 11)]
        yield np.round(127.5 + 110 * np.stack(waves, -1)).astype(np.uint8)


def make(
    path,
    frames,
    sound="aac",
    rate=Fraction(30000, 1001),
    times=None,
    codec="libx264",
    pixels="yuv444p",
    options=None,
    muxer=None,
    seconds=2.0,
    **tags,
):
    """A video with sound; `options` are the encoder's, `muxer` the container's."""
    with av.open(str(path), "w", options=muxer or {}) as container:
        if options is None:
            options = {"crf": "10"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=options)
        frames = list(frames)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        if codec.startswith("libvpx") and pixels.startswith("yuva"):
            stream.metadata["alpha_mode"] = "1"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        audio = container.add_stream(sound, rate=48000, layout="mono") if sound else 0
        for i, picture in enumerate(frames):
            channels = "rgba" if picture.shape[2] == 4 else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, format=channels).reformat(
                format=pixels,
                dst_colorspace=tags.get("colorspace"),
                dst_color_range=tags.get("color_range"),
            )
            frame.pts = i if times is None else times[i]
            frame.time_base = 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            step, form = audio.frame_size or 1024, audio.format.name
            tone = np.sin(np.arange(int(seconds * 48000)) / 20).astype(np.float32)
            for start in range(0, len(tone) - step, step):
                frame = av.AudioFrame.from_ndarray(
                    tone[None, start : start + step], "fltp", "mono"
                )
                frame.rate, frame.pts = 48000, start
                for part in av.AudioResampler(form, "mono", 48000).resample(frame):
                    container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path


# Name -> extension and what `make` is to make of it: how videos come.
_GOP = {"g": "8", "bf": "2", "crf": "18", "x264-params": "scenecut=0"}
_X264 = {"pixels": "yuv420p", "options": _GOP}
KINDS = {
    "h264_mp4": (".mp4", _X264),
    "h264_faststart": (".mp4", {**_X264, "muxer": {"movflags": "faststart"}}),
    "h264_fragments": (
        ".mp4",
        {**_X264, "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    ),
    "h264_mkv": (".mkv", _X264),
    "h264_ts": (".ts", {**_X264, "sound": "mp2"}),
    "h264_avi": (".avi", {**_X264, "sound": "mp2"}),
    "h264_flv": (".flv", _X264),
    "hevc_mkv": (
        ".mkv",
        {
            "codec": "libx265",
            "pixels": "yuv420p10le",
            "options": {"x265-params": "keyint=8:bframes=2:log-level=none:crf=18"},
        },
    ),
    "mpeg4_avi": (
        ".avi",
        {
            "codec": "mpeg4",
            "pixels": "yuv420p",
            "sound": "mp2",
            "options": {"g": "8", "bf": "2", "qscale": "3", "flags": "+qscale"},
        },
    ),
    "mpeg2_ts": (
        ".ts",
        {
            "codec": "mpeg2video",
            "pixels": "yuv420p",
            "sound": "mp2",
            "options": {"g": "8", "bf": "2", "flags": "+ilme+ildct", "b": "2000000"},
        },
    ),
    "mjpeg_avi": (".avi", {"codec": "mjpeg", "pixels": "yuvj420p", "sound": "mp2"}),
    "mjpeg_mov": (
        ".mov",
        {"codec": "mjpeg", "pixels": "yuvj420p", "sound": "pcm_s16le"},
    ),
    "prores_mov": (
        ".mov",
        {"codec": "prores_ks", "pixels": "yuv422p10le", "sound": "pcm_s16le"},
    ),
    "vp9_webm": (
        ".webm",
        {
            "codec": "libvpx-vp9",
            "pixels": "yuv420p",
            "sound": "libopus",
            "options": {"g": "8", "crf": "18", "b": "0", "cpu-used": "8"},
        },
    ),
    "vp8_webm": (
        ".webm",
        {
            "codec": "libvpx",
            "pixels": "yuv420p",
            "sound": "libopus",
            "options": {"g": "8", "b": "2000000", "cpu-used": "8"},
        },
    ),
    "wmv": (
        ".wmv",
        {
            "codec": "wmv2",
            "pixels": "yuv420p",
            "sound": "mp2",
            "options": {"g": "8", "qscale": "3", "flags": "+qscale"},
        },
    ),
}


def make_kind(folder, name, count=24, size=(64, 96)):
    """One of `KINDS`: grainy pictures, as long as its sound; no two frames alike."""
    extension, made = KINDS[name]
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 12, (*size, 3))
    frames = [
        np.clip(
            0.6 * picture + 0.2 * 255 * (t % 5) / 4 + np.roll(grain, 3 * t, 1), 0, 255
        )
        for t, picture in enumerate(moving(count, *size))
    ]
    return make(
        folder / f"{name}{extension}",
        [frame.astype(np.uint8) for frame in frames],
        rate=Fraction(25),
        seconds=count / 25,
        **made,
    )


def packets(path, kind):
    with av.open(str(path)) as container:
        streams = getattr(container.streams, kind)[:1]
        return [bytes(p) for p in container.demux(*streams) if streams and p.size]


def pictures(path):
    info = video.probe(path)
    return list(video.read_frames(path, info, 0))
