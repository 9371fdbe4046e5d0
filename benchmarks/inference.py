"""The generator's forward pass against the same network in PyTorch, on the CPU.

    python benchmarks/inference.py [--size 480 720] [--batch=1] [--repeats=5] [--memory]

They take turns in one process; memory is that of a process of its own each, and with
--memory the only thing that is measured. The last line is the ratio of times.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import contenders, timing


def run_jax(*shape: int) -> None:
    """One picture, for its memory."""
    run, _ = contenders.jax_forward(shape)
    run()


def run_torch(*shape: int) -> None:
    """One picture, for its memory."""
    contenders.torch_forward(shape)()


def main() -> None:
    """Runs the benchmark."""
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 720))
    parser.add_argument("--memory", action="store_true", help="measure memory alone")
    options = parser.parse_args()
    shape = options.batch, *options.size

    print(f"machine: {timing.machine()}")
    print(f"generator forward, {' x '.join(map(str, shape))}, float32", flush=True)
    print("peak resident memory of a process, GiB:")
    for name, run in (("JAX", run_jax), ("PyTorch", run_torch)):
        print(f"  {name:22}{timing.peak_memory(run, *shape):9.2f}", flush=True)
    if options.memory:
        return
    ours, _ = contenders.jax_forward(shape)
    functions = {"JAX": ours, "PyTorch": contenders.torch_forward(shape)}
    print(timing.table(timing.side_by_side(functions, options.repeats)))


if __name__ == "__main__":
    main()
