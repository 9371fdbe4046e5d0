"""Inference and training on one GPU against PyTorch, eager and compiled.

    python benchmarks/gpu.py [--inference 1x480x720 ...] [--train 1x256 ...]
                             [--precision float32 bfloat16] [--repeats=20]

Needs JAX with CUDA, Flax, Optax and PyTorch with CUDA, nothing else. float32 may use
TF32 on both sides; bfloat16 is autocast in PyTorch, with channels_last. For every shape
the contenders take turns in one process. Columns: images per second (median), peak
memory, the share of the rate that a large matrix product reaches in that precision, and
the ratio of our speed. Runs on a CPU too, to see that it runs.
"""

import argparse
import os
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs some
sys.path.insert(0, str(Path(__file__).parents[1]))

import jax
import jax.numpy as jnp
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import contenders, timing

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def matrix_rate(dtype: str, size: int) -> float:
    """FLOP per second of a product of two square matrices in JAX."""
    a = jnp.ones((size, size), dtype)
    product = jax.jit(lambda a: a @ a)
    times = timing.side_by_side({"": lambda: product(a).block_until_ready()}, 10)
    return 2 * size**3 / min(times[""].wall)


def flops(function: Callable[..., contenders.Run], *arguments: object) -> int:
    """Of one run in PyTorch: convolutions and products, 2 for each multiply-add."""
    with FlopCounterMode(display=False) as counter:
        function(*arguments)()
    return counter.get_total_flops()


def torch_peak(run: contenders.Run) -> float:
    """GiB that a run had allocated at most; not a number on a CPU."""
    if DEVICE == "cpu":
        return float("nan")
    torch.cuda.reset_peak_memory_stats()
    run()
    return torch.cuda.max_memory_allocated() / 2**30


def jax_peak(compiled: jax.stages.Compiled) -> float:
    """GiB of arguments, results and temporaries, as XLA planned them."""
    plan = compiled.memory_analysis()
    total = plan.temp_size_in_bytes + plan.argument_size_in_bytes
    total += plan.output_size_in_bytes - plan.alias_size_in_bytes
    return total / 2**30


def compare(
    title: str,
    images: int,
    work: int,
    rate: float,
    ours: tuple[contenders.Run, jax.stages.Compiled],
    theirs: Callable[..., contenders.Run],
    autocast: bool,
    repeats: int,
) -> None:
    """Times one shape in one precision and prints its lines."""
    run, compiled = ours
    make = partial(theirs, device=DEVICE, autocast=autocast)
    runs = {
        "JAX": run,
        "PyTorch": make(),
        "PyTorch channels_last": make(channels_last=True),
        "torch.compile": make(channels_last=True, compiled=True),
    }
    times = timing.side_by_side(runs, repeats)
    own = statistics.median(times["JAX"].wall)
    for name, t in times.items():
        seconds = statistics.median(t.wall)
        peak = jax_peak(compiled) if name == "JAX" else torch_peak(runs[name])
        print(
            f"{title:36}{name:24}{images / seconds:10.2f}{peak:8.2f}"
            f"{work / seconds / rate:8.1%}{seconds / own:8.2f}",
            flush=True,
        )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--inference",
        nargs="*",
        default=["1x480x720", "1x1080x1920", "1x2160x3840"],
        help="batch x height x width",
    )
    parser.add_argument(
        "--train", nargs="*", default=["1x256", "8x256", "32x256"], help="batch x size"
    )
    parser.add_argument("--precision", nargs="*", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--matrix", type=int, default=8192, help="for the rate")
    parser.add_argument("--unroll", action="store_true", help="write out the scan")
    parser.add_argument("--remat", action="store_true", help="recompute its steps")
    options = parser.parse_args()
    attention = {"unroll": options.unroll, "remat": options.remat}
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True

    print(f"device: {jax.devices()[0].device_kind}; jax {jax.__version__}, ", end="")
    print(f"torch {torch.__version__}; {timing.machine()}")
    if DEVICE == "cuda" and jax.default_backend() != "gpu":
        raise SystemExit("PyTorch sees a GPU and JAX does not: install jax[cuda12].")
    # The arithmetic grows with the pixels (the dense layers are nothing beside it).
    forward_work = flops(contenders.torch_forward, (1, 64, 64)) / 64**2
    train_work = flops(contenders.torch_train_step, 64, 1) / 64**2
    print(f"{'':60}{'images/s':>10}{'GiB':>8}{'of rate':>8}{'ratio':>8}")
    for precision in options.precision:
        rate = matrix_rate(precision, options.matrix)
        print(f"{precision}: a matrix product reaches {rate / 1e12:.1f} TFLOP/s")
        autocast, dtype = precision == "bfloat16", jnp.dtype(precision)
        for text in options.inference:
            shape = tuple(map(int, text.split("x")))
            pixels = shape[0] * shape[1] * shape[2]
            compare(
                f"inference {text} {precision}",
                shape[0],
                forward_work * pixels,
                rate,
                contenders.jax_forward(shape, attention, dtype),
                partial(contenders.torch_forward, shape),
                autocast,
                options.repeats,
            )
        for text in options.train:
            batch, size = map(int, text.split("x"))
            run, compiled, _ = contenders.jax_train_step(size, batch, attention, dtype)
            compare(
                f"training step {text} {precision}",
                batch,
                train_work * batch * size**2,
                rate,
                (run, compiled),
                partial(contenders.torch_train_step, size, batch),
                autocast,
                options.repeats,
            )


if __name__ == "__main__":
    main()
