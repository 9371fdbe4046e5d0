"""A video's frames, as they are shown.

Frames are RGB [H, W, 3], upright, uint8, or uint16 where the file has more than eight
bits; whole ones, where the file has fields; [H, W, 4] where alpha is asked for.
`decoding` finds what is damaged.
"""

import collections
import dataclasses
import fractions
import logging
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation

from raindrop.errors import UserError
from raindrop.media import containers
from raindrop.media.damage import Damage
from raindrop.media.decoding import Decoder

_LOG = logging.getLogger(__name__)

LIMITED = 1  # FFmpeg's number of the range 16 to 235
# Of swscale. It writes blocks of pixels, past a row's end into the next row. Where that
# is another thread's, and done already, its first pixels are lost.
THREADS = 1
_RGB, _BT709 = 0, 1  # FFmpeg's numbers
# To RGBA. Without these flags up to four columns at the right may stay unset; without
# the last one alpha may be off by one.
_EXACT = (
    Interpolation.BILINEAR | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
)
# What goes with the frames, and no encoder here can write.
_UNWRITABLE = {
    Type.DYNAMIC_HDR_PLUS: "HDR10+ metadata",
    Type.DOVI_METADATA: "Dolby Vision metadata",
    Type.DOVI_RPU_BUFFER: "Dolby Vision metadata",
    Type.A53_CC: "closed captions",
    Type.STEREO3D: "stereo layout",
    Type.SPHERICAL: "spherical mapping",
}


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """What a video is, apart from its frames.

    Attributes:
      stream: its index in the container.
      size: (height, width) in pixels, upright.
      frames: how many, as far as the header tells; 0 where it does not.
      rate: frames per second, on average.
      time_base: unit of the time stamps, seconds.
      colour: FFmpeg's tags of the output: matrix, range, primaries, transfer.
      light: of HDR, mastering display and content light level, as x264 writes them.
      deep: whether there are more than eight bits.
      alpha: whether there is transparency.
      full_chroma: whether the chroma planes are as large as the luma plane.
      aspect: sample aspect ratio, upright, or None.
      mirrored: whether to mirror the frames, before they are turned.
      turns: quarter turns, counter-clockwise, to make the frames upright.
      dropped: names of what belongs to the frames and cannot be written.
    """

    stream: int
    size: tuple[int, int]
    frames: int
    rate: fractions.Fraction
    time_base: fractions.Fraction
    colour: Mapping[str, int]
    light: Mapping[str, str]
    deep: bool
    alpha: bool
    full_chroma: bool
    aspect: fractions.Fraction | None
    mirrored: bool
    turns: int
    dropped: tuple[str, ...]


def probe(path: Path) -> VideoInfo:
    """Reads the header and the first frame that can be decoded.

    Raises:
      UserError: no such file, or no video in it.
    """
    index = containers.main_video(path)
    try:
        with containers.open_(path) as container:
            stream = container.streams[index]
            decoder = Decoder(container, stream)
            frames = (item.frame for item in decoder if item.frame is not None)
            first = next(frames, None)
            if first is None:
                raise UserError(f"{path} has no video that can be decoded")
            return _info(container, stream, first)
    except (av.FFmpegError, OSError) as error:
        raise UserError(
            f"{path} cannot be decoded: {containers.reason(error)}"
        ) from None


def _info(container: Any, stream: Any, first: av.VideoFrame) -> VideoInfo:
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
        colour.update(colorspace=_BT709, color_range=LIMITED)
    mirrored, turns = _orientation(first)
    size = (first.height, first.width)
    aspect = stream.sample_aspect_ratio
    if turns % 2:
        size = size[::-1]
        aspect = 1 / aspect if aspect else aspect
    return VideoInfo(
        stream=stream.index,
        size=size,
        frames=frames,
        rate=rate,
        time_base=stream.time_base,
        colour=colour,
        light=_light(first),
        deep=max(c.bits for c in first.format.components) > 8,
        alpha=containers.has_alpha_mode(stream)
        or any(component.is_alpha for component in first.format.components),
        full_chroma=rgb or "444" in first.format.name,
        aspect=aspect or None,
        mirrored=mirrored,
        turns=turns,
        dropped=_dropped(first),
    )


def _side_data(frame: av.VideoFrame) -> dict[Type, bytes]:
    return {data.type: bytes(data) for data in frame.side_data}


def _orientation(frame: av.VideoFrame) -> tuple[bool, int]:
    """Whether to mirror a frame, then how often to turn it left, to have it upright."""
    matrix = _side_data(frame).get(Type.DISPLAYMATRIX)
    if matrix is None:
        return False, 0
    a, b, _, c, d = struct.unpack("=5i", matrix[:20])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return mirrored, round(-math.atan2(b, a) / (math.pi / 2)) % 4


def _light(frame: av.VideoFrame) -> dict[str, str]:
    """FFmpeg's AVMasteringDisplayMetadata and AVContentLightMetadata for x264."""
    data, result = _side_data(frame), {}
    if mastering := data.get(Type.MASTERING_DISPLAY_METADATA):
        numbers = struct.unpack("=22i", mastering[:88])
        has_primaries, has_luminance = numbers[20:]
        values = [
            n / d if d else 0.0
            for n, d in zip(numbers[0:20:2], numbers[1:20:2], strict=True)
        ]
        if has_primaries and has_luminance:
            rx, ry, gx, gy, bx, by, wx, wy = (round(50000 * v) for v in values[:8])
            least, most = (round(10000 * v) for v in values[8:])
            result["mastering-display"] = (
                f"G({gx},{gy})B({bx},{by})R({rx},{ry})WP({wx},{wy})L({most},{least})"
            )
    if content := data.get(Type.CONTENT_LIGHT_LEVEL):
        most, average = struct.unpack("=2I", content[:8])
        result["cll"] = f"{most},{average}"
    return result


def _dropped(frame: av.VideoFrame) -> tuple[str, ...]:
    names = {_UNWRITABLE[t] for t in _side_data(frame) if t in _UNWRITABLE}
    if max(component.bits for component in frame.format.components) > 10:
        names.add("bits after the tenth")
    return tuple(sorted(names))


class FrameReader:
    """Reads all frames of a video, damaged or not.

    Args:
      path: of the video.
      info: of it.
      alpha: whether the frames are to have it, as a fourth channel.

    Attributes:
      damage: complete once all frames were read.
      end: when the last one that was read ends, as a stamp.
    """

    def __init__(self, path: Path, info: VideoInfo, alpha: bool = False) -> None:
        self.damage = Damage()
        self._path, self._info = path, info
        self._format = array_format(info.deep, alpha)
        self.end = 0
        self._number = 0
        self._start = fractions.Fraction(0)

    def frames(self, skip: int = 0) -> Iterator[tuple[int, np.ndarray]]:
        """Yields time stamp and picture of each frame after the first `skip`.

        Lost frames repeat the one before, the first ones the one after.

        Raises:
          UserError: the file cannot be read, or its frames are not of one size.
        """
        try:
            with containers.open_(self._path) as container:
                decoder = Decoder(container, container.streams[self._info.stream])
                self.damage = decoder.damage
                self._start = fractions.Fraction(container.start_time or 0, 1000000)
                shown = _whole_frames(self._shown(decoder), self._path)
                for number, (time, frame) in enumerate(shown):
                    if number >= skip:
                        yield time, self._picture(frame)
        except (av.FFmpegError, OSError) as error:
            raise UserError(
                f"{self._path} cannot be read after frame {self._number}: "
                f"{containers.reason(error)}"
            ) from error

    def _shown(self, decoder: Decoder) -> Iterator[tuple[int, av.VideoFrame]]:
        """Every frame once, at a time of its own."""
        last: av.VideoFrame | None = None
        waiting: list[int] = []
        stamp = _stamper(self._info)
        for item in decoder:
            time = stamp(item.time)
            frame = item.frame
            if frame is not None:
                frame = self._of_one_size(frame, item.flawed or not item.whole)
            self._note(time, frame is None, item.flawed, item.whole)
            self.end = time + (frame.duration if frame is not None else 0)
            if frame is None and last is None:
                waiting.append(time)
                continue
            last = frame if frame is not None else last
            for earlier in waiting:
                yield earlier, last
            waiting.clear()
            yield time, last

    def _note(self, time: int, lost: bool, flawed: bool, whole: bool) -> None:
        seconds = float(time * self._info.time_base - self._start)
        moment = (self._number, seconds)
        self._number += 1
        if lost:
            self.damage.lost.append(moment)
        elif flawed:
            self.damage.flawed.append(moment)
        elif not whole:
            self.damage.smeared = moment

    def _of_one_size(self, frame: av.VideoFrame, damaged: bool) -> av.VideoFrame | None:
        """The frame; None where damage alone has changed its size.

        Raises:
          UserError: it is of another size.
        """
        h, w = frame.height, frame.width
        size = (w, h) if self._info.turns % 2 else (h, w)
        if size == self._info.size:
            return frame
        if damaged:
            return None
        height, width = self._info.size
        raise UserError(
            f"{self._path} changes its size at frame {self._number}, from "
            f"{width} x {height} to {size[1]} x {size[0]}; split it there"
        )

    def _picture(self, frame: av.VideoFrame) -> np.ndarray:
        array = frame.to_ndarray(
            format=self._format,
            src_colorspace=matrix(frame.colorspace),
            src_color_range=frame.color_range or None,
            interpolation=_EXACT if self._format == "rgba" else None,
            threads=THREADS,
        )
        if self._info.mirrored:
            array = array[:, ::-1]
        return np.ascontiguousarray(np.rot90(array, self._info.turns))


def array_format(deep: bool, alpha: bool) -> str:
    """FFmpeg's name for frames as arrays: uint16 if `deep`, else uint8."""
    if alpha:
        return "rgba64le" if deep else "rgba"
    return "rgb48le" if deep else "rgb24"


def read_frames(
    path: Path, info: VideoInfo, skip: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """See `FrameReader.frames`; for whoever does not ask what is damaged."""
    return FrameReader(path, info).frames(skip)


def _stamper(info: VideoInfo) -> Callable[[int | None], int]:
    """Gives frames in their order stamps that rise.

    Those in the file need not: AVI has wrong ones or none where there are B-frames, and
    broken streams start again.
    """
    step = max(1, round(1 / (info.rate * info.time_base)))
    last: int | None = None

    def stamp(time: int | None) -> int:
        nonlocal last
        if last is None:
            last = time or 0
        elif time is None or time <= last:
            last += step
        else:
            last = time
        return last

    return stamp


def _whole_frames(
    shown: Iterator[tuple[int, av.VideoFrame]], path: Path
) -> Iterator[tuple[int, av.VideoFrame]]:
    """As many frames, whole ones where there are two fields in a frame."""
    graph = None
    waiting: collections.deque[int] = collections.deque()
    for time, frame in shown:
        if graph is None and frame.interlaced_frame:
            _LOG.warning(
                "%s is interlaced; the result is not: bwdif makes whole frames", path
            )
            graph = _Deinterlacer(frame)
        if graph is None:
            yield time, frame
            continue
        waiting.append(time)
        for whole in graph.push(frame):
            yield waiting.popleft(), whole
    for whole in graph.push(None) if graph else ():
        yield waiting.popleft(), whole


class _Deinterlacer:
    """FFmpeg's bwdif, one frame out for each frame in.

    Args:
      first: of the frames; later ones are made alike.
    """

    def __init__(self, first: av.VideoFrame) -> None:
        self._format, self._count = first.format.name, 0
        self._graph = av.filter.Graph()
        source = self._graph.add_buffer(
            width=first.width,
            height=first.height,
            format=first.format,
            time_base=fractions.Fraction(1, 25),
        )
        bwdif = self._graph.add("bwdif", "mode=send_frame:deint=interlaced")
        as_it_was = self._graph.add("format", f"pix_fmts={self._format}")
        sink = self._graph.add("buffersink")
        self._graph.link_nodes(source, bwdif, as_it_was, sink).configure()

    def push(self, frame: av.VideoFrame | None) -> Iterator[av.VideoFrame]:
        """Yields what became ready; None: all that is left."""
        if frame is not None:
            if frame.format.name != self._format:
                frame = frame.reformat(format=self._format, threads=THREADS)
            frame.pts, frame.time_base = self._count, fractions.Fraction(1, 25)
            self._count += 1
        self._graph.vpush(frame)
        while True:
            try:
                yield self._graph.vpull()
            except (av.BlockingIOError, av.EOFError):
                return


def matrix(tag: int) -> int | None:
    """The number swscale has for a matrix; None, its default, if it has none."""
    return tag if tag in (1, 4, 5, 6, 7, 9) else None
