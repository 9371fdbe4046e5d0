"""The generator's forward pass against the same network in PyTorch, on the CPU.

    python benchmarks/inference.py [--size 480 720] [--batch=1] [--repeats=5]

Each has a process of its own, and they take turns; the last line of the table is the
ratio of times. --repeats=0 measures memory alone.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import contenders, timing


def ours(shape: tuple[int, int, int]) -> Callable[[], None]:
    """The forward pass in JAX."""
    run, _ = contenders.jax_forward(shape)
    return run


def main() -> None:
    """Runs the benchmark."""
    parser = timing.parser(__doc__)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 720))
    options = parser.parse_args()
    shape = options.batch, *options.size

    print(f"machine: {timing.machine()}")
    print(f"generator forward, {' x '.join(map(str, shape))}, float32", flush=True)
    makers = {
        "JAX": partial(ours, shape),
        "PyTorch": partial(contenders.torch_forward, shape),
    }
    print(timing.report(*timing.apart(makers, options.repeats)))


if __name__ == "__main__":
    main()
