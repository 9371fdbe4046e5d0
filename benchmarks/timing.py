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
from multiprocessing.connection import Connection
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


def apart(
    makers: Mapping[str, Callable[[], Callable[[], object]]], repeats: int
) -> tuple[dict[str, Times], dict[str, float]]:
    """As `side_by_side`, each in a process of its own.

    They share neither threads nor memory there, so neither slows the other.

    Args:
      makers: by name. Each can be pickled, and gives the function that is timed.
      repeats: turns; 0 for the memory alone.

    Returns:
      Times, and the GiB that each process had resident at most.
    """
    context = multiprocessing.get_context("spawn")
    ends, processes = {}, []
    for name, maker in makers.items():
        ends[name], far = context.Pipe()
        processes.append(context.Process(target=_serve, args=(far, maker), daemon=True))
        processes[-1].start()
        far.close()
        ends[name].recv()  # it is ready: nothing else runs while the others are made
    seconds = {name: [] for name in makers}
    for turn in range(repeats + 1):
        for name, end in ends.items():
            end.send(True)
            took = end.recv()
            if turn:
                seconds[name].append(took)
    peaks = {}
    for name, end in ends.items():
        end.send(False)
        peaks[name] = end.recv()
    for process in processes:
        process.join()
    times = {name: Times(*zip(*s, strict=True)) for name, s in seconds.items() if s}
    return times, peaks


def _serve(end: Connection, maker: Callable[[], Callable[[], object]]) -> None:
    function = maker()
    end.send(None)
    while end.recv():
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        end.send((time.perf_counter() - wall, time.process_time() - cpu))
    end.send(_peak())


def _peak() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        # Linux hands `ru_maxrss` down to a child process, through exec even; not this.
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def report(times: Mapping[str, Times], peaks: Mapping[str, float]) -> str:
    """What `apart` found: the table, and each one's memory."""
    lines = [table(times)] if times else []
    lines.append("peak resident memory of its process, GiB:")
    lines += [f"  {name:22}{peak:9.2f}" for name, peak in peaks.items()]
    return "\n".join(lines)


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
