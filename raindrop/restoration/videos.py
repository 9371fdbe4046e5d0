"""A generator over a video: frames in, segments out, resumed where it was."""

import contextlib
import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from raindrop.errors import UserError
from raindrop.media import containers, pictures, segments, video
from raindrop.restoration import prefetch
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.jobs import Job, Options
from raindrop.restoration.smoothing import Smoothing

_LOG = logging.getLogger(__name__)

_Frame = tuple[int, np.ndarray]  # stamp, RGB or RGBA [H, W, C]
_Result = tuple[np.ndarray, np.ndarray | None]  # picture, attention maps


def derain_video(
    derainer: Derainer,
    job: Job,
    info: video.VideoInfo,
    options: Options,
    count: Callable[[int], None],
) -> list[str]:
    """Removes the raindrops from one video, resuming after its finished segments.

    Args:
      derainer: the network.
      job: the video and its result.
      info: of the video, as `video.probe` gives it.
      options: what else is written.
      count: called with the number of frames that went through the network.

    Returns:
      What is damaged or missing in the video, and therefore in the result.

    Raises:
      UserError: the video cannot be read to its end, or the result not be written.
    """
    # What a second pass finds at a quarter changes from frame to frame: it flickers.
    derainer = copy.copy(derainer)
    derainer.again = False
    made_with = {
        "weights": derainer.identity,
        "tile": derainer.tile,
        "frame": derainer.frame,
        "fast": derainer.fast,
        "temporal": options.temporal,
        "maps": derainer.steps,  # whose last is steadied
    }
    try:
        return _derain(derainer, job, info, options, made_with, count)
    except av.FFmpegError as error:
        raise UserError(f"{job.source}: {error}") from error


def _derain(
    derainer: Derainer,
    job: Job,
    info: video.VideoInfo,
    options: Options,
    made_with: Mapping[str, Any],
    count: Callable[[int], None],
) -> list[str]:
    alpha = info.alpha and containers.holds_alpha(job.target)
    files = job.targets(options, derainer.steps)
    reader = video.FrameReader(job.source, info, alpha)
    with segments.Segments(files, job.source, info, made_with) as parts:
        if parts.done:
            _LOG.info("%s is resumed after frame %d", job.target, parts.done)
        smoothing = None
        if options.temporal:
            smoothing = Smoothing(options.temporal, parts.state)
        batch = derainer.batch_size(derainer.padded_size(info.size), segments.SEGMENT)
        frames = prefetch.prefetch(reader.frames(parts.done), batch)
        written = 0
        with contextlib.closing(frames), prefetch.InOrder(depth=2) as writing:
            for some, results in _restored(
                derainer, frames, batch, "attention" in files, smoothing
            ):
                count(len(some))
                writing.submit(_append, parts, files, some, results)
                written += len(some)
                if written >= segments.SEGMENT:
                    state = smoothing and smoothing.previous
                    writing.submit(parts.finish_segment, state)
                    written = 0
            writing.submit(parts.finish_segment, smoothing and smoothing.previous)
        copied = parts.join(reader.end)
    return [*reader.damage.sentences(), *copied]


def _restored(
    derainer: Derainer,
    frames: Iterator[_Frame],
    batch: int,
    with_maps: bool,
    smoothing: Smoothing | None,
) -> Iterator[tuple[Sequence[_Frame], Sequence[_Result]]]:
    """Frames as they came and as they are to be, a batch at a time."""
    for some in prefetch.chunks(frames, batch):
        results = derainer.run_many(
            [frame[..., :3] for _, frame in some],
            attention=with_maps,
            smoothing=smoothing,
            batch=batch,
        )
        yield some, results


def _append(
    parts: segments.Segments,
    files: Mapping[str, Path],
    frames: Sequence[_Frame],
    results: Sequence[_Result],
) -> None:
    """Writes all views of some frames that are asked for; alpha stays in the result."""
    for (time, whole), (picture, maps) in zip(frames, results, strict=True):
        frame, alpha = whole[..., :3], whole[..., 3:]
        views = {"result": np.concatenate([picture, alpha], axis=-1)}
        if "attention" in files:
            views["attention"] = pictures.overlay(frame, maps[-1])
        if "compare" in files:
            views["compare"] = np.concatenate([frame, picture], axis=1)
        parts.append(time, views)
