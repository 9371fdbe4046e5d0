"""A generator over files: pictures, folders, globs and videos, and what was done.

Decoding, the network and encoding overlap: pictures are decoded and encoded by threads
while the network runs. The pictures of a folder are grouped by size first, so that the
network is compiled for a handful of shapes.
"""

import collections
import contextlib
import dataclasses
import functools
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from raindrop import progress, provenance
from raindrop.errors import UserError, first_line
from raindrop.media import atomic, pictures, pixel_values
from raindrop.restoration import jobs, prefetch, tiles
from raindrop.restoration.derainer import Derainer
from raindrop.restoration.jobs import Job, Options, is_video
from raindrop.restoration.summary import Summary

_LOG = logging.getLogger(__name__)

MOST_SHAPES = 8  # that the network is compiled for in one run over a folder
_THREADS = max(2, min(8, os.cpu_count() or 2))


def derain_files(
    derainer: Derainer,
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
    on_progress: Callable[[float], object] = lambda share: None,
) -> Summary:
    """Removes the raindrops from whatever pictures and videos `source` means.

    Args:
      derainer: the network.
      source: a picture, a video, a folder (searched recursively) or a glob.
      target: for one file its result, or a folder that exists or is named without an
        extension; otherwise the folder of the results, which gets the tree of `source`.
      options: what else.
      on_progress: called now and then with the share of the work that is done.

    Returns:
      What was done; of several files one bad one does not stop the others.

    Raises:
      UserError: nothing there, or `source` is a single file that cannot be done.
    """
    options = options or Options()
    found = jobs.find(Path(source), Path(target))
    # Of all processes' files, so that each knows which names are taken.
    kept, clashes = jobs.without_clashes(found.jobs, options, derainer.steps)
    mine = found.part(options.num_processes, options.process_id)
    summary = Summary(not_taken=list(mine.not_taken.values()))
    summary.failed += [
        (job.source, clashes[name])
        for name, job in mine.jobs.items()
        if name in clashes
    ]
    start = time.perf_counter()
    work = _Work(derainer, options, summary, on_progress)
    todo = work.left_to_do(job for name, job in mine.jobs.items() if name in kept)
    with (
        _not_each_for_itself(),
        progress.bar(unit="pixel", unit_scale=True, smoothing=0.05) as work.progress,
    ):
        work.run(todo)
    summary.seconds = time.perf_counter() - start
    _write_summary(summary, derainer, Path(source), Path(target), options)
    if found.single and summary.failed:
        raise UserError(summary.failed[0][1])
    return summary


@contextlib.contextmanager
def _not_each_for_itself() -> Iterator[None]:
    """What is to be said of pictures is in the summary; here a line for each is not."""
    log = logging.getLogger(pictures.__name__)
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def _write_summary(
    summary: Summary, derainer: Derainer, source: Path, target: Path, options: Options
) -> None:
    path = options.summary
    if path is None and options.num_processes > 1:
        count = options.num_processes
        folder = target.parent if source.is_file() and target.suffix else target
        path = folder / f"summary-{options.process_id:04d}-of-{count:04d}.json"
    if path is None:
        return
    summary.write(
        Path(path),
        input=str(source),
        output=str(target),
        weights=derainer.identity,
        versions=provenance.versions(),
        date=provenance.now(),
        num_processes=options.num_processes,
        process_id=options.process_id,
    )


class _Work:
    """One run over files."""

    progress: tqdm

    def __init__(
        self,
        derainer: Derainer,
        options: Options,
        summary: Summary,
        on_progress: Callable[[float], object],
    ) -> None:
        self._derainer, self._options, self._summary = derainer, options, summary
        self._on_progress = on_progress

    def left_to_do(self, some: Iterable[Job]) -> list[Job]:
        """The jobs that lack a file, or are to be made again; counts the others."""
        some = list(some)
        left = [job for job in some if not self._is_there(job)]
        self._summary.skipped += len(some) - len(left)
        return left

    def _is_there(self, job: Job) -> bool:
        files = job.targets(self._options, self._derainer.steps).values()
        return not self._options.overwrite and all(path.exists() for path in files)

    def run(self, jobs: Sequence[Job]) -> None:
        if any(is_video(job.source) for job in jobs):
            # Where there are pictures alone, they do not wait for FFmpeg's libraries.
            from raindrop.media import video
            from raindrop.restoration import videos
        sizes: dict[Job, tiles.Size] = {}
        infos: dict[Job, video.VideoInfo] = {}
        total = 0
        for job in jobs:
            with self._noting(job):
                if is_video(job.source):
                    infos[job] = info = video.probe(job.source)
                    total += info.size[0] * info.size[1] * info.frames
                else:
                    sizes[job] = size = pictures.image_size(job.source)
                    total += size[0] * size[1]
        self.progress.reset(total)
        self._run_pictures(sizes)
        for job, info in infos.items():
            # Another process may have made it since.
            if not self.left_to_do([job]):
                continue
            with self._noting(job):
                damage = videos.derain_video(
                    self._derainer,
                    job,
                    info,
                    self._options,
                    functools.partial(self._count_frames, info.size),
                )
                self._summary.done += 1
                if damage:
                    self._summary.damaged.append((job.source, "; ".join(damage)))

    @contextlib.contextmanager
    def _noting(self, *jobs: Job) -> Iterator[None]:
        """What goes wrong inside is noted for these jobs, and the others go on."""
        try:
            yield
        except atomic.InUseError:
            what = "left to another process that is writing its result now"
            self._summary.skipped += len(jobs)
            self._summary.notes += [(job.source, what) for job in jobs]
        except UserError as error:
            self._summary.failed += [(job.source, str(error)) for job in jobs]
        except OSError as error:
            self._summary.failed += [(j.source, f"{j.source}: {error}") for j in jobs]
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            hint = f"{first_line(error)}; smaller tiles (--tile) need less memory"
            self._summary.failed += [(j.source, f"{j.source}: {hint}") for j in jobs]
        except Exception as error:
            # A fault of this program, to be shown; it must not cost the other files.
            _LOG.exception("%s", ", ".join(str(job.source) for job in jobs))
            what = f"{type(error).__name__}: {first_line(error)}"
            self._summary.failed += [(j.source, f"{j.source}: {what}") for j in jobs]

    def _count_frames(self, size: tiles.Size, frames: int) -> None:
        self._count(size[0] * size[1] * frames)

    def _count(self, pixels: int) -> None:
        self._summary.pixels += pixels
        self.progress.update(pixels)
        if self.progress.total:
            self._on_progress(min(1.0, self._summary.pixels / self.progress.total))

    def _run_pictures(self, sizes: Mapping[Job, tiles.Size]) -> None:
        batches = self._batches(sizes)
        with (
            ThreadPoolExecutor(_THREADS) as decoders,
            ThreadPoolExecutor(_THREADS) as encoders,
        ):
            ahead = prefetch.submit_ahead(
                batches,
                lambda batch: [
                    (job, decoders.submit(self._decode, job)) for job in batch[2]
                ],
            )
            writing: collections.deque[tuple[Job, Future]] = collections.deque()
            for (shape, count, _), decoding in ahead:
                decoded = []
                for job, future in decoding:
                    with self._noting(job):
                        if (picture := future.result()) is None:
                            self._summary.skipped += 1
                        else:
                            decoded.append((job, picture))
                if not decoded:
                    continue
                with self._noting(*(job for job, _ in decoded)):
                    results = self._derainer.run_many(
                        [picture.pixels for _, picture in decoded],
                        shape=shape,
                        attention=self._options.attention,
                        batch=count,
                        advance=self._count,
                    )
                    for (job, picture), result in zip(decoded, results, strict=True):
                        future = encoders.submit(self._write, job, picture, *result)
                        writing.append((job, future))
                # Encoding may lag by a few pictures, not by a folder.
                while len(writing) > 2 * count:
                    self._finish(*writing.popleft())
            for job, future in writing:
                self._finish(job, future)

    def _batches(
        self, sizes: Mapping[Job, tiles.Size]
    ) -> list[tuple[tiles.Size | None, int, list[Job]]]:
        """The shape to compile for, pictures at once, and which."""
        batches = []
        groups = collections.defaultdict(list)
        padded = {job: self._derainer.padded_size(size) for job, size in sizes.items()}
        whole = {j: s for j, s in padded.items() if not self._derainer.is_tiled(s)}
        cut = {job: size for job, size in padded.items() if job not in whole}
        # Tiles of the best shape for each size, or square ones that serve them all.
        square = (self._derainer.tile, self._derainer.tile)
        many = len(set(cut.values())) > MOST_SHAPES
        for job, size in cut.items():
            fits = many and min(size) >= square[0]
            batches.append((square if fits else None, 1, [job]))
        limit = len(whole) if self._derainer.exact_shapes else MOST_SHAPES
        shapes = tiles.cover(whole.values(), max(limit, 1))
        for job, size in whole.items():
            shape = shapes[size]
            # The box around a wide and a tall picture may be more than a network call
            # should hold, where neither of them is.
            groups[size if self._derainer.is_tiled(shape) else shape].append(job)
        for shape, group in groups.items():
            count = self._derainer.batch_size(shape, len(group))
            for start in range(0, len(group), count):
                batches.append((shape, count, group[start : start + count]))
        return batches

    def _decode(self, job: Job) -> pictures.Picture | None:
        """None where another process has made the result since this one began."""
        return None if self._is_there(job) else pictures.decode(job.source)

    def _finish(self, job: Job, future: Future) -> None:
        with self._noting(job):
            self._summary.notes += [(job.source, note) for note in future.result()]
            self._summary.done += 1

    def _write(
        self,
        job: Job,
        picture: pictures.Picture,
        pixels: np.ndarray,
        maps: np.ndarray | None,
    ) -> list[str]:
        """Writes all files of a picture, the result last: it stands for them all.

        Returns:
          What was lost or changed on the way.
        """
        extras = {}
        if maps is not None and len(maps):
            for step, one in enumerate(maps, start=1):
                extras[f"attention-{step}"] = pixel_values.from_float(
                    one[..., 0], np.uint8
                )
            extras["overlay"] = pictures.overlay(picture.pixels, maps[-1])
        if self._options.compare:
            extras["compare"] = pictures.side_by_side([picture.pixels, pixels])
        files = job.targets(self._options, self._derainer.steps)
        for name, extra in extras.items():
            pictures.write_image(files[name], extra)
        result = dataclasses.replace(picture, pixels=pixels)
        pictures.encode(job.target, result)
        return result.notes
