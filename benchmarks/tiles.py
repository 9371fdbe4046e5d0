"""What cutting pictures into tiles costs: differences to the whole, and peak memory.

    python benchmarks/tiles.py [--weights=W] [--whole=1088x1920] [--sizes=2160x3840,...]

Without weights the released layout with random (He) weights stands in; differences are
then given for outputs whose contrast was scaled to that of the input. Each memory
measurement is a process of its own; what is given is its peak above the same process
before the first picture, so the weights and the libraries do not count. Where tiles are
on, more than `LIMIT` ends the benchmark with an error.
"""

import argparse
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from raindrop.models import generator
from raindrop.restoration import one_size
from raindrop.restoration.derainer import Derainer, load_derainer
from raindrop.weights import LoadedGenerator

MIB = 2**20
LIMIT = 2048  # MiB over the model's own, for a picture of any size


def random_release() -> LoadedGenerator:
    """The released layout with random weights: He scaling, small biases."""
    fields = {"attention": {}, "autoencoder": {"dilations": (2, 4, 8, 16)}}
    network = generator.from_fields(fields)
    image = jax.ShapeDtypeStruct((1, 16, 16, 3), np.float32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), image)["params"]
    rng = np.random.default_rng(0)

    def draw(leaf: jax.ShapeDtypeStruct) -> np.ndarray:
        if len(leaf.shape) == 1:
            return rng.normal(0, 0.01, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1])
        return rng.normal(0, np.sqrt(2 / fan_in), leaf.shape).astype(np.float32)

    return LoadedGenerator(fields, jax.tree.map(draw, shapes), "random weights")


def scene(height: int, width: int) -> np.ndarray:
    """A picture with structure of every size, uint8."""
    rng = np.random.default_rng(1)
    image = np.zeros((height, width, 3), np.float32)
    for step in (128, 32, 8, 2):
        coarse = rng.random((-(-height // step), -(-width // step), 3), np.float32)
        coarse = coarse.repeat(step, 0).repeat(step, 1)[:height, :width]
        image += coarse * step**0.5
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


def load(weights: str | None, tile: int | None) -> Derainer:
    """These weights, or the released layout with random ones."""
    if weights:
        return load_derainer(weights, tile)
    return Derainer(random_release(), tile)


def difference(args: argparse.Namespace) -> None:
    """Prints how far tiled output is from that of the whole."""
    height, width = map(int, args.whole.split("x"))
    image = scene(height, width)
    whole, _ = load(args.weights, 0).run(image)
    gain = 1.0 if args.weights else (image / 255).std() / whole.std()
    for overlap in map(int, args.overlaps.split(",")):
        one_size.OVERLAP = overlap  # what a Derainer takes when it is made
        tiled = load(args.weights, args.tile)
        error = np.abs(tiled.run(image)[0] - whole) * gain * 255
        print(
            f"{args.whole}, tiles of {tiled.tile}, overlap {tiled._overlap}: "
            f"difference max {error.max():.4f}, mean {error.mean():.6f} grey levels",
            flush=True,
        )


def memory(args: argparse.Namespace) -> None:
    """Prints the peak memory of this process for one picture."""
    process = psutil.Process()
    height, width = map(int, args.measure.split("x"))
    derainer = load(args.weights, args.tile)
    image = scene(height, width)
    before = process.memory_info().rss
    peak, done = [before], threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            peak.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    derainer.derain(image)
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{args.measure}, tiles of {derainer.tile}: "
        f"{(max(peak) - before) / MIB:.0f} MiB "
        f"over the model's own ({whole / MIB:.0f} MiB in all), {seconds:.1f} s",
        flush=True,
    )
    if args.tile != 0 and max(peak) - before > LIMIT * MIB:
        sys.exit(f"more than {LIMIT} MiB")


def main() -> None:
    """Reads the flags and runs what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights")
    parser.add_argument("--tile", type=int, help="the network's own by default")
    parser.add_argument("--overlaps", default=str(one_size.OVERLAP))
    parser.add_argument("--whole", default="1088x1920", help="compared; '' for none")
    parser.add_argument("--sizes", default="1024x1024,2160x3840,4320x7680")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        memory(args)
        return
    if args.whole:
        difference(args)
    for size in filter(None, args.sizes.split(",")):
        command = [
            sys.executable,
            __file__,
            f"--measure={size}",
            f"--overlaps={args.overlaps}",
        ]
        command += [f"--tile={args.tile}"] if args.tile is not None else []
        command += [f"--weights={args.weights}"] if args.weights else []
        if subprocess.run(command).returncode:
            sys.exit(1)


if __name__ == "__main__":
    main()
