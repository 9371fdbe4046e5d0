"""Video in and out, in segments, so that an interrupted video goes on where it was.

Frames are RGB [H, W, 3], upright, uint8, or uint16 where the file has more than eight
bits. Finished segments wait in a hidden folder beside the target; at the end their
packets, and the sound and subtitles of the source, are copied into the target without
encoding anything again.
"""

import dataclasses
import fractions
import heapq
import io
import itertools
import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np

from raindrop import files
from raindrop.errors import UserError, first_line

_LOG = logging.getLogger(__name__)

# Extension -> container and codec of what is written.
_WRITTEN = {
    ".mp4": ("mp4", "libx264"),
    ".m4v": ("mp4", "libx264"),
    ".mov": ("mov", "libx264"),
    ".mkv": ("matroska", "libx264"),
    ".avi": ("avi", "libx264"),
    ".webm": ("webm", "libvpx-vp9"),
}
WRITABLE = tuple(_WRITTEN)
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
        with _open(path) as container:
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
        with _open(path) as container:
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
            if target.suffix.lower() not in _WRITTEN:
                raise UserError(
                    f"{target} cannot be written: a video's name ends in "
                    f"{', '.join(_WRITTEN)}"
                )
        self._targets, self._source, self._info = targets, source, info
        first = next(iter(targets.values()))
        _tell_losses(source, first, info)
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
                codec = _WRITTEN[self._targets[name].suffix.lower()][1]
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
            _join(segments, self._source, target, self._info)
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
        self._container = _open(path, "w", format="nut")
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


def _open(path: Path, mode: str = "r", **options: Any) -> Any:
    """PyAV's container; of a name such as 12:30.mp4 FFmpeg takes 12 for a protocol."""
    return av.open(str(path.absolute()), mode, **options)


def _tracks(container: Any) -> list[Any]:
    """What is copied as it is."""
    return [*container.streams.audio, *container.streams.subtitles]


def _holds(container_format: str, track: Any) -> bool:
    """Whether a copy of a track can stand in a container."""
    try:
        with av.open(io.BytesIO(), "w", format=container_format) as trial:
            trial.add_stream_from_template(track)
            trial.start_encoding()
        return True
    except (av.FFmpegError, ValueError):
        return False


def _tell_losses(source: Path, target: Path, info: VideoInfo) -> None:
    """Warns of what is in `source` and cannot be in `target`."""
    extension = target.suffix.lower()
    container_format, codec = _WRITTEN[extension]
    if info.deep and codec != "libx264":
        _LOG.warning(
            "%s gets 8 bits, where %s has more; .mkv would keep 10", target, source
        )
    with _open(source) as original:
        for track in _tracks(original):
            if _holds(container_format, track):
                continue
            others = [e for e in (".mkv", *_WRITTEN) if _holds(_WRITTEN[e][0], track)]
            _LOG.warning(
                "%s leaves out the %s (%s) of %s, which %s cannot hold%s",
                target,
                track.type,
                track.codec_context.name if track.codec_context else "unknown",
                source,
                extension,
                f"; {others[0]} would keep it" if others else "",
            )


def _join(segments: list[Path], source: Path, target: Path, info: VideoInfo) -> None:
    container_format, _ = _WRITTEN[target.suffix.lower()]
    options, time_base = {}, info.time_base
    if container_format in ("mp4", "mov"):
        options["movflags"] = "+faststart"
    if container_format == "avi":
        # It has no time stamps, only a rate, and fills what is left free with empty
        # frames, at the start too.
        options["avoid_negative_ts"] = "make_zero"
        time_base = 1 / info.rate
    try:
        with (
            files.aside(target) as part,
            _open(part, "w", format=container_format, options=options) as out,
            _open(source) as original,
            _open(segments[0]) as first,
        ):
            out.metadata.update(original.metadata)
            video = out.add_stream_from_template(first.streams.video[0])
            video.time_base = time_base
            video.codec_context.framerate = info.rate
            video.metadata.update(original.streams.video[0].metadata)
            copies = {}
            for track in _tracks(original):
                if _holds(container_format, track):
                    copies[track] = out.add_stream_from_template(track)
                    copies[track].metadata.update(track.metadata)
            for packet in heapq.merge(
                _video_packets(segments, video, time_base),
                _copied_packets(original, copies),
                key=lambda p: p.dts * p.time_base,
            ):
                out.mux(packet)
    except (av.FFmpegError, OSError) as error:
        raise UserError(f"{target} cannot be written: {first_line(error)}") from None


def _video_packets(
    segments: list[Path], stream: Any, time_base: fractions.Fraction
) -> Iterator[av.Packet]:
    def packets() -> Iterator[av.Packet]:
        last = -math.inf
        for path in segments:
            with _open(path) as segment:
                for packet in segment.demux(video=0):
                    if packet.size:
                        time = round(packet.pts * packet.time_base / time_base)
                        # At a variable rate several may be rounded to one moment.
                        last = max(time, last + 1)
                        packet.pts = packet.dts = last
                        packet.time_base, packet.stream = time_base, stream
                        yield packet

    length = 0
    for packet, following in itertools.pairwise(itertools.chain(packets(), [None])):
        if following is not None:
            length = following.pts - packet.pts
        packet.duration = length
        yield packet


def _copied_packets(original: Any, copies: Mapping[Any, Any]) -> Iterator[av.Packet]:
    if not copies:
        return
    ends: dict[Any, tuple[int, int]] = {}
    for packet in original.demux(*copies):
        if packet.dts is None:
            continue
        track = packet.stream
        if track.type == "audio":
            # Where a broken stream starts again the sound goes on, as the frames do.
            last, following = ends.get(track, (packet.dts - 1, packet.dts))
            if packet.dts <= last:
                packet.pts = packet.dts = following
            ends[track] = packet.dts, packet.dts + (packet.duration or 1)
        packet.stream = copies[track]
        yield packet
