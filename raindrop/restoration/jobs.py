"""Which files are meant by an input and an output, and what was done with them."""

import dataclasses
import glob
import itertools
from pathlib import Path

from raindrop.errors import UserError
from raindrop.media import pictures, video


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
      damaged: file and what its result lacks for it; these are among the done.
      pixels: that went through the network, all frames of videos counted.
      seconds: that it took, compilation included.
    """

    done: int = 0
    skipped: int = 0
    failed: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    damaged: list[tuple[Path, str]] = dataclasses.field(default_factory=list)
    pixels: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        speed = self.pixels / max(self.seconds, 1e-9) / 1e6
        lines = [
            f"{self.done} done, {self.skipped} there already, {len(self.failed)} "
            f"failed; {self.seconds:.1f} s, {speed:.2f} megapixels per second"
        ]
        lines += [f"failed: {reason}" for _, reason in self.failed]
        lines += [f"damaged: {path}: {what}" for path, what in self.damaged]
        return "\n".join(lines)


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
            return self.target.with_name(f"{self.target.name}.{name}{extension}")

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


def is_video(path: Path) -> bool:
    """Whether that is a video, by its name."""
    return path.suffix.lower() in video.EXTENSIONS


def find(source: Path, target: Path) -> tuple[list[Job], bool]:
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
        writable = video.WRITABLE if is_video(source) else pictures.EXTENSIONS
        if target.suffix.lower() not in writable:
            raise UserError(
                f"{target} cannot be written: the result of {source} ends in "
                f"{', '.join(writable)}"
            )
        _refuse_same(source, target)
        return [Job(source, target)], True
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
        job = Job(path, target / relative.with_name(_written_name(path)))
        _refuse_same(job.source, job.target)
        jobs.append(job)
    if not jobs:
        raise UserError(f"{source} holds no picture or video ({', '.join(known)})")
    return jobs, False


def _written_name(path: Path) -> str:
    """The name of a result: a container that is only read becomes Matroska."""
    readable_only = is_video(path) and path.suffix.lower() not in video.WRITABLE
    return f"{path.name}.mkv" if readable_only else path.name


def _refuse_same(source: Path, target: Path) -> None:
    if target.resolve() == source.resolve():
        raise UserError(f"{target} would replace its source; give another output")
