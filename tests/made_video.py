"""Small videos with sound, made for tests, and what is in a video."""

from fractions import Fraction

import av
import numpy as np

from raindrop.media import video


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
    **tags,
):
    """A video with a second or two of sound."""
    with av.open(str(path), "w") as container:
        options = {"crf": "10"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=rate, options=options)
        frames = list(frames)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        audio = container.add_stream(sound, rate=48000, layout="mono") if sound else 0
        for i, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
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
            tone = np.sin(np.arange(2 * 48000) / 20).astype(np.float32)
            for start in range(0, len(tone) - step, step):
                frame = av.AudioFrame.from_ndarray(
                    tone[None, start : start + step], "fltp", "mono"
                )
                frame.rate, frame.pts = 48000, start
                for part in av.AudioResampler(form, "mono", 48000).resample(frame):
                    container.mux(audio.encode(part))
            container.mux(audio.encode())
    return path


def packets(path, kind):
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(**{kind: 0}) if p.size]


def pictures(path):
    info = video.probe(path)
    return list(video.read_frames(path, info, 0))
