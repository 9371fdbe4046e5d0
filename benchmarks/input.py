"""A training step fed by the pipeline against the same step on one constant batch.

    python benchmarks/input.py [--config=lite] [--photos=FOLDER] [--steps=20]

Photographs are decoded, cropped and rained on as in a run. Both take turns of `--steps`
steps in one process. The ratio is the pipeline's time over that of the constant batch:
1 is a device that never waits. Where the device that trains is also the one that
renders, and on a CPU the one that decodes, it cannot be 1; the last line says what the
rendering alone takes of a step.
"""

import importlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import jax

from benchmarks import timing
from raindrop.data import pipeline
from raindrop.training import loop


def main() -> None:
    """Runs the benchmark."""
    parser = timing.parser(__doc__)
    parser.set_defaults(batch=8)
    parser.add_argument("--config", default="lite", help="name of one of configs/")
    parser.add_argument("--photos", default="bundled")
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    options = parser.parse_args()
    config = importlib.import_module(f"configs.{options.config}").get_config()
    config.data.photos = options.photos
    config.training.batch_size = options.batch

    networks, vgg, _ = loop.make_networks(config)
    state, schedules = loop.make_state(config, networks)
    step = loop.make_step(config, networks, schedules)
    state, vgg = loop.replicate((state, vgg))
    real = pipeline.batches(config, 0)
    constant = next(real)

    def steps(batches: Iterator[Any]) -> Callable[[], None]:
        def run() -> None:
            nonlocal state
            for batch in itertools.islice(batches, options.steps):
                state, _ = step(state, vgg, batch)
            jax.block_until_ready(state)

        return run

    def render_only() -> None:
        for batch in itertools.islice(real, options.steps):
            jax.block_until_ready(batch)

    print(f"machine: {timing.machine()}")
    size = config.data.crop_size
    print(
        f"{options.steps} steps of {options.config}, {options.batch} x {size} x {size}",
        flush=True,
    )
    times = timing.side_by_side(
        {
            "with the pipeline": steps(real),
            "constant batch": steps(itertools.repeat(constant)),
            "pipeline alone": render_only,
        },
        options.repeats,
    )
    print(timing.table(times))


if __name__ == "__main__":
    main()
