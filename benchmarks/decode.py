"""Throughput of the pipeline from files to batches, against a plain loop.

    python benchmarks/decode.py [--size=720x480] [--pairs=24] [--batches=40]

Writes PNG pairs to a temporary folder and takes batches of eight random 256 x 256 crops
from them: with nothing kept in memory, with everything kept, and by a loop that opens,
decodes and crops one picture after the other with Pillow. Prints pairs a second and the
ratio to the loop. Decoding needs as many cores as there are: the ratio grows with them.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from configs import default
from raindrop.data import layouts, pipeline
from raindrop.media import pictures

CROP, BATCH = 256, 8


def write_pairs(folder: Path, width: int, height: int, count: int) -> None:
    """Smooth noise with a little grain compresses as photographs do, by about half."""
    rng = np.random.default_rng(0)
    for n in range(count):
        coarse = rng.uniform(0, 255, (12, 18, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        for path in (f"data/{n}_rain.png", f"gt/{n}_clean.png"):
            grain = rng.normal(0, 4, smooth.shape)
            image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
            pictures.write_image(folder / path, image)


def plain_loop(folder: Path) -> Callable[[], np.ndarray]:
    """The next batch, by a loop."""
    files, rng = layouts.find_usable(folder).files, np.random.default_rng(0)

    def batch() -> np.ndarray:
        crops = []
        for _ in range(BATCH):
            pair = files[rng.integers(len(files))]
            images = [np.asarray(Image.open(p)) for p in (pair.rainy, pair.clean)]
            height, width = images[0].shape[:2]
            top, left = rng.integers((height - CROP + 1, width - CROP + 1))
            both = np.concatenate(images, -1)[top : top + CROP, left : left + CROP]
            crops.append(both)
        return np.stack(crops)

    return batch


def rate(batch: Callable[[], object], count: int) -> float:
    """Pairs a second over `count` batches, after a first one."""
    batch()
    start = time.perf_counter()
    for _ in range(count):
        batch()
    return count * BATCH / (time.perf_counter() - start)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="720x480")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--batches", type=int, default=40)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pairs(folder, width, height, arguments.pairs)
        config = default.get_config()
        config.data.name, config.data.dir = "pairs", temporary
        config.data.crop_size, config.training.batch_size = CROP, BATCH
        config.eval.num_images = 0
        loop = rate(plain_loop(folder), arguments.batches)
        print(f"{arguments.pairs} pairs of {arguments.size}, {os.cpu_count()} cores")
        print(f"{'plain loop':<28}{loop:8.1f} pairs/s")
        for name, gib in (("pipeline, nothing kept", 0.0), ("pipeline, all kept", 2.0)):
            config.data.cache_gib = gib
            crops = pipeline.crops(config, 0)
            for _ in range(arguments.pairs // BATCH + 1):  # fills the cache
                next(crops)
            found = rate(lambda crops=crops: next(crops), arguments.batches)
            print(f"{name:<28}{found:8.1f} pairs/s  {found / loop:6.2f} x the loop")


if __name__ == "__main__":
    main()
