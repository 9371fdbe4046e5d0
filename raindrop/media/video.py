"""Video in and out, in segments, so that an interrupted video goes on where it was.

Frames are RGB [H, W, 3], upright, uint8, or uint16 where the file has more than eight
bits. Finished segments wait in a hidden folder beside the target; at the end
`containers.join` makes the target of them without encoding anything again.
"""

import dataclasses
import fractions
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np

from raindrop.errors import UserError, first_line
from raindrop.media import containers

WRITABLE = tuple(containers.WRITTEN)
EXTENSIONS = (
    *WRITABLE,
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"),
)
SEGMENT = 120  # frames; at most this much work is done twice after an interruption
_OPTIONS = {
    # Close to transparent. No B-frames: packets are then in the order of the frames,
    # and segments join without a seam in time.
    "libx264": {"crf": "17", "preset": "medium", "bf": "0"},
    "libvpx-vp9": {"crf": "24", "b:v": "0", "row-mt": "1", "lag-in-frames": "0"},
}
_RGB, _BT709, _LIMITED = 0, 1, 1  # FFmpeg's numbers


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a video is, apart from its frames.

    Attributes:
      size: (height, width) in pixels, upright.
      frames: how many, as far as the header tells; 0 where it does not.
      rate: frames per second, on average.
      time_base: unit of the time stamps, seconds.
      colour: FFmpeg's tags of the output: matrix, range, primaries, transfer.
      deep: whether there are more than eight bits.
      full_chroma: whether the chroma planes are as large as the luma plane.
      aspect: sample aspect ratio, upright, or None.
      turns: quarter turns, counter-clockwise, to make the frames upright.
    """

    size: tuple[int, int]
    frames: int
    rate: fractions.Fraction
    time_base: fractions.Fraction
    colour: Mapping[str, int]
    deep: bool
    full_chroma: bool
    aspect: fractions.Fraction | None
    turns: int


def probe(path: Path) -> VideoInfo:
    """Reads the header and the first frame.

    Raises:
      UserError: no such file, or no video in it.
    """
    try:
        with containers.open_(path) as container:
            stream = container.streams.video[0]
            first = next(container.decode(stream))
            context = stream.codec_context
            rate = stream.average_rate or stream.guessed_rate or fractions.Fraction(25)
            frames = stream.frames
            if not frames and container.duration:
                frames = round(container.duration / av.time_base * rate)
            colour = {
                "colorspace": context.colorspace,
                "color_range": context.color_range,
                "color_primaries": context.color_primaries,
                "color_trc": context.color_trc,
            }
            rgb = first.format.is_rgb or first.format.has_palette
            if rgb or context.colorspace == _RGB:
                # Written as YCbCr, with the matrix that players expect of HD.
                colour.update(colorspace=_BT709, color_range=_LIMITED)
            turns = round(first.rotation / 90) % 4
            size = (first.height, first.width)
            aspect = stream.sample_aspect_ratio
            if turns % 2:
                size = size[::-1]
                aspect = 1 / aspect if aspect else aspect
            return VideoInfo(
                size=size,
                frames=frames,
                rate=rate,
                time_base=stream.time_base,
                colour=colour,
                deep=max(c.bits for c in first.format.components) > 8,
                full_chroma=rgb or "444" in first.format.name,
                aspect=aspect or None,
                turns=turns,
            )
    except (IndexError, StopIteration):
        raise UserError(f"{path} has no video that can be decoded") from None
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{path} cannot be decoded: {first_line(error)}") from None


def read_frames(
    path: Path, info: VideoInfo, skip: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields time stamp and picture of each frame after the first `skip`.

    Raises:
      UserError: damaged on the way, or not of one size.
    """
    number, time = 0, None
    try:
        with containers.open_(path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            step = max(1, round(1 / (info.rate * info.time_base)))
            for number, frame in enumerate(container.decode(stream)):
                # The frames are in order, their stamps need not be: AVI has wrong ones
                # or none where there are B-frames, and broken streams start again.
                if time is None:
                    time = frame.pts or 0
                elif frame.pts is None or frame.pts <= time:
                    time += step
                else:
                    time = frame.pts
                if number < skip:
                    continue
                array = frame.to_ndarray(
                    format="rgb48le" if info.deep else "rgb24",
                    src_colorspace=_matrix(frame.colorspace),
                    src_color_range=frame.color_range or None,
                )
                picture = np.ascontiguousarray(np.rot90(array, info.turns))
                if picture.shape[:2] != info.size:
                    (height, width), (h, w) = info.size, picture.shape[:2]
                    raise UserError(
                        f"{path} changes its size at frame {number}, from "
                        f"{width} x {height} to {w} x {h}; split it there"
                    )
                yield time, picture
    except (av.FFmpegError, OSError) as error:
        raise UserError(
            f"{path} cannot be decoded after frame {number}: {first_line(error)}"
        ) from None


class Segments:
    """Videos under way: one or several of the same frames, written step by step.

    What their container cannot hold is said at once and left out.

    Args:
      targets: each video's path, by name. The segments wait beside the first.
      source: where the sound comes from.
      info: of the source.
      made_with: whatever the frames depend on; segments made with something else, or
        from another state of the source, are thrown away.

    Attributes:
      done: frames that stand in finished segments.
      state: what was given to `finish_segment` last, or None.

    Raises:
      UserError: a container that cannot be written.
    """

    def __init__(
        self,
        targets: Mapping[str, Path],
        source: Path,
        info: VideoInfo,
        made_with: Mapping[str, Any],
    ) -> None:
        for target in targets.values():
            if target.suffix.lower() not in containers.WRITTEN:
                raise UserError(
                    f"{target} cannot be written: a video's name ends in "
                    f"{', '.join(containers.WRITTEN)}"
                )
        self._targets, self._source, self._info = targets, source, info
        first = next(iter(targets.values()))
        containers.tell_losses(source, first, info.deep)
        self._folder = first.with_name(f".{first.name}.parts")
        self._writers: dict[str, _Writer] = {}
        self._count = 0
        stat = source.stat()
        manifest = {
            "source": [str(source.resolve()), stat.st_size, stat.st_mtime_ns],
            "targets": {name: str(path.name) for name, path in targets.items()},
            **made_with,
        }
        path = self._folder / "manifest.json"
        text = json.dumps(manifest, sort_keys=True)
        if not path.exists() or path.read_text() != text:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True)
            path.write_text(text)
        self._index = 0
        while self._marker(self._index).exists():
            self._index += 1
        last = self._marker(self._index - 1)
        self.done = int(np.load(last)["done"]) if self._index else 0
        state = np.load(last)["state"] if self._index else np.zeros(0)
        self.state = state if state.size else None

    def append(self, time: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Adds one frame to each video; uint8 or uint16 [H, W, 3]."""
        for name, picture in pictures.items():
            if name not in self._writers:
                codec = containers.WRITTEN[self._targets[name].suffix.lower()][1]
                aside = self._segment(self._index, name).with_suffix(".part")
                size = picture.shape[:2]
                self._writers[name] = _Writer(aside, codec, size, self._info)
            self._writers[name].write(time, picture)
        self._count += 1

    def finish_segment(self, state: np.ndarray | None = None) -> None:
        """Closes the segment; `state` is what going on after it needs."""
        if not self._count:
            return
        for name, writer in self._writers.items():
            writer.close()
            path = self._segment(self._index, name)
            path.with_suffix(".part").replace(path)
        self.done += self._count
        self._writers, self._count = {}, 0
        # The marker comes last: a segment without it is made again.
        marker = self._marker(self._index)
        aside = marker.with_suffix(".part")
        with open(aside, "wb") as file:
            empty = np.zeros(0, np.float32)
            np.savez(file, done=self.done, state=empty if state is None else state)
        aside.replace(marker)
        self._index += 1

    def join(self) -> None:
        """Puts the targets together, aside and renamed, and clears up."""
        for name, target in reversed(self._targets.items()):
            segments = [self._segment(i, name) for i in range(self._index)]
            info = self._info
            containers.join(segments, self._source, target, info.rate, info.time_base)
        shutil.rmtree(self._folder)

    def abandon(self) -> None:
        """Closes what is open, without finishing it."""
        for writer in self._writers.values():
            writer.discard()
        self._writers, self._count = {}, 0

    def _segment(self, index: int, name: str) -> Path:
        return self._folder / f"{index:06d}-{name}.nut"

    def _marker(self, index: int) -> Path:
        return self._folder / f"{index:06d}.npz"


class _Writer:
    """One segment of one video, in NUT: it keeps any time base as it is."""

    def __init__(
        self, path: Path, codec: str, size: tuple[int, int], info: VideoInfo
    ) -> None:
        self._info = info
        self._container = containers.open_(path, "w", format="nut")
        stream = self._container.add_stream(
            codec, rate=info.rate, options=dict(_OPTIONS[codec])
        )
        stream.height, stream.width = size
        # x264 takes odd sizes only where chroma is not halved; VP9 takes all.
        odd = any(side % 2 for side in size) and codec == "libx264"
        deep = "10le" if info.deep and codec == "libx264" else ""
        stream.pix_fmt = f"yuv{444 if odd or info.full_chroma else 420}p{deep}"
        stream.codec_context.time_base = info.time_base
        stream.time_base = info.time_base
        for tag, value in info.colour.items():
            setattr(stream.codec_context, tag, value)
        if info.aspect:
            stream.sample_aspect_ratio = info.aspect
        self._stream = stream

    def write(self, time: int, picture: np.ndarray) -> None:
        deep = picture.dtype == np.uint16
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture), format="rgb48le" if deep else "rgb24"
        )
        context = self._stream.codec_context
        frame = frame.reformat(
            format=self._stream.pix_fmt,
            dst_colorspace=_matrix(context.colorspace),
            dst_color_range=context.color_range or None,
        )
        frame.pts, frame.time_base = time, self._info.time_base
        for tag in ("colorspace", "color_range", "color_primaries", "color_trc"):
            setattr(frame, tag, getattr(context, tag))
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def discard(self) -> None:
        self._container.close()


def _matrix(tag: int) -> int | None:
    """The number swscale has for a matrix; None, its default, if it has none."""
    return tag if tag in (1, 4, 5, 6, 7, 9) else None
