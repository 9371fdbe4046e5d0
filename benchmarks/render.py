"""What rendering costs in training, as a ratio to the step that it feeds.

    python benchmarks/render.py [--config=configs/default.py] [--crop=256] [--batch=1]
        [--rounds=5]

The same crops through each, both compiled first and then timed in turns, so that
whatever else the machine does slows both. CPU seconds of all threads, and their mean:
no two panes cost the same.
"""

import argparse
import runpy
import sys
import time
from pathlib import Path

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from raindrop.data import pipeline
from raindrop.training import loop


def main() -> None:
    """Prints seconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/default.py")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    config = runpy.run_path(arguments.config)["get_config"]()
    config.data.crop_size = arguments.crop
    config.vgg.weights = "random"

    networks, vgg_params, _ = loop.make_networks(config)
    state, schedules = loop.make_state(config, networks)
    state, vgg_params = loop.replicate(state), loop.replicate(vgg_params)
    step = loop.make_step(config, networks, schedules)
    finish = pipeline.make_finisher(config)
    devices = jax.local_device_count()
    shape = (devices, arguments.batch, arguments.crop, arguments.crop, 3)
    clean = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    rendered = np.ones(shape[:2], bool)

    seconds = {"render": [], "step": []}
    for i in range(arguments.rounds + 1):  # the first compiles
        start = time.process_time()
        first = i * devices * arguments.batch
        index = first + np.arange(devices * arguments.batch, dtype=np.uint32)
        index = index.reshape(shape[:2])
        batch = jax.block_until_ready(finish(index, clean, rendered))
        seconds["render"].append(time.process_time() - start)
        start = time.process_time()
        state, metrics = step(state, vgg_params, batch)
        jax.block_until_ready((state, metrics))
        seconds["step"].append(time.process_time() - start)
    for name, times in seconds.items():
        print(f"{name:7} {np.mean(times[1:]):8.4f} s   (compilation {times[0]:.1f} s)")
    ratio = np.mean(seconds["render"][1:]) / np.mean(seconds["step"][1:])
    print(f"rendering costs {ratio:.4f} of a training step")


if __name__ == "__main__":
    main()
