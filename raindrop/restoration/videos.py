"""A generator over a video: frames in, segments out, resumed where it was."""

import collections
import itertools
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from raindrop.media import pictures, video
from raindrop.restoration import prefetch
from raindrop.restoration.derainer import Derainer, Smoothing
from raindrop.restoration.jobs import Job, Options

_LOG = logging.getLogger(__name__)


def derain_video(
    derainer: Derainer,
    job: Job,
    info: video.VideoInfo,
    options: Options,
    count: Callable[[int], None],
) -> None:
    """Removes the raindrops from one video, resuming after its finished segments.

    Args:
      derainer: the network.
      job: the video and its result.
      info: of the video, as `video.probe` gives it.
      options: what else is written.
      count: called with the number of frames that went through the network.

    Raises:
      UserError: damaged, or the result cannot be written.
    """
    files = job.targets(options, derainer.steps)
    with_maps = "attention" in files
    made_with = {
        "weights": derainer.identity,
        "tile": derainer.tile,
        "temporal": options.temporal,
    }
    segments = video.Segments(files, job.source, info, made_with)
    if segments.done:
        _LOG.info("%s goes on after frame %d", job.target, segments.done)
    smoothing = None
    if options.temporal:
        smoothing = Smoothing(options.temporal, segments.state)
    batch = derainer.batch_size(derainer.padded_size(info.size), video.SEGMENT)

    def encode(frames: Sequence[Any], results: Sequence[Any]) -> None:
        for (moment, frame), (picture, maps) in zip(frames, results, strict=True):
            views = {"result": picture}
            if with_maps:
                views["attention"] = pictures.overlay(frame, maps[-1])
            if options.compare:
                views["compare"] = np.concatenate([frame, picture], axis=1)
            segments.append(moment, views)

    frames = prefetch.prefetch(
        video.read_frames(job.source, info, segments.done), batch
    )
    writing: collections.deque[Future] = collections.deque()
    encoder = ThreadPoolExecutor(1)
    broken = threading.Event()

    def in_order(function: Callable[..., None], *args: Any) -> None:
        # After a frame that was lost, its segment must not be finished.
        if not broken.is_set():
            broken.set()
            function(*args)
            broken.clear()

    try:
        while True:
            some: Sequence[Any] = ()
            for some in prefetch.chunks(itertools.islice(frames, video.SEGMENT), batch):
                results = derainer.run_many(
                    [frame for _, frame in some],
                    attention=with_maps,
                    smoothing=smoothing,
                    batch=batch,
                )
                count(len(some))
                writing.append(encoder.submit(in_order, encode, some, results))
                while len(writing) > 2:
                    writing.popleft().result()
            if not some:
                break
            state = smoothing and smoothing.previous
            finish = segments.finish_segment
            writing.append(encoder.submit(in_order, finish, state))
        for future in writing:
            future.result()
        segments.join()
    finally:
        encoder.shutdown(cancel_futures=True)
        segments.abandon()
        frames.close()
