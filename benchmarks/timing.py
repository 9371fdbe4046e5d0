"""Two or more things timed side by side, and their memory."""

import argparse
import dataclasses
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# PyTorch's threads spin while they wait. Where others use the machine too, that takes
# the time of the very thread that they wait for.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of every repetition.

    Attributes:
      wall: by the clock.
      cpu: of all threads of the process. On a machine that others use too it says more
        than the clock, but not how well the threads share the work.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def side_by_side(
    functions: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, Times]:
    """Times of each, taken in turns (A B A B ...) after one turn that is not counted.

    Args:
      functions: by name. Each returns when its work is done.
      repeats: turns.
    """
    seconds = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            if turn:
                seconds[name].append(
                    (time.perf_counter() - wall, time.process_time() - cpu)
                )
    return {name: Times(*zip(*s, strict=True)) for name, s in seconds.items()}


def table(times: Mapping[str, Times]) -> str:
    """One line for each, and the ratio of the first to the second last."""
    lines = [f"{'seconds':24}{'minimum':>9}{'median':>9}{'CPU, min':>10}"]
    for name, t in times.items():
        lines.append(
            f"{name:24}{min(t.wall):9.3f}{statistics.median(t.wall):9.3f}"
            f"{min(t.cpu):10.3f}"
        )
    ours, theirs = list(times.values())[:2]
    lines.append(
        f"{'ratio ' + ' / '.join(list(times)[:2]):24}"
        f"{min(ours.wall) / min(theirs.wall):9.2f}"
        f"{statistics.median(ours.wall) / statistics.median(theirs.wall):9.2f}"
        f"{min(ours.cpu) / min(theirs.cpu):10.2f}"
    )
    return "\n".join(lines)


def peak_memory(function: Callable[..., object], *arguments: object) -> float:
    """GiB that a fresh process had resident at most while it ran a function.

    Args:
      function: of the top level of a module.
      *arguments: of the function.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (function, *arguments))


def _peak(function: Callable[..., object], *arguments: object) -> float:
    function(*arguments)
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands `ru_maxrss` down to a child process, through exec even; not this.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def machine() -> str:
    """Cores, model of the CPU, and how busy it is with other things."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores of {model}; load before the run {os.getloadavg()[0]:.1f}"


def parser(doc: str) -> argparse.ArgumentParser:
    """For the options that every benchmark has."""
    made = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--repeats", type=int, default=5, help="turns that are counted")
    made.add_argument("--batch", type=int, default=1)
    return made
