"""Videos under way, in segments, so that an interrupted video is resumed.

Finished segments wait in a hidden folder beside the target; at the end `muxing.join`
makes the target of them without encoding anything again.
"""

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np

from raindrop.errors import UserError
from raindrop.media import atomic, containers, formats, muxing
from raindrop.media.video import LIMITED, THREADS, VideoInfo, array_format, matrix

SEGMENT = 120  # frames; at most this much work is done twice after an interruption
_OPTIONS = {
    # Close to transparent. No B-frames: packets are then in the order of the frames,
    # and segments join without a seam in time.
    "libx264": {"crf": "17", "preset": "medium", "bf": "0"},
    "libvpx-vp9": {"crf": "24", "b:v": "0", "row-mt": "1", "lag-in-frames": "0"},
    "prores_ks": {"profile": "4444"},
    "ffv1": {"level": "3", "g": "1"},
}
# NUT knows no ProRes, and loses the second picture of VP9 that is the alpha plane.
_CONTAINERS_WITH_ALPHA = {"prores_ks": "mov", "libvpx-vp9": "matroska", "ffv1": "nut"}


class Segments:
    """Videos under way: one or several of the same frames, written step by step.

    Within `with` they belong to this process alone. What their container cannot hold is
    said at once and left out.

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
            if target.suffix.lower() not in formats.WRITABLE_VIDEOS:
                raise UserError(
                    f"{target} cannot be written: a video's name ends in "
                    f"{', '.join(formats.WRITABLE_VIDEOS)}"
                )
        self._targets, self._source, self._info = targets, source, info
        self._first = next(iter(targets.values()))
        self._folder = atomic.beside(self._first, ".parts", hidden=True)
        self._writers: dict[str, _Writer] = {}
        self._count = self._index = self.done = 0
        self.state: np.ndarray | None = None
        self._seen = _fingerprint(source)
        self._made_with = {
            "source": self._seen,
            "alpha": info.alpha,
            "targets": {name: str(path.name) for name, path in targets.items()},
            **made_with,
        }

    def __enter__(self) -> "Segments":
        """Takes the segments that an earlier run left.

        Raises:
          InUseError: another process is making the same video.
        """
        self._exit = contextlib.ExitStack()
        self._exit.enter_context(atomic.held(self._first))
        with contextlib.ExitStack() as failing:
            failing.push(self._exit)
            self._resume()
            muxing.tell_losses(self._source, self._first, self._info)
            failing.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leaves finished segments to the next run, where it may get further."""
        for writer in self._writers.values():
            writer.discard()
        self._writers, self._count = {}, 0
        in_vain = isinstance(error, UserError) and not isinstance(
            error.__cause__, OSError
        )
        if not self.done or in_vain:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._exit.__exit__(kind, error, trace)

    def _resume(self) -> None:
        path = self._folder / "manifest.json"
        text = json.dumps(self._made_with, sort_keys=True)
        if not path.exists() or path.read_text() != text:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir()
            path.write_text(text)
        while self._marker(self._index).exists():
            self._index += 1
        if self._index:
            last = np.load(self._marker(self._index - 1))
            self.done = int(last["done"])
            self.state = last["state"] if last["state"].size else None

    def append(self, time: int, pictures: Mapping[str, np.ndarray]) -> None:
        """Adds one frame to each video.

        Args:
          time: in the source's unit.
          pictures: by the videos' names, uint8 or uint16, RGB [H, W, 3], or [H, W, 4]
            with alpha, where the target can hold it.
        """
        for name, picture in pictures.items():
            if name not in self._writers:
                aside = self._segment(self._index, name).with_suffix(".part")
                target = self._targets[name]
                self._writers[name] = _Writer(aside, target, picture.shape, self._info)
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

    def join(self, end: int = 0) -> list[str]:
        """Puts the targets together, aside and renamed, and clears up.

        Args:
          end: when the last frame ends, in the source's unit of time.

        Returns:
          What is to be told of damage in what was copied.

        Raises:
          UserError: there is no frame; the source is another one by now; a target
            cannot be written.
        """
        if not self._index:
            raise UserError(f"{self._source} has no video that can be decoded")
        if _fingerprint(self._source) != self._seen:
            raise UserError(
                f"{self._source} was changed while it was read; run again once it is "
                "complete"
            )
        damage: list[str] = []
        for name, target in reversed(list(self._targets.items())):
            segments = [self._segment(i, name) for i in range(self._index)]
            damage = muxing.join(segments, self._source, target, self._info, end)
        self.done = 0  # nothing is left to resume
        return damage

    def _segment(self, index: int, name: str) -> Path:
        return self._folder / f"{index:06d}-{name}.segment"

    def _marker(self, index: int) -> Path:
        return self._folder / f"{index:06d}.npz"


def _fingerprint(source: Path) -> list[Any]:
    stat = source.stat()
    return [str(source.resolve()), stat.st_size, stat.st_mtime_ns]


def _options(codec: str, info: VideoInfo) -> dict[str, str]:
    """The encoder's options for one video."""
    options = dict(_OPTIONS[codec])
    if codec == "libx264" and info.light:
        options["x264-params"] = ":".join(f"{k}={v}" for k, v in info.light.items())
    return options


def _planes(codec: str, shape: tuple[int, ...], info: VideoInfo) -> str:
    """FFmpeg's name for the planes that are encoded."""
    if codec == "prores_ks":
        return "yuva444p10le"
    alpha = shape[2] == 4
    if codec == "libvpx-vp9" and alpha:
        return "yuva420p"  # what browsers and libvpx's decoder show as transparent
    # x264 takes odd sizes only where chroma is not halved; VP9 and FFV1 take all.
    odd = any(side % 2 for side in shape[:2]) and codec == "libx264"
    deep = "10le" if info.deep and codec != "libvpx-vp9" else ""
    return f"yuv{'a' * alpha}{444 if odd or info.full_chroma else 420}p{deep}"


def _set_alpha(frame: av.VideoFrame, alpha: np.ndarray) -> None:
    """Sets the alpha plane, [H, W], without the rounding errors of swscale."""
    top = 2 ** frame.format.components[3].bits - 1
    plane = frame.planes[3]
    rows = np.frombuffer(plane, np.uint8 if top == 255 else np.uint16)
    rows = rows.reshape(plane.height, -1)
    rows[:, : plane.width] = np.rint(alpha * (top / np.iinfo(alpha.dtype).max))


class _Writer:
    """One segment of one video, in NUT: it keeps any time base as it is.

    With alpha not all can stand in NUT. MOV gets the time base as its own; Matroska has
    milliseconds, as WebM has.

    Args:
      path: of the segment.
      target: of the video.
      shape: of the frames, [H, W, 3], or [H, W, 4] with alpha.
      info: of the source.
    """

    def __init__(
        self, path: Path, target: Path, shape: tuple[int, ...], info: VideoInfo
    ) -> None:
        self._info, self._alpha = info, shape[2] == 4
        _, codec = containers.encoding(target, self._alpha)
        held_in = _CONTAINERS_WITH_ALPHA[codec] if self._alpha else "nut"
        options = {}
        if held_in == "mov":
            options["movie_timescale"] = str(info.time_base.denominator)
        self._container = containers.open_(path, "w", format=held_in, options=options)
        stream = self._container.add_stream(
            codec, rate=info.rate, options=_options(codec, info)
        )
        stream.height, stream.width = shape[:2]
        stream.pix_fmt = _planes(codec, shape, info)
        if held_in == "matroska":
            stream.metadata["alpha_mode"] = "1"
        stream.codec_context.time_base = info.time_base
        stream.time_base = info.time_base
        for tag, value in info.colour.items():
            setattr(stream.codec_context, tag, value)
        if codec == "prores_ks":  # says nothing of its range
            stream.codec_context.color_range = LIMITED
        if info.aspect:
            stream.sample_aspect_ratio = info.aspect
        self._stream = stream

    def write(self, time: int, picture: np.ndarray) -> None:
        deep = picture.dtype == np.uint16
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture), format=array_format(deep, self._alpha)
        )
        context = self._stream.codec_context
        frame = frame.reformat(
            format=self._stream.pix_fmt,
            dst_colorspace=matrix(context.colorspace),
            dst_color_range=context.color_range or None,
            threads=THREADS,
        )
        if self._alpha:
            _set_alpha(frame, picture[..., 3])
        frame.pts, frame.time_base = time, self._info.time_base
        for tag in ("colorspace", "color_range", "color_primaries", "color_trc"):
            setattr(frame, tag, getattr(context, tag))
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def discard(self) -> None:
        self._container.close()
