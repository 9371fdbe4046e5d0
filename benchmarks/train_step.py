"""A whole GAN training step against the same step in PyTorch, on the CPU.

    python benchmarks/train_step.py [--size=256] [--batch=1] [--repeats=5] [--memory]

Both do the same: generator, discriminator and VGG-16 to relu2_2, gradients of L_G and
L_D, Adam, a moving average. They take turns in one process; memory is that of a process
of its own each, and with --memory the only thing that is measured. The last line is the
ratio of times.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import contenders, timing


def run_jax(size: int, batch: int, attention: dict[str, Any]) -> None:
    """One step, for its memory."""
    run, _, _ = contenders.jax_train_step(size, batch, attention)
    run()


def run_torch(size: int, batch: int) -> None:
    """One step, for its memory."""
    contenders.torch_train_step(size, batch)()


def main() -> None:
    """Runs the benchmark."""
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, default=256, help="side of the crops")
    parser.add_argument("--memory", action="store_true", help="measure memory alone")
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
    if not options.memory:
        # First of all, as in a run: after minutes of steps the machine may be slower.
        ours, _, seconds = contenders.jax_train_step(*shape, attention)
        print(f"compilation of the step: {seconds:.1f} s, without a cache", flush=True)
    print("peak resident memory of a process, GiB:", flush=True)
    for name, run, *arguments in (
        ("JAX", run_jax, *shape, attention),
        ("PyTorch", run_torch, *shape),
    ):
        print(f"  {name:22}{timing.peak_memory(run, *arguments):9.2f}", flush=True)
    if options.memory:
        return
    functions = {"JAX": ours, "PyTorch": contenders.torch_train_step(*shape)}
    if options.plain:
        functions["JAX, plain gradients"], _, _ = contenders.jax_train_step(
            *shape, {"unroll": True}, fast_gradients=False
        )
    print(timing.table(timing.side_by_side(functions, options.repeats)))


if __name__ == "__main__":
    main()
