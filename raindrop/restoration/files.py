"""A generator over files: pictures, folders, globs and videos, and what was done.

Decoding, the network and encoding overlap: pictures are decoded and encoded by threads
while the network runs. The pictures of a folder are grouped by size first, so that the
network is compiled for a handful of shapes.
"""

import collections
import contextlib
import dataclasses
import glob
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import jax
import numpy as np
from tqdm import tqdm

from raindrop.errors import UserError, first_line
from raindrop.media import pictures, video
from raindrop.restoration import prefetch, tiles
from raindrop.restoration.derainer import Derainer, Smoothing

_LOG = logging.getLogger(__name__)

MOST_SHAPES = 8  # that the network is compiled for in one run over a folder
_THREADS = max(2, min(8, os.cpu_count() or 2))


@dataclasses.dataclass(frozen=True)
class Options:
    """What `derain_files` does beside the result.

    Attributes:
      overwrite: also make what is there already.
      attention: write the attention maps of every step, and the last as an overlay.
      compare: write before|after.
      temporal: weight of the frame before in a video's attention map; see `Smoothing`.
    """

    overwrite: bool = False
    attention: bool = False
    compare: bool = False
    temporal: float = 0.0


@dataclasses.dataclass
class Summary:
    """What was done.

    Attributes:
      done: files written.
      skipped: files that were there already.
      failed: file and reason, one each.
      pixels: that went through the network, all frames of videos counted.
      seconds: that it took, compilation included.
    """

    done: int = 0
    skipped: int = 0
    failed: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    pixels: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        speed = self.pixels / max(self.seconds, 1e-9) / 1e6
        lines = [
            f"{self.done} done, {self.skipped} there already, {len(self.failed)} "
            f"failed; {self.seconds:.1f} s, {speed:.2f} megapixels per second"
        ]
        lines += [f"failed: {reason}" for _, reason in self.failed]
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class _Job:
    source: Path
    target: Path

    def targets(self, options: Options, steps: int) -> dict[str, Path]:
        """All files of this job by name; the result itself is the last one written."""

        def beside(name: str, extension: str) -> Path:
            return self.target.with_name(f"{self.target.name}.{name}{extension}")

        files = {"result": self.target}
        attention = options.attention and steps > 0
        if _is_video(self.source):
            if attention:
                files["attention"] = beside("attention", self.target.suffix)
            if options.compare:
                files["compare"] = beside("compare", self.target.suffix)
            return files
        if attention:
            for step in range(1, steps + 1):
                files[f"attention-{step}"] = beside(f"attention-{step}", ".png")
            files["overlay"] = beside("overlay", ".png")
        if options.compare:
            files["compare"] = beside("compare", ".png")
        return files


def derain_files(
    derainer: Derainer,
    source: str | Path,
    target: str | Path,
    options: Options | None = None,
) -> Summary:
    """Removes the raindrops from whatever pictures and videos `source` means.

    Args:
      derainer: the network.
      source: a picture, a video, a folder (searched recursively) or a glob.
      target: for one file its result, or a folder that exists or is named without an
        extension; otherwise the folder of the results, which gets the tree of `source`.
      options: what else.

    Returns:
      What was done; of several files one bad one does not stop the others.

    Raises:
      UserError: nothing there, or `source` is a single file that cannot be done.
    """
    options = options or Options()
    jobs, single = _find(Path(source), Path(target))
    summary = Summary()
    start = time.perf_counter()
    todo = []
    for job in jobs:
        files = job.targets(options, derainer.steps)
        if not options.overwrite and all(path.exists() for path in files.values()):
            summary.skipped += 1
        else:
            todo.append(job)
    work = _Work(derainer, options, summary)
    with tqdm(
        unit="pixel", unit_scale=True, smoothing=0.05, dynamic_ncols=True, disable=None
    ) as work.progress:
        work.run(todo)
    summary.seconds = time.perf_counter() - start
    if single and summary.failed:
        raise UserError(summary.failed[0][1])
    return summary


class _Work:
    """One run over files."""

    progress: tqdm

    def __init__(self, derainer: Derainer, options: Options, summary: Summary) -> None:
        self._derainer, self._options, self._summary = derainer, options, summary

    def run(self, jobs: Sequence[_Job]) -> None:
        sizes: dict[_Job, tiles.Size] = {}
        videos: dict[_Job, video.VideoInfo] = {}
        total = 0
        for job in jobs:
            with self._noting(job):
                if _is_video(job.source):
                    videos[job] = info = video.probe(job.source)
                    total += info.size[0] * info.size[1] * info.frames
                else:
                    sizes[job] = size = pictures.image_size(job.source)
                    total += size[0] * size[1]
        self.progress.reset(total)
        self._run_pictures(sizes)
        for job, info in videos.items():
            with self._noting(job):
                self._run_video(job, info)
                self._summary.done += 1

    @contextlib.contextmanager
    def _noting(self, *jobs: _Job) -> Iterator[None]:
        """What goes wrong inside is noted for these jobs, and the others go on."""
        try:
            yield
        except UserError as error:
            self._summary.failed += [(job.source, str(error)) for job in jobs]
        except (OSError, av.FFmpegError) as error:
            self._summary.failed += [(j.source, f"{j.source}: {error}") for j in jobs]
        except (MemoryError, jax.errors.JaxRuntimeError) as error:
            hint = f"{first_line(error)}; smaller tiles (--tile) need less memory"
            self._summary.failed += [(j.source, f"{j.source}: {hint}") for j in jobs]
        except Exception as error:
            # A fault of this program, to be shown; it must not cost the other files.
            _LOG.exception("%s", ", ".join(str(job.source) for job in jobs))
            what = f"{type(error).__name__}: {first_line(error)}"
            self._summary.failed += [(j.source, f"{j.source}: {what}") for j in jobs]

    def _count(self, size: tuple[int, ...], frames: int = 1) -> None:
        pixels = size[0] * size[1] * frames
        self._summary.pixels += pixels
        self.progress.update(pixels)

    def _run_pictures(self, sizes: Mapping[_Job, tiles.Size]) -> None:
        batches = self._batches(sizes)
        with (
            ThreadPoolExecutor(_THREADS) as decoders,
            ThreadPoolExecutor(_THREADS) as encoders,
        ):
            ahead = prefetch.submit_ahead(
                batches,
                lambda batch: [
                    (job, decoders.submit(pictures.decode, job.source))
                    for job in batch[2]
                ],
            )
            writing: collections.deque[tuple[_Job, Future]] = collections.deque()
            for (shape, count, _), decoding in ahead:
                decoded = []
                for job, future in decoding:
                    with self._noting(job):
                        decoded.append((job, future.result()))
                if not decoded:
                    continue
                with self._noting(*(job for job, _ in decoded)):
                    results = self._derainer.run_many(
                        [picture.pixels for _, picture in decoded],
                        shape=shape,
                        attention=self._options.attention,
                        batch=count,
                    )
                    for (job, picture), result in zip(decoded, results, strict=True):
                        future = encoders.submit(self._write, job, picture, *result)
                        writing.append((job, future))
                        self._count(picture.pixels.shape)
                # Encoding may lag by a few pictures, not by a folder.
                while len(writing) > 2 * count:
                    self._finish(*writing.popleft())
            for job, future in writing:
                self._finish(job, future)

    def _batches(
        self, sizes: Mapping[_Job, tiles.Size]
    ) -> list[tuple[tiles.Size | None, int, list[_Job]]]:
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

    def _finish(self, job: _Job, future: Future) -> None:
        with self._noting(job):
            future.result()
            self._summary.done += 1

    def _write(
        self,
        job: _Job,
        picture: pictures.Picture,
        pixels: np.ndarray,
        maps: np.ndarray | None,
    ) -> None:
        """Writes all files of a picture, the result last: it stands for them all."""
        extras = {}
        if maps is not None and len(maps):
            for step, one in enumerate(maps, start=1):
                extras[f"attention-{step}"] = pictures.from_float(one[..., 0], np.uint8)
            extras["overlay"] = overlay(picture.pixels, maps[-1])
        if self._options.compare:
            extras["compare"] = pictures.side_by_side([picture.pixels, pixels])
        files = job.targets(self._options, self._derainer.steps)
        for name, extra in extras.items():
            pictures.write_image(files[name], extra)
        pictures.encode(job.target, dataclasses.replace(picture, pixels=pixels))

    def _run_video(self, job: _Job, info: video.VideoInfo) -> None:
        options, derainer = self._options, self._derainer
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
            self.progress.update(info.size[0] * info.size[1] * segments.done)
        smoothing = None
        if options.temporal:
            smoothing = Smoothing(options.temporal, segments.state)
        batch = derainer.batch_size(derainer.padded_size(info.size), video.SEGMENT)

        def encode(frames: Sequence[Any], results: Sequence[Any]) -> None:
            for (moment, frame), (picture, maps) in zip(frames, results, strict=True):
                views = {"result": picture}
                if with_maps:
                    views["attention"] = overlay(frame, maps[-1])
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
                before = self._summary.pixels
                for some in prefetch.chunks(
                    itertools.islice(frames, video.SEGMENT), batch
                ):
                    results = derainer.run_many(
                        [frame for _, frame in some],
                        attention=with_maps,
                        smoothing=smoothing,
                        batch=batch,
                    )
                    self._count(info.size, len(some))
                    writing.append(encoder.submit(in_order, encode, some, results))
                    while len(writing) > 2:
                        writing.popleft().result()
                if self._summary.pixels == before:
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


def overlay(image: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """An attention map [H, W, 1] in red over its picture [H, W, 3]; uint8."""
    share = 0.7 * np.clip(attention, 0, 1)
    red = np.array([255, 0, 0], np.float32)
    mixed = (1 - share) * pictures.to_uint8(image) + share * red
    return np.round(mixed).astype(np.uint8)


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in video.EXTENSIONS


def _find(source: Path, target: Path) -> tuple[list[_Job], bool]:
    """The files that are meant, and whether the source is one file by name."""
    known = (*pictures.EXTENSIONS, *video.EXTENSIONS)
    if source.is_file():
        if source.suffix.lower() not in known:
            raise UserError(
                f"{source} is neither a picture nor a video by its name; known are "
                f"{', '.join(known)}"
            )
        if target.is_dir() or not target.suffix:
            target = target / _written_name(source)
        writable = video.WRITABLE if _is_video(source) else pictures.EXTENSIONS
        if target.suffix.lower() not in writable:
            raise UserError(
                f"{target} cannot be written: the result of {source} ends in "
                f"{', '.join(writable)}"
            )
        _refuse_same(source, target)
        return [_Job(source, target)], True
    if source.is_dir():
        root, found = source, source.rglob("*")
    elif glob.has_magic(str(source)):
        fixed = itertools.takewhile(lambda part: not glob.has_magic(part), source.parts)
        root = Path(*fixed)
        found = map(Path, glob.glob(str(source), recursive=True))
    else:
        raise UserError(f"{source} does not exist")
    if target.is_file():
        raise UserError(f"{target} is a file; several results need a folder")
    jobs = []
    inside = target.resolve()
    nested = inside != root.resolve()
    for path in sorted(found):
        relative = path.relative_to(root)
        if path.suffix.lower() not in known or not path.is_file():
            continue
        # Hidden files are not pictures but work under way; results are not sources.
        hidden = any(part.startswith(".") for part in relative.parts)
        if hidden or (nested and path.resolve().is_relative_to(inside)):
            continue
        job = _Job(path, target / relative.with_name(_written_name(path)))
        _refuse_same(job.source, job.target)
        jobs.append(job)
    if not jobs:
        raise UserError(f"{source} holds no picture or video ({', '.join(known)})")
    return jobs, False


def _written_name(path: Path) -> str:
    """The name of a result: a container that is only read becomes Matroska."""
    readable_only = _is_video(path) and path.suffix.lower() not in video.WRITABLE
    return f"{path.name}.mkv" if readable_only else path.name


def _refuse_same(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise UserError(f"{target} would replace its source; give another output")
