"""What of a video could not be read, and how it is told."""

import dataclasses


@dataclasses.dataclass
class Damage:
    """What of a video could not be read. Frames are (number from 0, seconds).

    Attributes:
      lost: that could not be decoded; they repeat the one before, the first ones the
        one after.
      flawed: that were decoded with faults, as FFmpeg conceals them.
      smeared: the last frame that was predicted from damaged ones, where it is behind
        all of these.
      container: what was wrong with the file rather than with a frame, first of all.
      missing: what is not there at all, against what the file's header says.
    """

    lost: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    flawed: list[tuple[int, float]] = dataclasses.field(default_factory=list)
    smeared: tuple[int, float] | None = None
    container: str = ""
    missing: str = ""

    def sentences(self) -> list[str]:
        """What is to be told of it; empty where the video is whole."""
        told = []
        if self.lost:
            repeat = "repeats" if len(self.lost) == 1 else "repeat"
            at_first = " (at the start the one after)" * (min(self.lost)[0] == 0)
            told.append(
                f"{_counted(self.lost)} could not be decoded and {repeat} the one "
                f"before{at_first}: {_ranges(self.lost)}"
            )
        if self.flawed:
            told.append(
                f"{_counted(self.flawed)} decoded with faults: {_ranges(self.flawed)}"
            )
        last = max(self.lost + self.flawed, default=(0, 0.0))
        if self.smeared and self.smeared > last:
            number, seconds = self.smeared
            told.append(
                f"those up to {number} ({seconds:.2f} s) build on them and may be "
                "smeared"
            )
        return [*told, *filter(None, (self.container, self.missing))]


def _counted(frames: list[tuple[int, float]]) -> str:
    return f"{len(frames)} frame{'s' * (len(frames) > 1)}"


def _ranges(frames: list[tuple[int, float]], most: int = 8) -> str:
    """Numbers and times, neighbours taken together."""
    runs: list[list[tuple[int, float]]] = []
    for frame in sorted(frames):
        if runs and frame[0] == runs[-1][-1][0] + 1:
            runs[-1].append(frame)
        else:
            runs.append([frame])
    texts = []
    for run in runs[:most]:
        (first, start), (last, end) = run[0], run[-1]
        one = first == last
        numbers = f"{first}" if one else f"{first}-{last}"
        times = f"{start:.2f}" if one else f"{start:.2f}-{end:.2f}"
        texts.append(f"{numbers} ({times} s)")
    if len(runs) > most:
        texts.append(f"and {len(runs) - most} more places")
    return ", ".join(texts)
