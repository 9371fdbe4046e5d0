"""How time and memory grow with pixels, with pictures and with frames.

    python benchmarks/growth.py [--weights=lite] [--pixels=...] [--pictures=...]

Every line is a `derain` in a process of its own, files and all, after one that compiled
for it. The exponent is that of the line's own work against the line's before: the time
beyond that of one small picture, which is the start. 1 is linear; what is well above it
would be a fault.
"""

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
SMALL = (64, 96)


def picture(height: int, width: int) -> np.ndarray:
    """Smooth, with soft spots: quick to encode, and not all of it the same."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin(x / 37) * np.cos(y / 23), np.sin((x + y) / 51), np.cos(x / 91)]
    return (127.5 + 80 * np.stack(waves, -1)).astype(np.uint8)


def one_picture(folder: Path, pixels: int) -> Path:
    """A JPEG of about so many pixels, 3 : 2."""
    height = round(math.sqrt(pixels / 1.5))
    path = folder / f"{pixels}.jpg"
    # Enlarged, for this process to stay small: what it had counts as its children's.
    small = Image.fromarray(picture(*SMALL))
    small.resize((round(1.5 * height), height)).save(path)
    return path


def pictures(folder: Path, count: int) -> Path:
    """A folder of small JPEGs."""
    made = folder / str(count)
    made.mkdir()
    Image.fromarray(picture(*SMALL)).save(made / "0.jpg")
    for number in range(1, count):
        (made / f"{number}.jpg").hardlink_to(made / "0.jpg")
    return made


def film(folder: Path, count: int) -> Path:
    """A small video of so many frames."""
    path = folder / f"{count}.mp4"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", Fraction(25))
        stream.height, stream.width = SMALL
        stream.pix_fmt = "yuv420p"
        for number in range(count):
            pixels = np.roll(picture(*SMALL), number, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(stream.encode())
    return path


def derain(source: Path, weights: str) -> tuple[float, float]:
    """Seconds and peak MiB of the command."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "out") / (source.name if source.suffix else "")
        command = [sys.executable, str(ROOT / "main.py"), "derain", source, target]
        start = time.perf_counter()
        process = subprocess.Popen(
            [*map(str, command), f"--weights={weights}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        if status:
            sys.exit(f"{' '.join(map(str, command))} failed")
    return seconds, usage.ru_maxrss / 1024


def table(
    of: str,
    make: Callable[[Path, int], Path],
    counts: Sequence[int],
    weights: str,
) -> None:
    """Prints a line for every count."""
    print(f"| {of} | seconds | exponent | peak MiB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small = one_picture(folder, math.prod(SMALL))
        derain(small, weights)
        start, _ = derain(small, weights)
        before = None
        for count in counts:
            source = make(folder, count)
            if count < 1000 or of == "pixels":
                derain(source, weights)
            seconds, mebibytes = derain(source, weights)
            work, exponent = seconds - start, "-"
            # Less than the start's own noise says nothing.
            if before and before[1] > 0.3:
                grown = math.log(work / before[1]) / math.log(count / before[0])
                exponent = f"{grown:.2f}"
            before = count, work
            print(f"| {count:,} | {seconds:.1f} | {exponent} | {mebibytes:.0f} |")
            sys.stdout.flush()
    print()


def main() -> None:
    """Reads the flags and prints three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="lite")
    for name, counts in (
        ("pixels", "350000,1400000,3000000,8300000,33000000"),
        ("pictures", "1,10,100,1000,10000"),
        ("frames", "25,250,2500"),
    ):
        parser.add_argument(f"--{name}", default=counts, help="'' for none")
    args = parser.parse_args()
    for name, make in (
        ("pixels", one_picture),
        ("pictures", pictures),
        ("frames", film),
    ):
        counts = [int(n) for n in getattr(args, name).split(",") if n]
        if counts:
            table(name, make, counts, args.weights)


if __name__ == "__main__":
    main()
