"""A whole GAN training step against the same step in PyTorch, on the CPU.

    python benchmarks/train_step.py [--size=256] [--batch=1] [--repeats=5]

Both do the same: generator, discriminator and VGG-16 to relu2_2, gradients of L_G and
L_D, Adam, a moving average. Each has a process of its own, and they take turns; the
last line of the table is the ratio of times. --repeats=0 measures memory alone.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import contenders, timing


def ours(
    size: int, batch: int, attention: dict[str, Any], fast_gradients: bool = True
) -> Callable[[], None]:
    """The step in JAX; says how long its compilation took."""
    run, _, seconds = contenders.jax_train_step(
        size, batch, attention, fast_gradients=fast_gradients
    )
    print(f"compilation of the step: {seconds:.1f} s, without a cache", flush=True)
    return run


def main() -> None:
    """Runs the benchmark."""
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the crops")
    parser.add_argument("--unroll", action="store_true", help="write out the scan")
    parser.add_argument(
        "--remat",
        action=argparse.BooleanOptionalAction,
        default=True,  # as in configs/default.py
        help="recompute its steps in the backward pass",
    )
    parser.add_argument(
        "--plain",
        action="store_true",
        help="time XLA's own gradients too (scan written out); slow",
    )
    options = parser.parse_args()
    shape = options.size, options.batch
    attention = {"unroll": options.unroll, "remat": options.remat}

    print(f"machine: {timing.machine()}")
    print(f"training step, {options.batch} x {options.size} x {options.size}, float32")
    makers = {
        "JAX": partial(ours, *shape, attention),
        "PyTorch": partial(contenders.torch_train_step, *shape),
    }
    if options.plain:
        makers["JAX, plain gradients"] = partial(ours, *shape, {"unroll": True}, False)
    print(timing.report(*timing.apart(makers, options.repeats)))


if __name__ == "__main__":
    main()
