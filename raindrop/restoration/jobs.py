"""Which files are meant by an input and an output, and what is made of each."""

import dataclasses
import glob
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from raindrop.errors import UserError
from raindrop.media import atomic, folders, formats


@dataclasses.dataclass(frozen=True)
class Options:
    """What `derain_files` does beside the result.

    Attributes:
      overwrite: also make what is there already.
      attention: write the attention maps, and the last as an overlay.
      compare: write before|after.
      temporal: weight of the frame before in a video's last map; see `Smoothing`.
      num_processes: that share the input; each does the files whose names fall to it.
      process_id: which of them this one is, from 0.
      summary: a JSON file of what was done; of several processes each writes one into
        the output if none is given.
    """

    overwrite: bool = False
    attention: bool = False
    compare: bool = False
    temporal: float = 0.0
    num_processes: int = 1
    process_id: int = 0
    summary: str | Path | None = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One file to be done.

    Attributes:
      source: picture or video.
      target: its result.
    """

    source: Path
    target: Path

    def targets(self, options: Options, steps: int) -> dict[str, Path]:
        """All files of this job by name; the result itself is the last one written."""

        def beside(name: str, extension: str) -> Path:
            return atomic.beside(self.target, f".{name}{extension}")

        files = {"result": self.target}
        attention = options.attention and steps > 0
        if is_video(self.source):
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


@dataclasses.dataclass(frozen=True)
class Found:
    """What an input means.

    Attributes:
      jobs: what can be done, by name within the input.
      not_taken: what is there besides, and why it is no source.
      single: whether the input is one file.
    """

    jobs: Mapping[str, Job]
    not_taken: Mapping[str, tuple[Path, str]]
    single: bool

    def part(self, num_processes: int, process_id: int) -> "Found":
        """What falls to one of several processes.

        By a digest of each name, so that no process has to know of the others, and
        files that are added or done in between change nothing for the rest.

        Raises:
          UserError: there is no such process.
        """
        if not 0 <= process_id < num_processes:
            raise UserError(
                f"--process_id={process_id} is none of --num_processes="
                f"{num_processes}; they are counted from 0"
            )

        def mine(name: str) -> bool:
            digest = hashlib.sha256(os.fsencode(name)).digest()
            return int.from_bytes(digest[:8]) % num_processes == process_id

        return Found(
            {name: job for name, job in self.jobs.items() if mine(name)},
            {name: why for name, why in self.not_taken.items() if mine(name)},
            self.single,
        )


def is_video(path: Path) -> bool:
    """Whether that is a video, by its name."""
    return path.suffix.lower() in formats.VIDEOS


def find(source: Path, target: Path) -> Found:
    """The files that are meant by `--input` and `--output`.

    Raises:
      UserError: there is nothing, or a result would replace its source.
    """
    try:
        if source.is_file():
            return _single(source, target)
        if source.is_dir():
            root, found = source, folders.below(source)
        elif glob.has_magic(str(source)):
            root, found = folders.matching(source)
        else:
            raise UserError(f"{source} does not exist")
        if target.is_file():
            raise UserError(f"{target} is a file; several results need a folder")
    except OSError as error:  # a name that is too long, most of all
        raise UserError(f"{source}: {error.strerror or error}") from None
    return _several(root, found, source, target)


def _single(source: Path, target: Path) -> Found:
    kind, problem = _kind(source)
    if kind is None:
        raise UserError(f"{source} is {problem}; known are {', '.join(_known())}")
    if target.is_dir() or not target.suffix:
        target = _result(source, target, kind)
    videos = tuple(formats.WRITABLE_VIDEOS)
    writable = videos if is_video(source) else formats.writable_endings()
    if target.suffix.lower() not in writable:
        raise UserError(
            f"{target} cannot be written: the result of {source} ends in "
            f"{', '.join(writable)}"
        )
    _refuse_same(source, target)
    return Found({source.name: Job(source, target)}, {}, True)


def _several(
    root: Path, found: Iterable[tuple[Path, str]], source: Path, target: Path
) -> Found:
    jobs, not_taken = {}, {}
    inside = target.resolve()
    nested = inside != root.resolve()
    for path, problem in found:
        if nested and path.resolve().is_relative_to(inside):
            continue  # results are not sources
        name = path.relative_to(root).as_posix()
        kind = None
        if not problem:
            kind, problem = _kind(path)
        if kind is None:
            not_taken[name] = path, problem
            continue
        folder = target / path.relative_to(root).parent
        jobs[name] = job = Job(path, _result(path, folder, kind))
        _refuse_same(job.source, job.target)
    if not jobs:
        others = "".join(f"; {path} is {why}" for path, why in not_taken.values())
        raise UserError(
            f"{source} holds no picture or video ({', '.join(_known())}){others[:500]}"
        )
    return Found(jobs, not_taken, False)


def _known() -> Sequence[str]:
    readable = (e for e, name in formats.FORMATS.items() if formats.is_readable(name))
    return (*readable, *formats.VIDEOS)


def _kind(path: Path) -> tuple[str | None, str]:
    """The format of a picture, "video", or None and what it is instead."""
    if is_video(path):
        return "video", ""
    try:
        kind = formats.of_name(path) or formats.of_content(path)
    except OSError as error:
        return None, f"not readable ({error.strerror})"
    if kind is None:
        return None, "neither a picture nor a video"
    if not formats.is_readable(kind):
        return None, f"not readable: {formats.wanted(kind)}"
    return kind, ""


def _result(path: Path, folder: Path, kind: str) -> Path:
    """Where the result goes.

    It has the source's name, with another ending behind it where that says nothing, or
    a format that is only read: Matroska for containers, PNG or TIFF for pictures.
    """
    target = folder / path.name
    if kind == "video":
        writable = path.suffix.lower() in formats.WRITABLE_VIDEOS
        return target if writable else atomic.beside(target, ".mkv")
    named = formats.of_name(path)
    if named and formats.is_writable(named):
        return target
    return atomic.beside(target, formats.written_ending(kind))


def without_clashes(
    jobs: Mapping[str, Job], options: Options, steps: int
) -> tuple[dict[str, Job], dict[str, str]]:
    """Jobs that write files of their own, and of the others the reason against them.

    Args:
      jobs: by name.
      options: what else they write.
      steps: how many maps the network gives.
    """
    owners: dict[Path, Job] = {}
    kept, clashes = {}, {}
    # Who keeps the name of its source has the better right to it.
    by_right = sorted(
        jobs.items(), key=lambda item: item[1].target.name != item[1].source.name
    )
    for name, job in by_right:
        files = job.targets(options, steps).values()
        taken = next((path for path in files if path in owners), None)
        if taken is not None:
            clashes[name] = (
                f"{job.source} would be written to {taken}, as {owners[taken].source} "
                "is; rename one of them"
            )
            continue
        owners.update(dict.fromkeys(files, job))
        kept[name] = job
    return {name: kept[name] for name in jobs if name in kept}, clashes


def _refuse_same(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise UserError(f"{target} would replace its source; give another output")
