"""Where metrics go: TensorBoard, a JSON-lines file, the terminal."""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from raindrop.media import atomic

_LOG = logging.getLogger(__name__)


class MetricWriter(Protocol):
    """The part of clu's `MetricWriter` that the training loop uses."""

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Records numbers of `step`."""

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Records pictures of `step`, [N, H, W, C]."""

    def flush(self) -> None:
        """Brings everything to the disk."""


class JsonLines:
    """A line of JSON for every step written: {"step", "wall_time", name: value, ...}.

    `wall_time` is in seconds since 1970. Before those of each start of the run, a line
    {"step", "wall_time", "run": what `run_record` makes}.

    Args:
      path: of the file. Lines there of steps after `first_step` are dropped: the run
        that resumes there writes them again.
      first_step: of this run.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        kept = []
        if path.exists():
            for line in path.read_text().splitlines():
                try:
                    if json.loads(line)["step"] <= first_step:
                        kept.append(line + "\n")
                except ValueError:  # the half line of a run that was killed
                    continue
        with atomic.replacing(path) as part:
            part.write_text("".join(kept))
        self._file = path.open("a")

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds a line."""
        self._write(step, {name: float(value) for name, value in scalars.items()})

    def write_record(self, step: int, record: Mapping[str, Any]) -> None:
        """Adds a line on the run that resumes from `step`."""
        self._write(step, {"run": dict(record)})

    def _write(self, step: int, values: Mapping[str, Any]) -> None:
        line = {"step": step, "wall_time": round(time.time(), 3), **values}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Pictures have no place here."""

    def flush(self) -> None:
        """Brings everything to the disk."""
        self._file.flush()


class TensorBoard:
    """Scalars and pictures for TensorBoard, through clu."""

    def __init__(self, folder: Path) -> None:
        from clu import metric_writers

        self._writer = metric_writers.SummaryWriter(str(folder))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Records numbers of `step`."""
        self._writer.write_scalars(step, dict(scalars))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Records pictures of `step`, [N, H, W, C]."""
        self._writer.write_images(step, dict(images))

    def flush(self) -> None:
        """Brings everything to the disk."""
        self._writer.flush()


class MultiWriter:
    """Writes to several writers."""

    def __init__(self, writers: Sequence[MetricWriter]) -> None:
        self._writers = writers

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Records numbers of `step`."""
        for writer in self._writers:
            writer.write_scalars(step, scalars)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        """Records pictures of `step`, [N, H, W, C]."""
        for writer in self._writers:
            writer.write_images(step, images)

    def flush(self) -> None:
        """Brings everything to the disk."""
        for writer in self._writers:
            writer.flush()


class Progress:
    """A bar on a terminal; in a log file a plain line for every set of metrics.

    Args:
      first_step: steps done already.
      num_steps: steps in all.
      batch_size: images a step.
    """

    def __init__(self, first_step: int, num_steps: int, batch_size: int) -> None:
        self._num_steps = num_steps
        self._batch_size = batch_size
        self._bar = _bar(first_step, num_steps)
        self._since = (time.monotonic(), first_step)

    def update(self, step: int) -> None:
        """One more step is done."""
        if self._bar is not None:
            self._bar.update(step - self._bar.n)

    def report(self, step: int, scalars: Mapping[str, float]) -> dict[str, float]:
        """Shows the metrics; gives {'images_per_second'} since the last report."""
        now, (then, before) = time.monotonic(), self._since
        self._since = (now, step)
        seconds = (now - then) / max(step - before, 1)
        rate = self._batch_size / seconds
        shown = {k: f"{v:.4g}" for k, v in scalars.items() if k in _SHOWN}
        shown["images/s"] = f"{rate:.3g}"
        if self._bar is None:
            left = duration(seconds * (self._num_steps - step))
            numbers = "  ".join(f"{k} {v}" for k, v in shown.items())
            _LOG.info("step %d/%d  %s  %s left", step, self._num_steps, numbers, left)
        else:
            self._bar.set_postfix(shown)
        return {"images_per_second": rate}

    def log(self, text: str) -> None:
        """A line that does not disturb the bar."""
        if self._bar is None:
            for line in text.splitlines():
                _LOG.info("%s", line)
        else:
            self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        """Ends the bar."""
        if self._bar is not None:
            self._bar.close()


def _bar(first_step: int, num_steps: int) -> Any:
    """A bar of tqdm's; None where nobody would see it move, or there is no tqdm."""
    try:
        from raindrop import progress
    except ImportError:
        return None
    bar = progress.bar(total=num_steps, initial=first_step, unit="step")
    return None if bar.disable else bar


_SHOWN = ("g_total", "g_multiscale", "g_attention", "g_adversarial", "d_total")


def duration(seconds: float) -> str:
    """Seconds in words: '42 s', '3 min', '5.1 h', '12 days'."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            value: Any = seconds / size
            return f"{value:.0f} {unit}" if unit != "h" else f"{value:.1f} {unit}"
    return f"{seconds:.0f} s"
